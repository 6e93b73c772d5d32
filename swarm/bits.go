package swarm

import "math/bits"

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return i>>6 < len(b) && b[i>>6]>>(i&63)&1 == 1 }
func (b bitset) add(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitset) drop(i int)     { b[i>>6] &^= 1 << (i & 63) }

// next is the first member of b without those of not, in [from, end); -1 when
// there is none. not may be shorter.
func (b bitset) next(not bitset, from, end int) int {
	for w := from >> 6; w<<6 < end; w++ {
		word := b[w]
		if w < len(not) {
			word &^= not[w]
		}
		if w == from>>6 {
			word &= ^uint64(0) << (from & 63)
		}
		if word != 0 {
			if i := w<<6 + bits.TrailingZeros64(word); i < end {
				return i
			}
			return -1
		}
	}
	return -1
}
