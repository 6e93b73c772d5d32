package consensus_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// C2.1: a header's generation signature and proof are those of its miner on its
// parent.
func TestC2_1(t *testing.T) {
	l := start(t, 3, nil)
	if g := l.globals(); g.R != firstBeacon(l.gen) || g.Vrf != [64]byte{} || !l.tip.Header.Gensig.IsZero() {
		t.Fatalf("genesis has beacon %s, output %x, generation signature %s", g.R, g.Vrf, l.tip.Header.Gensig)
	}
	for range 3 {
		old, g := l.tip.Header, l.globals()
		l.mine()
		h := l.tip.Header
		if want := draw.NextGensig(old.Gensig, h.Miner, g.Vrf); h.Gensig != want {
			t.Fatalf("generation signature %s, want %s", h.Gensig, want)
		}
		out, err := draw.Verify(h.Miner, draw.Alpha(g.R, h.Height), h.Proof)
		if err != nil {
			t.Fatal(err)
		}
		if now := l.globals(); now.R != draw.Mix(g.R, out) || now.Vrf != out {
			t.Fatalf("beacon of block %d is not the parent's with its output", h.Height)
		}
	}
}

// C2.3: base target x power x elapsed > hit x 1000: one millisecond too early is
// no turn.
func TestC2_3(t *testing.T) {
	for _, c := range []struct {
		target, power uint64
		gensig        byte
	}{{1 << 40, 23_360_000, 1}, {1 << 30, 1_000, 2}, {math.MaxInt64, 1, 3}, {1 << 50, 1 << 40, 4}} {
		gensig := types.H("staddle/test/gensig", []byte{c.gensig})
		wait, ok := consensus.Wait(gensig, c.target, c.power)
		if !ok {
			continue
		}
		left := new(big.Int).Mul(new(big.Int).SetUint64(c.target), new(big.Int).SetUint64(c.power))
		right := new(big.Int).Mul(draw.Hit(gensig), big.NewInt(1000))
		first := new(big.Int).Add(new(big.Int).Quo(right, left), big.NewInt(1))
		if first.Int64() != int64(wait) {
			t.Errorf("%+v: wait %d, want %s", c, wait, first)
		}
		if consensus.Eligible(gensig, c.target, c.power, wait-1) || !consensus.Eligible(gensig, c.target, c.power, wait) {
			t.Errorf("%+v: not first eligible after %d ms", c, wait)
		}
	}
	for _, c := range []struct {
		power   uint64
		elapsed types.Millis
	}{{0, 1 << 40}, {1, 0}, {1, -5}} {
		if consensus.Eligible(types.Hash{}, math.MaxInt64, c.power, c.elapsed) {
			t.Errorf("power %d may mine after %d ms", c.power, c.elapsed)
		}
	}
	if _, ok := consensus.Wait(types.Hash{}, 1, 1); ok {
		t.Error("a turn in more than a year is one")
	}
	l := start(t, 2, nil)
	early := l.block()
	_, at := l.turn()
	early.Header.Time = at - 1
	l.resign(&early)
	l.refusedBlock(&early, "may not mine")
}

func TestC2_4(t *testing.T) {
	var v targets
	vectors(t, "target.json", &v)
	for _, x := range v.First {
		if have := consensus.GenesisTarget(&types.Rules{BlockMillis: x.BlockMillis}, uint64(x.Power)); have != uint64(x.Target) {
			t.Errorf("target of %d ms and power %d is %d, want %d", x.BlockMillis, x.Power, have, x.Target)
		}
	}
	l := start(t, 7, nil)
	if want := consensus.GenesisTarget(l.rules(), 7*3_337_142); l.tip.Header.BaseTarget != want {
		t.Errorf("genesis has target %d, want %d", l.tip.Header.BaseTarget, want)
	}
}

type targets struct {
	First []struct {
		BlockMillis   uint32
		Power, Target number
	}
	Next []struct {
		BlockMillis  uint32
		Target, Next number
		Interval     int64
	}
	Work []struct{ Target, Work number }
}

func TestC2_5(t *testing.T) {
	t.Run("vectors", func(t *testing.T) {
		var v targets
		vectors(t, "target.json", &v)
		if len(v.Next) == 0 {
			t.Fatal("no vectors")
		}
		for _, x := range v.Next {
			r := &types.Rules{BlockMillis: x.BlockMillis}
			times := [4]types.Millis{types.Millis(3 * x.Interval), 0, 0, 0}
			if have := consensus.NextTarget(r, 4, uint64(x.Target), times); have != uint64(x.Next) {
				t.Errorf("target after %d at interval %d of %d is %d, want %d", x.Target, x.Interval, x.BlockMillis, have, x.Next)
			}
			if have := consensus.NextTarget(r, 3, uint64(x.Target), times); have != uint64(x.Target) {
				t.Errorf("block 3 changes the target from %d to %d", x.Target, have)
			}
		}
	})
	t.Run("any power converges", anyPowerConverges)
	t.Run("share of power is share of blocks", shareOfBlocks)
}

// race is mining in virtual time: who has the least wait makes the next block.
type race struct {
	rules  types.Rules
	power  []uint64
	target uint64
	times  [4]types.Millis
	height types.Height
	seed   types.Hash
	won    []int
}

func (r *race) step(t *testing.T) {
	t.Helper()
	r.height++
	r.target = consensus.NextTarget(&r.rules, r.height, r.target, r.times)
	best, by := types.Millis(-1), -1
	for i, p := range r.power {
		gensig := types.H("staddle/test/race", r.seed[:], types.Be64(uint64(r.height)), types.Be32(uint32(i)))
		if wait, ok := consensus.Wait(gensig, r.target, p); ok && (best < 0 || wait < best) {
			best, by = wait, i
		}
	}
	if by < 0 {
		t.Fatalf("nobody may mine block %d at target %d", r.height, r.target)
	}
	r.won[by]++
	copy(r.times[1:], r.times[:3])
	r.times[0] += best
}

func newRace(seed byte, first uint64, power ...uint64) *race {
	r := &race{rules: types.SimMarket(), power: power, won: make([]int, len(power)), seed: types.Hash{seed}}
	r.rules.BlockMillis = 300_000
	r.target = consensus.GenesisTarget(&r.rules, first)
	return r
}

// anyPowerConverges starts with a target for another power: after 400 blocks the
// mean interval is the target block time within 5 %.
func anyPowerConverges(t *testing.T) {
	for i, c := range []struct{ first, power uint64 }{
		{23_360_000, 23_360_000}, {23_360_000, 100_000}, {23_360_000, 5_000_000_000}, {1_000, 1_000_000},
	} {
		r := newRace(byte(i), c.first, c.power)
		for range 400 {
			r.step(t)
		}
		begin := r.times[0]
		const n = 4000
		for range n {
			r.step(t)
		}
		mean := float64(r.times[0]-begin) / n / float64(r.rules.BlockMillis)
		if mean < 0.95 || mean > 1.05 {
			t.Errorf("power %d on a target for %d: mean interval %.3f of the target time", c.power, c.first, mean)
		}
	}
}

// shareOfBlocks: a miner with a part p of the power wins a part p of the blocks,
// within three standard deviations.
func shareOfBlocks(t *testing.T) {
	power := []uint64{500, 250, 150, 90, 10}
	const n = 4000
	r := newRace(77, 1000, power...)
	for range n {
		r.step(t)
	}
	for i, p := range power {
		want := float64(p) / 1000
		sigma := math.Sqrt(n * want * (1 - want))
		if d := math.Abs(float64(r.won[i]) - n*want); d > 3*sigma {
			t.Errorf("%d of 1000 won %d of %d blocks, %.1f standard deviations off", p, r.won[i], n, d/sigma)
		}
	}
}

// C2.6: cumulative difficulty grows by floor(2^64 / target); ties go to the lower
// hit, then to the lower name.
func TestC2_6(t *testing.T) {
	var v targets
	vectors(t, "target.json", &v)
	for _, x := range v.Work {
		if have := consensus.Work(uint64(x.Target)); have != uint64(x.Work) {
			t.Errorf("work of %d is %d, want %d", x.Target, have, x.Work)
		}
	}
	if have := consensus.Work(1); have != math.MaxUint64 {
		t.Errorf("work of the hardest target is %d, want all of 64 bits", have)
	}
	l := start(t, 2, nil)
	for range 5 {
		before := l.tip.Header.Difficulty
		l.mine()
		if h := l.tip.Header; h.Difficulty != before+consensus.Work(h.BaseTarget) {
			t.Fatalf("difficulty %d after %d with target %d", h.Difficulty, before, h.BaseTarget)
		}
	}
	gensig := func(u uint64) (h types.Hash) {
		binary.BigEndian.PutUint64(h[:], u)
		return h
	}
	block := func(difficulty uint64, gensig types.Hash, name string) *types.Block {
		return &types.Block{Name: types.NodeCID([]byte(name)), Header: types.Header{Difficulty: difficulty, Gensig: gensig}}
	}
	a, b := types.NodeCID([]byte("a")).KeyString(), types.NodeCID([]byte("b")).KeyString()
	low, high := "a", "b"
	if a > b {
		low, high = "b", "a"
	}
	order := []*types.Block{ // best first; a larger number in the signature is a lower hit
		block(9, gensig(0), high), block(8, gensig(1<<63), high), block(8, gensig(1<<62), low), block(8, gensig(1<<62), high), block(7, gensig(math.MaxUint64), low),
	}
	for i, x := range order {
		for j, y := range order {
			if have := consensus.Better(x, y); have != (i < j) {
				t.Errorf("block %d better than %d: %t", i, j, have)
			}
		}
	}
}
