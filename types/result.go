package types

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/ipfs/go-cid"
)

// Shape of an epoch's result (ST9).
const (
	ResultBuckets  = 256  // by the first byte of the address
	MaxBucketLines = 8192 // lines of one bucket; its block stays below 1 MiB
)

// ResultLine is one account's result of an epoch. Positive numbers are credits,
// negative ones are owed.
type ResultLine struct {
	Address Address
	S       int64    // pieces stored for pay, in piece-epochs
	B       int64    // units sent
	T       *big.Int // S x storagecost + B x bandwidthcost, in wei, below 2^256
}

// SignedBig appends an integer: the empty byte string for zero, else a byte 0
// (positive) or 1 (negative) and the magnitude, big-endian without leading
// zeros. nil counts as zero.
func (e *Encoder) SignedBig(n *big.Int) {
	switch {
	case n == nil || n.Sign() == 0:
		e.Bytes(nil)
	case n.Sign() > 0:
		e.Bytes(append([]byte{0}, n.Bytes()...))
	default:
		e.Bytes(append([]byte{1}, n.Bytes()...))
	}
}

// SignedBig reads what Encoder.SignedBig wrote: at most 256 bits of magnitude.
func (d *Decoder) SignedBig() *big.Int {
	b := d.Bytes(1 + maxWeiBytes)
	if len(b) == 0 {
		return new(big.Int)
	}
	if b[0] > 1 || len(b) == 1 || b[1] == 0 {
		d.Fail("signed integer %#x is not in its one form", b)
		return new(big.Int)
	}
	n := new(big.Int).SetBytes(b[1:])
	if b[0] == 1 {
		n.Neg(n)
	}
	return n
}

// EncodeTo appends the tuple [address, s, b, t].
func (l *ResultLine) EncodeTo(e *Encoder) {
	e.Array(4)
	e.Bytes(l.Address[:])
	e.Int(l.S)
	e.Int(l.B)
	e.SignedBig(l.T)
}

// DecodeFrom reads the tuple. A line with s = b = 0 is refused: nets of zero are
// left out.
func (l *ResultLine) DecodeFrom(d *Decoder) {
	d.Tuple(4)
	d.Fixed(l.Address[:])
	l.S = d.Int()
	l.B = d.Int()
	l.T = d.SignedBig()
	if d.Err() == nil && l.S == 0 && l.B == 0 {
		d.Fail("result line of %s is empty", l.Address)
	}
}

// ResultBucket holds the lines of the accounts whose addresses share their first
// byte, ascending by address, each once.
type ResultBucket struct{ Lines []ResultLine }

// EncodeTo appends the list.
func (b *ResultBucket) EncodeTo(e *Encoder) {
	e.Array(len(b.Lines))
	for i := range b.Lines {
		b.Lines[i].EncodeTo(e)
	}
}

// DecodeFrom reads the list and refuses an empty one, lines out of order, and
// addresses that differ in the first byte.
func (b *ResultBucket) DecodeFrom(d *Decoder) {
	b.Lines = make([]ResultLine, 0, d.Array(MaxBucketLines))
	for range cap(b.Lines) {
		var l ResultLine
		l.DecodeFrom(d)
		if d.Err() != nil {
			return
		}
		if n := len(b.Lines); n > 0 {
			last := b.Lines[n-1].Address
			if last[0] != l.Address[0] || bytes.Compare(last[:], l.Address[:]) >= 0 {
				d.Fail("result line of %s after %s", l.Address, last)
				return
			}
		}
		b.Lines = append(b.Lines, l)
	}
	if d.Err() == nil && len(b.Lines) == 0 {
		d.Fail("result bucket without lines")
	}
}

// Totals are sums over result lines.
type Totals struct {
	S, B int64
	T    *big.Int // wei
}

// EncodeTo appends the tuple [s, b, t].
func (t *Totals) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Int(t.S)
	e.Int(t.B)
	e.SignedBig(t.T)
}

// DecodeFrom reads the tuple.
func (t *Totals) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	t.S = d.Int()
	t.B = d.Int()
	t.T = d.SignedBig()
}

// IsZero reports whether all three sums are zero.
func (t *Totals) IsZero() bool {
	return t.S == 0 && t.B == 0 && (t.T == nil || t.T.Sign() == 0)
}

// Add adds s, b and wei; it fails, and changes nothing, when a sum would leave
// its range.
func (t *Totals) Add(s, b int64, wei *big.Int) error {
	sumS, okS := AddInt(t.S, s)
	sumB, okB := AddInt(t.B, b)
	sumT := new(big.Int)
	if t.T != nil {
		sumT.Set(t.T)
	}
	if wei != nil {
		sumT.Add(sumT, wei)
	}
	if !okS || !okB || sumT.BitLen() > 8*maxWeiBytes {
		return fmt.Errorf("sums %d, %d and %s leave their range", t.S, t.B, sumT)
	}
	t.S, t.B, t.T = sumS, sumB, sumT
	return nil
}

// AddInt is a + b; ok is false when the sum leaves 64 bits.
func AddInt(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// ResultEntry describes one bucket of a result. An empty bucket has an undefined
// link and only zeros.
type ResultEntry struct {
	Bucket cid.Cid // block of the ResultBucket
	Lines  uint32
	Net    Totals // over all lines
	Credit Totals // over the positive numbers alone, each column for itself
}

// EncodeTo appends the tuple [bucket, lines, net, credit].
func (r *ResultEntry) EncodeTo(e *Encoder) {
	e.Array(4)
	e.Link(r.Bucket)
	e.Uint(uint64(r.Lines))
	r.Net.EncodeTo(e)
	r.Credit.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (r *ResultEntry) DecodeFrom(d *Decoder) {
	d.Tuple(4)
	r.Bucket = d.Link()
	r.Lines = uint32(d.Limit(MaxBucketLines))
	r.Net.DecodeFrom(d)
	r.Credit.DecodeFrom(d)
	switch {
	case d.Err() != nil:
	case r.Bucket.Defined() != (r.Lines > 0):
		d.Fail("bucket of %d lines with link %q", r.Lines, r.Bucket)
	case r.Lines == 0 && !(r.Net.IsZero() && r.Credit.IsZero()):
		d.Fail("empty bucket with sums %d, %d", r.Net.S, r.Net.B)
	case r.Bucket.Defined() && r.Bucket.Prefix().Codec != cid.DagCBOR:
		d.Fail("bucket %s is not dag-cbor", r.Bucket)
	}
}

// Result is the root block of an epoch's result: entry k is the bucket of the
// addresses that begin with byte k. Its CID is what validators agree on; who
// signed it stands beside it.
type Result struct{ Entries [ResultBuckets]ResultEntry }

// EncodeTo appends the list.
func (r *Result) EncodeTo(e *Encoder) {
	e.Array(ResultBuckets)
	for k := range r.Entries {
		r.Entries[k].EncodeTo(e)
	}
}

// DecodeFrom reads the list.
func (r *Result) DecodeFrom(d *Decoder) {
	d.Tuple(ResultBuckets)
	for k := range r.Entries {
		if d.Err() != nil {
			return
		}
		r.Entries[k].DecodeFrom(d)
	}
}

// Lines is the number of lines of all buckets.
func (r *Result) Lines() (n uint32) {
	for k := range r.Entries {
		n += r.Entries[k].Lines // at most 256 x 8,192
	}
	return n
}

// Totals adds up all buckets: net must be zero in every column for a result that
// may be paid (ST9.1). It fails when a sum leaves its range.
func (r *Result) Totals() (net, credit Totals, err error) {
	for k := range r.Entries {
		e := &r.Entries[k]
		if err := net.Add(e.Net.S, e.Net.B, e.Net.T); err != nil {
			return net, credit, fmt.Errorf("net of bucket %d: %w", k, err)
		}
		if err := credit.Add(e.Credit.S, e.Credit.B, e.Credit.T); err != nil {
			return net, credit, fmt.Errorf("credit of bucket %d: %w", k, err)
		}
	}
	return net, credit, nil
}

// Entry describes the bucket: its link, count and sums. It fails when there are
// too many lines or a sum leaves its range.
func (b *ResultBucket) Entry() (ResultEntry, error) {
	if len(b.Lines) == 0 {
		return ResultEntry{}, nil
	}
	if len(b.Lines) > MaxBucketLines {
		return ResultEntry{}, fmt.Errorf("bucket of %d lines above limit %d", len(b.Lines), MaxBucketLines)
	}
	e := ResultEntry{Bucket: NodeCID(Marshal(b)), Lines: uint32(len(b.Lines))}
	for i := range b.Lines {
		l := &b.Lines[i]
		if err := e.Net.Add(l.S, l.B, l.T); err != nil {
			return ResultEntry{}, err
		}
		wei := l.T
		if wei != nil && wei.Sign() < 0 {
			wei = nil
		}
		if err := e.Credit.Add(max(l.S, 0), max(l.B, 0), wei); err != nil {
			return ResultEntry{}, err
		}
	}
	return e, nil
}

// Check reports why b is not bucket k of r, or nil: the link, the count, the
// sums and the first byte of the addresses must fit.
func (r *Result) Check(k int, b *ResultBucket) error {
	have, err := b.Entry()
	if err != nil {
		return fmt.Errorf("check bucket %d: %w", k, err)
	}
	want := &r.Entries[k]
	if len(b.Lines) > 0 && int(b.Lines[0].Address[0]) != k {
		return fmt.Errorf("bucket %d holds %s", k, b.Lines[0].Address)
	}
	if !bytes.Equal(Marshal(&have), Marshal(want)) {
		return fmt.Errorf("bucket %d has %d lines and sums %d, %d, its entry says %d and %d, %d",
			k, have.Lines, have.Net.S, have.Net.B, want.Lines, want.Net.S, want.Net.B)
	}
	return nil
}
