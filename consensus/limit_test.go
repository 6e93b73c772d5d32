package consensus_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// K3: what an account earns goes to its payout; its recovery is kept; what it
// spends in an epoch stays within its limit.
func TestK3(t *testing.T) {
	t.Run("payout", payout)
	t.Run("kinds", limitOfKinds)
	t.Run("counted", spentOfKinds)
	t.Run("epochs", limitOfEpochs)
	t.Run("raise", raisedLimit)
	t.Run("least", leastLimit)
	t.Run("automatic", automaticDebits)
	t.Run("property", rapid.MakeCheck(neverAboveLimit))
}

func payout(t *testing.T) {
	l := town(t)
	to := chaintest.Account(60)
	for i := 1; i <= 8; i++ {
		roles := types.RoleHost | types.RoleEncoder
		if i > 4 {
			roles = types.RoleValidator
		}
		reg := registration(i, roles)
		reg.Payout, reg.Recovery, reg.SpendLimit = to, types.H("staddle/test/recovery"), 77*types.Coin
		l.do(i, types.KindRegister, reg)
	}
	lots := l.plan(0, l.publish(0, "data", 1), 1, 1)
	l.drawn(lots[0])
	l.accept(lots[0])
	l.commit(lots[0])
	// Set-up: 4 pieces of 262,144,000,000 wei to the encoder, an eighth to each of two validators.
	l.attest(lots[0])
	if paid := got[*types.AccountRecord](l)(l.view().Account(to)).Balance; paid != 1048+2*131 {
		t.Errorf("payout got %d, want %d", paid, 1048+2*131)
	}
	if a := l.acc(1); a.Payout != to || a.Recovery != types.H("staddle/test/recovery") || a.SpendLimit != 77*types.Coin {
		t.Errorf("account %+v", a)
	}
	// Recovery of zero leaves it, the others are replaced.
	l.register(types.RoleHost|types.RoleEncoder, 1)
	if a := l.acc(1); !a.Payout.IsZero() || a.Recovery.IsZero() || a.SpendLimit != 0 {
		t.Errorf("account %+v", a)
	}
	l.balanced()
}

// limited lets member i register with a limit of spending.
func (l *ledger) limited(i int, limit types.Amount) {
	l.t.Helper()
	l.put(l.limit(chaintest.Signer(i), limit))
}

// limit is a registration with a limit, without roles.
func (l *ledger) limit(by keys.Signer, limit types.Amount) types.Tx {
	l.t.Helper()
	reg := registration(0, 0)
	reg.SpendLimit = limit
	return l.signBy(by, types.KindRegister, types.Marshal(reg))
}

// why is the reason for which a transaction is left out of the next block, or
// empty.
func (l *ledger) why(x types.Tx) string {
	l.t.Helper()
	_, left := l.predict(x)
	if len(left) == 0 {
		return ""
	}
	return left[0].Why.Error()
}

// outlays are what the bodies of kinds take besides the fee; every kind that can
// be sent is in the table.
var outlays = map[types.Kind]types.Amount{
	types.KindWire: 5, types.KindMessage: 0, types.KindRegister: 0, types.KindPlan: 7 * types.Coin, types.KindEncoded: 0,
	types.KindHosted: 0, types.KindAttest: 0, types.KindBundle: 0, types.KindDispute: 10 * types.Coin, types.KindDuty: 0,
	types.KindLog: 0, types.KindCollation: 0, types.KindDeposit: 5, types.KindLock: 5,
}

// limitOfKinds: fee and outlay of each kind together reach the limit and go no
// unit beyond; what is free is free at the limit too.
func limitOfKinds(t *testing.T) {
	const limit = 100 * types.Coin
	l := start(t, 2, nil)
	l.limited(0, limit)
	l.mine()
	list := bodies(l)
	if len(list) != len(outlays) {
		t.Fatalf("%d kinds can be sent, the table has %d", len(list), len(outlays))
	}
	left := limit - l.acc(0).SpentIn(l.now())
	for kind, body := range list {
		out, known := outlays[kind]
		if !known {
			t.Fatalf("kind %s is not in the table", kind)
		}
		if p, ok := body.(*types.Plan); ok {
			p.Lock = out
		}
		const words = "account's limit is 100 an epoch"
		fee := func(n types.Amount) func(*types.Tx) { return func(x *types.Tx) { x.Fee = n } }
		if kind == types.KindBundle || kind == types.KindLog {
			if why := l.why(l.sign(0, kind, body)); strings.Contains(why, words) {
				t.Errorf("%s: %s", kind, why)
			}
			continue
		}
		if why := l.why(l.sign(0, kind, body, fee(left-out))); strings.Contains(why, words) {
			t.Errorf("%s, all of what is left: %s", kind, why)
		}
		over := l.why(l.sign(0, kind, body, fee(left-out+1)))
		if !strings.Contains(over, words+": possible from epoch 1") || !strings.Contains(over, "spends "+(left+1).String()+" after "+(limit-left).String()) {
			t.Errorf("%s, one unit more: %q", kind, over)
		}
	}
}

// spentOfKinds: what each kind took is in the account's record, a dispute's lock
// whether it was won or lost.
func spentOfKinds(t *testing.T) {
	l := start(t, 2, nil)
	a, nodes := dataset("data", 1)
	l.src.Put(nodes)
	var want types.Amount
	send := func(kind types.Kind, body types.Body, out types.Amount) {
		x := l.sign(0, kind, body)
		l.put(x)
		want += x.Fee + out
		if have := l.acc(0); have.SpentIn(0) != want || l.now() != 0 {
			t.Fatalf("after a %s in epoch %d: spent %d, want %d", kind, l.now(), have.Spent, want)
		}
	}
	send(types.KindMessage, &types.Message{Attachment: a}, 0)
	send(types.KindWire, wire(l.id(0), 9*types.Coin), 9*types.Coin) // to itself: what comes back does not lower it
	send(types.KindDeposit, &types.Deposit{Role: types.RoleEncoder, Amount: 3}, 3)
	send(types.KindLock, &types.Lock{Epoch: 0, Amount: 4}, 4)
	p := l.planFor(a.Dataset(), 1, 0, 5)
	send(types.KindPlan, p, p.Lock)
	l.put(l.sign(1, types.KindWire, wire(l.id(0), types.Coin)))
	if have := l.acc(0).SpentIn(0); have != want {
		t.Fatalf("spent %d after coins came in, want %d", have, want)
	}

	for _, won := range []bool{false, true} {
		var change func(*replica.Bundle)
		if won {
			change = func(b *replica.Bundle) { b.Proofs[4] = nil }
		}
		l, b, host, _ := posted(t, change)
		x := l.sign(3, types.KindDispute, disputeOf(l, b, host, 4))
		l.put(x)
		if have := l.acc(3).SpentIn(l.rules().EpochOf(l.height())); have != x.Fee+10*types.Coin {
			t.Errorf("dispute won %t: spent %d, want %d", won, have, x.Fee+10*types.Coin)
		}
	}
}

// limitOfEpochs: the count starts anew with each epoch, a tighter limit holds at
// once, also below what is spent.
func limitOfEpochs(t *testing.T) {
	l := start(t, 2, nil)
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 40*types.Coin)))
	l.limited(0, 30*types.Coin)
	small := l.sign(0, types.KindWire, wire(l.id(1), 1))
	l.refused(small, "the account's limit is 30 an epoch: possible from epoch 1")
	l.refused(l.sign(0, types.KindWire, wire(l.id(1), 30*types.Coin)), "limit is 30 an epoch: raise it first")
	v := l.view() // the pool's door says the same
	if err := v.Check(&small, l.tip.Header.Time+1); err == nil || !strings.Contains(err.Error(), "possible from epoch 1") {
		t.Errorf("the pool's door: %v", err)
	}
	l.toEpoch(1)
	all := l.sign(0, types.KindWire, wire(l.id(1), 29*types.Coin), func(x *types.Tx) { x.Fee = types.Coin })
	l.put(all)
	l.refused(l.sign(0, types.KindWire, wire(l.id(1), 1)), "after 30 in epoch 1")
	if a := l.acc(0); a.SpentEpoch != 1 || a.Spent != 30*types.Coin {
		t.Fatalf("account %+v", a)
	}
	l.toEpoch(3)
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 1)))
	l.limited(1, 5*types.Coin) // another account's limit is its own
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 20*types.Coin)))
	l.balanced()
}

// raisedLimit: a looser limit, or none, holds 288 blocks later; the same one
// again does not start the time anew, a tighter one ends it.
func raisedLimit(t *testing.T) {
	const old = 10 * types.Coin
	for _, raised := range []types.Amount{100 * types.Coin, 0} {
		l := start(t, 2, nil)
		l.limited(0, old)
		l.limited(0, raised)
		from := l.height() + 288
		if a := l.acc(0); a.SpendLimit != raised || a.LimitBefore != old || a.LimitFrom != from {
			t.Fatalf("account %+v, want the old limit until block %d", a, from)
		}
		big := wire(l.id(1), 50*types.Coin)
		e := l.rules().EpochOf(from)
		l.refuse(0, types.KindWire, big, "limit is 10 an epoch: possible from epoch "+fmt.Sprint(e))
		l.to(from - 100)
		l.limited(0, raised)
		l.to(from - 2)
		l.refuse(0, types.KindWire, big, "limit is 10 an epoch: possible from epoch "+fmt.Sprint(e))
		l.mine() // the next block is the first
		l.put(l.sign(0, types.KindWire, big))
		if raised > 0 {
			l.refuse(0, types.KindWire, big, "limit is 100 an epoch")
		}
		l.limited(0, old)
		l.refuse(0, types.KindWire, wire(l.id(1), 1), "limit is 10 an epoch")
	}
	l := start(t, 2, nil)
	l.limited(0, old)
	l.limited(0, 100*types.Coin)
	l.limited(0, old-1) // tighter: what was asked for is void
	if a := l.acc(0); a.SpendLimit != old-1 || a.LimitBefore != 0 || a.LimitFrom != 0 {
		t.Fatalf("account %+v", a)
	}
	l.toEpoch(2)
	l.limited(0, old)
	if a := l.acc(0); a.SpendLimit != old || a.LimitBefore != old-1 || a.LimitFrom != l.height()+288 {
		t.Fatalf("account %+v", a)
	}
}

// leastLimit: a limit under one coin is refused, as it could stand in the way of
// the registration that raises it.
func leastLimit(t *testing.T) {
	l := start(t, 1, nil)
	by := chaintest.Signer(0)
	l.refused(l.limit(by, types.Coin-1), "spend limit of 0.999999999 below the least 1")
	l.refused(l.limit(by, 1), "below the least 1")
	l.put(l.limit(by, types.Coin))
	l.put(l.limit(by, 2*types.Coin)) // its fee is inside
}

// automaticDebits: what the chain takes for earlier promises is not limited and
// does not count.
func automaticDebits(t *testing.T) {
	l, host, e := settled(t)
	l.limited(0, types.Coin)
	spent := l.acc(0)
	before := spent.Locked
	l.do(6, types.KindCollation, l.collation(e, row{0, -2, 0}, row{host, 2, 0}))
	for l.globals().Transfer <= e {
		l.mine()
	}
	if now := l.acc(0); now.Locked >= before || now.Spent != spent.Spent || now.SpentEpoch != spent.SpentEpoch {
		t.Fatalf("sponsor %+v, was %+v", now, spent)
	}
	l.balanced()
}

// spender is an account that sends at random under limits, which only fall: in
// less than 288 blocks none may rise.
type spender struct {
	*ledger
	r     *rapid.T
	by    keys.Signer
	limit types.Amount                 // the tightest so far; 0: none
	out   map[types.Epoch]types.Amount // that left it
}

func (x *spender) balance() types.Amount {
	return got[*types.AccountRecord](x.ledger)(x.view().Account(x.by.Account())).Balance
}

// act sends one transaction at random and says what left the account by it.
func (x *spender) act() {
	amount := types.Amount(rapid.IntRange(1, 40).Draw(x.r, "coins")) * types.Coin / 2
	to := chaintest.Account(rapid.IntRange(0, 1).Draw(x.r, "whom"))
	var body types.Body
	var kind types.Kind
	limit := types.Amount(0)
	switch rapid.IntRange(0, 6).Draw(x.r, "what") {
	case 0:
		limit = types.Amount(rapid.IntRange(0, 60).Draw(x.r, "limit")) * types.Coin
		reg := registration(0, 0)
		reg.SpendLimit = limit
		kind, body, amount = types.KindRegister, reg, 0
	case 1:
		kind, body = types.KindDeposit, &types.Deposit{Role: types.RoleHost, Amount: amount}
	case 2:
		kind, body = types.KindLock, &types.Lock{Epoch: x.now(), Amount: amount}
	case 3:
		kind, body, amount = types.KindMessage, &types.Message{Text: types.H("staddle/test/text"), TextLength: 5}, 0
	default:
		kind, body = types.KindWire, wire(to, amount)
	}
	tx := x.signBy(x.by, kind, types.Marshal(body), func(t *types.Tx) { t.Fee *= types.Amount(rapid.IntRange(1, 300).Draw(x.r, "tip")) })
	before, e := x.balance(), x.now()
	left := x.mine(tx)
	if len(left) > 0 {
		if !strings.Contains(left[0].Why.Error(), "account's limit is") {
			x.r.Fatalf("a %s is left out: %v", kind, left[0].Why)
		}
		return
	}
	x.left(e, before, tx.Fee+amount)
	if limit > 0 && (x.limit == 0 || limit < x.limit) {
		x.limit = limit
	}
}

// left counts what an accepted transaction cost and holds it to the limit that
// was there before it, and to what the record and the balance say.
func (x *spender) left(e types.Epoch, before, out types.Amount) {
	x.out[e] += out
	if x.limit > 0 && x.out[e] > x.limit {
		x.r.Fatalf("%s left in epoch %d, the limit is %s", x.out[e], e, x.limit)
	}
	acc := got[*types.AccountRecord](x.ledger)(x.view().Account(x.by.Account()))
	if acc.SpentIn(e) != x.out[e] {
		x.r.Fatalf("record says %d in epoch %d, want %d", acc.SpentIn(e), e, x.out[e])
	}
	if acc.Balance != before-out {
		x.r.Fatalf("balance %d, was %d: want %d less", acc.Balance, before, out)
	}
}

// neverAboveLimit: whatever is sent, what leaves in an epoch stays within each
// limit of the last 288 blocks.
func neverAboveLimit(r *rapid.T) {
	l := start(r, 2, nil)
	x := &spender{ledger: l, r: r, by: chaintest.Signer(50), out: map[types.Epoch]types.Amount{}}
	l.put(l.sign(0, types.KindWire, wire(x.by.Account(), coins/2)))
	for range 60 { // no lock comes back in so few epochs
		x.act()
	}
	l.balanced()
}
