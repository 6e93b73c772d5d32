package logbook

import (
	"context"
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Members of the community of these tests.
const (
	sponsor = iota
	hostA
	hostB
	validator // and two more
	idle      = validator + 3
	members   = idle + 1
)

// scene is a community in which two hosts keep a dataset each.
type scene struct {
	*chaintest.World
	t    testing.TB
	data *chaintest.Dataset
	lots []types.LotID
	e    types.Epoch // the first with all lots active
}

func newScene(t testing.TB) *scene {
	t.Helper()
	w := chaintest.New(t, members, func(g *types.Genesis) {
		chaintest.Validators(g, validator, 3, 2000*types.Coin)
	})
	for i := validator; i < idle; i++ {
		w.Register(i, types.RoleValidator)
	}
	w.Register(sponsor, types.RoleSponsor)
	w.Register(hostA, types.RoleHost)
	w.Register(hostB, types.RoleHost)
	w.Register(idle, types.RoleHost)
	w.Do(idle, types.KindDuty, &types.Duty{Action: types.DutyPause})
	s := &scene{World: w, t: t, data: w.Publish(sponsor, "data", 6*types.PieceSize+99, 2)}
	s.lots = w.Plan(sponsor, s.data, 2, 0)
	for _, id := range s.lots {
		s.activate(id)
	}
	s.e = w.Rules().EpochOf(w.Tip().Header.Height)
	return s
}

func (s *scene) activate(id types.LotID) {
	s.t.Helper()
	s.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(id)
		return err == nil && l.Status == types.LotDrawn
	})
	l := s.Lot(id)
	host := s.Number(l.Host)
	s.Do(host, types.KindDuty, &types.Duty{Action: types.DutyAccept, Lots: []types.LotAttempt{{Lot: id, Attempt: l.Attempt}}})
	var c types.Commitments
	for r := range l.Count {
		root := types.H("staddle/test/root", types.Be32(r))
		c.List = append(c.List, types.Commitment{Lot: id, Attempt: l.Attempt, Range: r, Encoded: root, Plain: root})
	}
	s.Do(host, types.KindHosted, &c)
	s.Attest(id)
}

// index has the one dataset, unless it is lost.
type index struct {
	data *chaintest.Dataset
	lost bool
}

func (x *index) Digests(_ context.Context, _ *types.Attachment, r types.Range) ([]types.Hash, error) {
	if x.lost {
		return nil, &types.Missing{CID: types.RawCIDOf(r.ID)}
	}
	return x.data.Digests(r), nil
}

// receipts is a fixed list of receipts of one epoch.
type receipts struct {
	epoch types.Epoch
	list  []Evidence
}

func (r *receipts) Traffic(e types.Epoch) ([]Evidence, error) {
	if e != r.epoch {
		return nil, nil
	}
	return r.list, nil
}

// took gives receipts of the scene's epoch.
func (s *scene) took(list ...Evidence) *receipts { return &receipts{s.e, list} }

// own is a fixed list of exceptions.
type own []lines.Exception

func (o own) Exceptions(types.Epoch) ([]lines.Exception, error) { return o, nil }

func receipt(payee, payer int, units uint64) Evidence {
	b := fmt.Appendf(nil, "receipt %d %d %d", payee, payer, units)
	return Evidence{
		Traffic: lines.Traffic{Payee: chaintest.Account(payee), Payer: chaintest.Account(payer), Units: units, Receipt: types.Digest(types.RawCID(b))},
		Receipt: b,
	}
}

// config is member i's, with a directory of its own.
func (s *scene) config(i int) Config {
	return Config{
		Dir: s.t.TempDir(), Account: chaintest.Account(i), Device: chaintest.Device(i),
		Chain: s.Node(i), Index: &index{data: s.data}, Report: s.t.Logf,
	}
}

func (s *scene) open(c Config) *Logbook {
	s.t.Helper()
	b, err := Open(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// step mines to a height and lets the logbook look.
func (s *scene) step(b *Logbook, h types.Height) {
	s.t.Helper()
	s.MineTo(h)
	if err := b.Step(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// first is the height at which logs are made.
func (s *scene) first() types.Height { return s.Rules().Checkpoint(s.e) + 1 }

func (s *scene) claim(i int) *types.ClaimRecord {
	s.t.Helper()
	c, err := s.View().Claim(s.e, chaintest.Account(i))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// chain counts what is submitted, and may refuse.
type chain struct {
	*chaintest.Node
	refuse error
	sent   []types.LogCommitment
}

func (c *chain) Submit(kind types.Kind, body types.Body, name string) error {
	if c.refuse != nil {
		return c.refuse
	}
	c.sent = append(c.sent, *body.(*types.LogCommitment))
	return c.Node.Submit(kind, body, name)
}

// source derives the epoch as a reader does.
func (s *scene) source() *lines.Source {
	s.t.Helper()
	frozen, err := s.View().Frozen(s.e)
	if err != nil {
		s.t.Fatal(err)
	}
	return &lines.Source{
		Epoch: s.e, Frozen: frozen,
		Digests: func(_ *types.Attachment, r types.Range) ([]types.Hash, error) { return s.data.Digests(r), nil },
	}
}

var noBlock = cid.Undef

type consensusView = consensus.View
