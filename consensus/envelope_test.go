package consensus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

func TestEnvelope(t *testing.T) {
	l := start(t, 3, func(g *types.Genesis) { g.Rules.MutableRange = 6 })
	l.to(3)
	fork := *l
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 5)))
	l.to(9)
	body := wire(l.id(1), 5)
	name := func(h types.Height) types.Cursor {
		c, err := l.view().Name(h)
		if err != nil {
			t.Fatal(err)
		}
		return types.Cursor{Height: h, Root: c}
	}
	fork.mine()
	fork.mine()
	lost := types.Cursor{Height: fork.height(), Root: fork.tip.Name}
	expiry := types.Millis(l.rules().ExpiryMillis)
	_, at := l.turn()
	next := l.height() + 1
	for _, c := range []struct {
		name, want string
		change     func(*types.Tx)
	}{
		{"version", "transaction version 2, want 1", func(t *types.Tx) { t.Version = 2 }},
		{"other chain", "transaction of chain", func(t *types.Tx) { t.Chain[0] ^= 1 }},
		{"nonce used", "the next is", func(t *types.Tx) { t.Nonce-- }},
		{"nonce 0", "nonce 0", func(t *types.Tx) { t.Nonce = 0 }},
		{"nonce ahead", "the next is", func(t *types.Tx) { t.Nonce++ }},
		{"expired", "transaction expired at", func(t *types.Tx) { t.Time, t.Expiry = at-10, at-1 }},
		{"lives too long", "lives 600001 ms, want 1 to 600000", func(t *types.Tx) { t.Expiry = t.Time + expiry + 1 }},
		{"lives 0", "lives 0 ms", func(t *types.Tx) { t.Expiry = t.Time }},
		{"lives backwards", "lives -1 ms", func(t *types.Tx) { t.Expiry = t.Time - 1 }},
		{"other fork", "bound to another fork", func(t *types.Tx) { t.Recent = lost }},
		{"recent too old", "is not in the range", func(t *types.Tx) { t.Recent = types.Cursor{Height: next - 7, Root: l.tip.Name} }},
		{"recent is itself", "is not in the range", func(t *types.Tx) { t.Recent = types.Cursor{Height: next, Root: l.tip.Name} }},
		{"recent in the future", "is not in the range", func(t *types.Tx) { t.Recent = types.Cursor{Height: 1 << 40, Root: l.tip.Name} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			l.refused(l.sign(0, types.KindWire, body, c.change), c.want)
		})
	}
	l.t = t
	good := []func(*types.Tx){
		func(*types.Tx) {},
		func(t *types.Tx) { t.Time, t.Expiry = at-10, at }, // the last millisecond
		func(t *types.Tx) { t.Recent = name(l.height()) },
		func(t *types.Tx) { t.Recent = name(next - 6) },
		func(t *types.Tx) { t.Recent = types.Cursor{Height: 1 << 40} }, // no root: any fork
	}
	for i, change := range good {
		if _, left := l.predict(l.sign(0, types.KindWire, body, change)); len(left) != 0 {
			t.Errorf("good envelope %d: %v", i, left[0].Why)
		}
	}
}

// TestNonceTwice: two transactions with one nonce, in one block and in two.
func TestNonceTwice(t *testing.T) {
	l := start(t, 2, nil)
	a, b := l.sign(0, types.KindWire, wire(l.id(1), 5)), l.sign(0, types.KindWire, wire(l.id(1), 6))
	left := l.mine(a, b)
	if len(left) != 1 || left[0].Tx != b.ID() {
		t.Fatalf("left out: %v, want the second", left)
	}
	for _, x := range []types.Tx{a, b} {
		l.refused(x, "the next is")
	}
	if l.acc(1).Balance < coins+5 || l.acc(1).Balance > coins+5+types.Coin {
		t.Fatalf("balance %d", l.acc(1).Balance)
	}
}

// TestUnsignedIsRefused: a signature that does not fit refuses the block.
func TestUnsignedIsRefused(t *testing.T) {
	l := start(t, 2, nil)
	x := l.sign(0, types.KindWire, wire(l.id(1), 5))
	x.Signature[9] ^= 1
	if err := consensus.CheckSignature(&x); err == nil {
		t.Error("the pool's door takes a wrong signature")
	}
	good := l.sign(1, types.KindWire, wire(l.id(0), 5))
	b := l.block(good, x) // a miner that does not look
	l.refusedBlock(&b, "transaction 1 of 2 has a wrong signature")
	if err := consensus.CheckSignature(&good); err != nil {
		t.Error(err)
	}
}

// bodies gives a body of every kind that can be sent.
func bodies(l *ledger) map[types.Kind]types.Body {
	a, _ := dataset("data", 1)
	h := types.H("staddle/test/h")
	signed := []types.Signed{{By: l.id(0)}}
	return map[types.Kind]types.Body{
		types.KindWire:      wire(l.id(1), 5),
		types.KindMessage:   &types.Message{Attachment: a},
		types.KindRegister:  registration(0, types.RoleHost),
		types.KindPlan:      &types.Plan{Dataset: h, Count: 1, Copies: 1, Until: 9, MaxPrice: types.Wei(1 << 50)},
		types.KindEncoded:   &types.Commitments{List: []types.Commitment{{Lot: h}}},
		types.KindHosted:    &types.Commitments{List: []types.Commitment{{Lot: h}}},
		types.KindAttest:    &types.Attestations{List: []types.Attestation{{Lot: h}}},
		types.KindBundle:    &types.BundlePost{Epoch: 1, Missed: []uint32{3}, Checkers: signed},
		types.KindDispute:   &types.Dispute{Host: l.id(1), Evidence: []byte{1}, Path: []types.Hash{h}},
		types.KindDuty:      &types.Duty{Lots: []types.LotAttempt{{Lot: h}}},
		types.KindLog:       &types.LogCommitment{Epoch: 1},
		types.KindCollation: &types.Collation{Epoch: 1, Result: types.NodeCID(nil), Signers: signed},
		types.KindDeposit:   &types.Deposit{Role: types.RoleHost, Amount: 5},
		types.KindLock:      &types.Lock{Epoch: 1, Amount: 5},
	}
}

// TestBodySpelling: trailing and non-canonical bytes in a body refuse the
// transaction, for every kind.
func TestBodySpelling(t *testing.T) {
	l := start(t, 2, nil)
	for k, body := range bodies(l) {
		raw := types.Marshal(body)
		if x := l.signBy(l.who[0], k, raw); !errorWithout(l, x, "body:") {
			t.Errorf("%s: its own spelling is refused", k)
		}
		long := append([]byte{raw[0]>>5<<5 | 24, raw[0] & 31}, raw[1:]...)
		for name, b := range map[string][]byte{
			"trailing": append(raw[:len(raw):len(raw)], 0), "empty": nil, "cut": raw[:len(raw)-1], "long head": long,
			"nothing but zero": {0}, "a map": {0xa0}, "indefinite": append([]byte{0x9f}, append(raw[1:len(raw):len(raw)], 0xff)...),
		} {
			x := l.signBy(l.who[0], k, b)
			if k == types.KindBundle || k == types.KindLog {
				x = l.signBy(l.who[0], k, b, func(t *types.Tx) { t.Fee = 0 })
			}
			if errorWithout(l, x, "body:") {
				t.Errorf("%s, %s: not refused for its spelling", k, name)
			}
		}
	}
}

// errorWithout reports whether a transaction is refused at most for something
// else than these words.
func errorWithout(l *ledger, x types.Tx, words string) bool {
	_, left := l.predict(x)
	return len(left) == 0 || !strings.Contains(left[0].Why.Error(), words)
}

// TestFlippedBits: no bit of a block can change: of its transactions, of the
// header, of the name.
func TestFlippedBits(t *testing.T) {
	l := start(t, 2, nil)
	l.mine()
	b := l.block(l.sign(0, types.KindWire, wire(l.id(1), 5)), l.sign(1, types.KindWire, wire(l.id(0), 7)))
	raw := types.Marshal(&b)
	if _, err := consensus.Apply(l.src, &b); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for i := range raw {
		bit := byte(1) << (i % 8)
		raw[i] ^= bit
		var bad types.Block
		err := types.Unmarshal(raw, &bad)
		if err == nil {
			taken++
			_, err = consensus.Apply(l.src, &bad)
			var missing *types.Missing
			if errors.As(err, &missing) {
				// The parent's name: another parent, which nobody has.
				if bad.Header.Previous == b.Header.Previous {
					t.Fatalf("bit %d of byte %d makes %s missing", i%8, i, missing.CID)
				}
				raw[i] ^= bit
				continue
			}
		}
		if err == nil {
			t.Fatalf("bit %d of byte %d may flip", i%8, i)
		}
		raw[i] ^= bit
	}
	if taken < len(raw)/2 {
		t.Errorf("only %d of %d spellings decode: the rules were hardly asked", taken, len(raw))
	}
}

// TestWire: what can be sent to whom.
func TestWire(t *testing.T) {
	l := start(t, 2, nil)
	l.refuse(0, types.KindWire, wire(l.id(1), 0), "a wire of 0 coins")
	x := l.sign(0, types.KindWire, wire(l.id(1), coins))
	l.refused(x, "balance after the fee is")
	all := l.acc(0).Balance - x.Fee
	exact := l.sign(0, types.KindWire, wire(l.id(1), all), func(t *types.Tx) { t.Fee = x.Fee })
	l.refused(l.sign(0, types.KindWire, wire(l.id(1), all+1), func(t *types.Tx) { t.Fee = x.Fee }), "balance after the fee is")
	l.put(exact)
	if by := l.tip.Header.Miner; by != l.id(0) && l.acc(0).Balance != 0 {
		t.Fatalf("balance %d is left", l.acc(0).Balance)
	}
	l.balanced()
	// To oneself, and to an account that never acted.
	before := l.acc(1).Balance
	l.put(l.sign(1, types.KindWire, wire(l.id(1), 5)), l.sign(1, types.KindWire, wire(chaintest.Account(77), 9), later(1)))
	stranger := got[*types.AccountRecord](l)(l.view().Account(chaintest.Account(77)))
	if stranger.Balance != 9 || l.acc(1).Balance > before {
		t.Fatalf("stranger has %d", stranger.Balance)
	}
	if _, ok, err := l.view().ByAddress(chaintest.Account(77).Address()); ok || err != nil {
		t.Fatalf("an account that never acted has an address: %v", err)
	}
	l.balanced()
}
