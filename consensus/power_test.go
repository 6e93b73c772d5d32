package consensus_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// talk lets members send transactions that burn a fee, n[i] by member i, in one
// block.
func (l *ledger) talk(n ...int) {
	l.t.Helper()
	var txs []types.Tx
	for i := range n {
		for k := range n[i] {
			txs = append(txs, l.sign(i, types.KindWire, wire(l.id(9), 1), later(uint64(k))))
		}
	}
	l.put(txs...)
}

func (l *ledger) power(i int, e types.Epoch) uint64 {
	l.t.Helper()
	return got[uint64](l)(l.view().Power(l.id(i), e))
}

// short makes years of so many epochs, of two blocks each.
func short(year uint32) func(*types.Genesis) {
	return func(g *types.Genesis) {
		g.Rules.EpochBlocks, g.Rules.YearEpochs, g.Rules.BundleBlocks = 2, year, 1
	}
}

// onlyFirst leaves the endowment to member 0; the others have the coins alone.
func onlyFirst(g *types.Genesis) { g.Members = []types.Account{g.Members[0]} }

// C1.3: burned base fees give power: units by the epoch's number, granted two
// epochs later, for twelve months.
func TestC1_3(t *testing.T) {
	t.Run("few and many", func(t *testing.T) {
		for _, c := range []struct {
			n    [3]int
			want [3]uint64
		}{
			{[3]int{16, 0, 0}, [3]uint64{16_000, 0, 0}},
			{[3]int{10, 5, 1}, [3]uint64{10_000, 5_000, 1_000}},
			{[3]int{10, 6, 1}, [3]uint64{9_411, 5_647, 941}}, // 16,000 n / 17
			{[3]int{32, 0, 0}, [3]uint64{16_000, 0, 0}},
		} {
			l := start(t, 3, nil)
			l.talk(c.n[0], c.n[1], c.n[2])
			for i := range 3 {
				for e, want := range []uint64{0, 0, c.want[i], c.want[i]} {
					if have := l.power(i, types.Epoch(e)) - l.shareOf(types.Epoch(e)); have != want {
						t.Errorf("%v: power of %d in epoch %d is %d beside the endowment, want %d", c.n, i, e, have, want)
					}
				}
			}
		}
	})
	t.Run("twelve months", func(t *testing.T) {
		// 24 epochs a year: month m holds epochs 2m and 2m+1.
		l := start(t, 3, short(24))
		l.talk(4, 0, 0)
		for e := types.Epoch(0); e < 30; e++ {
			want := uint64(0)
			if e >= 2 && e < 2+24 { // granted in epoch 2 = month 1, out in month 13
				want = 4_000
			}
			if have := l.power(0, e) - l.shareOf(e); have != want {
				t.Errorf("epoch %d: power beside the endowment is %d, want %d", e, have, want)
			}
		}
		l.toEpoch(3)
		l.talk(1, 0, 0) // touches: the grant moves into its month
		if a := l.acc(0); a.Month != 1 || a.Power[0] != 4_000 || len(a.Counts) != 1 {
			t.Fatalf("month %d with %v and counts %v, want the grant in month 1", a.Month, a.Power, a.Counts)
		}
		l.toEpoch(26)
		l.talk(1, 0, 0) // month 13: the first grant is out, the one of epoch 3 (month 2) is in
		if a := l.acc(0); a.Power[11] != 0 && a.Month == 13 {
			t.Fatalf("power %v in month %d", a.Power, a.Month)
		}
		if have := l.power(0, 26) - l.shareOf(26); have != 1_000 {
			t.Fatalf("power beside the endowment is %d, want 1000", have)
		}
	})
}

// shareOf is the endowment's part of one of the members in an epoch.
func (l *ledger) shareOf(e types.Epoch) uint64 {
	year := uint64(l.rules().YearEpochs)
	if uint64(e) >= year {
		return 1000
	}
	n := uint64(len(l.gen.Members))
	return max(1000, 23_360_000/n*(year-uint64(e))/year)
}

// TestTouchDoesNotChangePower: when counts move into their months is no matter
// for anybody's power, in any epoch from then on.
func TestTouchDoesNotChangePower(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := start(r, 3, short(12))
		var before [8]uint64
		for range rapid.IntRange(1, 6).Draw(r, "epochs") {
			now := l.rules().EpochOf(l.height() + 1)
			for k := range before {
				before[k] = l.power(0, now+types.Epoch(k))
			}
			l.talk(rapid.IntRange(0, 3).Draw(r, "mine"), rapid.IntRange(0, 20).Draw(r, "others"))
			for k := range 2 { // what was sent now counts from the second epoch after
				if have := l.power(0, now+types.Epoch(k)); have != before[k] {
					r.Fatalf("power in epoch %d is %d after a touch in %d, %d before", now+types.Epoch(k), have, now, before[k])
				}
			}
			l.toEpoch(now + types.Epoch(rapid.IntRange(1, 5).Draw(r, "quiet")))
		}
	})
}

// C1.4: genesis members share 23,360,000 milli-units equally, less every epoch;
// they and active deposits have at least 1,000.
func TestC1_4(t *testing.T) {
	t.Run("endowment", func(t *testing.T) {
		l := start(t, 7, nil)
		for e, want := range map[types.Epoch]uint64{
			0: 3_337_142, 1: 3_334_856, 730: 1_668_571, 1459: 2_285, 1460: 1_000, 9999: 1_000,
		} {
			if have := l.power(3, e); have != want {
				t.Errorf("power in epoch %d is %d, want %d", e, have, want)
			}
		}
	})
	t.Run("deposit", func(t *testing.T) {
		l := start(t, 4, both(onlyFirst, validators(2, 1, 1000*types.Coin)))
		other := -1
		for i := 1; i < 4; i++ {
			if i != 2 && l.id(i) != l.gen.Members[0] {
				other = i
			}
		}
		if l.id(2) != l.gen.Members[0] {
			if have := l.power(2, 0); have != 1_000 {
				t.Errorf("a genesis deposit has power %d, want 1000", have)
			}
		}
		l.refuse(other, types.KindDeposit, &types.Deposit{Role: types.RoleValidator, Amount: 1000*types.Coin - 1}, "below minimum")
		l.bond(other, types.RoleValidator, 1000*types.Coin)
		for e, want := range []uint64{0, 0, 1_000} { // the floor is no addition: the transaction's unit is as large
			if have := l.power(other, types.Epoch(e)); have != want {
				t.Errorf("power in epoch %d is %d, want %d", e, have, want)
			}
		}
	})
}

// T2: a month is floor(12 x epoch / yearEpochs).
func TestT2(t *testing.T) {
	for _, c := range []struct {
		year uint32
		e    types.Epoch
		want uint64
	}{
		{1460, 0, 0},
		{1460, 121, 0},
		{1460, 122, 1},
		{1460, 1459, 11},
		{1460, 1460, 12},
		{1460, 14_600, 120},
		{365, 30, 0},
		{365, 31, 1},
		{365, 364, 11},
		{365, 365, 12},
		{365, 1 << 39, 12 * (1 << 39) / 365},
	} {
		if have := consensus.Month(c.year, c.e); have != c.want {
			t.Errorf("epoch %d of %d a year is in month %d, want %d", c.e, c.year, have, c.want)
		}
	}
	if r := types.SimMarket(); r.YearEpochs != 1460 {
		t.Errorf("a sim year has %d epochs", r.YearEpochs)
	}
}
