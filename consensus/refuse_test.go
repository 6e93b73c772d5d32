package consensus_test

import (
	"slices"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// H7: a host refuses draws and drops lots by policy: refusals are free up to an
// eighth of its draws, drops always, and it is not drawn for them again.
func TestH7(t *testing.T) {
	t.Run("lot", refusedByAll)
	t.Run("host", refusingHost)
	t.Run("encoder", refusingEncoder)
	t.Run("drop", droppedLot)
}

// refusedByAll: a lot waits when every host has refused it.
func refusedByAll(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 1), 1, 0)
	var refused []types.Account
	for range 4 {
		rec := l.drawn(lots[0])
		if slices.Contains(refused, rec.Host) {
			t.Fatalf("member %d was drawn again", l.number(rec.Host))
		}
		refuse := answer(types.DutyRefuse, lots[0], rec)
		refuse.Policy = 3
		l.do(l.number(rec.Host), types.KindDuty, refuse)
		refused = append(refused, rec.Host)
		if now := l.lot(lots[0]); now.Status != types.LotWaiting || !slices.Equal(now.Refused, refused) {
			t.Fatalf("lot %+v after %d refusals", now, len(refused))
		}
	}
	l.to(l.height() + 6)
	if s := l.lot(lots[0]).Status; s != types.LotWaiting {
		t.Fatalf("lot is %s though every host refused it", s)
	}
}

// records are good, failed, drawn and refused of a member.
func (l *ledger) records(i int) [4]uint64 {
	l.t.Helper()
	h := l.host(i)
	return [4]uint64{h.Good, h.Failed, h.Drawn, h.Refused}
}

// blameless checks that members never failed.
func (l *ledger) blameless(members ...int) {
	l.t.Helper()
	for _, i := range members {
		if h := l.host(i); h.Failed != 0 {
			l.t.Fatalf("member %d has %d failed attempts: it refused nothing", i, h.Failed)
		}
	}
}

// refusingHost: of 24 draws three may be refused, each further one counts as a
// failed attempt of the host alone; a host that refuses its first draw has none
// free.
func refusingHost(t *testing.T) {
	l := start(t, 9, both(validators(5, 4, 2000*types.Coin), patient, func(g *types.Genesis) { g.Rules.LotRanges = 1 }))
	l.register(types.RoleValidator, 5, 6, 7, 8)
	l.register(types.RoleHost, 1)
	lots := l.plan(0, l.publish(0, "data", 24), 1, 0)
	l.drawn(lots[0])
	if have := l.records(1); have != [4]uint64{0, 0, 24, 0} {
		t.Fatalf("after 24 draws: good, failed, drawn, refused are %v", have)
	}
	for n, failed := range []uint64{0, 0, 0, 1, 2} {
		rec := l.lot(lots[n])
		validator := l.number(rec.Attestors[0])
		l.refuse(validator, types.KindDuty, answer(types.DutyRefuse, lots[n], rec), "has no part in lot")
		l.do(1, types.KindDuty, answer(types.DutyRefuse, lots[n], rec))
		if have, want := l.records(1), [4]uint64{0, failed, 24, uint64(n + 1)}; have != want {
			t.Fatalf("after %d refusals: good, failed, drawn, refused are %v, want %v", n+1, have, want)
		}
	}
	l.blameless(2, 3, 4, 5, 6, 7, 8)

	l.register(types.RoleHost, 2) // the five lots go to it
	l.drawn(lots[4])
	rec := l.lot(lots[0])
	l.do(2, types.KindDuty, answer(types.DutyAccept, lots[1], l.lot(lots[1]))) // to accept is no refusal
	if have := l.records(2); have != [4]uint64{0, 0, 5, 0} {
		t.Fatalf("new host: good, failed, drawn, refused are %v", have)
	}
	l.do(2, types.KindDuty, answer(types.DutyRefuse, lots[0], rec))
	if have := l.records(2); have != [4]uint64{0, 1, 5, 1} {
		t.Fatalf("one of five draws refused: good, failed, drawn, refused are %v", have)
	}
	if have := l.records(1); have != [4]uint64{0, 2, 24, 5} {
		t.Fatalf("the host that refused before: %v", have)
	}
}

// refusingEncoder: a lot is one draw of its encoder however many of its ranges it
// was drawn for; beyond an eighth its weight falls.
func refusingEncoder(t *testing.T) {
	l := start(t, 9, both(validators(5, 4, 2000*types.Coin), patient))
	l.register(types.RoleValidator, 5, 6, 7, 8)
	l.register(types.RoleEncoder, 1)
	l.register(types.RoleHost, 2)
	l.bond(1, types.RoleEncoder, 2000*types.Coin)
	weight := func() uint64 {
		return got[[]draw.Candidate](l)(consensus.EncoderCandidates(l.view()))[0].Weight
	}
	lots := l.plan(0, l.publish(0, "data", 32), 1, 1) // 16 lots of two ranges
	l.drawn(lots[0])
	if have := l.records(1); have != [4]uint64{0, 0, 16, 0} || weight() != 32 {
		t.Fatalf("after 16 draws: good, failed, drawn, refused are %v, weight %d", have, weight())
	}
	no := &types.Duty{Action: types.DutyRefuse}
	for _, id := range lots[:4] {
		no.Lots = append(no.Lots, types.LotAttempt{Lot: id, Attempt: l.lot(id).Attempt})
	}
	l.do(1, types.KindDuty, no) // two of them free
	if have := l.records(1); have != [4]uint64{0, 2, 16, 4} || weight() != 64/4 {
		t.Fatalf("after four refusals: good, failed, drawn, refused are %v, weight %d", have, weight())
	}
	if have := l.records(2); have != [4]uint64{0, 0, 16, 0} {
		t.Fatalf("the host: good, failed, drawn, refused are %v", have)
	}
	l.drawn(lots[3]) // nobody else encodes: drawn again, which counts
	if have := l.records(1); have != [4]uint64{0, 2, 20, 4} {
		t.Fatalf("drawn again: good, failed, drawn, refused are %v", have)
	}
	l.blameless(2, 3, 4, 5, 6, 7, 8)
}

// droppedLot: a drop costs nothing and is no refusal.
func droppedLot(t *testing.T) {
	l := town(t)
	waits := l.plan(0, l.publish(0, "data", 1), 1, 0)[0]
	for range 4 {
		rec := l.drawn(waits)
		l.do(l.number(rec.Host), types.KindDuty, answer(types.DutyRefuse, waits, rec))
	}
	lots := []types.LotID{waits}
	other := l.plan(0, l.publish(0, "more", 1), 1, 0)
	l.activate(other[0])
	rec := l.lot(other[0])
	i := l.number(rec.Host)
	before := l.host(i)
	for _, x := range []struct {
		by   int
		duty *types.Duty
		want string
	}{
		{0, answer(types.DutyDrop, other[0], rec), "does not keep lot"},
		{i, answer(types.DutyDrop, lots[0], l.lot(lots[0])), "is waiting, not active"},
		{i, answer(types.DutyDrop, types.LotID{9}, rec), "is not known"},
		{i, &types.Duty{Action: types.DutyDrop, Lots: []types.LotAttempt{{Lot: other[0]}}}, "is not the running one"},
		{i, &types.Duty{Action: types.DutyDrop, Lots: slices.Repeat(answer(types.DutyDrop, other[0], rec).Lots, 2)}, "is named twice"},
	} {
		l.refuse(x.by, types.KindDuty, x.duty, x.want)
	}
	l.do(i, types.KindDuty, answer(types.DutyDrop, other[0], rec))
	now, h := l.lot(other[0]), l.host(i)
	if now.Status != types.LotWaiting || !now.Old.IsZero() || !now.Keeper().IsZero() || !slices.Contains(now.Refused, rec.Host) {
		t.Fatalf("dropped lot %+v", now)
	}
	if h.Failed != before.Failed || h.Good != before.Good || h.Refused != before.Refused || h.Drawn != before.Drawn || h.Lots != 0 || h.Leaves != 0 || h.Pieces != 0 || h.Ranges != 0 || h.State != types.HostOnline {
		t.Fatalf("host %+v after a drop, %+v before", h, before)
	}
	if n := l.globals().LiveRanges; n != 0 {
		t.Fatalf("%d live ranges", n)
	}
	if again := l.drawn(other[0]); again.Host == rec.Host {
		t.Fatal("drawn again for what it dropped")
	}
}
