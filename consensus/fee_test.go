package consensus_test

import (
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

// C1.1: the base fee is burned, the rest goes to the miner; less than the base
// fee is not includable.
func TestC1_1(t *testing.T) {
	l := start(t, 3, nil)
	body := wire(l.id(1), 5)
	exact := l.sign(0, types.KindWire, body, func(t *types.Tx) { t.Fee = types.MaxSupply })
	size := len(types.Marshal(&exact))
	base := got[types.Amount](l)(l.view().MinFee(size))
	pay := func(fee types.Amount) func(*types.Tx) {
		return func(t *types.Tx) { t.Fee = fee; t.Profile = types.Hash{} }
	}
	short := l.sign(0, types.KindWire, body, pay(base-1))
	if len(types.Marshal(&short)) > size {
		t.Fatal("the fee makes the transaction larger than it was priced")
	}
	low := consensus.BaseFee(l.globals().FeeFactor, uint64(len(types.Marshal(&short))))
	l.refused(l.sign(0, types.KindWire, body, pay(low-1)), "below the base fee")

	by, _ := l.turn()
	sender := 0
	if by.Account() == l.id(0) {
		sender = 1
	}
	miner := l.number(by.Account())
	before, rich, burned := l.acc(sender), l.acc(miner), l.globals().Burned
	l.put(l.sign(sender, types.KindWire, wire(l.id(miner), 5), pay(low+77)))
	if got := l.globals().Burned - burned; got != low {
		t.Errorf("burned %d, want the base fee %d", got, low)
	}
	if got := l.acc(miner).Balance - rich.Balance; got != 77+5 {
		t.Errorf("the miner got %d, want the tip 77 and the wire 5", got)
	}
	if got := before.Balance - l.acc(sender).Balance; got != low+77+5 {
		t.Errorf("the sender paid %d, want %d", got, low+77+5)
	}
	l.balanced()

	poor := l.signBy(chaintest.Signer(50), types.KindWire, types.Marshal(body))
	l.refused(poor, "below the fee")
}

func TestC1_2(t *testing.T) {
	var v struct {
		Factors []struct {
			Factor, Next number
			Bytes        uint64
		}
		Fees []struct {
			Factor, Fee number
			Bytes       uint64
		}
	}
	vectors(t, "fees.json", &v)
	if len(v.Factors) == 0 || len(v.Fees) == 0 {
		t.Fatal("no vectors")
	}
	for _, x := range v.Factors {
		if got := consensus.NextFactor(uint64(x.Factor), x.Bytes); got != uint64(x.Next) {
			t.Errorf("factor after %d with %d bytes is %d, want %d", x.Factor, x.Bytes, got, x.Next)
		}
	}
	for _, x := range v.Fees {
		if got := consensus.BaseFee(uint64(x.Factor), x.Bytes); uint64(got) != uint64(x.Fee) {
			t.Errorf("base fee of %d bytes at %d is %d, want %d", x.Bytes, x.Factor, got, x.Fee)
		}
	}
}

// C1.5: kinds 8, 11 and 15 are free of fee and give no power.
func TestC1_5(t *testing.T) {
	l := start(t, 8, validators(4, 4, 2000*types.Coin))
	l.register(types.RoleValidator, 4, 5, 6, 7)
	l.register(types.RoleHost, 1)
	lots := l.plan(0, l.publish(0, "data", 1), 1, 0)
	l.activate(lots...)
	e := l.rules().EpochOf(l.height())
	l.to(l.rules().Checkpoint(e))

	fee := func(n types.Amount) func(*types.Tx) { return func(t *types.Tx) { t.Fee = n } }
	l.refused(l.sign(1, types.KindLog, l.claim(1, e), fee(1)), "free of fee")
	before := l.acc(1)
	burning := func() (n uint64) { return l.epoch(l.rules().EpochOf(l.height())).Burning }
	l.put(l.sign(1, types.KindLog, l.claim(1, e)))
	if n := burning(); n != 0 {
		t.Errorf("%d transactions of the epoch count for power, want none", n)
	}
	l.refuse(1, types.KindLog, l.claim(1, e), "before")
	l.to(l.rules().Checkpoint(e + 1))
	post := l.signedBundle(1, l.bundle(1, e))
	l.refused(l.sign(1, types.KindBundle, post, fee(1)), "free of fee")
	l.put(l.sign(1, types.KindBundle, post))
	if n := burning(); n != 0 {
		t.Errorf("%d transactions of the epoch count for power, want none", n)
	}
	after := l.acc(1)
	if after.Balance < before.Balance || len(after.Counts) != len(before.Counts) {
		t.Errorf("balance %d and counts %v after, %d and %v before", after.Balance, after.Counts, before.Balance, before.Counts)
	}
	l.refuse(1, types.KindBundle, post, "has a bundle")
}

// C1.6: a block raises its miner's nonce, not its power.
func TestC1_6(t *testing.T) {
	l := start(t, 1, nil)
	power := got[uint64](l)(l.view().Power(l.id(0), 0))
	for n := range uint64(5) {
		if a := l.acc(0); a.Nonce != n || len(a.Counts) != 0 || a.Power != [types.Months]uint64{} {
			t.Fatalf("after %d blocks: nonce %d, counts %v, power %v", n, a.Nonce, a.Counts, a.Power)
		}
		l.mine()
		if h := l.tip.Header; h.Nonce != n+1 {
			t.Fatalf("block %d has the miner's nonce %d", h.Height, h.Nonce)
		}
	}
	if now := got[uint64](l)(l.view().Power(l.id(0), 0)); now != power {
		t.Fatalf("power %d after mining, %d before", now, power)
	}
	// The miner's own transactions come before its block's nonce.
	l.put(l.sign(0, types.KindWire, wire(l.id(0), 1)), l.sign(0, types.KindWire, wire(l.id(0), 1), later(1)))
	if h := l.tip.Header; h.Nonce != 8 {
		t.Fatalf("miner's nonce %d, want 8", h.Nonce)
	}
}
