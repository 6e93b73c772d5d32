package host

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// TestReplicasFromPlanToAudit is the whole way: drawn, accepted, encoded,
// streamed, committed by both sides, attested, claimed, shown.
func TestReplicasFromPlanToAudit(t *testing.T) {
	w := newWorld(t, 3)
	d := w.publish(types.PieceSize+3000, 1)
	for i := 1; i <= 3; i++ {
		w.run(i, Policy{})
	}
	lots := w.Plan(0, d, 2, replica.RSAChain)
	w.all(lots, types.LotCommitted)
	for _, id := range lots {
		w.attest(id)
	}
	l := w.Lot(lots[0])
	host := w.Number(l.Host)
	n := w.nodes[host]
	checkKept(t, n.h, d)
	mayAskLeaves(t, w, lots[0])

	e := w.Rules().EpochOf(w.Tip().Header.Height + 1)
	w.MineTo(w.Rules().Checkpoint(e))
	w.claim(host, e)
	w.MineTo(w.Rules().Checkpoint(e + 1))
	post := w.bundle(host, e)
	if len(post.Missed) > 0 || len(post.Checkers) < 2 {
		t.Fatalf("bundle misses %v, signed by %d", post.Missed, len(post.Checkers))
	}
	fetchBundle(t, w, n.h, post)
	s, err := n.h.Status()
	if err != nil || !s.Audited || s.Audit != e || len(s.Lots) == 0 || s.Used == 0 || s.Damaged != 0 {
		t.Fatalf("status %+v: %v", s, err)
	}
}

// checkKept reads every piece back out of the replica.
func checkKept(t *testing.T, h *Host, d *chaintest.Dataset) {
	t.Helper()
	if !h.Holds(d.ID) || h.Holds(types.H("other")) {
		t.Fatal("the host does not know what it holds")
	}
	for _, p := range d.Pieces {
		got, err := h.Piece(t.Context(), types.Digest(types.RawCID(p)))
		if err != nil || !bytes.Equal(got, p) {
			t.Fatalf("piece of %d bytes, want %d: %v", len(got), len(p), err)
		}
	}
}

// mayAskLeaves: validators and the sponsor see leaves, others do not.
func mayAskLeaves(t *testing.T, w *world, id types.LotID) {
	t.Helper()
	l := w.Lot(id)
	good := replica.LeafRequest{Lot: id, Attempt: l.Attempt, Leaves: []uint64{1}}
	if a, err := w.ask(0, l.Host, &good); err != nil || len(a.Proofs[0]) == 0 {
		t.Fatalf("the sponsor sees nothing: %v", err)
	}
	for i := 1; i <= 3; i++ {
		if chaintest.Account(i) == l.Host {
			continue
		}
		if _, err := w.nodes[i].h.cfg.Net.Request(t.Context(), l.Host, replica.LeafProtocol, types.Marshal(&good), 1<<20); err == nil {
			t.Fatalf("member %d sees leaves", i)
		}
	}
	old := good
	old.Attempt = types.H("old")
	if _, err := w.ask(0, l.Host, &old); err == nil {
		t.Fatal("leaves of an old attempt are shown")
	}
	outside := good
	outside.Leaves = []uint64{l.Leaves}
	if a, err := w.ask(0, l.Host, &outside); err != nil || len(a.Proofs) != 1 || len(a.Proofs[0]) != 0 {
		t.Fatalf("a leaf outside of the lot: %v", err)
	}
}

// fetchBundle asks for the posted bundle as anybody registered may.
func fetchBundle(t *testing.T, w *world, h *Host, post *types.BundlePost) {
	t.Helper()
	ask := func(member int, q *replica.BundleRequest) ([]byte, error) {
		defer w.answerChecks(member) // joining took its handlers off
		return w.mesh.Join(member).Request(t.Context(), h.me, replica.BundleProtocol, types.Marshal(q), replica.MaxBundleAnswer)
	}
	registered := len(w.nodes) + 1
	q := &replica.BundleRequest{Epoch: post.Epoch, Host: h.me}
	raw, err := ask(registered, q)
	if err != nil {
		t.Fatal(err)
	}
	b, err := replica.ParseBundle(raw)
	if err != nil || b.Root() != post.Root {
		t.Fatalf("bundle with root %s, posted %s: %v", b.Root().Short(), post.Root.Short(), err)
	}
	if _, err := ask(0, q); err == nil {
		t.Fatal("a stranger got the bundle")
	}
	for _, q := range []*replica.BundleRequest{
		{Epoch: post.Epoch + 1, Host: h.me}, {Epoch: post.Epoch, Host: chaintest.Account(0)}, {Check: raw},
	} {
		if _, err := ask(registered, q); !errors.Is(err, ErrNotHere) {
			t.Fatalf("error %v, want ErrNotHere", err)
		}
	}
}

// TestRefusedDrawGoesToAnother: one host does not want the sponsor (H7); nothing
// is transferred to it, and another one keeps the lot. Long after, whoever has
// left deletes its bytes.
func TestRefusedDrawGoesToAnother(t *testing.T) {
	w := newWorld(t, 2)
	d := w.publish(2000, 1)
	w.run(1, Policy{Accounts: []types.Account{chaintest.Account(0)}})
	w.run(2, Policy{})
	lots := w.Plan(0, d, 1, replica.Plain)
	w.all(lots, types.LotCommitted)
	w.attest(lots[0])
	if l := w.Lot(lots[0]); l.Host != chaintest.Account(2) {
		t.Fatalf("kept by member %d", w.Number(l.Host))
	}
	if w.nodes[1].h.Holds(d.ID) {
		t.Fatal("the host that refused has bytes")
	}
	w.Do(2, types.KindDuty, &types.Duty{Action: types.DutyLeave})
	left := w.Tip().Header.Height
	w.Until("bytes are deleted", pace, func(v *consensus.View) bool { return !w.nodes[2].h.Holds(d.ID) })
	if now := w.Tip().Header.Height; now < left+Grace {
		t.Fatalf("deleted at height %d, the host left at %d", now, left)
	}
	digest := types.Digest(types.RawCID(d.Pieces[0]))
	if _, err := w.nodes[2].h.Piece(t.Context(), digest); err != nil && !errors.Is(err, ErrNotHere) {
		t.Fatal(err)
	}
}

// TestDrawUndoneByReorg takes the draw back while the host works; the new draw
// goes its way, and everything of the old one is refused.
func TestDrawUndoneByReorg(t *testing.T) {
	w := newWorld(t, 3)
	d := w.publish(3000, 1)
	for i := 1; i <= 3; i++ {
		w.run(i, Policy{})
	}
	lots := w.Plan(0, d, 1, replica.RSAChain)
	w.all(lots, types.LotDrawn)
	old := w.Lot(lots[0])
	w.Until("somebody accepted", pace, func(v *consensus.View) bool {
		l, err := v.Lot(lots[0])
		return err == nil && (l.HostIn || l.Accepted > 0 || l.Status != types.LotDrawn)
	})
	w.Reorg(int(w.Tip().Header.Height - old.DrawnAt + 1))
	w.all(lots, types.LotCommitted)
	if l := w.Lot(lots[0]); l.Attempt == old.Attempt {
		t.Fatal("the reorganisation drew the same attempt")
	}
	w.attest(lots[0])
	checkKept(t, w.nodes[w.Number(w.Lot(lots[0]).Host)].h, d)
}

// TestKilledInTheMiddle stops encoder and host once the work has begun; after
// their restart the attempt ends well.
func TestKilledInTheMiddle(t *testing.T) {
	w := newWorld(t, 2)
	d := w.publish(types.PieceSize+3000, 2)
	for i := 1; i <= 2; i++ {
		w.run(i, Policy{})
	}
	lots := w.Plan(0, d, 1, replica.RSAChain)
	w.Until("both accepted", pace, func(v *consensus.View) bool {
		l, err := v.Lot(lots[0])
		return err == nil && l.HostIn && l.Accepted == 1
	})
	for _, i := range []int{1, 2} {
		w.halt(i)
		w.run(i, Policy{})
	}
	w.all(lots, types.LotCommitted)
	w.halt(1)
	w.halt(2)
	w.run(1, Policy{})
	w.run(2, Policy{})
	w.attest(lots[0])
	checkKept(t, w.nodes[w.Number(w.Lot(lots[0]).Host)].h, d)
}

// TestLostLotIsGivenUp: a host that finds bytes lost gives the lot up, without
// being asked, and does not claim it.
func TestLostLotIsGivenUp(t *testing.T) {
	w := newWorld(t, 1)
	d := w.publish(2000, 1)
	n := w.run(1, Policy{})
	lots := w.Plan(0, d, 1, replica.Plain)
	w.all(lots, types.LotCommitted)
	w.attest(lots[0])
	if err := n.st.Replicas().Drop(lots[0]); err != nil {
		t.Fatal(err)
	}
	if err := n.h.verify(t.Context(), lots[0]); !errors.Is(err, ErrNotHere) {
		t.Fatalf("error %v, want ErrNotHere", err)
	}
	w.Until("the lot is given up", pace, func(v *consensus.View) bool {
		l, err := v.Lot(lots[0])
		return err == nil && l.Status == types.LotWaiting && slices.Contains(l.Refused, chaintest.Account(1))
	})
}

// TestReturningHost: a host that was away is to be replaced; its next good
// bundle makes the replica count again (H4.3). It shows it by the old root.
func TestReturningHost(t *testing.T) {
	w := newWorld(t, 1)
	d := w.publish(2000, 1)
	w.run(1, Policy{})
	lots := w.Plan(0, d, 1, replica.Plain)
	w.all(lots, types.LotCommitted)
	w.attest(lots[0])
	w.halt(1)
	root := w.Lot(lots[0]).Root
	w.Until("the lot is to be repaired", 0, func(v *consensus.View) bool {
		l, err := v.Lot(lots[0])
		return err == nil && l.Status == types.LotWaiting && l.Old == chaintest.Account(1)
	})
	n := w.run(1, Policy{})
	e := w.Rules().EpochOf(w.Tip().Header.Height + 1)
	w.MineTo(w.Rules().Checkpoint(e))
	w.claim(1, e)
	w.MineTo(w.Rules().Checkpoint(e + 1))
	if post := w.bundle(1, e); len(post.Missed) > 0 {
		t.Fatalf("bundle misses %v", post.Missed)
	}
	w.MineTo(w.Rules().BundlesDue(e) + 1)
	if l := w.Lot(lots[0]); l.Status != types.LotActive || l.Host != n.h.me || l.Root != root {
		t.Fatalf("lot is %s at %s", l.Status, l.Host.Short())
	}
	checkKept(t, n.h, d)
}

// TestMissingLeavesStayEmpty: what is lost after the claim is left out of the
// bundle, never made up; the checkers sign what is true.
func TestMissingLeavesStayEmpty(t *testing.T) {
	w := newWorld(t, 1)
	d := w.publish(2*types.PieceSize+3000, 1)
	n := w.run(1, Policy{})
	lots := w.Plan(0, d, 1, replica.Plain)
	w.all(lots, types.LotCommitted)
	for _, id := range lots {
		w.attest(id)
	}
	e := w.Rules().EpochOf(w.Tip().Header.Height + 1)
	w.MineTo(w.Rules().Checkpoint(e))
	w.claim(1, e)
	gone := lots[0]
	if err := n.st.Replicas().Drop(gone); err != nil {
		t.Fatal(err)
	}
	n.h.readers.clear()
	w.MineTo(w.Rules().Checkpoint(e + 1))
	post := w.bundle(1, e)
	missed, err := mustFrozen(t, w, e).MissedLots(n.h.me, claimOf(t, w, e), post, beaconOf(t, w, e))
	if err != nil || len(missed) != 1 || missed[0] != gone {
		t.Fatalf("bundle of %d proofs misses lots %v, want %s: %v", post.Proofs, missed, gone.Short(), err)
	}
	if s, err := n.h.Status(); err != nil || s.Unshown != len(post.Missed) {
		t.Fatalf("status %+v: %v", s, err)
	}
	w.Until("the lost lot is given up", pace, func(v *consensus.View) bool {
		l, err := v.Lot(gone)
		return err == nil && slices.Contains(l.Refused, n.h.me)
	})
	if l := w.Lot(lots[1]); l.Status != types.LotActive {
		t.Fatalf("the other lot is %s", l.Status)
	}
}

func mustFrozen(t *testing.T, w *world, e types.Epoch) *consensus.View {
	t.Helper()
	v, err := w.View().Frozen(e)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func claimOf(t *testing.T, w *world, e types.Epoch) *types.LogCommitment {
	t.Helper()
	c, err := w.View().Claim(e, chaintest.Account(1))
	if err != nil || c == nil {
		t.Fatalf("no claim: %v", err)
	}
	return &c.Log
}

func beaconOf(t *testing.T, w *world, e types.Epoch) types.Hash {
	t.Helper()
	rec, err := w.View().Epoch(e)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Beacon
}
