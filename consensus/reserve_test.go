package consensus_test

import (
	"testing"

	"github.com/staddle/staddle/types"
)

// Results that are accepted and not paid yet must find their money when their
// turn comes: nothing that is reserved is given away, and what an epoch's own
// lock covers takes no room from others.

// pending is a town whose sponsor, member 0, has an old plan that ends at once
// and a new one, and whose earlier epochs have empty results.
func pending(t *testing.T, extra types.Amount) (l *ledger, old, young types.PlanID) {
	l = town(t)
	d := l.publish(0, "data", 1)
	a := l.planFor(d, 1, 1, 1)
	a.Lock += extra
	old = l.do(0, types.KindPlan, a)
	young = l.do(0, types.KindPlan, l.planFor(d, 1, 1, 60))
	return l, old, young
}

// units is a number of units of bandwidth that costs about so many coins.
func units(n int64) int64 { return n * 3_814_697 }

func TestLocksOfTwoEpochs(t *testing.T) {
	l := town(t)
	e := l.now()
	l.do(3, types.KindLock, &types.Lock{Epoch: e, Amount: 5 * types.Coin})
	l.toEpoch(e + 1)
	l.do(3, types.KindLock, &types.Lock{Epoch: e + 1, Amount: 5 * types.Coin})
	l.to(l.rules().DisputesDue(e + 1))
	l.put(l.nothing(e)...)
	for k := range types.Epoch(2) { // each within its own epoch's lock
		l.do(5, types.KindCollation, l.collation(e+k, row{3, 0, -units(4)}, row{2, 0, units(4)}))
	}
	l.refuse(5, types.KindCollation, l.collation(e+2, row{3, 0, -1}, row{2, 0, 1}), "wanted after block")
	for l.globals().Transfer < e+2 {
		l.mine()
		l.balanced()
	}
	if a := l.acc(3); a.Locked != 0 || a.Reserved != 0 {
		t.Fatalf("locked %s, reserved %s", a.Locked, a.Reserved)
	}
}

func TestRefundLeavesWhatIsReserved(t *testing.T) {
	l, old, young := pending(t, 10*types.Coin)
	e := l.now() + 6 // accepted before the old plan's lock would return, paid after
	l.to(l.rules().DisputesDue(e))
	l.put(l.nothing(e)...)
	// More than the young plan holds: the rest stands on the old one.
	l.do(5, types.KindCollation, l.collation(e, row{0, 0, -units(6)}, row{2, 0, units(6)}))
	for l.globals().Transfer < e {
		l.mine()
	}
	for range 8 * 12 {
		l.mine()
		l.balanced()
		if l.globals().Transfer > e && got[*types.PlanRecord](l)(l.view().Plan(old)).Left == 0 {
			break
		}
	}
	if a := l.acc(0); l.globals().Transfer <= e || a.Reserved != 0 {
		t.Fatalf("epoch %d is next, %s reserved", l.globals().Transfer, a.Reserved)
	}
	if rec := got[*types.PlanRecord](l)(l.view().Plan(old)); rec.Left != 0 {
		t.Fatalf("%s is left of the old plan", rec.Left)
	}
	if rec := got[*types.PlanRecord](l)(l.view().Plan(young)); l.acc(0).Locked != rec.Left {
		t.Fatalf("locked %s, the young plan holds %s", l.acc(0).Locked, rec.Left)
	}
}

func TestSetupLeavesWhatIsReserved(t *testing.T) {
	l := town(t)
	d := l.publish(0, "data", 1)
	p := l.planFor(d, 1, 1, 60)
	id := l.do(0, types.KindPlan, p)
	e := l.now()
	l.to(l.rules().DisputesDue(e))
	l.put(l.nothing(e)...)
	n := int64(p.Lock) * 1_000_000_000 / 262_144_000_000 // all that the plan holds
	l.do(5, types.KindCollation, l.collation(e, row{0, 0, -n}, row{2, 0, n}))
	l.activate(l.lotsOf(id)...)
	rec := got[*types.PlanRecord](l)(l.view().Plan(id))
	if a := l.acc(0); rec.Left < a.Reserved || a.Reserved == 0 {
		t.Fatalf("%s left, %s reserved", rec.Left, a.Reserved)
	}
	for l.globals().Transfer <= e {
		l.mine()
		l.balanced()
	}
}
