package replica

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// MaxPieces is the most pieces that Slots collects; a range has at most 256.
const MaxPieces = 4096

// slotsVersion is the first field of the stored form of Slots.
const slotsVersion = 1

// Reasons why Slots refuse something.
var (
	ErrPiece      = errors.New("piece is not the one of this place")
	ErrIncomplete = errors.New("pieces are missing")
)

// Slots builds the tree of a range whose pieces arrive in any order. Only piece
// roots and the nodes above them are kept, numbered in order (node o of level h
// at o x 2^(h+1) + 2^h - 1); below, a path is rebuilt by hashing its one piece.
type Slots struct {
	pieces     int
	lastLeaves int
	count      int
	have       []bool
	node       []types.Hash
}

// NewSlots is for a range of so many pieces (1 to MaxPieces), all whole but the
// last, which has lastLeaves leaves (1 to 256).
func NewSlots(pieces, lastLeaves int) (*Slots, error) {
	if pieces < 1 || pieces > MaxPieces {
		return nil, fmt.Errorf("range of %d pieces, want 1 to %d", pieces, MaxPieces)
	}
	if lastLeaves < 1 || lastLeaves > PieceLeaves {
		return nil, fmt.Errorf("last piece of %d leaves, want 1 to %d", lastLeaves, PieceLeaves)
	}
	n := 2*pieces - 1
	return &Slots{pieces, lastLeaves, 0, make([]bool, n), make([]types.Hash, n)}, nil
}

func slot(level, number int) int { return number<<(level+1) + 1<<level - 1 }

// Put records the root of a piece, counted from 0. The same root again changes
// nothing; another one is ErrPiece.
func (s *Slots) Put(piece int, root types.Hash) error {
	if piece < 0 || piece >= s.pieces {
		return fmt.Errorf("%w: piece %d of %d", ErrPiece, piece, s.pieces)
	}
	if s.Has(piece) {
		if have := s.node[slot(0, piece)]; have != root {
			return fmt.Errorf("%w: piece %d has root %s, not %s", ErrPiece, piece, have.Short(), root.Short())
		}
		return nil
	}
	s.set(0, piece, root)
	s.count++
	s.climb(piece, root)
	return nil
}

func (s *Slots) set(level, number int, h types.Hash) {
	i := slot(level, number)
	s.have[i], s.node[i] = true, h
}

// climb writes the nodes above a piece as long as the sisters are there.
func (s *Slots) climb(number int, h types.Hash) {
	for level := 0; 1<<level < s.pieces; level++ {
		sister := number ^ 1
		if sister<<level < s.pieces { // else the node moves up as it is
			other, ok := s.get(level, sister)
			if !ok {
				return
			}
			if number&1 == 1 {
				h, other = other, h
			}
			h = NodeHash(h, other)
			s.set(level+1, number>>1, h)
		}
		number >>= 1
	}
}

// get finds a node; one without a right half is its left half.
func (s *Slots) get(level, number int) (types.Hash, bool) {
	for level > 0 && (2*number+1)<<(level-1) >= s.pieces {
		level, number = level-1, 2*number
	}
	i := slot(level, number)
	return s.node[i], s.have[i]
}

// Has reports whether the piece is recorded.
func (s *Slots) Has(piece int) bool {
	return piece >= 0 && piece < s.pieces && s.have[slot(0, piece)]
}

// Missing are the pieces not recorded yet, ascending.
func (s *Slots) Missing() []int {
	var out []int
	for i := range s.pieces {
		if !s.Has(i) {
			out = append(out, i)
		}
	}
	return out
}

// Leaves is the leaves of the whole range.
func (s *Slots) Leaves() uint64 {
	return uint64(s.pieces-1)*PieceLeaves + uint64(s.lastLeaves)
}

// Root is the root of the range. Error: ErrIncomplete.
func (s *Slots) Root() (types.Hash, error) {
	if s.count < s.pieces {
		return types.Hash{}, fmt.Errorf("%w: %d of %d", ErrIncomplete, s.pieces-s.count, s.pieces)
	}
	level := 0
	for 1<<level < s.pieces {
		level++
	}
	h, _ := s.get(level, 0)
	return h, nil
}

// Path gives a leaf of the range, a part of padded, and its path, from the
// replica bytes of the piece that holds it. Errors: ErrPath for a number outside, ErrPiece when the
// bytes are not those recorded, ErrIncomplete.
func (s *Slots) Path(leaf uint64, padded []byte) (data []byte, path []types.Hash, err error) {
	if leaf >= s.Leaves() {
		return nil, nil, fmt.Errorf("%w: leaf %d of %d", ErrPath, leaf, s.Leaves())
	}
	piece, inside := int(leaf/PieceLeaves), int(leaf%PieceLeaves)
	hashes := leafHashes(padded)
	if len(hashes)*LeafSize != len(padded) || len(hashes) <= inside {
		return nil, nil, fmt.Errorf("%w: piece %d has %d bytes", ErrPiece, piece, len(padded))
	}
	if root := Root(hashes); !s.Has(piece) || s.node[slot(0, piece)] != root {
		return nil, nil, fmt.Errorf("%w: piece %d has now root %s", ErrPiece, piece, root.Short())
	}
	if path, err = Path(hashes, inside); err != nil {
		return nil, nil, err
	}
	if path, err = s.above(piece, path); err != nil {
		return nil, nil, err
	}
	return padded[inside*LeafSize : (inside+1)*LeafSize], path, nil
}

// above appends the path from a piece root to the root of the range.
func (s *Slots) above(number int, path []types.Hash) ([]types.Hash, error) {
	for level := 0; 1<<level < s.pieces; level++ {
		if sister := number ^ 1; sister<<level < s.pieces {
			h, ok := s.get(level, sister)
			if !ok {
				return nil, fmt.Errorf("%w: %d of %d", ErrIncomplete, s.pieces-s.count, s.pieces)
			}
			path = append(path, h)
		}
		number >>= 1
	}
	return path, nil
}

// EncodeTo appends [version, pieces, leaves of the last piece, [root or empty
// byte string, ...]]: what a host keeps beside the bytes. Nodes above the pieces
// are computed again, so the stored form cannot contradict itself.
func (s *Slots) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(slotsVersion)
	e.Uint(uint64(s.pieces))
	e.Uint(uint64(s.lastLeaves))
	e.Array(s.pieces)
	for i := range s.pieces {
		if s.Has(i) {
			e.Bytes(s.node[slot(0, i)][:])
		} else {
			e.Bytes(nil)
		}
	}
}

// DecodeFrom reads the stored form.
func (s *Slots) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	if v := d.Uint(); v != slotsVersion {
		d.Fail("slots of version %d, want %d", v, slotsVersion)
	}
	pieces, last := int(d.Limit(MaxPieces)), int(d.Limit(PieceLeaves))
	if n := d.Array(MaxPieces); n != pieces {
		d.Fail("%d slots for %d pieces", n, pieces)
	}
	if d.Err() != nil {
		return
	}
	fresh, err := NewSlots(pieces, last)
	if err != nil {
		d.Fail("%w", err)
		return
	}
	for i := range pieces {
		fresh.readSlot(d, i)
	}
	*s = *fresh
}

func (s *Slots) readSlot(d *types.Decoder, piece int) {
	b := d.Bytes(types.HashSize)
	if d.Err() != nil || len(b) == 0 {
		return
	}
	if len(b) != types.HashSize {
		d.Fail("root of %d bytes, want %d", len(b), types.HashSize)
		return
	}
	if err := s.Put(piece, types.Hash(b)); err != nil {
		d.Fail("%w", err)
	}
}
