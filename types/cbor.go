package types

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// Major types of CBOR (RFC 8949 section 3.1) as far as we use them.
const (
	majorUint  = 0
	majorNeg   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7

	tagLink = 42 // dag-cbor link
)

// Encoder appends canonical dag-cbor to a buffer. It cannot fail: what may be
// too large is checked where a value is made.
type Encoder struct{ buf []byte }

// Encodable is a value with a canonical form.
type Encodable interface{ EncodeTo(e *Encoder) }

// Decodable reads its canonical form; errors stay in the Decoder.
type Decodable interface{ DecodeFrom(d *Decoder) }

// Marshal gives the canonical bytes of v.
func Marshal(v Encodable) []byte {
	var e Encoder
	v.EncodeTo(&e)
	return e.buf
}

// Unmarshal fills v from b and refuses non-canonical or trailing bytes.
// The slices and strings of v do not alias b.
func Unmarshal(b []byte, v Decodable) error {
	d := NewDecoder(b)
	v.DecodeFrom(d)
	return d.End()
}

// Data is what was encoded so far; the encoder keeps it.
func (e *Encoder) Data() []byte { return e.buf }

func (e *Encoder) head(major byte, n uint64) {
	m := major << 5
	switch {
	case n < 24:
		e.buf = append(e.buf, m|byte(n))
	case n <= math.MaxUint8:
		e.buf = append(e.buf, m|24, byte(n))
	case n <= math.MaxUint16:
		e.buf = append(e.buf, m|25, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		e.buf = append(e.buf, m|26)
		e.buf = append(e.buf, Be32(uint32(n))...)
	default:
		e.buf = append(e.buf, m|27)
		e.buf = append(e.buf, Be64(n)...)
	}
}

// Uint appends an unsigned integer.
func (e *Encoder) Uint(n uint64) { e.head(majorUint, n) }

// Int appends a signed integer.
func (e *Encoder) Int(n int64) {
	if n < 0 {
		e.head(majorNeg, uint64(-(n + 1)))
		return
	}
	e.head(majorUint, uint64(n))
}

// Bytes appends a byte string.
func (e *Encoder) Bytes(b []byte) {
	e.head(majorBytes, uint64(len(b)))
	e.buf = append(e.buf, b...)
}

// Text appends a text string.
func (e *Encoder) Text(s string) {
	e.head(majorText, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

// Array opens an array of n items, which the caller appends next.
func (e *Encoder) Array(n int) { e.head(majorArray, uint64(n)) }

// Bool appends true or false.
func (e *Encoder) Bool(b bool) {
	v := byte(20)
	if b {
		v = 21
	}
	e.buf = append(e.buf, majorOther<<5|v)
}

// Link appends a CID as dag-cbor tag 42; an undefined CID becomes null.
func (e *Encoder) Link(c cid.Cid) {
	if !c.Defined() {
		e.buf = append(e.buf, majorOther<<5|22)
		return
	}
	e.head(majorTag, tagLink)
	e.Bytes(append([]byte{0}, c.Bytes()...))
}

// Raw appends bytes that are already canonical dag-cbor, for nested values.
func (e *Encoder) Raw(b []byte) { e.buf = append(e.buf, b...) }

// ErrTrailing marks bytes after the end of a value.
var ErrTrailing = errors.New("trailing bytes")

// Decoder reads canonical dag-cbor. The first error sticks: later reads give
// zero values, so that a codec is straight lines with one check at the end.
// It never allocates more than the input holds.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder reads b, which must not change meanwhile.
func NewDecoder(b []byte) *Decoder { return &Decoder{buf: b} }

// Err is the first error.
func (d *Decoder) Err() error { return d.err }

// Fail records an error found by the caller, such as a value out of range.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("at byte %d: "+format, append([]any{d.off}, args...)...)
	}
}

// End is the first error, or ErrTrailing when bytes are left.
func (d *Decoder) End() error {
	if d.err == nil && d.off != len(d.buf) {
		d.Fail("%w: %d", ErrTrailing, len(d.buf)-d.off)
	}
	return d.err
}

// More reports whether unread bytes are left and no error happened.
func (d *Decoder) More() bool { return d.err == nil && d.off < len(d.buf) }

func (d *Decoder) take(n uint64) []byte {
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.buf)-d.off) {
		d.Fail("want %d bytes, have %d", n, len(d.buf)-d.off)
		return nil
	}
	b := d.buf[d.off : d.off+int(n)]
	d.off += int(n)
	return b
}

func (d *Decoder) head() (major byte, n uint64) {
	b := d.take(1)
	if b == nil {
		return 0xff, 0
	}
	major, info := b[0]>>5, b[0]&31
	if info < 24 {
		return major, uint64(info)
	}
	if info > 27 {
		d.Fail("indefinite or reserved length %#x", b[0])
		return 0xff, 0
	}
	size := 1 << (info - 24)
	for _, c := range d.take(uint64(size)) {
		n = n<<8 | uint64(c)
	}
	if d.err == nil && major != majorOther && !shortest(size, n) {
		d.Fail("integer %d is not in its shortest form", n)
	}
	return major, n
}

func shortest(size int, n uint64) bool {
	switch size {
	case 1:
		return n >= 24
	case 2:
		return n > math.MaxUint8
	case 4:
		return n > math.MaxUint16
	}
	return n > math.MaxUint32
}

func (d *Decoder) want(major byte, what string) uint64 {
	m, n := d.head()
	if d.err == nil && m != major {
		d.Fail("want %s, have major type %d", what, m)
	}
	if d.err != nil {
		return 0
	}
	return n
}

// Uint reads an unsigned integer.
func (d *Decoder) Uint() uint64 { return d.want(majorUint, "unsigned integer") }

// Limit reads an unsigned integer of at most limit.
func (d *Decoder) Limit(limit uint64) uint64 {
	n := d.Uint()
	if n > limit {
		d.Fail("number %d above limit %d", n, limit)
		return 0
	}
	return n
}

// Uint32 reads an unsigned integer of 32 bits.
func (d *Decoder) Uint32() uint32 { return uint32(d.Limit(math.MaxUint32)) }

// Uint8 reads an unsigned integer of 8 bits.
func (d *Decoder) Uint8() uint8 { return uint8(d.Limit(math.MaxUint8)) }

// Int reads a signed integer.
func (d *Decoder) Int() int64 {
	m, n := d.head()
	switch {
	case d.err != nil:
		return 0
	case m != majorUint && m != majorNeg:
		d.Fail("want integer, have major type %d", m)
		return 0
	case n > math.MaxInt64:
		d.Fail("integer outside 64 bits")
		return 0
	case m == majorNeg:
		return -int64(n) - 1
	}
	return int64(n)
}

// Bytes reads a byte string of at most limit bytes and copies it.
// An empty string reads as nil.
func (d *Decoder) Bytes(limit int) []byte {
	n := d.want(majorBytes, "byte string")
	if n > uint64(limit) {
		d.Fail("byte string of %d above limit %d", n, limit)
		return nil
	}
	return append([]byte(nil), d.take(n)...)
}

// Fixed reads a byte string of exactly len(dst) bytes into dst.
func (d *Decoder) Fixed(dst []byte) {
	n := d.want(majorBytes, "byte string")
	if d.err == nil && n != uint64(len(dst)) {
		d.Fail("byte string of %d, want %d", n, len(dst))
		return
	}
	copy(dst, d.take(n))
}

// Hash reads a 32-byte string.
func (d *Decoder) Hash() (h Hash) {
	d.Fixed(h[:])
	return h
}

// Text reads a UTF-8 string of at most limit bytes.
func (d *Decoder) Text(limit int) string {
	n := d.want(majorText, "text")
	if n > uint64(limit) {
		d.Fail("text of %d bytes above limit %d", n, limit)
		return ""
	}
	b := d.take(n)
	if !utf8.Valid(b) {
		d.Fail("text is not UTF-8")
		return ""
	}
	return string(b)
}

// Array reads the head of an array of at most limit items. Each item takes at
// least one byte, so a length beyond the input is refused before allocation.
func (d *Decoder) Array(limit int) int {
	n := d.want(majorArray, "array")
	if n > uint64(limit) {
		d.Fail("array of %d above limit %d", n, limit)
		return 0
	}
	if n > uint64(len(d.buf)-d.off) {
		d.Fail("array of %d in %d bytes", n, len(d.buf)-d.off)
		return 0
	}
	return int(n)
}

// Tuple reads the head of an array of exactly n items.
func (d *Decoder) Tuple(n int) {
	m := d.want(majorArray, "array")
	if d.err == nil && m != uint64(n) {
		d.Fail("record of %d fields, want %d", m, n)
	}
}

// Bool reads true or false.
func (d *Decoder) Bool() bool {
	b := d.take(1)
	switch {
	case b == nil:
		return false
	case b[0] == majorOther<<5|21:
		return true
	case b[0] != majorOther<<5|20:
		d.Fail("want boolean, have %#x", b[0])
	}
	return false
}

// Link reads a CID or null (cid.Undef). Only CIDv1 with SHA-256 and the codecs
// raw and dag-cbor are accepted.
func (d *Decoder) Link() cid.Cid {
	if d.err == nil && d.off < len(d.buf) && d.buf[d.off] == majorOther<<5|22 {
		d.off++
		return cid.Undef
	}
	if n := d.want(majorTag, "link"); d.err == nil && n != tagLink {
		d.Fail("tag %d is not a link", n)
	}
	b := d.Bytes(1 + cidSize)
	if d.err != nil {
		return cid.Undef
	}
	if len(b) == 0 || b[0] != 0 {
		d.Fail("link without identity prefix")
		return cid.Undef
	}
	c, err := ParseCIDBytes(b[1:])
	if err != nil {
		d.Fail("%w", err)
	}
	return c
}

// Canonical reports why b is not exactly one canonical dag-cbor value as the
// state accepts it (no floats; map keys are text in length-first order), or nil.
func Canonical(b []byte) error {
	d := NewDecoder(b)
	d.scan(0)
	return d.End()
}

const maxNesting = 32

func (d *Decoder) scan(depth int) {
	if depth > maxNesting {
		d.Fail("nested deeper than %d", maxNesting)
		return
	}
	start := d.off
	major, n := d.head()
	if d.err != nil {
		return
	}
	switch major {
	case majorUint, majorNeg:
	case majorBytes:
		d.take(n)
	case majorText:
		d.off = start
		_ = d.Text(len(d.buf))
	case majorArray:
		for i := uint64(0); i < n && d.err == nil; i++ {
			d.scan(depth + 1)
		}
	case majorMap:
		d.scanMap(n, depth)
	case majorTag:
		d.off = start
		_ = d.Link()
	default:
		if b := d.buf[start]; b < majorOther<<5|20 || b > majorOther<<5|22 {
			d.Fail("simple value or float %#x", b)
		}
	}
}

func (d *Decoder) scanMap(n uint64, depth int) {
	last := ""
	for i := uint64(0); i < n && d.err == nil; i++ {
		key := d.Text(len(d.buf))
		if i > 0 && (len(key) < len(last) || len(key) == len(last) && key <= last) {
			d.Fail("map key %q out of order", clip(key, 40))
		}
		last = key
		d.scan(depth + 1)
	}
}
