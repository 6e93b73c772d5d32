package draw

import (
	"bytes"
	"crypto/sha256"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func name(s string) types.Hash { return types.H(s) }

func TestC2_1(t *testing.T) {
	r, miner := name("staddle/test/beacon"), types.Account(name("staddle/test/miner"))
	out := Output(bytes.Repeat([]byte{0xab}, OutputSize))
	plain := func(parts ...[]byte) types.Hash { return sha256.Sum256(slices.Concat(parts...)) }
	got := [3]types.Hash{Mix(r, out), NextGensig(r, miner, out), types.Hash(sha256.Sum256(Alpha(r, 258)))}
	want := [3]types.Hash{
		plain([]byte("staddle/beacon"), r[:], out[:]),
		plain([]byte("staddle/pot/1"), r[:], miner[:], out[:]),
		plain(r[:], []byte{0, 0, 0, 0, 0, 0, 1, 2}),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if want := plain([]byte("staddle/epoch\x00"), r[:]); EpochBeacon(r) != want {
		t.Errorf("epoch beacon %s, want %s", EpochBeacon(r), want)
	}
}

func TestLog2Q32(t *testing.T) {
	for _, v := range []struct{ h, want uint64 }{
		{0, 0},
		{1, 0},
		{2, 1 << 32},
		{3, 6807362105},
		{4, 2 << 32},
		{1 << 63, 63 << 32},
		{math.MaxUint64, 274877906943},
	} {
		if got := Log2Q32(v.h); got != v.want {
			t.Errorf("log2q32(%d) = %d, want %d", v.h, got, v.want)
		}
	}
}

func TestLog2Q32NearFloat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.Uint64Min(1).Draw(t, "h")
		got := float64(Log2Q32(h)) / (1 << 32)
		if d := math.Log2(float64(h)) - got; d < -1e-9 || d > 2e-9 {
			t.Fatalf("log2q32(%d) is %g below the logarithm", h, d)
		}
		if h < math.MaxUint64 && Log2Q32(h+1) < Log2Q32(h) {
			t.Fatalf("log2q32 falls between %d and %d", h, h+1)
		}
	})
}

func TestC2_2(t *testing.T) {
	for _, v := range []struct {
		u   uint64
		hit string
	}{
		{0, "25572617290405311318"}, // 1.39 x 2^64: more than 64 bits
		{1, "25173045145242728328"},
		{1 << 63, "399572145162582989"},
		{math.MaxUint64, "0"},
	} {
		var g types.Hash
		copy(g[:], types.Be64(v.u))
		l := new(big.Int).SetUint64(LgPlusOne(v.u))
		want := l.Mul(l, new(big.Int).SetUint64(0xB17217F7D1CF79AB))
		want.Rsh(want, 37)
		if got := Hit(g); got.Cmp(want) != 0 || got.String() != v.hit {
			t.Errorf("hit(u = %d) = %s, want %s, in the table %s", v.u, got, want, v.hit)
		}
	}
}

func TestHitMean(t *testing.T) {
	const n = 20000
	sum := new(big.Int)
	for i := range n {
		sum.Add(sum, Hit(types.H("staddle/test/mean", types.Be32(uint32(i)))))
	}
	mean, _ := new(big.Float).SetInt(sum).Float64()
	if r := mean / n / math.Exp2(59); r < 0.975 || r > 1.025 { // 3.5 sigma
		t.Errorf("mean hit is %.4f x 2^59, want 1", r)
	}
}

// TestH1_2 draws with many beacons: chances follow the weights (chi-square with
// 6 degrees of freedom, mean 6, 12.59 at 95 %).
func TestH1_2(t *testing.T) {
	weights := []uint64{1, 2, 3, 4, 10, 20, 60}
	const beacons, draws = 60, 2000
	cands := candidates(weights)
	sum, above := 0.0, 0
	for b := range beacons {
		count := make(map[types.Account]int)
		for d := range draws {
			beacon := types.H("staddle/test/chi", types.Be32(uint32(b)))
			a, _ := Pick(DomPlace, beacon, types.H("lot", types.Be32(uint32(d))), 0, cands)
			count[a]++
		}
		chi := 0.0
		for i, w := range weights {
			want := draws * float64(w) / 100
			diff := float64(count[cands[i].Account]) - want
			chi += diff * diff / want
		}
		if sum += chi; chi > 12.59 {
			above++
		}
	}
	if mean := sum / beacons; mean < 4.6 || mean > 7.4 || above > 8 {
		t.Errorf("chi-square mean %.2f, want 6 +- 1.4; %d above the 95 %% line, want at most 8", mean, above)
	}
}

func candidates(weights []uint64) []Candidate {
	out := make([]Candidate, len(weights))
	for i, w := range weights {
		out[i] = Candidate{types.Account(types.H("staddle/test/candidate", types.Be32(uint32(i)))), w}
	}
	return out
}

// TestH1_2Exact compares with the formula in rationals of unbounded size.
func TestH1_2Exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cands := candidates(rapid.SliceOfN(rapid.Uint64(), 0, 12).Draw(t, "weights"))
		beacon := types.H("b", types.Be64(rapid.Uint64().Draw(t, "beacon")))
		slot := rapid.Uint32().Draw(t, "slot")
		var want types.Account
		var best *big.Rat
		slices.SortFunc(cands, func(a, b Candidate) int { return bytes.Compare(a.Account[:], b.Account[:]) })
		for _, c := range cands {
			if c.Weight == 0 {
				continue
			}
			h := types.H(DomJury, beacon[:], beacon[:], types.Be32(slot), c.Account[:])
			score := new(big.Rat).SetFrac(new(big.Int).SetUint64(Lg(h.U64())), new(big.Int).SetUint64(c.Weight))
			if best == nil || score.Cmp(best) < 0 {
				best, want = score, c.Account
			}
		}
		shuffled := rapid.Permutation(cands).Draw(t, "order")
		if got, ok := Pick(DomJury, beacon, beacon, slot, shuffled); got != want || ok != (best != nil) {
			t.Fatalf("drew %s (%v), want %s (%v)", got.Short(), ok, want.Short(), best != nil)
		}
	})
}

func TestPickTies(t *testing.T) {
	a, b := Candidate{types.Account{1}, 5}, Candidate{types.Account{2}, 5}
	if !before(7, a, 7, b) || before(7, b, 7, a) {
		t.Error("a tie must go to the smaller account")
	}
	if !before(1, a, math.MaxUint64, b) || before(math.MaxUint64, a, 1, b) {
		t.Error("the smaller score must win")
	}
}

func TestPickNobody(t *testing.T) {
	for _, cands := range [][]Candidate{nil, {{types.Account{1}, 0}}} {
		if a, ok := Pick(DomPlace, types.Hash{}, types.Hash{}, 0, cands); ok || !a.IsZero() {
			t.Errorf("drew %s out of %d candidates without weight", a, len(cands))
		}
	}
}

func TestPickN(t *testing.T) {
	beacon, lot := name("b"), name("l")
	cands := candidates([]uint64{5, 0, 7, 1, 1, 90, 3})
	kept := slices.Clone(cands)
	var want []types.Account
	rest := slices.Clone(cands)
	for slot := uint32(0); ; slot++ {
		a, ok := Pick(DomAttest, beacon, lot, slot, rest)
		if !ok {
			break
		}
		want = append(want, a)
		rest = slices.DeleteFunc(rest, func(c Candidate) bool { return c.Account == a })
	}
	if len(want) != 6 {
		t.Fatalf("drew %d, want the 6 with a weight", len(want))
	}
	for n := range 9 {
		got := PickN(DomAttest, beacon, lot, n, cands)
		if d := cmp.Diff(want[:min(n, 6)], got, cmp.Transformer("nil", func(a []types.Account) []types.Account {
			return append([]types.Account{}, a...)
		})); d != "" {
			t.Errorf("n = %d: %s", n, d)
		}
	}
	if d := cmp.Diff(kept, cands); d != "" {
		t.Errorf("the list of candidates changed: %s", d)
	}
}

func TestH1_3(t *testing.T) {
	for _, v := range []struct{ base, good, failed, want uint64 }{
		{1, 0, 0, 32},
		{0, 5, 0, 1},
		{4, 1, 0, 170},
		{4, 0, 1, 85},
		{64, 99, 0, 4055},
		{1, 0, 62, 1},
		{1, 0, 1000, 1},
		{4096, 0, 0, 131072},
		{math.MaxUint64, math.MaxUint64, 0, 64<<32 - 1},
		{math.MaxUint64, 0, math.MaxUint64, 1},
	} {
		if got := Weight(v.base, v.good, v.failed); got != v.want {
			t.Errorf("weight of base %d, good %d, failed %d is %d, want %d", v.base, v.good, v.failed, got, v.want)
		}
	}
	for _, v := range []struct{ got, want uint64 }{
		{HostBase(0, true), 0},
		{HostBase(7, true), 28},
		{HostBase(7, false), 7},
		{HostBase(5000, true), 4096},
		{HostBase(math.MaxUint64, false), 1024},
		{BondBase(99, 100), 0},
		{BondBase(250, 100), 2},
		{BondBase(math.MaxUint64, 1), 64},
		{BondBase(9, 0), 1},
	} {
		if v.got != v.want {
			t.Errorf("base %d, want %d", v.got, v.want)
		}
	}
}

func TestH6_1Samples(t *testing.T) {
	chain, beacon := name("staddle/test/chain"), name("staddle/test/beacon")
	host := types.Account(name("staddle/test/hoster"))
	seed := ContractSeed{chain, beacon, name("staddle/test/contract"), host}
	if want := "daf4df64416914c9e4989b6f703be248b3516ed28f1049e0cd497062c7a15dc4"; seed.hash().String() != want {
		t.Errorf("seed %s, want %s", seed.hash(), want)
	}
	if d := cmp.Diff([]uint64{22520, 791857, 895790, 401755}, ContractSamples(seed, 4, 1000003)); d != "" {
		t.Error(d)
	}
	own := types.H("staddle/audit/1", chain[:], beacon[:], host[:])
	got := Samples(chain, beacon, host, 64, math.MaxUint64)
	for j, v := range got {
		h := sha256.Sum256(append(own[:], types.Be32(uint32(j))...))
		want := new(big.Int).SetBytes(h[:16])
		want.Mod(want, new(big.Int).SetUint64(math.MaxUint64))
		if !want.IsUint64() || want.Uint64() != v {
			t.Errorf("sample %d is %d, want %s", j, v, want)
		}
	}
	if len(got) != 64 || Samples(chain, beacon, host, 64, 0) != nil || Samples(chain, beacon, host, -1, 9) != nil {
		t.Errorf("%d samples, want 64, and none of nothing", len(got))
	}
}

// TestH6_1Detection deletes a share of leaves: the catch rate is 1-(1-x)^64.
func TestH6_1Detection(t *testing.T) {
	const epochs, total = 2000, 100000
	for _, percent := range []int{0, 1, 5, 10} {
		caught := 0
		for e := range epochs {
			beacon := types.H("staddle/test/detect", types.Be32(uint32(e)))
			s := Samples(types.Hash{1}, beacon, types.Account{2}, 64, total)
			if slices.ContainsFunc(s, func(v uint64) bool { return v%100 < uint64(percent) }) {
				caught++
			}
		}
		p := 1 - math.Pow(1-float64(percent)/100, 64)
		sigma := math.Sqrt(epochs * p * (1 - p))
		if d := math.Abs(float64(caught) - epochs*p); d > 3*sigma+0.5 {
			t.Errorf("%d %% lost: caught %d of %d, want %.0f +- %.0f", percent, caught, epochs, epochs*p, 3*sigma)
		}
	}
}

func TestH6_2Rotation(t *testing.T) {
	perEpoch := make([]int, 28)
	for i := range 2800 {
		lot := types.H("staddle/test/lot", types.Be32(uint32(i)))
		due := 0
		for e := range types.Epoch(56) {
			if RotationDue(lot, e) {
				due++
				perEpoch[e%28]++
				if want := types.H("staddle/audit/rot/1", lot[:]).U64() % 28; uint64(e)%28 != want {
					t.Fatalf("lot %d due in epoch %d, want %d mod 28", i, e, want)
				}
			}
		}
		if due != 2 {
			t.Fatalf("lot %d is due %d times in 56 epochs, want 2", i, due)
		}
	}
	for e, n := range perEpoch {
		if n < 120 || n > 280 {
			t.Errorf("%d of 5600 turns fall on epoch %d, want about 200", n, e)
		}
	}
	beacon, lot := name("b"), name("l")
	h := types.H("staddle/audit/leaf/1", beacon[:], lot[:])
	for _, leaves := range []uint64{1, 3, 1 << 40, math.MaxUint64} {
		want := new(big.Int).SetBytes(h[:16])
		want.Mod(want, new(big.Int).SetUint64(leaves))
		if got := RotationLeaf(beacon, lot, leaves); got != want.Uint64() {
			t.Errorf("leaf %d of %d, want %s", got, leaves, want)
		}
	}
	if RotationLeaf(beacon, lot, 0) != 0 {
		t.Error("a lot without leaves has leaf 0")
	}
}
