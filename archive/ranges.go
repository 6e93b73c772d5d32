package archive

import (
	"fmt"

	"github.com/staddle/staddle/types"
)

// Bounds of the pieces of a range (G7): a power of two.
const (
	MinRangePieces = 4
	MaxRangePieces = types.MaxRangePieces
)

// Ranger cuts pieces into ranges by content (G7), in one pass and with at most
// two ranges of digests in memory. Big files are announced when their payload
// starts, in order; before the piece with that number is added.
type Ranger struct {
	n      int
	out    []types.Range
	cur    []types.Hash // pieces of the range that is open
	next   uint32       // number of the piece that Add takes next
	start  uint32       // first payload piece of the file that is open; 0 when none is
	end    uint32       // its last payload piece; 0 until known
	big    bool         // that file has at least n pieces
	beside []types.Hash // its pieces while nobody knows whether it is big
}

// NewRanger cuts ranges of at most n pieces.
func NewRanger(n int) (*Ranger, error) {
	if n < MinRangePieces || n > MaxRangePieces || n&(n-1) != 0 {
		return nil, fmt.Errorf("%d pieces a range, want a power of two from %d to %d", n, MinRangePieces, MaxRangePieces)
	}
	return &Ranger{n: n, next: 1}, nil
}

// FileStart says that an aligned payload begins with that piece, which is the
// one that Add takes next.
func (r *Ranger) FileStart(piece uint32) {
	r.settle()
	r.start, r.end = piece, 0
}

// FileEnd says which piece holds the payload's last byte.
func (r *Ranger) FileEnd(piece uint32) { r.end = piece }

// Add takes the digest of the next piece.
func (r *Ranger) Add(digest types.Hash) {
	if r.end != 0 && r.next > r.end {
		r.settle()
	}
	r.next++
	switch {
	case r.start == 0:
		r.addPlain(digest)
	case r.big:
		r.addBig(digest)
	default:
		r.beside = append(r.beside, digest)
		r.decide()
	}
}

// decide calls the open file big once n pieces of it have come: a range starts
// at its payload.
func (r *Ranger) decide() {
	if len(r.beside) < r.n {
		return
	}
	r.cut(r.next - uint32(len(r.beside)))
	r.big = true
	r.cur = append(r.cur, r.beside...)
	r.beside = r.beside[:0]
	r.cut(r.next)
}

// settle ends the open file: after a big one a range starts, a smaller one is
// cut like everything else.
func (r *Ranger) settle() {
	if r.big {
		r.cut(r.next)
	}
	first := r.next - uint32(len(r.beside))
	for i, digest := range r.beside {
		r.cur = append(r.cur, digest)
		r.cutAfter(first + uint32(i) + 1)
	}
	r.beside, r.start, r.end, r.big = r.beside[:0], 0, 0, false
}

func (r *Ranger) addPlain(digest types.Hash) {
	r.cur = append(r.cur, digest)
	r.cutAfter(r.next)
}

func (r *Ranger) addBig(digest types.Hash) {
	if r.cur = append(r.cur, digest); len(r.cur) == r.n {
		r.cut(r.next)
	}
}

func (r *Ranger) cutAfter(next uint32) {
	if endsRange(len(r.cur), r.n, r.cur[len(r.cur)-1]) {
		r.cut(next)
	}
}

// endsRange is the content cut of G7: a range of count pieces ends after the one
// with that digest.
func endsRange(count, n int, digest types.Hash) bool {
	return count == n || count >= n/4 && digest.U64()%uint64(n/2) == 0
}

// cut closes the open range before the piece with that number.
func (r *Ranger) cut(before uint32) {
	if len(r.cur) == 0 {
		return
	}
	count := uint32(len(r.cur))
	r.out = append(r.out, types.Range{ID: types.RangeOf(r.cur), First: before - count, Count: count})
	r.cur = r.cur[:0]
}

// Finish closes the last range and gives all, in order.
func (r *Ranger) Finish() []types.Range {
	r.settle()
	r.cut(r.next)
	return r.out
}

// CheckRange says why the digests are not the pieces of that range (G8, G10).
func CheckRange(r types.Range, digests []types.Hash) error {
	if int(r.Count) != len(digests) {
		return fmt.Errorf("range %s of %d pieces, have %d", r.ID.Short(), r.Count, len(digests))
	}
	if id := types.RangeOf(digests); id != r.ID {
		return fmt.Errorf("pieces hash to range %s, want %s", id.Short(), r.ID.Short())
	}
	return nil
}
