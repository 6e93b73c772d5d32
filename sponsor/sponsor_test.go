package sponsor

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// said answers every request alike.
type said struct {
	raw   []byte
	err   error
	asked int
}

func (n *said) Request(context.Context, types.Account, string, []byte, int) ([]byte, error) {
	n.asked++
	return n.raw, n.err
}

// town is a community with a sponsor (0), a host (1) and three validators.
func town(t *testing.T) (*chaintest.World, *chaintest.Dataset) {
	w := chaintest.New(t, 5, func(g *types.Genesis) { chaintest.Validators(g, 2, 3, 2000*types.Coin) })
	for i := 2; i < 5; i++ {
		w.Register(i, types.RoleValidator)
	}
	w.Register(1, types.RoleHost)
	return w, w.Publish(0, "data", 3*types.PieceSize+1000, 2)
}

func sponsorOf(w *chaintest.World, net Net) *Sponsor {
	return New(w.Node(0), net, chaintest.Account(0))
}

func TestQuote(t *testing.T) {
	w, d := town(t)
	s := sponsorOf(w, nil)
	if _, err := s.Quote(Wish{Dataset: types.H("staddle/test/none"), Copies: 1, Epochs: 9}); !errors.Is(err, ErrNotPublished) {
		t.Errorf("unknown dataset: %v", err)
	}
	q, err := s.Quote(Wish{Dataset: d.ID, Epochs: 20})
	if err != nil {
		t.Fatal(err)
	}
	if q.Plan.Copies != w.Rules().Copies || q.Pieces != 4 || q.Plan.Until != w.View().Epochal()+20 {
		t.Errorf("%d copies of %d pieces until %d", q.Plan.Copies, q.Pieces, q.Plan.Until)
	}
	// A plan bears four times the price unless it says otherwise (ST6); what is
	// paid once does not grow with the price.
	if q.Likely == 0 || q.Least <= 3*q.Likely || q.Least > 4*q.Likely || q.Plan.Lock != q.Least {
		t.Errorf("least %s, likely %s, lock %s", q.Least, q.Likely, q.Plan.Lock)
	}
	narrow, err := s.Quote(Wish{Dataset: d.ID, Epochs: 20, Room: 1})
	if err != nil || narrow.Least != q.Likely {
		t.Errorf("at the present price %v, want %s: %v", narrow, q.Likely, err)
	}
	if _, err := s.Quote(Wish{Dataset: d.ID, Epochs: 20, Lock: chaintest.Coins + 1}); !errors.Is(err, ErrFunds) {
		t.Errorf("a lock above the balance: %v", err)
	}
}

// buy sends a quoted plan while blocks are mined.
func buy(t *testing.T, w *chaintest.World, s *Sponsor, wish Wish) types.PlanID {
	t.Helper()
	q, err := s.Quote(wish)
	if err != nil {
		t.Fatal(err)
	}
	type sent struct {
		id  types.PlanID
		err error
	}
	done := make(chan sent, 1)
	go func() {
		id, err := s.Send(t.Context(), q)
		done <- sent{id, err}
	}()
	var got *sent
	w.Until("plan is in a block", 0, func(*consensus.View) bool {
		select {
		case x := <-done:
			got = &x
		default:
		}
		return got != nil
	})
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.id
}

// TestRunning: who wishes the same again goes on with the plan there is.
func TestRunning(t *testing.T) {
	w, d := town(t)
	s := sponsorOf(w, nil)
	wish := Wish{Dataset: d.ID, Epochs: 20} // as many copies as the community wants
	if _, p, err := s.Running(wish); p != nil || err != nil {
		t.Fatalf("a plan before the first: %v, %v", p, err)
	}
	id := buy(t, w, s, wish)
	got, p, err := s.Running(wish)
	if err != nil || p == nil || got != id {
		t.Fatalf("plan %s, %v, %v, want %s", got.Short(), p, err, id.Short())
	}
	for what, other := range map[string]Wish{
		"copies":   {Dataset: d.ID, Copies: w.Rules().Copies + 1},
		"encoding": {Dataset: d.ID, Encoding: 1},
		"dataset":  {},
	} {
		if _, p, err := s.Running(other); p != nil || err != nil {
			t.Errorf("another %s: %v, %v", what, p, err)
		}
	}
	if _, p, _ := New(w.Node(1), nil, chaintest.Account(1)).Running(wish); p != nil {
		t.Error("another's plan runs for the host")
	}
	if ids, err := s.Plans(); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("plans %v: %v", ids, err)
	}
	if _, _, err := s.Lots(types.H("staddle/test/none")); err == nil {
		t.Error("lots of a plan that is not known")
	}
}

// keep takes the one lot of a plan to its attestation; its bytes are made up.
func keep(w *chaintest.World, plan types.PlanID) {
	id := types.LotOf(plan, 0, 0)
	w.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(id)
		return err == nil && l.Status == types.LotDrawn
	})
	l := w.Lot(id)
	w.Do(1, types.KindDuty, &types.Duty{Action: types.DutyAccept, Lots: []types.LotAttempt{{Lot: id, Attempt: l.Attempt}}})
	var c types.Commitments
	for r := range l.Count {
		root := types.H("staddle/test/root", types.Be32(r))
		c.List = append(c.List, types.Commitment{Lot: id, Attempt: l.Attempt, Range: r, Encoded: root, Plain: root})
	}
	w.Do(1, types.KindHosted, &c)
	w.Attest(id)
}

func TestHosted(t *testing.T) {
	w, d := town(t)
	s := sponsorOf(w, nil)
	plan := buy(t, w, s, Wish{Dataset: d.ID, Copies: 1, Epochs: 20})
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Hosted(soon, plan, func(int, int) {}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "0 of 1 lots are kept") {
		t.Errorf("before: %v", err)
	}
	keep(w, plan)
	active, all := 0, 0
	if err := s.Hosted(t.Context(), plan, func(a, n int) { active, all = a, n }); err != nil || active != 1 || all != 1 {
		t.Errorf("%d of %d: %v", active, all, err)
	}
}

// TestProve: a host that is silent, or answers with what it should not, has
// shown nothing, and the answer says why.
func TestProve(t *testing.T) {
	w, d := town(t)
	chance := rand.NewChaCha8([32]byte{1})
	if _, err := sponsorOf(w, nil).Prove(t.Context(), d.ID, 30, chance); err == nil {
		t.Error("proof of a dataset that nobody keeps")
	}
	keep(w, buy(t, w, sponsorOf(w, nil), Wish{Dataset: d.ID, Copies: 1, Epochs: 20}))
	silent := errors.New("connection refused")
	for what, net := range map[string]*said{
		"silent":  {err: silent},
		"garbage": {raw: []byte("not an answer")},
		"empty":   {raw: types.Marshal(&replica.LeafAnswer{})},
	} {
		out, err := sponsorOf(w, net).Prove(t.Context(), d.ID, 30, chance)
		if err != nil || len(out) != 1 || net.asked != 1 {
			t.Fatalf("%s: %d answers to %d requests: %v", what, len(out), net.asked, err)
		}
		a := out[0]
		if a.Host != chaintest.Account(1) || a.Lots != 1 || a.Asked != 30 || a.Good != 0 || a.Err == nil {
			t.Errorf("%s: %+v", what, a)
		}
		if what == "silent" && !errors.Is(a.Err, silent) {
			t.Errorf("silent: %v", a.Err)
		}
	}
	if _, err := sponsorOf(w, &said{}).Prove(t.Context(), d.ID, 30, bytes.NewReader(nil)); err == nil {
		t.Error("leaves drawn without chance")
	}
}

// TestCertainty by hand: 1 - 0.9^30 is 95.76 %.
func TestCertainty(t *testing.T) {
	for n, want := range map[int]uint64{0: 0, 1: 1000, 2: 1900, 30: 9576} {
		if got := Certainty(n); got != want {
			t.Errorf("%d leaves: %d, want %d", n, got, want)
		}
	}
}
