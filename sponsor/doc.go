// Package sponsor is the side of who pays for keeping a dataset: it says what a
// plan costs before anything is sent, sends it, tells how its lots stand, and
// challenges the hosts at any time.
//
// The chain does the rest: draws, repairs and payment need no sponsor online. All
// methods may be called at once.
package sponsor

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// Chain is what a sponsor needs of the community's chain.
type Chain interface {
	ID() types.ChainID
	View() (*consensus.View, error)
	Submit(kind types.Kind, body types.Body, name string) error
	Await(ctx context.Context, name string) (types.TxID, types.Height, error)
	Watch() (<-chan struct{}, func())
}

// Net asks peers.
type Net interface {
	Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error)
}

// Sponsor is one account's plans.
type Sponsor struct {
	chain Chain
	net   Net
	me    types.Account
}

// New joins a sponsor with its chain and its peers.
func New(chain Chain, net Net, me types.Account) *Sponsor { return &Sponsor{chain, net, me} }

// Wish is what a person asks.
type Wish struct {
	Dataset  types.DatasetID
	Copies   uint32 // 0: the community's default
	Encoding uint32
	Epochs   uint32       // to keep it for, from now on
	Lock     types.Amount // to prepay; 0: the least
	Room     uint32       // highest price to bear, as a multiple of the present one (ST6); 0: 4
	Renew    bool
}

// Quote is a plan with its cost, before anything is sent.
type Quote struct {
	Plan   types.Plan
	Pieces uint32       // of the dataset
	Least  types.Amount // that must be locked: the whole term at the highest price
	Likely types.Amount // for the whole term at the present price
}

// Errors that callers tell apart.
var (
	ErrNotPublished = errors.New("the community does not know this dataset yet")
	ErrFunds        = errors.New("not enough coins")
)

// priceRoom is how often the present price a plan bears unless it says (ST6).
const priceRoom = 4

// Quote prices a wish by the newest state.
func (s *Sponsor) Quote(w Wish) (*Quote, error) {
	v, err := s.chain.View()
	if err != nil {
		return nil, err
	}
	d, err := v.Dataset(w.Dataset)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("dataset %s: %w", w.Dataset.Short(), ErrNotPublished)
	}
	g, err := v.Globals()
	if err != nil {
		return nil, err
	}
	if w.Copies == 0 {
		w.Copies = v.Rules.Copies
	}
	if w.Room == 0 {
		w.Room = priceRoom
	}
	q := &Quote{Pieces: d.Attachment.Pieces, Plan: types.Plan{
		Dataset: w.Dataset, Count: d.Attachment.RangeCount, Copies: w.Copies, Encoding: w.Encoding,
		Until: v.Epochal() + types.Epoch(w.Epochs), Renewable: w.Renew, Assurance: 1,
		MaxPrice: new(big.Int).Mul(g.Storage, big.NewInt(int64(w.Room))),
	}}
	ranges, err := v.Ranges(&d.Attachment, 0, d.Attachment.RangeCount)
	if err != nil {
		return nil, err
	}
	if q.Least, err = v.PlanCost(&q.Plan, ranges); err != nil {
		return nil, err
	}
	present := q.Plan
	present.MaxPrice = g.Storage
	if q.Likely, err = v.PlanCost(&present, ranges); err != nil {
		return nil, err
	}
	q.Plan.Lock = max(q.Least, w.Lock)
	return q, s.afford(v, q)
}

func (s *Sponsor) afford(v *consensus.View, q *Quote) error {
	a, err := v.Account(s.me)
	if err != nil {
		return err
	}
	if a.Balance < q.Plan.Lock {
		return fmt.Errorf("plan locks %s coins, the balance is %s: %w", q.Plan.Lock, a.Balance, ErrFunds)
	}
	return nil
}

// Send puts a plan on the chain and gives its id. While a plan of the same
// copies of a dataset waits for its block, after a restart for instance, a second
// one is not sent: the first is waited for.
func (s *Sponsor) Send(ctx context.Context, q *Quote) (types.PlanID, error) {
	name := fmt.Sprintf("plan/%s/%d/%d", q.Plan.Dataset, q.Plan.Copies, q.Plan.Encoding)
	if err := s.chain.Submit(types.KindPlan, &q.Plan, name); err != nil {
		return types.PlanID{}, err
	}
	id, _, err := s.chain.Await(ctx, name)
	if err != nil {
		return id, fmt.Errorf("wait for the plan to enter a block: %w", err)
	}
	return id, nil
}

// Lot is how one lot of a plan stands.
type Lot struct {
	ID     types.LotID
	Record types.LotRecord
}

// Lots lists the lots of a plan, copy by copy.
func (s *Sponsor) Lots(plan types.PlanID) (*types.PlanRecord, []Lot, error) {
	v, err := s.chain.View()
	if err != nil {
		return nil, nil, err
	}
	p, err := v.Plan(plan)
	if err != nil {
		return nil, nil, err
	}
	if p == nil {
		return nil, nil, fmt.Errorf("plan %s is not known", plan.Short())
	}
	var out []Lot
	for c := range p.Plan.Copies {
		for i := range p.Lots {
			id := types.LotOf(plan, c, i)
			l, err := v.Lot(id)
			if err != nil {
				return nil, nil, err
			}
			if l != nil {
				out = append(out, Lot{id, *l})
			}
		}
	}
	return p, out, nil
}

// Running finds this account's plan that keeps the same copies of a dataset in
// the same encoding and has not ended: repeating a wish goes on with it. The
// record is nil without one.
func (s *Sponsor) Running(w Wish) (types.PlanID, *types.PlanRecord, error) {
	v, err := s.chain.View()
	if err != nil {
		return types.PlanID{}, nil, err
	}
	if w.Copies == 0 {
		w.Copies = v.Rules.Copies
	}
	ids, err := v.Plans(s.me)
	if err != nil {
		return types.PlanID{}, nil, err
	}
	for _, id := range ids {
		p, err := v.Plan(id)
		if err != nil {
			return id, nil, err
		}
		same := p != nil && p.Plan.Dataset == w.Dataset && p.Plan.Copies == w.Copies && p.Plan.Encoding == w.Encoding
		if same && !p.Ended && p.Plan.Until > v.Epochal() {
			return id, p, nil
		}
	}
	return types.PlanID{}, nil, nil
}

// Plans lists the account's plans, oldest first.
func (s *Sponsor) Plans() ([]types.PlanID, error) {
	v, err := s.chain.View()
	if err != nil {
		return nil, err
	}
	return v.Plans(s.me)
}

// Hosted waits until every lot of a plan is active; progress is told the number
// of active lots whenever it changed.
func (s *Sponsor) Hosted(ctx context.Context, plan types.PlanID, progress func(active, all int)) error {
	changed, stop := s.chain.Watch()
	defer stop()
	last := -1
	for {
		_, lots, err := s.Lots(plan)
		if err != nil {
			return err
		}
		active := 0
		for _, l := range lots {
			if l.Record.Status == types.LotActive {
				active++
			}
		}
		if active != last {
			last = active
			progress(active, len(lots))
		}
		if active == len(lots) && len(lots) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d lots are kept: %w", active, len(lots), ctx.Err())
		case <-changed:
		}
	}
}
