package consensus_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// H1.1: no account holds two replicas of a range, nor two roles in an attempt;
// the sponsor holds none.
func TestH1_1(t *testing.T) {
	l := start(t, 10, validators(0, 10, 1000*types.Coin))
	everything := types.RoleHost | types.RoleEncoder | types.RoleValidator
	l.register(everything, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	var txs []types.Tx
	for i := range 10 {
		txs = append(txs, l.sign(i, types.KindDeposit, &types.Deposit{Role: types.RoleEncoder, Amount: 2000 * types.Coin}))
	}
	l.put(txs...)
	for n := range 4 {
		lots := l.plan(0, l.publish(0, "data"+string(rune('a'+n)), 2), 3, 1)
		hosts := map[types.Account]bool{}
		for _, id := range lots {
			rec := l.drawn(id)
			roles := []types.Account{l.id(0), rec.Host}
			for _, a := range rec.Encoders {
				if slices.Contains(roles, a) {
					t.Errorf("encoder %s has another role, or sponsors", a.Short())
				}
			}
			roles = append(roles, rec.Encoders...)
			for _, a := range rec.Attestors {
				if slices.Contains(roles, a) {
					t.Errorf("validator %s has another role", a.Short())
				}
				roles = append(roles, a)
			}
			if hosts[rec.Host] || rec.Host == l.id(0) {
				t.Errorf("host %s keeps two replicas, or sponsors", rec.Host.Short())
			}
			hosts[rec.Host] = true
			if len(rec.Encoders) != 2 || len(rec.Attestors) != 2 {
				t.Errorf("%d encoders and %d validators, want 2 and 2", len(rec.Encoders), len(rec.Attestors))
			}
		}
	}
	// With fewer hosts than copies the rest waits.
	few := start(t, 6, validators(4, 2, 1000*types.Coin))
	few.register(types.RoleHost, 1, 2)
	few.register(types.RoleValidator, 4, 5)
	lots := few.plan(0, few.publish(0, "data", 1), 3, 0)
	few.to(few.height() + 10)
	var waiting int
	for _, id := range lots {
		if few.lot(id).Status == types.LotWaiting {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d of 3 copies wait with two hosts, want 1", waiting)
	}
}

// TestDrawIsOfItsBlock: the parties are those that the beacon of the block
// drawDelay after the plan draws, by the weights of that block.
func TestDrawIsOfItsBlock(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 1), 1, 1)
	planned := l.height()
	for l.height() < planned+3 {
		if s := l.lot(lots[0]).Status; s != types.LotWaiting {
			t.Fatalf("lot is %s in block %d, planned in %d", s, l.height(), planned)
		}
		l.mine()
	}
	rec, r := l.lot(lots[0]), l.globals().R
	if rec.Status != types.LotDrawn || rec.DrawnAt != planned+3 || rec.Attempt != types.AttemptOf(lots[0], 0, r) {
		t.Fatalf("lot %+v, want drawn in block %d", rec, planned+3)
	}
	var hosts []draw.Candidate
	for i := 1; i <= 4; i++ {
		hosts = append(hosts, draw.Candidate{Account: l.id(i), Weight: draw.Weight(draw.HostBase(8, false), 0, 0)})
	}
	if want, _ := draw.Pick(draw.DomPlace, r, lots[0], 0, hosts); rec.Host != want {
		t.Errorf("host is member %d, the draw says %d", l.number(rec.Host), l.number(want))
	}
	var encoders, checkers []draw.Candidate
	for i := 1; i <= 4; i++ {
		if l.id(i) != rec.Host {
			encoders = append(encoders, draw.Candidate{Account: l.id(i), Weight: draw.Weight(1, 0, 0)})
		}
	}
	if want, _ := draw.Pick(draw.DomEncode, r, lots[0], 0, encoders); rec.Encoders[0] != want {
		t.Errorf("encoder is member %d, the draw says %d", l.number(rec.Encoders[0]), l.number(want))
	}
	for i := 5; i <= 8; i++ {
		checkers = append(checkers, draw.Candidate{Account: l.id(i), Weight: draw.Weight(2, 0, 0)})
	}
	if want := draw.PickN(draw.DomAttest, r, lots[0], 2, checkers); !slices.Equal(rec.Attestors, want) {
		t.Errorf("validators %v, the draw says %v", rec.Attestors, want)
	}
	if e, ok := event[types.Drawn](l); !ok || e.Lot != lots[0] || e.Now.Host != rec.Host {
		t.Errorf("event %+v", e)
	}
}

// H1.3: a weight is of the whole base and record: an encoder with three times the
// smallest bond and one failed attempt weighs floor(64 x 3 x 1 / 3).
func TestH1_3(t *testing.T) {
	l := town(t, patient)
	l.bond(1, types.RoleEncoder, 4000*types.Coin) // three times the others'
	weights := func() map[int]uint64 {
		out := map[int]uint64{}
		for _, c := range got[[]draw.Candidate](l)(consensus.EncoderCandidates(l.view())) {
			out[l.number(c.Account)] = c.Weight
		}
		return out
	}
	if w, want := weights(), (map[int]uint64{1: 96, 2: 32, 3: 32, 4: 32}); !maps.Equal(w, want) {
		t.Fatalf("weights %v, want %v", w, want)
	}
	// Roots that differ: every party of each attempt has a failed one in its record.
	failed := map[int]uint64{}
	for n := 0; failed[1] != 1; n++ {
		id := l.plan(0, l.publish(0, "data"+string(rune('a'+n)), 1), 1, 1)[0]
		rec := l.drawn(id)
		for _, a := range append(parties(rec), rec.Attestors...) {
			failed[l.number(a)]++
		}
		l.disagree(id)
	}
	want := map[int]uint64{1: 64 * 3 / 3}
	for i := 1; i <= 8; i++ {
		if h := l.host(i); h.Failed != failed[i] || h.Good != 0 {
			t.Errorf("member %d: %d good and %d failed, want %d failed", i, h.Good, h.Failed, failed[i])
		}
		if i > 1 && i <= 4 {
			want[i] = 64 / (failed[i] + 2)
		}
	}
	if w := weights(); !maps.Equal(w, want) {
		t.Fatalf("weights %v, want %v", w, want)
	}
}

// patient gives answers so much time that no attempt of a test runs out of it.
func patient(g *types.Genesis) { g.Rules.AcceptBlocks = 200 }

// disagree lets host and encoder of a drawn lot commit different roots for its
// first range, which fails the attempt.
func (l *ledger) disagree(id types.LotID) {
	l.t.Helper()
	l.accept(id)
	rec := l.lot(id)
	c := l.commitments(id, rec)[0]
	l.do(l.number(rec.Encoders[0]), types.KindEncoded, &types.Commitments{List: []types.Commitment{c}})
	c.Encoded[0] ^= 1
	l.do(l.number(rec.Host), types.KindHosted, &types.Commitments{List: []types.Commitment{c}})
}

// H1.4: a plan cannot be cancelled before its draw; the set-up is paid out of its
// lock on activation, to the unit.
func TestH1_4(t *testing.T) {
	l := town(t)
	a, nodes := datasetOf("data", 3, 3) // three ranges of three pieces, billed as four
	l.src.Put(nodes)
	l.do(0, types.KindMessage, &types.Message{Attachment: a})
	p := l.planFor(a.Dataset(), 1, 1, 10)
	before := l.acc(0)
	id := l.do(0, types.KindPlan, p)
	if rec := l.acc(0); rec.Locked != p.Lock || rec.Balance > before.Balance-p.Lock {
		t.Fatalf("locked %s of %s", rec.Locked, p.Lock)
	}
	for k := range types.Kind(64) {
		if k == types.KindPurge && l.rules().Active.Has(k) {
			t.Fatal("there is a kind that ends plans")
		}
	}
	l.refuse(0, types.KindDuty, &types.Duty{Action: types.DutyLeave + 1}, "above limit") // no action of kind 10 either

	const full, eighth = 1048, 131 // floor(4 x 262,144,000,000 / 10^9), floor(full / 8)
	balance := map[int]types.Amount{}
	for i := range 9 {
		balance[i] = l.acc(i).Balance
	}
	lots := l.lotsOf(id)
	rec := l.drawn(lots[0])
	l.accept(lots[0])
	l.commit(lots[0])
	left := got[*types.PlanRecord](l)(l.view().Plan(id)).Left
	if left != p.Lock {
		t.Fatalf("%s of the lock is left before activation", left)
	}
	want := map[types.Account]types.Amount{}
	for _, e := range rec.Encoders {
		want[e] += full
	}
	for _, v := range rec.Attestors {
		want[v] += 2 * eighth
	}
	paid := l.balances()
	l.attest(lots[0])
	now := l.balances()
	for a, n := range want {
		i := l.number(a)
		if a == l.tip.Header.Miner {
			continue // tips beside
		}
		if slices.Contains(rec.Attestors, a) {
			n -= l.feeOf(i)
		}
		if have := now[i] - paid[i]; have != n {
			t.Errorf("member %d was paid %d, want %d", i, have, n)
		}
	}
	if rec := got[*types.PlanRecord](l)(l.view().Plan(id)); rec.Left != p.Lock-2*(full+2*eighth) {
		t.Errorf("%s of %s is left", rec.Left, p.Lock)
	}
	l.balanced()
}

func (l *ledger) balances() map[int]types.Amount {
	out := map[int]types.Amount{}
	for i := range l.who {
		out[i] = l.acc(i).Balance
	}
	return out
}

// feeOf is what member i paid for the tip's transactions.
func (l *ledger) feeOf(i int) (sum types.Amount) {
	for _, x := range l.tip.Txs {
		if x.Sender == l.id(i) {
			sum += x.Fee
		}
	}
	return sum
}

// H1.5: time-outs are exact in blocks, and an encoder holds at most EncoderOpen
// ranges: what does not fit waits and is drawn later, oldest plan first.
func TestH1_5(t *testing.T) {
	t.Run("accept", func(t *testing.T) {
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 1), 1, 1)
		rec := l.drawn(lots[0])
		if rec.Deadline != rec.DrawnAt+10 {
			t.Fatalf("deadline %d for a draw in %d, want 10 blocks", rec.Deadline, rec.DrawnAt)
		}
		l.do(l.number(rec.Host), types.KindDuty, answer(types.DutyAccept, lots[0], rec)) // the encoder is silent
		l.to(rec.Deadline - 1)
		if now := l.lot(lots[0]); now.Attempt != rec.Attempt || now.Status != types.LotDrawn {
			t.Fatalf("lot is %s before its deadline", now.Status)
		}
		l.mine()
		now := l.lot(lots[0])
		if now.Status != types.LotWaiting || now.Number != 1 || l.host(l.number(rec.Encoders[0])).Open != 0 {
			t.Fatalf("lot is %s, attempt %d, after its deadline", now.Status, now.Number)
		}
		if again := l.drawn(lots[0]); again.DrawnAt != rec.Deadline+3 {
			t.Fatalf("drawn again in block %d, want %d", again.DrawnAt, rec.Deadline+3)
		}
		l.refuse(l.number(rec.Encoders[0]), types.KindDuty, answer(types.DutyAccept, lots[0], rec), "is not the running one")
	})
	t.Run("work", func(t *testing.T) {
		for _, c := range []struct {
			encoding uint32
			want     types.Height
		}{
			{0, 20 + 1},          // 259 leaves: one MiB begun
			{1, 20 + 1 + 20 + 2}, // two pieces: half a MiB, one unit of two blocks
		} {
			l := town(t)
			lots := l.plan(0, l.publish(0, "data", 2), 1, c.encoding)
			rec := l.drawn(lots[0])
			all := len(parties(rec))
			for k, a := range parties(rec) {
				l.do(l.number(a), types.KindDuty, answer(types.DutyAccept, lots[0], rec))
				if now := l.lot(lots[0]); (now.Deadline != rec.Deadline) != (k+1 == all) {
					t.Fatalf("deadline %d after %d of %d parties", now.Deadline, k+1, all)
				}
			}
			want := l.height() + c.want
			if c.encoding == 1 && len(rec.Encoders) == 2 && rec.Encoders[0] == rec.Encoders[1] {
				want = l.height() + c.want // two pieces before it, still one unit
			}
			if now := l.lot(lots[0]); now.Deadline != want {
				t.Fatalf("encoding %d: deadline %d, want %d", c.encoding, now.Deadline, want)
			}
			l.to(want - 1)
			l.commitLate(lots[0]) // in the deadline's block: the draw of due things comes after transactions
			if now := l.lot(lots[0]); now.Status != types.LotCommitted || l.height() != want {
				t.Fatalf("lot is %s after commitments in the last block", now.Status)
			}
		}
	})
	t.Run("waves", func(t *testing.T) {
		l := start(t, 7, both(validators(4, 2, 1000*types.Coin), func(g *types.Genesis) { g.Rules.EncoderOpen, g.Rules.LotRanges = 3, 1 }))
		l.register(types.RoleValidator, 4, 5)
		l.register(types.RoleEncoder, 1)
		l.register(types.RoleHost, 2, 3)
		l.bond(1, types.RoleEncoder, 9000*types.Coin)
		first := l.plan(0, l.publish(0, "old", 4), 1, 1)
		second := l.plan(0, l.publish(0, "new", 2), 1, 1)
		l.to(l.height() + 5)
		if n := l.host(1).Open; n != 3 {
			t.Fatalf("the encoder holds %d ranges, at most 3", n)
		}
		for i, id := range append(slices.Clone(first), second...) {
			want := types.LotWaiting
			if i < 3 {
				want = types.LotDrawn
			}
			if s := l.lot(id).Status; s != want {
				t.Errorf("lot %d of the waves is %s, want %s", i, s, want)
			}
		}
		l.accept(first[0])
		l.commit(first[0]) // delivers one: the oldest waiting lot follows
		if a, b := l.lot(first[3]).Status, l.lot(second[0]).Status; a != types.LotDrawn || b != types.LotWaiting {
			t.Errorf("after a delivery the lots are %s and %s", a, b)
		}
		if h := l.host(1); h.Open != 3 || h.OpenPieces != 3 || h.Bonded != 4 {
			t.Errorf("encoder %+v", h)
		}
	})
}

// commitLate is commit that need not have an accept before it in the same block.
func (l *ledger) commitLate(id types.LotID) {
	l.t.Helper()
	l.commit(id)
}

// H1.6: all drawn validators must attest; a silent one is replaced by another
// draw, the word of the others stays.
func TestH1_6(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 1), 1, 0)
	l.drawn(lots[0])
	l.accept(lots[0])
	l.commit(lots[0])
	rec := l.lot(lots[0])
	if rec.Deadline != l.height()+10 {
		t.Fatalf("deadline %d in block %d, want 10 blocks", rec.Deadline, l.height())
	}
	spoke, silent := l.number(rec.Attestors[0]), l.number(rec.Attestors[1])
	l.do(spoke, types.KindAttest, attestation(lots[0], rec))
	l.refuse(spoke, types.KindAttest, attestation(lots[0], rec), "before")
	l.to(rec.Deadline - 1)
	if now := l.lot(lots[0]); now.Status != types.LotCommitted || now.Attestors[1] != rec.Attestors[1] {
		t.Fatalf("replaced before the deadline: %+v", now)
	}
	l.mine()
	now := l.lot(lots[0])
	if now.Attestors[0] != rec.Attestors[0] || now.Attestors[1] == rec.Attestors[1] || now.Attested != 1 || now.Deadline != rec.Deadline+10 {
		t.Fatalf("after the deadline: %+v", now)
	}
	if now.Attempt != rec.Attempt || l.host(silent).Failed != 1 || l.host(spoke).Failed != 0 {
		t.Fatalf("the attempt, or the blame, is another")
	}
	l.refuse(silent, types.KindAttest, attestation(lots[0], now), "is not a validator of lot")
	wrong := attestation(lots[0], now)
	wrong.List[0].Root[0] ^= 1
	next := l.number(now.Attestors[1])
	l.refuse(next, types.KindAttest, wrong, "the lot has")
	twice := attestation(lots[0], now)
	twice.List = append(twice.List, twice.List[0])
	l.refuse(next, types.KindAttest, twice, "is named twice")
	l.do(next, types.KindAttest, attestation(lots[0], now))
	if now := l.lot(lots[0]); now.Status != types.LotActive || now.Since != l.tip.Header.Time {
		t.Fatalf("lot is %s after both attested", now.Status)
	}

	// Without another candidate the attempt gets its time again.
	few := start(t, 4, validators(2, 2, 1000*types.Coin))
	few.register(types.RoleValidator, 2, 3)
	few.register(types.RoleHost, 1)
	id := few.plan(0, few.publish(0, "data", 1), 1, 0)[0]
	few.drawn(id)
	few.accept(id)
	few.commit(id)
	old := few.lot(id)
	few.to(old.Deadline)
	if now := few.lot(id); !slices.Equal(now.Attestors, old.Attestors) || now.Deadline != old.Deadline+10 {
		t.Fatalf("with nobody else: %+v", now)
	}
}

// H2: the rung of the ladder that the draw reached is in the contract; a draw
// below what the plan accepts waits.
func TestH2(t *testing.T) {
	one := func() *ledger {
		l := start(t, 5, validators(3, 1, 1000*types.Coin))
		l.register(types.RoleValidator, 3)
		l.register(types.RoleHost, 1, 2)
		return l
	}
	l := one()
	d := l.publish(0, "data", 1)
	for least, want := range []types.LotStatus{types.LotDrawn, types.LotDrawn, types.LotWaiting, types.LotWaiting} {
		p := l.planFor(d, 1, 0, 20)
		p.Assurance = uint8(least)
		id := l.lotsOf(l.do(0, types.KindPlan, p))[0]
		l.to(l.height() + 4)
		rec := l.lot(id)
		if rec.Status != want || want == types.LotDrawn && rec.Assurance != 1 {
			t.Errorf("with one validator and at least %d: %s with %d", least, rec.Status, rec.Assurance)
		}
	}
	l = town(t)
	id := l.plan(0, l.publish(0, "data", 1), 1, 1)[0]
	if rec := l.drawn(id); rec.Assurance != 2 || len(rec.Attestors) != 2 {
		t.Errorf("with four validators: assurance %d", rec.Assurance)
	}
	// The sponsor itself validates nothing.
	self := start(t, 3, validators(0, 1, 1000*types.Coin))
	self.register(types.RoleValidator, 0)
	self.register(types.RoleHost, 1)
	waits := self.plan(0, self.publish(0, "data", 1), 1, 0)[0]
	self.to(self.height() + 6)
	if s := self.lot(waits).Status; s != types.LotWaiting {
		t.Errorf("a lot without validators is %s", s)
	}
}

// TestCommitments: reports of another attempt, party or range are refused; two
// roots that differ fail the attempt.
func TestCommitments(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 2), 1, 1)
	rec := l.drawn(lots[0])
	list := l.commitments(lots[0], rec)
	h, e := l.number(rec.Host), l.number(rec.Encoders[0])
	say := func(c ...types.Commitment) *types.Commitments { return &types.Commitments{List: c} }
	changed := func(f func(*types.Commitment)) *types.Commitments {
		c := list[0]
		f(&c)
		return say(c)
	}
	l.refuse(h, types.KindHosted, say(list[0]), "was not accepted by both sides")
	l.refuse(5, types.KindDuty, answer(types.DutyAccept, lots[0], rec), "has no part in lot")
	twice := answer(types.DutyAccept, lots[0], rec)
	twice.Lots = append(twice.Lots, twice.Lots[0])
	l.refuse(h, types.KindDuty, twice, "is named twice")
	l.accept(lots[0])
	l.refuse(h, types.KindDuty, answer(types.DutyAccept, lots[0], rec), "before")
	for _, x := range []struct {
		by   int
		kind types.Kind
		body *types.Commitments
		want string
	}{
		{e, types.KindHosted, say(list[0]), "is not the host of lot"},
		{h, types.KindEncoded, say(list[0]), "is not the encoder of range"},
		{h, types.KindHosted, say(list[0], list[0]), "name the same range"},
		{h, types.KindHosted, changed(func(c *types.Commitment) { c.Range = 2 }), "range 2 of a lot of 2"},
		{e, types.KindEncoded, changed(func(c *types.Commitment) { c.Range = 63 }), "range 63 of a lot of 2"},
		{h, types.KindHosted, changed(func(c *types.Commitment) { c.Attempt[0] ^= 1 }), "is not the running one"},
		{h, types.KindHosted, changed(func(c *types.Commitment) { c.Lot[0] ^= 1 }), "is not known"},
		{h, types.KindHosted, changed(func(c *types.Commitment) { c.Modulus = types.Hash{} }), "does not fit the encoding"},
	} {
		l.refuse(x.by, x.kind, x.body, x.want)
	}
	l.refuse(5, types.KindAttest, attestation(lots[0], rec), "is drawn, not committed")
	l.do(e, types.KindEncoded, say(list[0]))
	l.refuse(e, types.KindEncoded, say(list[0]), "the encoder committed range 0 before")
	if x := got[*types.RangeRecord](l)(l.view().RangeOf(lots[0], 0)); x == nil || x.ByHost || x.Encoded != list[0].Encoded {
		t.Fatalf("range %+v", x)
	}
	if hr := l.host(e); hr.OpenPieces+1 != hr.Bonded {
		t.Errorf("encoder %+v after its delivery", hr)
	}
	// The host says another root: the attempt has failed for all its parties.
	l.do(h, types.KindHosted, changed(func(c *types.Commitment) { c.Encoded[0] ^= 1 }))
	now := l.lot(lots[0])
	if now.Status != types.LotWaiting || now.Number != 1 || now.Hosted != 0 || now.Encoded != 0 {
		t.Fatalf("lot %+v after roots that differ", now)
	}
	for i := 1; i <= 8; i++ {
		in := slices.Contains(append(parties(rec), rec.Attestors...), l.id(i))
		if hr := l.host(i); (hr.Failed == 1) != in || hr.Open != 0 || hr.OpenPieces != 0 || hr.Bonded != 0 {
			t.Errorf("member %d: %+v", i, hr)
		}
	}
	if x := got[*types.RangeRecord](l)(l.view().RangeOf(lots[0], 0)); x != nil {
		t.Errorf("range record %+v of a failed attempt", x)
	}
	l.activate(lots...)
	l.balanced()
}

// TestOneListFailsItsOwnAttempt: entries behind the one that fails an attempt are
// void.
func TestOneListFailsItsOwnAttempt(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 2), 1, 1)
	rec := l.drawn(lots[0])
	l.accept(lots[0])
	list := l.commitments(lots[0], rec)
	e := l.number(rec.Encoders[0])
	l.do(e, types.KindEncoded, &types.Commitments{List: list[:1]})
	list[0].Plain[0] ^= 1
	l.do(l.number(rec.Host), types.KindHosted, &types.Commitments{List: list})
	if now := l.lot(lots[0]); now.Status != types.LotWaiting || now.Hosted != 0 {
		t.Fatalf("lot %+v", now)
	}
}
