package consensus_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/staddle/staddle/types"
)

// but are the hosts of a town without some.
func but(gone ...int) (out []int) {
	for i := 1; i <= 4; i++ {
		if !slices.Contains(gone, i) {
			out = append(out, i)
		}
	}
	return out
}

// H4.1: repair starts by the number of live replicas without the missing one: 0
// or 1 at the first miss, 2 at the second running, more after the fourth.
func TestH4_1(t *testing.T) {
	for copies, want := range map[uint32]int{1: 1, 2: 1, 3: 2, 4: 4} {
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 1), copies, 0)
		l.activate(lots...)
		gone := l.number(l.lot(lots[0]).Host)
		e := l.now()
		l.step(e, but(gone)...)
		for miss := 1; miss <= want; miss++ {
			if rec := l.lot(lots[0]); rec.Status != types.LotActive || rec.Missed != uint32(miss-1) {
				t.Fatalf("%d copies: lot is %s with %d misses, want %d", copies, rec.Status, rec.Missed, miss-1)
			}
			l.step(e+types.Epoch(miss), but(gone)...)
		}
		rec, h := l.lot(lots[0]), l.host(gone)
		if rec.Status != types.LotWaiting || rec.Old != l.id(gone) || rec.Missed != uint32(want) || rec.Number != 1 {
			t.Errorf("%d copies: lot %+v, want it waiting after %d misses", copies, rec, want)
		}
		if h.State != types.HostSuspended || h.Missed != uint32(want) {
			t.Errorf("%d copies: host %+v", copies, h)
		}
		for _, id := range lots[1:] {
			if rec := l.lot(id); rec.Status != types.LotActive || rec.Missed != 0 {
				t.Errorf("%d copies: another lot is %s with %d misses", copies, rec.Status, rec.Missed)
			}
		}
		l.balanced()
	}
	t.Run("running", func(t *testing.T) {
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 1), 3, 0)
		l.activate(lots...)
		gone := l.number(l.lot(lots[0]).Host)
		e := l.now()
		l.step(e, but(gone)...)
		l.step(e+1, but()...) // misses e, is back for e+1
		if rec := l.lot(lots[0]); rec.Missed != 1 {
			t.Fatalf("%d misses, want 1", rec.Missed)
		}
		l.step(e+2, but(gone)...)
		l.step(e+3, but()...) // misses e+2: not the second running
		if rec := l.lot(lots[0]); rec.Missed != 1 || rec.Status != types.LotActive {
			t.Fatalf("%d misses, lot is %s: want one miss, active", rec.Missed, rec.Status)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		// Whoever is looked at first: replicas that missed the same epoch are not live.
		l := town(t, func(g *types.Genesis) { g.Rules.LotRanges = 8 })
		lots := l.plan(0, l.publish(0, "data", 1), 3, 0)
		l.activate(lots...)
		l.step(l.now())
		l.step(l.now())
		for i, id := range lots {
			if rec := l.lot(id); rec.Status != types.LotWaiting {
				t.Errorf("copy %d is %s, all three hosts are gone", i, rec.Status)
			}
		}
	})
	t.Run("leave", func(t *testing.T) {
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 6), 4, 0)
		l.activate(lots...)
		before := l.host(1)
		l.do(1, types.KindDuty, &types.Duty{Action: types.DutyLeave})
		for _, id := range lots {
			rec := l.lot(id)
			if rec.Status == types.LotActive && rec.Host == l.id(1) || rec.Status == types.LotWaiting && !slices.Contains(rec.Refused, l.id(1)) {
				t.Errorf("lot %+v after its host left", rec)
			}
		}
		if h := l.host(1); h.State != types.HostLeft || h.Lots != 0 || h.Leaves != 0 || h.Failed != before.Failed {
			t.Errorf("host %+v after it left", h)
		}
		l.refuse(1, types.KindDuty, &types.Duty{Action: types.DutyLeave}, "has left before")
		l.refuse(1, types.KindDuty, &types.Duty{Action: types.DutyResume}, "host is left, it cannot resume")
		l.balanced()
	})
	t.Run("role", func(t *testing.T) {
		// Nobody slips out of the judgement by another registration.
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 1), 1, 0)
		l.activate(lots...)
		i := l.number(l.lot(lots[0]).Host)
		l.refuse(i, types.KindRegister, registration(i, types.RoleEncoder), "a host of 1 lots gives up its role")
		l.do(i, types.KindDuty, &types.Duty{Action: types.DutyLeave})
		l.do(i, types.KindRegister, registration(i, types.RoleEncoder))
	})
	t.Run("pause", func(t *testing.T) {
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 1), 1, 0)
		l.activate(lots...)
		i := l.number(l.lot(lots[0]).Host)
		l.refuse(i, types.KindDuty, &types.Duty{Action: types.DutyResume}, "host is online, it cannot resume")
		l.do(i, types.KindDuty, &types.Duty{Action: types.DutyPause})
		l.refuse(i, types.KindDuty, &types.Duty{Action: types.DutyPause}, "host is paused, it cannot pause")
		l.step(l.now())
		l.step(l.now())
		if rec := l.lot(lots[0]); rec.Status != types.LotActive || rec.Missed != 0 {
			t.Fatalf("a paused host's lot is %s with %d misses", rec.Status, rec.Missed)
		}
		l.do(i, types.KindDuty, &types.Duty{Action: types.DutyResume})
		if h := l.host(i); h.State != types.HostOnline || h.Paused != l.height() {
			t.Fatalf("host %+v", h)
		}
	})
}

// H4.2: in an epoch lots are reopened, fewest live replicas first, until their
// ranges reach the larger of one lot and a 112th of the live ranges.
func TestH4_2(t *testing.T) {
	t.Run("fewest first", func(t *testing.T) {
		l := town(t, func(g *types.Genesis) { g.Rules.LotRanges = 1 })
		two := l.plan(0, l.publish(0, "two", 1), 2, 0)
		d := l.publish(0, "one", 1)
		p := l.planFor(d, 1, 0, 60)
		var one types.LotID
		for { // with a larger id than both: not the order of ids
			x := l.sign(0, types.KindPlan, p)
			one = types.LotOf(x.ID(), 0, 0)
			if bytes.Compare(one[:], two[0][:]) > 0 && bytes.Compare(one[:], two[1][:]) > 0 {
				l.put(x)
				break
			}
			p.Lock++
		}
		l.activate(append(two, one)...)
		a, b := l.number(l.lot(two[0]).Host), l.number(l.lot(one).Host)
		e := l.now()
		if b == l.number(l.lot(two[1]).Host) {
			a = l.number(l.lot(two[1]).Host) // the one replica and one of two are gone
		}
		missing := two[0]
		if a != l.number(l.lot(two[0]).Host) {
			missing = two[1]
		}
		l.step(e, but(a, b)...)
		l.step(e+1, but(a, b)...)
		if s, s2 := l.lot(one).Status, l.lot(missing).Status; s != types.LotWaiting || s2 != types.LotActive {
			t.Fatalf("the last replica is %s, one of two is %s: want the first alone reopened", s, s2)
		}
		if g := l.globals(); g.Repaired != 1 {
			t.Fatalf("%d ranges reopened, at most 1", g.Repaired)
		}
		l.step(e+2, but(a, b)...)
		if s := l.lot(missing).Status; s != types.LotWaiting {
			t.Fatalf("one of two is %s an epoch later", s)
		}
	})
	t.Run("a 112th", func(t *testing.T) {
		l := town(t, func(g *types.Genesis) { g.Rules.LotRanges, g.Rules.FreeRanges = 1, 1000 })
		lots := l.plan(0, l.publish(0, "data", 113), 1, 0)
		l.activate(lots...)
		e := l.now()
		l.step(e)
		for k, want := range []int{2, 3, 4} { // 113 live ranges allow two, 111 and 110 one
			l.step(e + 1 + types.Epoch(k))
			n := 0
			for _, id := range lots {
				if rec := l.lot(id); rec.Status != types.LotActive {
					n++
				}
			}
			if n != want {
				t.Fatalf("%d lots reopened after %d epochs, want %d", n, k+1, want)
			}
		}
	})
}

// H4.3: a good bundle of the old host before the new contract cancels the
// attempt.
func TestH4_3(t *testing.T) {
	// A lost host: its lot is drawn again and the other party accepts.
	lost := func(t *testing.T) (l *ledger, id types.LotID, gone int, e types.Epoch) {
		l = town(t)
		id = l.plan(0, l.publish(0, "data", 2), 1, 1)[0]
		l.activate(id)
		gone = l.number(l.lot(id).Host)
		e = l.now()
		l.step(e, but(gone)...)
		l.step(e+1, but()...) // the claim of e+1: the host is back
		rec := l.drawn(id)
		if rec.Old != l.id(gone) || rec.Host == l.id(gone) || rec.Keeper() != l.id(gone) {
			t.Fatalf("lot %+v is not being replaced", rec)
		}
		return l, id, gone, e
	}
	t.Run("cancels", func(t *testing.T) {
		l, id, gone, e := lost(t)
		old := l.lot(id)
		l.accept(id)
		rec := l.lot(id)
		k := l.kept[id]
		l.commitments(id, rec) // what the new parties would say
		l.kept[id] = k
		enc := l.number(rec.Encoders[0])
		if l.host(enc).Open == 0 {
			t.Fatal("the encoder owes nothing")
		}
		// Until the bundle is judged the old root answers.
		l.to(l.rules().Checkpoint(e + 2))
		q, frozen := l.question(gone, e+1)
		if lot, ok := frozen.Terms(l.id(gone)).Lot(id); !ok || lot.Root != old.OldRoot || q.Places() < 16 {
			t.Fatalf("terms %+v of the old host", lot)
		}
		l.step(e+2, but()...)
		now := l.lot(id)
		if now.Status != types.LotActive || now.Host != l.id(gone) || now.Root != old.OldRoot || !now.Old.IsZero() || now.Missed != 0 {
			t.Fatalf("lot %+v, want it with its old host", now)
		}
		if now.Number != old.Number+1 || now.Attempt == old.Attempt || len(now.Encoders) != 0 || now.Since != old.OldSince {
			t.Fatalf("lot %+v: want a new number and the old begin", now)
		}
		if h := l.host(enc); h.Open != 0 || h.OpenPieces != 0 {
			t.Fatalf("encoder %+v after the attempt was cancelled", h)
		}
		// No spare: the other host keeps nothing, may report nothing, and is not blamed.
		other := l.number(rec.Host)
		if h := l.host(other); h.Lots != 0 || h.Failed != 0 {
			t.Fatalf("host %+v of the cancelled attempt", h)
		}
		l.refuse(other, types.KindHosted, &types.Commitments{List: l.commitments(id, rec)}, "is not the running one")
		l.kept[id] = k
		if h := l.host(gone); h.State != types.HostOnline || h.Lots != 1 || l.globals().LiveRanges != 2 {
			t.Fatalf("host %+v, %d live ranges", h, l.globals().LiveRanges)
		}
		l.balanced()

		// Dropped at once, it is drawn no earlier than the delay says.
		l.do(gone, types.KindDuty, answer(types.DutyDrop, id, now))
		from := l.height()
		if again := l.drawn(id); again.DrawnAt != from+3 {
			t.Fatalf("drawn in block %d, dropped in %d", again.DrawnAt, from)
		}
	})
	t.Run("too late", func(t *testing.T) {
		l, id, gone, _ := lost(t)
		rec := l.lot(id)
		l.activate(id)
		now := l.lot(id)
		if now.Host != rec.Host || !now.Old.IsZero() || l.host(gone).Lots != 0 || l.host(l.number(now.Host)).Lots != 1 {
			t.Fatalf("lot %+v, old host %+v", now, l.host(gone))
		}
		if n := l.globals().LiveRanges; n != 2 {
			t.Fatalf("%d live ranges, want 2", n)
		}
		l.balanced()
	})
	t.Run("a failed attempt's draw is not early", func(t *testing.T) {
		l, id, gone, e := lost(t)
		l.to(l.rules().Checkpoint(e+2) + 2)
		rec := l.lot(id)
		l.put(l.sign(gone, types.KindBundle, l.signedBundle(gone, l.bundle(gone, e+1))))
		l.do(l.number(rec.Host), types.KindDuty, answer(types.DutyRefuse, id, rec)) // due in 3 blocks
		due := l.height() + 3
		l.to(l.rules().BundlesDue(e+1) + 1)
		if l.height() >= due || l.lot(id).Status != types.LotActive {
			t.Fatalf("block %d, lot is %s: want it back before block %d", l.height(), l.lot(id).Status, due)
		}
		l.to(due - 1)
		l.do(gone, types.KindDuty, answer(types.DutyDrop, id, l.lot(id)))
		if s := l.lot(id).Status; s != types.LotWaiting {
			t.Fatalf("lot is %s in the block of its drop: the draw of an earlier failure took it", s)
		}
		if again := l.drawn(id); again.DrawnAt != due+3 {
			t.Fatalf("drawn in block %d, want %d", again.DrawnAt, due+3)
		}
	})
}
