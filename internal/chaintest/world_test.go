package chaintest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// TestLotToActive walks a plain lot from a plan to its attestation.
func TestLotToActive(t *testing.T) {
	w := New(t, 5, func(g *types.Genesis) { Validators(g, 2, 3, 2000*types.Coin) })
	for i := 2; i < 5; i++ {
		w.Register(i, types.RoleValidator)
	}
	w.Register(1, types.RoleHost)
	d := w.Publish(0, "data", 3*types.PieceSize+1000, 2)
	if len(d.Ranges) != 2 || len(d.Pieces) != 4 {
		t.Fatalf("%d ranges of %d pieces, want 2 of 4", len(d.Ranges), len(d.Pieces))
	}
	lots := w.Plan(0, d, 1, 0)
	if len(lots) != 1 {
		t.Fatalf("%d lots, want 1", len(lots))
	}
	w.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(lots[0])
		return err == nil && l.Status == types.LotDrawn
	})
	l := w.Lot(lots[0])
	if l.Host != Account(1) || len(l.Encoders) != 0 {
		t.Fatalf("host %s with %d encoders", l.Host.Short(), len(l.Encoders))
	}
	w.Do(1, types.KindDuty, &types.Duty{Action: types.DutyAccept, Lots: []types.LotAttempt{{Lot: lots[0], Attempt: l.Attempt}}})
	var c types.Commitments
	for r := range l.Count {
		root := types.H("staddle/test/root", types.Be32(r))
		c.List = append(c.List, types.Commitment{Lot: lots[0], Attempt: l.Attempt, Range: r, Encoded: root, Plain: root})
	}
	w.Do(1, types.KindHosted, &c)
	w.Attest(lots[0])
	if sum, _, err := w.View().Money(); err != nil || sum != w.Genesis().Supply() {
		t.Fatalf("money %d of %d: %v", sum, w.Genesis().Supply(), err)
	}
}

// TestReorgUndoesADraw shows a follower what a reorganisation takes back.
func TestReorgUndoesADraw(t *testing.T) {
	w := New(t, 4, nil)
	n := w.Node(0)
	changed, stop := n.Watch()
	defer stop()
	w.MineTo(6)
	<-changed
	_, do, err := n.Updates(types.Cursor{}, 100)
	if err != nil || len(do) != 7 {
		t.Fatalf("%d blocks, want 7: %v", len(do), err)
	}
	old := do[6].Block
	w.Reorg(3)
	<-changed
	undo, do, err := n.Updates(types.Cursor{Height: old.Header.Height, Root: old.Name}, 100)
	if err != nil || len(undo) != 3 || len(do) != 4 {
		t.Fatalf("undo %d, do %d blocks, want 3 and 4: %v", len(undo), len(do), err)
	}
	if undo[0].Block.Name != old.Name || do[0].Block.Header.Previous != undo[2].Block.Header.Previous {
		t.Fatal("the new fork does not begin where the old one ends")
	}
	if do[0].Block.Header.Miner == undo[2].Block.Header.Miner {
		t.Fatal("the first block of the new fork is by the same miner")
	}
}

func TestSubmitRefusesAndAwaits(t *testing.T) {
	w := New(t, 2, nil)
	n := w.Node(0)
	if err := n.Submit(types.KindWire, &types.Wire{To: Account(1), Amount: 2 * Coins}, "too much"); err == nil {
		t.Fatal("a wire above the balance was taken")
	}
	if _, _, err := n.Await(t.Context(), "too much"); !errors.Is(err, ErrNoWish) {
		t.Fatalf("error %v, want ErrNoWish", err)
	}
	for range 2 {
		if err := n.Submit(types.KindWire, &types.Wire{To: Account(1), Amount: 5}, "gift"); err != nil {
			t.Fatal(err)
		}
	}
	if !n.Waiting("gift") || w.Node(1).Waiting("gift") {
		t.Fatal("the wish is not waiting, or for another account")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := n.Await(ended, "gift"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want Canceled", err)
	}
	b := w.Mine()
	if n.Waiting("gift") {
		t.Fatal("the wish still waits after its block")
	}
	if acc, err := w.View().Account(Account(1)); err != nil || acc.Balance < Coins+5 || len(b.Txs) != 1 {
		t.Fatalf("balance %d with %d transactions: %v", acc.Balance, len(b.Txs), err)
	}
}

func TestStreams(t *testing.T) {
	m := NewMesh()
	a, b := m.Join(0), m.Join(1)
	b.Handle("/echo", func(s *Stream) {
		for {
			f, err := s.Receive(100)
			if err != nil {
				_ = s.Close()
				return
			}
			_ = s.Send(f)
		}
	})
	s, err := a.Open(t.Context(), Account(1), "/echo")
	if err != nil {
		t.Fatal(err)
	}
	if acc, dev := s.Remote(); acc != Account(1) || dev != Device(1) {
		t.Fatal("wrong remote")
	}
	if err := s.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Receive(100); err != nil || string(f) != "hello" {
		t.Fatalf("echo %q: %v", f, err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(100); err != io.EOF { //nolint:errorlint // bare, as of the transport
		t.Fatalf("error %v, want EOF", err)
	}
	m.Wait()
	m.Cut(func(_, _ types.Account, _ string) int { return 14 })
	cut, err := a.Open(t.Context(), Account(1), "/echo")
	if err != nil {
		t.Fatal(err)
	}
	_ = cut.Send([]byte("hello"))
	if err := errors.Join(cut.Send([]byte("hello")), cut.Send([]byte("hello"))); !errors.Is(err, ErrLost) {
		t.Fatalf("error %v, want ErrLost", err)
	}
	m.Wait()
	if _, err := a.Open(t.Context(), Account(7), "/echo"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("error %v, want ErrUnknown", err)
	}
}

func TestRequest(t *testing.T) {
	m := NewMesh()
	a, b := m.Join(0), m.Join(1)
	b.Answer("/double", 8, func(_ context.Context, from types.Account, q []byte) ([]byte, error) {
		if from != Account(0) {
			t.Errorf("request of %s", from.Short())
		}
		return append(q, q...), nil
	})
	if got, err := a.Request(t.Context(), Account(1), "/double", []byte("ab"), 4); err != nil || !bytes.Equal(got, []byte("abab")) {
		t.Fatalf("answer %q: %v", got, err)
	}
	if _, err := a.Request(t.Context(), Account(1), "/double", []byte("abc"), 4); err == nil {
		t.Fatal("an answer above the limit came through")
	}
	if _, err := a.Request(t.Context(), Account(1), "/none", nil, 4); !errors.Is(err, ErrUnknown) {
		t.Fatalf("error %v, want ErrUnknown", err)
	}
	if got := a.Connected(); len(got) != 1 || got[0] != Account(1) {
		t.Fatalf("connected to %v", got)
	}
	m.Leave(1)
	if got := a.Connected(); len(got) != 0 {
		t.Fatalf("connected to %v", got)
	}
}
