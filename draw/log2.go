package draw

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/staddle/staddle/types"
)

// log2Top is the logarithm of 2^64 in 32.32 fixed point: 64 x 2^32.
const log2Top = uint64(64) << 32

// ln2Q64 is the natural logarithm of 2 times 2^64 (rule C2.2).
const ln2Q64 = 0xB17217F7D1CF79AB

// Log2Q32 is the binary logarithm of h in 32.32 fixed point, truncated: 32
// squarings of the mantissa, integers only. Log2Q32(0) is that of 1, zero.
func Log2Q32(h uint64) uint64 {
	if h == 0 {
		return 0
	}
	n := bits.Len64(h) - 1
	y := h << (63 - n)
	r := uint64(0)
	for range 32 {
		hi, lo := bits.Mul64(y, y)
		r <<= 1
		if hi>>63 == 1 {
			r |= 1
			y = hi
		} else {
			y = hi<<1 | lo>>63
		}
	}
	return uint64(n)<<32 | r
}

// Lg is -log2(h / 2^64) in 32.32 fixed point, from 1 (h = 2^64-1) to 64 x 2^32
// (h = 1; 0 counts as 1): the exponential race of drawing by weight.
func Lg(h uint64) uint64 { return log2Top - Log2Q32(h) }

// LgPlusOne is Lg(u+1), with Lg(2^64) = 0 for the largest u (rule C2.2).
func LgPlusOne(u uint64) uint64 {
	if u == math.MaxUint64 {
		return 0
	}
	return Lg(u + 1)
}

// Hit is how long a miner has to wait, from 0 to about 44.4 x 2^59 (66 bits),
// spread exponentially with mean 2^59 (rule C2.2). The caller owns the number.
func Hit(gensig types.Hash) *big.Int {
	hi, lo := bits.Mul64(LgPlusOne(gensig.U64()), ln2Q64)
	hit := new(big.Int).SetUint64(hi)
	hit.Lsh(hit, 64).Or(hit, new(big.Int).SetUint64(lo))
	return hit.Rsh(hit, 37)
}
