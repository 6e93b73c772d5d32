package types

import "github.com/ipfs/go-cid"

// PieceSize is the length of every piece of a dataset but the last, in bytes (G6).
const PieceSize = 262144

// Limits of a dataset's description (G9).
const (
	MaxRangesPerBlock = 4096
	MaxRangePieces    = 256
	MaxName           = 255
	MaxMediaTypes     = 8
	MaxMediaType      = 127
)

// Range is a run of pieces cut by content: the unit of encoding (G7, G8).
type Range struct {
	ID    RangeID
	First uint32 // number of the first piece; pieces count from 1
	Count uint32 // 1 to 256 pieces
}

// EncodeTo appends the tuple [id, first, count].
func (r Range) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Bytes(r.ID[:])
	e.Uint(uint64(r.First))
	e.Uint(uint64(r.Count))
}

// DecodeFrom reads the tuple.
func (r *Range) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	r.ID = d.Hash()
	r.First = d.Uint32()
	r.Count = uint32(d.Limit(MaxRangePieces))
	if d.Err() == nil && (r.First == 0 || r.Count == 0) {
		d.Fail("range starts at piece %d with %d pieces; both are at least 1", r.First, r.Count)
	}
}

// RangeList is one block of a dataset's range list; Next links the following
// block and is undefined in the last.
type RangeList struct {
	Ranges []Range
	Next   cid.Cid
}

// EncodeTo appends [[range, ...], next].
func (l RangeList) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Array(len(l.Ranges))
	for _, r := range l.Ranges {
		r.EncodeTo(e)
	}
	e.Link(l.Next)
}

// DecodeFrom reads the list.
func (l *RangeList) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	l.Ranges = make([]Range, d.Array(MaxRangesPerBlock))
	for i := range l.Ranges {
		l.Ranges[i].DecodeFrom(d)
	}
	l.Next = d.Link()
}

// RangeBlocks cuts a range list into linked blocks and gives the link of the
// first. The blocks come last first, so that a link never dangles while storing.
func RangeBlocks(ranges []Range) (head cid.Cid, nodes []Node) {
	for end := len(ranges); end > 0; {
		start := (end - 1) / MaxRangesPerBlock * MaxRangesPerBlock
		n := NewNode(Marshal(RangeList{Ranges: ranges[start:end], Next: head}))
		head, nodes = n.CID, append(nodes, n)
		end = start
	}
	return head, nodes
}
