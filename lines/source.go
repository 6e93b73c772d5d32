package lines

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// ErrAbsent is what a Digests function returns for a range whose digests cannot
// be had and that gives no lines for that reason. All who derive an epoch must
// agree on it: a node alone returns *types.Missing instead and fetches.
var ErrAbsent = errors.New("digests of the range are not to be had")

// Emit takes one line without its LF. It must not keep the slice.
type Emit func(line []byte) error

// Digests gives the digests of a range's pieces in order, out of the dataset's
// index. It returns *types.Missing (wrapped or not) when the index is not held,
// or ErrAbsent.
type Digests func(a *types.Attachment, r types.Range) ([]types.Hash, error)

// Source is what the lines of one epoch are derived from.
type Source struct {
	Epoch   types.Epoch
	Frozen  *consensus.View // state at the checkpoint of the epoch
	Cut     *consensus.View // state at block BundlesDue or later, for Verdicts alone: its claims and beacon count
	Digests Digests
	Shard   types.Shard // only chunks of this shard; the zero value: all

	// Held is how many pieces are sorted in memory at once, at 40 bytes each;
	// more pieces take more passes over the digests. 0: DefaultHeld.
	Held uint64
}

// DefaultHeld is the number of pieces sorted at once, about 40 MB.
const DefaultHeld = 1 << 20

// Farmer gives the farmerlog of a host (ST2.1): a line for each piece of the
// lots that it keeps, also of those that are being replaced.
func (s *Source) Farmer(host types.Account, emit Emit) error {
	return s.farmer(host, func(l *types.LotRecord) bool { return true }, farmerLine, emit)
}

// holder writes the line of one chunk of a lot.
type holder func(k *kept, host types.Address) func(dst []byte, chunk types.Hash) []byte

func farmerLine(k *kept, host types.Address) func([]byte, types.Hash) []byte {
	f := settle.Farmer{Farmer: host, Born: k.born, Stored: k.stored, Rep: k.rep, Renewable: k.renewable}
	return func(dst []byte, chunk types.Hash) []byte {
		f.Chunk = chunk
		return f.Append(dst, settle.Grammar{})
	}
}

func (s *Source) farmer(host types.Account, want func(*types.LotRecord) bool, line holder, emit Emit) error {
	ids, err := s.Frozen.Lots(host)
	if err != nil {
		return fmt.Errorf("lots of host %s: %w", host.Short(), err)
	}
	var runs []run
	for _, id := range ids {
		k, err := s.kept(host, id)
		if err != nil {
			return err
		}
		if k == nil || !want(k.lot) {
			continue
		}
		runs = append(runs, run{k.attachment, k.lot.First, k.lot.Count, k.lot.Pieces, line(k, host.Address())})
	}
	return s.stream(runs, emit)
}

// kept is a lot with what its lines say (ST2.3).
type kept struct {
	lot          *types.LotRecord
	attachment   *types.Attachment
	born, stored int64
	rep          uint8
	renewable    bool
}

// kept reads a lot; nil when the host does not keep it.
func (s *Source) kept(host types.Account, id types.LotID) (*kept, error) {
	l, err := s.Frozen.Lot(id)
	if err != nil {
		return nil, fmt.Errorf("lot %s: %w", id.Short(), err)
	}
	if l == nil || l.Keeper() != host {
		return nil, nil
	}
	p, err := s.Frozen.Plan(l.Plan)
	if err != nil {
		return nil, fmt.Errorf("plan of lot %s: %w", id.Short(), err)
	}
	if p == nil {
		return nil, fmt.Errorf("lot %s has no plan", id.Short())
	}
	d, err := s.dataset(p)
	if err != nil {
		return nil, err
	}
	since := l.Since
	if l.Status != types.LotActive {
		since = l.OldSince
	}
	return &kept{l, &d.Attachment, seconds(d.Time), seconds(since), rep(p), p.Plan.Renewable}, nil
}

func (s *Source) dataset(p *types.PlanRecord) (*types.DatasetRecord, error) {
	d, err := s.Frozen.Dataset(p.Plan.Dataset)
	if err != nil {
		return nil, fmt.Errorf("dataset %s: %w", p.Plan.Dataset.Short(), err)
	}
	if d == nil {
		return nil, fmt.Errorf("plan for dataset %s, which is not there", p.Plan.Dataset.Short())
	}
	return d, nil
}

// seconds is how dates of logs count (T1).
func seconds(t types.Millis) int64 { return int64(t) / 1000 }

func rep(p *types.PlanRecord) uint8 { return uint8(min(p.Plan.Copies, settle.MaxRep)) }

// Buyer gives the buyerlog of a sponsor (ST2.2): a line for each piece of its
// running plans, from the epoch on in which a host keeps the first copy of the
// piece's lot. A plan whose highest price is below the epoch's stops (ST6).
func (s *Source) Buyer(sponsor types.Account, emit Emit) error {
	ids, err := s.Frozen.Plans(sponsor)
	if err != nil {
		return fmt.Errorf("plans of sponsor %s: %w", sponsor.Short(), err)
	}
	rec, err := s.Frozen.Epoch(s.Epoch)
	if err != nil {
		return fmt.Errorf("epoch %d: %w", s.Epoch, err)
	}
	var runs []run
	for _, id := range ids {
		p, err := s.Frozen.Plan(id)
		if err != nil {
			return fmt.Errorf("plan %s: %w", id.Short(), err)
		}
		if p == nil || p.Ended || rec.Storage != nil && p.Plan.MaxPrice.Cmp(rec.Storage) < 0 {
			continue
		}
		more, err := s.bought(id, p)
		if err != nil {
			return err
		}
		runs = append(runs, more...)
	}
	return s.stream(runs, emit)
}

// bought are the lots of a plan of which somebody keeps a copy.
func (s *Source) bought(id types.PlanID, p *types.PlanRecord) ([]run, error) {
	d, err := s.dataset(p)
	if err != nil {
		return nil, err
	}
	b := settle.Buyer{
		Buyer: p.Sponsor.Address(), Born: seconds(d.Time), Stored: seconds(p.Time),
		Rep: rep(p), Renewable: p.Plan.Renewable,
	}
	line := func(dst []byte, chunk types.Hash) []byte {
		b.Chunk = chunk
		return b.Append(dst, settle.Grammar{})
	}
	var runs []run
	for i := range p.Lots {
		l, err := s.held(id, p, i)
		if err != nil {
			return nil, err
		}
		if l != nil {
			runs = append(runs, run{&d.Attachment, l.First, l.Count, l.Pieces, line})
		}
	}
	return runs, nil
}

// held is the first copy of a plan's lot that a host keeps; nil: none.
func (s *Source) held(id types.PlanID, p *types.PlanRecord, index uint32) (*types.LotRecord, error) {
	for c := range p.Plan.Copies {
		lot := types.LotOf(id, c, index)
		l, err := s.Frozen.Lot(lot)
		if err != nil {
			return nil, fmt.Errorf("lot %s: %w", lot.Short(), err)
		}
		if l != nil && !l.Keeper().IsZero() {
			return l, nil
		}
	}
	return nil, nil
}
