package replica

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"github.com/staddle/staddle/types"
)

// LeafSize is the bytes of a leaf, the smallest part that an audit shows.
const LeafSize = 1024

// PieceLeaves is the leaves of a whole piece; a piece root is a node of level 8.
const PieceLeaves = types.PieceSize / LeafSize

// maxPath bounds a path that is read: enough for a tree of 2^40 leaves.
const maxPath = 40

// ErrPath marks a path that does not fit its tree.
var ErrPath = errors.New("path does not fit the tree")

// LeafHash is SHA-256(0x00, leaf) (RFC 9162, section 2.1).
func LeafHash(leaf []byte) types.Hash {
	var buf [1 + LeafSize]byte
	return sha256.Sum256(append(buf[:1], leaf...))
}

// NodeHash is SHA-256(0x01, left, right) (RFC 9162, section 2.1).
func NodeHash(left, right types.Hash) types.Hash {
	var buf [1 + 2*types.HashSize]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[33:], right[:])
	return sha256.Sum256(buf[:])
}

// Commitment binds a tree to the length of its bytes, which also tells a leaf
// from a node: SHA-256(0x02, be64 byteLength, root).
func Commitment(byteLength uint64, root types.Hash) types.Hash {
	return sha256.Sum256(append(append([]byte{2}, types.Be64(byteLength)...), root[:]...))
}

// Tree takes the hashes of one level in order and gives the root in the shape of
// RFC 9162. It keeps one hash a level.
type Tree struct {
	stack []types.Hash
	count uint64
}

// Add appends the next hash: a leaf's, or the root of a full subtree when all
// before it were as large.
func (t *Tree) Add(h types.Hash) {
	for n := t.count; n&1 == 1; n >>= 1 {
		top := len(t.stack) - 1
		h = NodeHash(t.stack[top], h)
		t.stack = t.stack[:top]
	}
	t.stack = append(t.stack, h)
	t.count++
}

// Root is the root of what was added so far; of nothing, SHA-256 of nothing.
func (t *Tree) Root() types.Hash {
	if len(t.stack) == 0 {
		return sha256.Sum256(nil)
	}
	h := t.stack[len(t.stack)-1]
	for i := len(t.stack) - 2; i >= 0; i-- {
		h = NodeHash(t.stack[i], h)
	}
	return h
}

// Root combines hashes of one level: leaves to a piece, pieces to a range.
func Root(hashes []types.Hash) types.Hash {
	t := Tree{stack: make([]types.Hash, 0, bits.Len(uint(len(hashes)))+1)}
	for _, h := range hashes {
		t.Add(h)
	}
	return t.Root()
}

// Path is the sister hashes of hashes[i], lowest first.
func Path(hashes []types.Hash, i int) ([]types.Hash, error) {
	if i < 0 || i >= len(hashes) {
		return nil, fmt.Errorf("%w: leaf %d of %d", ErrPath, i, len(hashes))
	}
	var path []types.Hash
	level := append([]types.Hash(nil), hashes...)
	for ; len(level) > 1; i >>= 1 {
		if s := i ^ 1; s < len(level) {
			path = append(path, level[s])
		}
		level = parents(level)
	}
	return path, nil
}

// parents overwrites a level by the one above; an odd last node moves up.
func parents(level []types.Hash) []types.Hash {
	n := len(level)
	for i := 0; i+1 < n; i += 2 {
		level[i/2] = NodeHash(level[i], level[i+1])
	}
	if n%2 == 1 {
		level[n/2] = level[n-1]
	}
	return level[:(n+1)/2]
}

// sides tells for each sister of number i of count, lowest first, whether it
// stands to the left; where a level ends with i, there is none
// (RFC 9162, section 2.1.3.2).
func sides(i, count uint64) []bool {
	var out []bool
	for last := count - 1; last > 0; i, last = i>>1, last>>1 {
		if i&1 == 1 || i < last {
			out = append(out, i&1 == 1)
		}
	}
	return out
}

// Fold gives the root that path leads to from h, which is number i of count.
// Error: ErrPath when the path is too long or too short for that place.
func Fold(h types.Hash, i, count uint64, path []types.Hash) (types.Hash, error) {
	left, err := place(i, count, len(path))
	if err != nil {
		return types.Hash{}, err
	}
	for k, sister := range path {
		if left[k] {
			h = NodeHash(sister, h)
		} else {
			h = NodeHash(h, sister)
		}
	}
	return h, nil
}

func place(i, count uint64, length int) ([]bool, error) {
	if i >= count {
		return nil, fmt.Errorf("%w: number %d of %d", ErrPath, i, count)
	}
	left := sides(i, count)
	if len(left) != length {
		return nil, fmt.Errorf("%w: %d sisters for number %d of %d, want %d", ErrPath, length, i, count, len(left))
	}
	return left, nil
}

// PaddedLen is the replica bytes of a piece of n bytes: whole leaves.
func PaddedLen(n int) int { return (n + LeafSize - 1) / LeafSize * LeafSize }

// leafHashes hashes replica bytes, which are whole leaves.
func leafHashes(padded []byte) []types.Hash {
	out := make([]types.Hash, 0, len(padded)/LeafSize)
	for ; len(padded) >= LeafSize; padded = padded[LeafSize:] {
		out = append(out, LeafHash(padded[:LeafSize]))
	}
	return out
}

// PieceRoot is the root over the leaves of one piece: replica bytes, or plain
// bytes, which are padded with zeros to whole leaves.
func PieceRoot(piece []byte) types.Hash {
	s := Stream{}
	_, _ = s.Write(piece) // never fails
	return s.Root()
}

// Stream hashes bytes as they come, in constant memory. The last leaf is padded
// with zeros.
type Stream struct {
	tree   Tree
	leaf   [LeafSize]byte
	filled int
	length uint64
}

// Write takes the next bytes; it never fails.
func (s *Stream) Write(p []byte) (int, error) {
	n := len(p)
	s.length += uint64(n)
	for len(p) > 0 {
		if s.filled == 0 && len(p) >= LeafSize {
			s.tree.Add(LeafHash(p[:LeafSize]))
			p = p[LeafSize:]
			continue
		}
		k := copy(s.leaf[s.filled:], p)
		s.filled, p = s.filled+k, p[k:]
		if s.filled == LeafSize {
			s.tree.Add(LeafHash(s.leaf[:]))
			s.filled = 0
		}
	}
	return n, nil
}

// Len is the bytes written, without padding.
func (s *Stream) Len() uint64 { return s.length }

// Root is the root of what was written; writing may go on.
func (s *Stream) Root() types.Hash {
	if s.filled == 0 {
		return s.tree.Root()
	}
	t := Tree{append([]types.Hash(nil), s.tree.stack...), s.tree.count}
	leaf := s.leaf
	clear(leaf[s.filled:])
	t.Add(LeafHash(leaf[:]))
	return t.Root()
}
