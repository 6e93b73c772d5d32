package validate

import (
	"errors"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// audited runs a scene with two copies up to the beacon of an epoch that all
// hosts claimed, with validators that answer but do not run.
func audited(t *testing.T) (*scene, types.Epoch, map[int]*Validator) {
	t.Helper()
	s := newScene(t)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.activate(2, true)
	e := s.epoch() + 1
	s.claims(e)
	s.MineTo(s.Rules().Checkpoint(e + 1))
	return s, e, vs
}

// TestH6_4 has a drawn checker hold, check and sign bundles: only for what it
// was drawn, only true ones, only in time, one for a beacon, also after a restart.
func TestH6_4(t *testing.T) {
	s, e, vs := audited(t)
	h := s.hosts[hostA]
	a, err := auditOf(s.View(), e, h.me)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := a.frozen.Checkers(h.me, a.beacon)
	if err != nil || len(drawn) != 3 {
		t.Fatalf("%d checkers: %v", len(drawn), err)
	}
	first := vs[s.Number(drawn[0])]
	good := h.bundle(e)
	h.corrupt.Store(true)
	bad := h.bundle(e)
	h.corrupt.Store(false)
	missing := h.bundle(e)
	missing.Proofs[0] = nil

	check := func(v *Validator, b *replica.Bundle) (types.Signature, error) {
		return v.checkBundle(b, types.Marshal(b))
	}
	if _, err := check(first, bad); !errors.Is(err, ErrFalse) {
		t.Errorf("false bundle: %v, want ErrFalse", err)
	}
	for i, v := range vs {
		if i != s.Number(drawn[0]) && i != s.Number(drawn[1]) && i != s.Number(drawn[2]) {
			if _, err := check(v, good); !errors.Is(err, ErrNotDrawn) {
				t.Errorf("not drawn: %v", err)
			}
		}
	}
	s.rows[s.Number(drawn[0])].full = true
	if _, err := check(first, good); err == nil {
		t.Error("signed although nothing can be written")
	}
	s.rows[s.Number(drawn[0])].full = false
	sig, err := check(first, good)
	if err != nil {
		t.Fatal(err)
	}
	if d := good.Post().Digest(s.View().Chain, h.me, beaconOf(t, s.View(), good.Epoch)); !signedBy(drawn[0], d, sig) {
		t.Error("signature is not over the digest")
	}
	again, err := check(first, good)
	if err != nil || again != sig {
		t.Errorf("same bundle again: %v", err)
	}
	restarted := s.open(s.Number(drawn[0]))
	if _, err := check(restarted, missing); !errors.Is(err, ErrSignedOne) {
		t.Errorf("second bundle after a restart: %v, want ErrSignedOne", err)
	}
	if _, err := check(vs[s.Number(drawn[1])], missing); err != nil {
		t.Errorf("bundle that confesses a miss: %v", err)
	}
	raw, err := h.port.Request(t.Context(), drawn[0], replica.BundleProtocol, types.Marshal(&replica.BundleRequest{Epoch: e, Host: h.me}), replica.MaxBundleAnswer)
	if err != nil || string(raw) != string(types.Marshal(good)) {
		t.Errorf("held bundle of %d bytes: %v", len(raw), err)
	}
	s.MineTo(s.Rules().BundlesDue(e))
	if _, err := check(vs[s.Number(drawn[2])], good); !errors.Is(err, ErrTooEarly) {
		t.Errorf("too late: %v", err)
	}
}

// TestH6_5 posts a bundle that misses a sample: nobody disputes it, and the lot
// has no pay in the verdicts.
func TestH6_5(t *testing.T) {
	s, e, vs := audited(t)
	h := s.hosts[hostA]
	b := h.bundle(e)
	b.Proofs[2] = nil
	raw := types.Marshal(b)
	h.bundles[e] = raw
	post := b.Post()
	a, err := auditOf(s.View(), e, h.me)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := a.frozen.Checkers(h.me, a.beacon)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range drawn {
		sig, err := h.askChecker(c, raw)
		if err != nil {
			t.Fatalf("checker: %v", err)
		}
		post.Checkers = append(post.Checkers, types.Signed{By: c, Signature: sig})
	}
	s.Do(hostA, types.KindBundle, post)
	for i, v := range vs {
		if err := v.dispute(t.Context(), s.View()); err != nil {
			t.Fatal(err)
		}
		if found, err := v.judgement(e, h.me, post.Root); err != nil || found != judgedFine {
			t.Errorf("validator %d found %d: %v", i, found, err)
		}
		if v.disputed.Load() != 0 {
			t.Errorf("validator %d disputed a confessed miss", i)
		}
	}
}

// TestH6_6 disputes both ways. A host shows a wrong path and its checkers
// collude: it loses part of its bond, they of their deposits, and its bundle
// counts for nothing. A dispute of a true proof costs half of the lock.
func TestH6_6(t *testing.T) {
	s, e, vs := audited(t)
	s.Bond(hostA, types.RoleHost, 20*types.Coin)
	liar := s.hosts[hostA]
	liar.corrupt.Store(true)
	liar.post(e)
	s.hosts[hostB].post(e)
	claim, err := s.View().Claim(e, liar.me)
	if err != nil || claim.Bundle == nil {
		t.Fatalf("no bundle: %v", err)
	}
	var by int
	for i := range vs {
		if !colludes(claim.Bundle, chaintest.Account(i)) {
			by = i
		}
	}
	v := vs[by]
	before := s.account(by)
	liarBefore, checkerBefore := s.account(hostA), s.accountOf(claim.Bundle.Checkers[0].By)
	if err := v.dispute(t.Context(), s.View()); err != nil {
		t.Fatal(err)
	}
	s.Mine()
	if err := v.dispute(t.Context(), s.View()); err != nil || v.disputed.Load() != 1 {
		t.Errorf("%d disputes: %v", v.disputed.Load(), err)
	}
	claim, err = s.View().Claim(e, liar.me)
	if err != nil || !claim.Lost {
		t.Fatalf("bundle still counts: %v", err)
	}
	if after := s.accountOf(claim.Bundle.Checkers[0].By); after.Deposit != checkerBefore.Deposit-checkerBefore.Deposit/32 {
		t.Errorf("colluder's deposit %s, was %s", after.Deposit, checkerBefore.Deposit)
	}
	if after := s.account(hostA); after.HostBond >= liarBefore.HostBond {
		t.Errorf("liar's bond %s, was %s", after.HostBond, liarBefore.HostBond)
	}
	if after := s.account(by); after.Balance <= before.Balance {
		t.Errorf("disputer's balance %s, was %s", after.Balance, before.Balance)
	}
	s.checkMoney()
	t.Run("false dispute", func(t *testing.T) { falseDispute(t, s, e, by) })
}

func falseDispute(t *testing.T, s *scene, e types.Epoch, by int) {
	honest := s.hosts[hostB]
	b := honest.bundle(e)
	path, err := b.Path(0)
	if err != nil {
		t.Fatal(err)
	}
	before, hostBefore := s.account(by), s.account(hostB)
	s.Do(by, types.KindDispute, &types.Dispute{Kind: types.DisputeProof, Host: honest.me, Epoch: e, Evidence: b.Proofs[0], Path: path})
	lock := s.Rules().DisputeLock
	if after := s.account(by); after.Balance > before.Balance-lock {
		t.Errorf("balance %s, was %s: the lock of %s is not gone", after.Balance, before.Balance, lock)
	}
	if after := s.account(hostB); after.Balance < hostBefore.Balance+lock/2 {
		t.Errorf("host's balance %s, was %s", after.Balance, hostBefore.Balance)
	}
	if claim, err := s.View().Claim(e, honest.me); err != nil || claim.Lost {
		t.Errorf("the honest host's bundle is lost: %v", err)
	}
	s.checkMoney()
}

// TestTooLateToDispute: a false bundle that nobody took to the chain in time
// counts as the chain says, and does not hold up the epoch.
func TestTooLateToDispute(t *testing.T) {
	s, e, vs := audited(t)
	liar := s.hosts[hostA]
	liar.corrupt.Store(true)
	liar.post(e)
	s.hosts[hostB].post(e)
	s.MineTo(s.Rules().DisputesDue(e))
	for i, v := range vs {
		if err := v.dispute(t.Context(), s.View()); err != nil || v.disputed.Load() != 0 {
			t.Errorf("validator %d: %d disputes: %v", i, v.disputed.Load(), err)
		}
	}
	s.giveUpBefore(e)
	if claim, err := s.View().Claim(e, liar.me); err != nil || claim.Lost {
		t.Errorf("claim %+v: %v", claim, err)
	}
	if ready, err := inTurn(s.View(), e); err != nil || !ready {
		t.Errorf("the epoch waits: %v", err)
	}
}

func colludes(b *types.BundlePost, a types.Account) bool {
	for _, c := range b.Checkers {
		if c.By == a {
			return true
		}
	}
	return false
}

func (s *scene) account(i int) *types.AccountRecord { return s.accountOf(chaintest.Account(i)) }

func (s *scene) accountOf(a types.Account) *types.AccountRecord {
	s.t.Helper()
	rec, err := s.View().Account(a)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

func beaconOf(t *testing.T, v *consensus.View, e types.Epoch) types.Hash {
	t.Helper()
	rec, err := v.Epoch(e)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Beacon
}
