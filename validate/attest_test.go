package validate

import (
	"context"
	"errors"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

// TestH1_6 runs the validators of a community: all that are drawn attest, and
// the lots become active.
func TestH1_6(t *testing.T) {
	s := newScene(t)
	for i := validator; i < validator+4; i++ {
		s.start(i)
	}
	s.activate(2, false)
	for _, id := range s.lots {
		if l := s.Lot(id); len(l.Attestors) != 2 || l.Attested != 3 {
			t.Errorf("lot %s: %d attestors, bits %b", id.Short(), len(l.Attestors), l.Attested)
		}
	}
	s.checkMoney()
}

// TestAttestRefuses shows a validator hosts that do not keep what they committed.
func TestAttestRefuses(t *testing.T) {
	s := newScene(t)
	s.lots = s.Plan(sponsor, s.data, 1, 0)
	s.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(s.lots[0])
		return err == nil && l.Status == types.LotDrawn
	})
	l := s.Lot(s.lots[0])
	h := s.hosts[s.Number(l.Host)]
	h.garbage.Store(true) // honest about leaves that are not the dataset's
	h.commit(s.lots[0], l)
	i := s.Number(s.Lot(s.lots[0]).Attestors[0])
	v := s.open(i)
	if err := v.follow(); err != nil {
		t.Fatal(err)
	}
	jobs, err := v.toAttest(s.View())
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%d lots to attest, want 1: %v", len(jobs), err)
	}
	if err := v.readLot(t.Context(), jobs[0]); !errors.Is(err, ErrFalse) {
		t.Errorf("leaves of other bytes: %v, want ErrFalse", err)
	}
	h.garbage.Store(false) // leaves of the dataset, which are not what was committed
	if err := v.readLot(t.Context(), jobs[0]); !errors.Is(err, ErrFalse) {
		t.Errorf("leaves that were not committed: %v, want ErrFalse", err)
	}
	h.silent.Store(true)
	if err := v.readLot(t.Context(), jobs[0]); err == nil || errors.Is(err, ErrFalse) {
		t.Errorf("silent host: %v, want a lost answer", err)
	}
	if err := v.attest(context.Background(), s.View()); err != nil {
		t.Errorf("step: %v", err)
	}
	if s.Lot(s.lots[0]).Attested != 0 || v.attested.Load() != 0 {
		t.Error("a lot that is not kept was attested")
	}
}

// TestAttestAgainAfterReorg has a draw undone and checks that nothing is said of
// the attempt that is gone.
func TestAttestAgainAfterReorg(t *testing.T) {
	s := newScene(t)
	s.lots = s.Plan(sponsor, s.data, 1, 0)
	s.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(s.lots[0])
		return err == nil && l.Status == types.LotDrawn
	})
	i := s.Number(s.Lot(s.lots[0]).Attestors[0])
	v := s.open(i)
	if err := v.follow(); err != nil {
		t.Fatal(err)
	}
	s.Reorg(1)
	if err := v.attest(t.Context(), s.View()); err != nil {
		t.Fatal(err)
	}
	var at types.Cursor
	if ok, err := v.load(rowCursor, &at); !ok || err != nil || at.Root != s.Tip().Name {
		t.Errorf("cursor stands at %d: %v", at.Height, err)
	}
	if s.Node(i).Waiting("attest") || v.attested.Load() != 0 {
		t.Error("attested to nothing")
	}
	if chaintest.Account(i) != v.me {
		t.Error("wrong account")
	}
}
