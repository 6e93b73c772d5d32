package consensus_test

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// TestMain keeps properties short: a run of a community costs much more than
// what rapid expects. The flag -rapid.checks still decides when it is given.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "4"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// life is a town in which anything may happen.
type life struct {
	*ledger
	r     *rapid.T
	txs   []types.Tx
	ahead map[int]uint64
	names int
	plans []types.PlanID
	posts map[types.Epoch]map[int]*replica.Bundle
	paid  map[types.Epoch]bool // a result was sent
}

func (x *life) n(low, high int, what string) int { return rapid.IntRange(low, high).Draw(x.r, what) }
func (x *life) likely(percent int) bool          { return x.n(1, 100, "percent") <= percent }

// send queues a transaction for the next block.
func (x *life) send(i int, kind types.Kind, body types.Body) types.Tx {
	t := x.sign(i, kind, body, later(x.ahead[i]))
	x.txs = append(x.txs, t)
	x.ahead[i]++
	return t
}

// end makes the block and looks at the money.
func (x *life) end() {
	left := x.mine(x.txs...)
	if len(left) == len(x.txs) && len(left) > 3 {
		x.r.Logf("block %d took nothing of %d: %v", x.height(), len(left), left[0].Why)
	}
	x.txs, x.ahead = nil, map[int]uint64{}
	x.balanced()
	for _, ev := range x.events { // ST1: what a result credits, no dispute takes away
		if d, ok := ev.(types.Disputed); ok && x.epoch(d.Epoch).Collation != nil {
			x.r.Fatalf("block %d: dispute of epoch %d, which has a result", x.height(), d.Epoch)
		}
	}
}

// people sends coins about: some of it cannot be.
func (x *life) people() {
	i, j := x.n(0, 8, "who"), x.n(0, 11, "whom")
	amount := types.Amount(x.n(0, 3000, "coins"))*types.Coin + types.Amount(x.n(0, 999, "units"))
	switch x.n(0, 7, "what") {
	case 0, 1:
		x.send(i, types.KindWire, wire(x.id(j), amount))
	case 2:
		role := []types.Roles{types.RoleHost, types.RoleEncoder, types.RoleValidator}[x.n(0, 2, "role")]
		x.send(i, types.KindDeposit, &types.Deposit{Role: role, Amount: amount / 5})
	case 3:
		x.send(i, types.KindLock, &types.Lock{Epoch: x.now() + types.Epoch(x.n(0, 2, "epoch")), Amount: amount / 50})
	case 4:
		x.ask()
	case 5:
		reg := registration(i, types.RoleHost|types.RoleEncoder)
		if i > 4 {
			reg.Roles = types.RoleValidator
		}
		if x.likely(50) {
			reg.Payout = x.id(j)
		}
		x.send(i, types.KindRegister, reg)
	case 6:
		action := []types.DutyAction{types.DutyPause, types.DutyResume, types.DutyResume, types.DutyLeave}[x.n(0, 3, "action")]
		if action == types.DutyLeave && x.likely(80) {
			return
		}
		x.send(x.n(1, 4, "host"), types.KindDuty, &types.Duty{Action: action})
	}
}

// ask publishes a dataset and plans for it.
func (x *life) ask() {
	x.names++
	a, nodes := dataset("data"+string(rune('a'+x.names)), x.n(1, 5, "ranges"))
	x.src.Put(nodes)
	x.send(0, types.KindMessage, &types.Message{Attachment: a})
	p := &types.Plan{
		Dataset: a.Dataset(), Count: a.RangeCount, Copies: uint32(x.n(1, 3, "copies")), Encoding: uint32(x.n(0, 1, "encoding")),
		Until: x.now() + types.Epoch(x.n(1, 20, "epochs")), MaxPrice: x.rules().StorageCost, Lock: types.Coin * types.Amount(x.n(0, 2, "lock")),
	}
	t := x.send(0, types.KindPlan, p)
	x.plans = append(x.plans, t.ID())
}

// lots lets the parties of every lot do something, right or wrong.
func (x *life) lots() {
	v := x.view()
	for _, id := range x.plans {
		p := got[*types.PlanRecord](x.ledger)(v.Plan(id))
		if p == nil || p.Ended {
			continue
		}
		for _, lot := range x.lotsOf(id) {
			if x.likely(60) {
				x.live(lot, x.lot(lot))
			}
		}
	}
}

func (x *life) live(id types.LotID, rec *types.LotRecord) {
	switch rec.Status {
	case types.LotDrawn:
		x.work(id, rec)
	case types.LotCommitted:
		for k, a := range rec.Attestors {
			if rec.Attested>>k&1 == 0 && x.likely(70) {
				x.send(x.number(a), types.KindAttest, attestation(id, rec))
			}
		}
	case types.LotActive:
		if x.likely(2) {
			x.send(x.number(rec.Host), types.KindDuty, answer(types.DutyDrop, id, rec))
		}
	}
}

func (x *life) work(id types.LotID, rec *types.LotRecord) {
	if !rec.HostIn || rec.Accepted != 1<<len(rec.Encoders)-1 {
		for _, a := range parties(rec) {
			action := types.DutyAccept
			if x.likely(5) {
				action = types.DutyRefuse
			}
			x.send(x.number(a), types.KindDuty, answer(action, id, rec))
		}
		return
	}
	list := x.commitments(id, rec)
	if x.likely(5) {
		list[0].Encoded[0] ^= 1
	}
	for r, c := range list {
		if r < len(rec.Encoders) && x.likely(80) {
			x.send(x.number(rec.Encoders[r]), types.KindEncoded, &types.Commitments{List: []types.Commitment{c}})
		}
	}
	list[0].Encoded = x.kept[id].entries[0].Encoded
	if x.likely(80) {
		x.send(x.number(rec.Host), types.KindHosted, &types.Commitments{List: list})
	}
}

// hosts claim an epoch after its checkpoint and answer for the one before.
func (x *life) hosts() {
	now := x.now()
	if now == 0 {
		return
	}
	for i := 1; i <= 4; i++ {
		if x.likely(60) {
			x.send(i, types.KindLog, x.claim(i, now-1))
		}
		if now >= 2 && x.likely(60) {
			x.show(i, now-2)
		}
	}
}

func (x *life) show(i int, e types.Epoch) {
	rec := got[*types.ClaimRecord](x.ledger)(x.view().Claim(e, x.id(i)))
	if rec == nil || rec.Log.Leaves == 0 || rec.Bundle != nil || x.height() >= x.rules().BundlesDue(e) {
		return
	}
	q, _ := x.question(i, e)
	b := &replica.Bundle{Epoch: e, Host: x.id(i)}
	for range q.Places() {
		b.Proofs = append(b.Proofs, []byte{byte(x.n(0, 255, "proof"))})
	}
	post := b.Post()
	if x.likely(30) {
		b.Proofs[0] = nil
		post = b.Post()
	}
	x.check(i, post)
	x.send(i, types.KindBundle, post)
	if x.posts[e] == nil {
		x.posts[e] = map[int]*replica.Bundle{}
	}
	x.posts[e][i] = b
}

// settle disputes bundles and collates epochs.
func (x *life) settle() {
	now := x.now()
	for e := types.Epoch(0); e < now; e++ {
		for i := 1; i <= 4; i++ {
			if b := x.posts[e][i]; b != nil && x.likely(5) {
				x.send(x.n(5, 8, "disputer"), types.KindDispute, disputeOf(x.ledger, b, i, x.n(0, len(b.Proofs)-1, "place")))
			}
		}
		if !x.paid[e] && x.height() >= x.rules().BundlesDue(e) && x.likely(40) {
			x.paid[e] = x.height() >= x.rules().DisputesDue(e) && x.likely(90)
			x.send(x.n(5, 8, "validator"), types.KindCollation, x.outcome(e))
		}
	}
}

// outcome is a result of an epoch as the chain may or may not bear it.
func (x *life) outcome(e types.Epoch) *types.Collation {
	rows := map[int]*row{}
	at := func(i int) *row {
		if rows[i] == nil {
			rows[i] = &row{member: i}
		}
		return rows[i]
	}
	v := x.view()
	for i := 1; i <= 4; i++ {
		c := got[*types.ClaimRecord](x.ledger)(v.Claim(e, x.id(i)))
		if c != nil && c.Bundle != nil && !c.Lost {
			s := int64(x.n(0, int(c.Log.Leaves/256), "pieces"))
			at(i).s += s
			at(0).s -= s
		}
	}
	for i := range 9 {
		if rec := got[*types.LockRecord](x.ledger)(v.Lock(x.id(i), e)); rec != nil {
			b := int64(x.n(0, int(rec.Amount/300), "units"))
			at(i).b -= b
			at((i + x.n(1, 8, "server")) % 9).b += b
		}
	}
	var list []row
	for i := range 9 {
		if r := rows[i]; r != nil && (r.s != 0 || r.b != 0) {
			list = append(list, *r)
		}
	}
	return x.collation(e, list...)
}

// U3: balances, locks, bonds, carries and what was burned are the supply after
// every block, whatever happens.
func TestU3(t *testing.T) {
	settled, late := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		l := town(r, func(g *types.Genesis) { g.Rules.FreeRanges = 3; g.Rules.MinDeposit = 1950 * types.Coin })
		x := &life{ledger: l, r: r, ahead: map[int]uint64{}, posts: map[types.Epoch]map[int]*replica.Bundle{}, paid: map[types.Epoch]bool{}}
		for range 90 {
			for range x.n(0, 2, "people") {
				x.people()
			}
			x.lots()
			x.hosts()
			x.settle()
			x.lateLogs()
			x.end()
			if s, ok := event[types.Settled](l); ok {
				settled++
				if rec := x.lateRecord(s.Epoch); rec != nil && rec.Buckets > 0 {
					late++
				}
			}
		}
		stranger := chaintest.Account(11)
		if a := got[*types.AccountRecord](l)(l.view().Account(stranger)); a.Nonce != 0 {
			r.Fatalf("an account that never signed has nonce %d", a.Nonce)
		}
	})
	if settled == 0 {
		t.Error("no epoch was ever settled: the property saw too little")
	}
	t.Logf("%d epochs were settled, %d with late logs", settled, late)
}
