package consensus

import (
	"math"
	"math/big"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// Proof of transaction (C2). A block is valid when
// base target x power x elapsed ms > hit x 1000, all big integers.

// GenesisTarget is floor(2^59 x 1000 / (A in ms x total power)), from 1 to
// 2^63 - 1 (C2.4).
func GenesisTarget(r *types.Rules, totalPower uint64) uint64 {
	n := new(big.Int).Lsh(big.NewInt(1000), 59)
	d := new(big.Int).Mul(big.NewInt(int64(r.BlockMillis)), new(big.Int).SetUint64(max(totalPower, 1)))
	return clampTarget(n.Quo(n, d))
}

func clampTarget(n *big.Int) uint64 {
	const largest = 1<<63 - 1
	switch {
	case n.Sign() <= 0:
		return 1
	case !n.IsUint64() || n.Uint64() > largest:
		return largest
	}
	return n.Uint64()
}

// NextTarget is the base target of the block at height n, from that of block
// n-1 and the times of the four blocks before it, newest first (C2.5).
func NextTarget(r *types.Rules, n types.Height, target uint64, times [4]types.Millis) uint64 {
	if n <= 3 {
		return target
	}
	a := int64(r.BlockMillis)
	slack := 7 * a / 60
	interval := (int64(times[0]) - int64(times[3])) / 3
	bt := new(big.Int).SetUint64(target)
	if interval > a {
		bt.Mul(bt, big.NewInt(min(interval, a+slack)))
		return clampTarget(bt.Quo(bt, big.NewInt(a)))
	}
	cut := new(big.Int).Mul(bt, big.NewInt(16*(a-max(interval, a-slack))))
	cut.Quo(cut, big.NewInt(25*a))
	return clampTarget(bt.Sub(bt, cut))
}

// Work is what a block adds to the cumulative difficulty: floor(2^64 / bt), at
// most 2^64 - 1 (C2.6).
func Work(target uint64) uint64 {
	n := new(big.Int).Lsh(big.NewInt(1), 64)
	if n.Quo(n, new(big.Int).SetUint64(target)); !n.IsUint64() {
		return math.MaxUint64
	}
	return n.Uint64()
}

// Eligible reports whether the block may be made after so many milliseconds (C2.3).
func Eligible(gensig types.Hash, target, power uint64, elapsed types.Millis) bool {
	if elapsed <= 0 || power == 0 {
		return false
	}
	left := new(big.Int).SetUint64(target)
	left.Mul(left, new(big.Int).SetUint64(power))
	left.Mul(left, big.NewInt(int64(elapsed)))
	right := draw.Hit(gensig)
	return left.Cmp(right.Mul(right, big.NewInt(1000))) > 0
}

// Wait is the least number of milliseconds after which Eligible holds; false
// when that is more than a year or the power is 0.
func Wait(gensig types.Hash, target, power uint64) (types.Millis, bool) {
	if power == 0 {
		return 0, false
	}
	n := draw.Hit(gensig)
	n.Mul(n, big.NewInt(1000))
	d := new(big.Int).SetUint64(target)
	d.Mul(d, new(big.Int).SetUint64(power))
	n.Quo(n, d)
	if !n.IsInt64() || n.Int64() > 365*24*3600*1000 {
		return 0, false
	}
	return types.Millis(n.Int64() + 1), true
}

// Better is the order of forks (C2.6): more cumulative difficulty, then the
// lower hit, then the lower name. It reports whether a goes before b.
func Better(a, b *types.Block) bool {
	if a.Header.Difficulty != b.Header.Difficulty {
		return a.Header.Difficulty > b.Header.Difficulty
	}
	if c := draw.Hit(a.Header.Gensig).Cmp(draw.Hit(b.Header.Gensig)); c != 0 {
		return c < 0
	}
	return a.Name.KeyString() < b.Name.KeyString()
}
