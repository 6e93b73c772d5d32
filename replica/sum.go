package replica

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"sort"

	"github.com/staddle/staddle/types"
)

// ErrSum marks sums that overflow, are zero, or stand in the wrong order.
var ErrSum = errors.New("sum tree is wrong")

// Sum is a node of a Merkle-sum tree: how many leaves lie below it, and its hash.
type Sum struct {
	Leaves uint64
	Hash   types.Hash
}

// sumNode is the node of rule H6.1 over two others.
func sumNode(l, r Sum) (Sum, error) {
	total, carry := bits.Add64(l.Leaves, r.Leaves, 0)
	if carry != 0 {
		return Sum{}, fmt.Errorf("%w: %d and %d leaves overflow", ErrSum, l.Leaves, r.Leaves)
	}
	h := types.H("staddle/sum/1", types.Be64(l.Leaves), types.Be64(r.Leaves), l.Hash[:], r.Hash[:])
	return Sum{total, h}, nil
}

// SumTree is a whole Merkle-sum tree in the shape of RFC 9162, lowest level first.
type SumTree struct {
	levels [][]Sum
	starts []uint64 // number of the first leaf of each lowest node
}

func newSumTree(lowest []Sum) (*SumTree, error) {
	t := &SumTree{levels: [][]Sum{lowest}, starts: make([]uint64, len(lowest))}
	next := uint64(0)
	for i, s := range lowest {
		if s.Leaves == 0 {
			return nil, fmt.Errorf("%w: item %d has no leaves", ErrSum, i)
		}
		t.starts[i] = next
		next += s.Leaves // an overflow shows in sumNode
	}
	for level := lowest; len(level) > 1; {
		up := make([]Sum, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			n, err := sumNode(level[i], level[i+1])
			if err != nil {
				return nil, err
			}
			up = append(up, n)
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t.levels, level = append(t.levels, up), up
	}
	return t, nil
}

// Root is total and root; zero for a tree of nothing.
func (t *SumTree) Root() Sum {
	if len(t.starts) == 0 {
		return Sum{}
	}
	return t.levels[len(t.levels)-1][0]
}

// Find gives the item that holds leaf number v, and v's number inside the item.
// Error: ErrPath when v is not below the total.
func (t *SumTree) Find(v uint64) (item int, inside uint64, err error) {
	if total := t.Root().Leaves; v >= total {
		return 0, 0, fmt.Errorf("%w: leaf %d of %d", ErrPath, v, total)
	}
	i := sort.Search(len(t.starts), func(i int) bool { return t.starts[i] > v }) - 1
	return i, v - t.starts[i], nil
}

// Path leads from an item to the root. Error: ErrPath.
func (t *SumTree) Path(item int) (SumPath, error) {
	if item < 0 || item >= len(t.starts) {
		return SumPath{}, fmt.Errorf("%w: item %d of %d", ErrPath, item, len(t.starts))
	}
	p := SumPath{Index: uint64(item)}
	for _, level := range t.levels[:len(t.levels)-1] {
		if s := item ^ 1; s < len(level) {
			p.Sisters = append(p.Sisters, level[s])
		}
		item >>= 1
	}
	return p, nil
}

// SumPath leads from an item of a sum tree, counted from 0, to the root.
type SumPath struct {
	Index   uint64
	Sisters []Sum // lowest first, at most 40
}

// Fold gives the root of a tree of count items that the path leads to from its
// item, and the number of the item's first leaf. Errors: ErrPath when the path
// does not fit the count, ErrSum on overflow.
func (p SumPath) Fold(item Sum, count uint64) (root Sum, start uint64, err error) {
	left, err := place(p.Index, count, len(p.Sisters))
	if err != nil {
		return Sum{}, 0, err
	}
	root = item
	for k, s := range p.Sisters {
		if left[k] {
			start += s.Leaves // at most the total, which sumNode bounds
			root, err = sumNode(s, root)
		} else {
			root, err = sumNode(root, s)
		}
		if err != nil {
			return Sum{}, 0, err
		}
	}
	return root, start, nil
}

// EncodeTo appends [index, [[leaves, hash], ...]].
func (p SumPath) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(p.Index)
	e.Array(len(p.Sisters))
	for _, s := range p.Sisters {
		e.Array(2)
		e.Uint(s.Leaves)
		e.Bytes(s.Hash[:])
	}
}

// DecodeFrom reads the path.
func (p *SumPath) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	p.read(d)
}

func (p *SumPath) read(d *types.Decoder) {
	p.Index = d.Uint()
	p.Sisters = nil
	for range d.Array(maxPath) {
		d.Tuple(2)
		s := Sum{Leaves: d.Uint(), Hash: d.Hash()}
		if d.Err() == nil && s.Leaves == 0 {
			d.Fail("sister %d has no leaves", len(p.Sisters))
		}
		p.Sisters = append(p.Sisters, s)
	}
}

// Claim is a lot that a host says it keeps, with the lot's leaves.
type Claim struct {
	Lot    types.LotID
	Leaves uint64
}

// Sum is the claim as an item of the tree.
func (c Claim) Sum() Sum {
	return Sum{c.Leaves, types.H("staddle/sum/leaf/1", c.Lot[:], types.Be64(c.Leaves))}
}

// EncodeTo appends [lot, leaves].
func (c Claim) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Bytes(c.Lot[:])
	e.Uint(c.Leaves)
}

// DecodeFrom reads the claim.
func (c *Claim) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	c.Lot, c.Leaves = d.Hash(), d.Uint()
}

// ClaimTree lays the lots of a host end to end (rule H6.1). The claims ascend by
// lot, each at most once. Its root and total stand in the host's log header.
// Error: ErrSum.
func ClaimTree(claims []Claim) (*SumTree, error) {
	lowest := make([]Sum, len(claims))
	for i, c := range claims {
		if i > 0 && bytes.Compare(claims[i-1].Lot[:], c.Lot[:]) >= 0 {
			return nil, fmt.Errorf("%w: lot %s does not ascend", ErrSum, c.Lot.Short())
		}
		lowest[i] = c.Sum()
	}
	return newSumTree(lowest)
}

// Entry is one range of a lot as its host and its encoder commit to it (G11).
type Entry struct {
	Range   types.RangeID
	Encoded types.Hash // RFC 9162 root over the replica bytes
	Plain   types.Hash // the same over the plain bytes, padded alike
	Modulus types.Hash // SHA-256 of the modulus; zero where the encoding has none
	Leaves  uint64     // leaves of the replica bytes, at least 1
}

// Sum is the range as an item of the lot's tree.
func (n Entry) Sum() Sum {
	h := types.H("staddle/lot/entry/1", n.Range[:], n.Encoded[:], n.Plain[:], n.Modulus[:], types.Be64(n.Leaves))
	return Sum{n.Leaves, h}
}

// EncodeTo appends [range, encoded, plain, modulus, leaves].
func (n Entry) EncodeTo(e *types.Encoder) {
	e.Array(5)
	for _, h := range []types.Hash{n.Range, n.Encoded, n.Plain, n.Modulus} {
		e.Bytes(h[:])
	}
	e.Uint(n.Leaves)
}

// DecodeFrom reads the entry.
func (n *Entry) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	for _, h := range []*types.Hash{&n.Range, &n.Encoded, &n.Plain, &n.Modulus} {
		*h = d.Hash()
	}
	if n.Leaves = d.Uint(); d.Err() == nil && n.Leaves == 0 {
		d.Fail("range without leaves")
	}
}

// LotTree is the tree over the ranges of a lot in the order of the plan (G11);
// its root and total stand in the lot's record on chain. Error: ErrSum, also for
// none or more than 64 ranges.
func LotTree(entries []Entry) (*SumTree, error) {
	if len(entries) < 1 || len(entries) > types.MaxLotRanges {
		return nil, fmt.Errorf("%w: lot of %d ranges, want 1 to %d", ErrSum, len(entries), types.MaxLotRanges)
	}
	lowest := make([]Sum, len(entries))
	for i, n := range entries {
		lowest[i] = n.Sum()
	}
	return newSumTree(lowest)
}
