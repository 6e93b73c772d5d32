// Package bencode is the encoding of the BitTorrent DHT (BEP 3, BEP 5), as
// strict as it can be: integers and lengths in their one shortest form, keys
// strictly ascending, nothing after the value. What is decoded keeps its exact
// bytes, because BEP 44 hashes and signs them.
//
// The decoder copies its input once and never allocates more than a bounded
// multiple of it. All functions may be called at once.
package bencode

import (
	"errors"
	"slices"
	"strconv"
)

// Limits of what Decode accepts.
const (
	MaxSize   = 2048 // bytes of input: larger than any UDP packet of the DHT
	MaxDepth  = 8    // lists and dictionaries inside each other
	MaxValues = 512  // values in all, keys not counted
)

// Kind tells what a Value is. The zero Kind is "absent".
type Kind uint8

// The four kinds of bencode.
const (
	Absent Kind = iota
	Integer
	String
	List
	Dict
)

// Fields are the entries of a dictionary to encode; the values are bencoded
// already, by the functions below or by someone else.
type Fields map[string][]byte

// AppendInt appends i<n>e.
func AppendInt(dst []byte, n int64) []byte {
	dst = append(dst, 'i')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, 'e')
}

// AppendBytes appends <length>:<b>.
func AppendBytes(dst, b []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	dst = append(dst, ':')
	return append(dst, b...)
}

// OfInt is the encoding of an integer.
func OfInt(n int64) []byte { return AppendInt(nil, n) }

// OfBytes is the encoding of a byte string.
func OfBytes(b []byte) []byte { return AppendBytes(make([]byte, 0, len(b)+8), b) }

// OfString is the encoding of a text as a byte string.
func OfString(s string) []byte { return OfBytes([]byte(s)) }

// OfList is the encoding of a list of values that are bencoded already.
func OfList(items ...[]byte) []byte {
	out := []byte{'l'}
	for _, item := range items {
		out = append(out, item...)
	}
	return append(out, 'e')
}

// OfDict is the encoding of a dictionary; it brings the keys into order.
func OfDict(f Fields) []byte {
	keys := make([]string, 0, len(f))
	for k := range f {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := []byte{'d'}
	for _, k := range keys {
		out = AppendBytes(out, []byte(k))
		out = append(out, f[k]...)
	}
	return append(out, 'e')
}

// Value is one decoded value. It shares the copy that Decode made of its
// input, and must not be written to; the zero Value is absent.
type Value struct {
	kind Kind
	num  int64  // an integer, or where a string's content starts in raw
	raw  []byte // the exact bytes
	keys [][]byte
	vals []Value // items of a list, or values of a dictionary beside keys
}

// Kind tells what v is.
func (v Value) Kind() Kind { return v.kind }

// Raw is the exact encoding of v; nil if absent.
func (v Value) Raw() []byte { return v.raw }

// Int is the integer; false if v is something else.
func (v Value) Int() (int64, bool) {
	if v.kind != Integer {
		return 0, false
	}
	return v.num, true
}

// Bytes is the content of a string; false if v is something else.
func (v Value) Bytes() ([]byte, bool) {
	if v.kind != String {
		return nil, false
	}
	return v.raw[v.num:], true
}

// Items are the items of a list; nil if v is something else.
func (v Value) Items() []Value {
	if v.kind != List {
		return nil
	}
	return v.vals
}

// Get is the value under a key of a dictionary; absent if there is none or v is
// something else.
func (v Value) Get(key string) Value {
	if v.kind != Dict {
		return Value{}
	}
	for i, k := range v.keys {
		if string(k) == key {
			return v.vals[i]
		}
	}
	return Value{}
}

// Reasons for which Decode refuses.
var (
	ErrTooLarge  = errors.New("bencode: input above 2048 bytes")
	ErrDeep      = errors.New("bencode: nested deeper than 8")
	ErrManyParts = errors.New("bencode: more than 512 values")
	ErrShort     = errors.New("bencode: input ends inside a value")
	ErrSyntax    = errors.New("bencode: byte that starts no value")
	ErrNumber    = errors.New("bencode: number not in its one form or outside 64 bits")
	ErrKeys      = errors.New("bencode: keys not strictly ascending")
	ErrTrailing  = errors.New("bencode: bytes after the value")
)

// Decode reads exactly one value in canonical form. The result shares nothing
// with b, which may be reused at once.
func Decode(b []byte) (Value, error) {
	if len(b) > MaxSize {
		return Value{}, ErrTooLarge
	}
	d := decoder{buf: slices.Clone(b)}
	v, err := d.value(0)
	if err != nil {
		return Value{}, err
	}
	if d.off != len(d.buf) {
		return Value{}, ErrTrailing
	}
	return v, nil
}

type decoder struct {
	buf   []byte
	off   int
	count int
}

func (d *decoder) peek() (byte, error) {
	if d.off >= len(d.buf) {
		return 0, ErrShort
	}
	return d.buf[d.off], nil
}

func (d *decoder) value(depth int) (Value, error) {
	if d.count++; d.count > MaxValues {
		return Value{}, ErrManyParts
	}
	c, err := d.peek()
	switch {
	case err != nil:
		return Value{}, err
	case c == 'i':
		return d.integer()
	case c >= '0' && c <= '9':
		return d.text()
	case c != 'l' && c != 'd':
		return Value{}, ErrSyntax
	case depth == MaxDepth:
		return Value{}, ErrDeep
	case c == 'l':
		return d.list(depth)
	}
	return d.dict(depth)
}

// number reads digits up to the byte end, which it passes.
func (d *decoder) number(end byte) (int64, error) {
	const most = 20 // digits and sign of the longest 64-bit number
	start := d.off
	for d.off < len(d.buf) && d.off-start <= most {
		if d.buf[d.off] != end {
			d.off++
			continue
		}
		text := d.buf[start:d.off]
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || string(text) != strconv.FormatInt(n, 10) {
			return 0, ErrNumber
		}
		d.off++
		return n, nil
	}
	if d.off-start > most {
		return 0, ErrNumber
	}
	return 0, ErrShort
}

func (d *decoder) integer() (Value, error) {
	start := d.off
	d.off++
	n, err := d.number('e')
	if err != nil {
		return Value{}, err
	}
	return Value{kind: Integer, num: n, raw: d.since(start)}, nil
}

func (d *decoder) text() (Value, error) {
	start := d.off
	n, err := d.number(':')
	if err != nil {
		return Value{}, err
	}
	if n > int64(len(d.buf)-d.off) {
		return Value{}, ErrShort
	}
	body := d.off - start
	d.off += int(n)
	return Value{kind: String, num: int64(body), raw: d.since(start)}, nil
}

func (d *decoder) list(depth int) (Value, error) {
	v, start := Value{kind: List}, d.off
	d.off++
	for {
		c, err := d.peek()
		if err != nil {
			return Value{}, err
		}
		if c == 'e' {
			break
		}
		item, err := d.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.vals = append(v.vals, item)
	}
	d.off++
	v.raw = d.since(start)
	return v, nil
}

func (d *decoder) dict(depth int) (Value, error) {
	v, start := Value{kind: Dict}, d.off
	d.off++
	for {
		c, err := d.peek()
		if err != nil {
			return Value{}, err
		}
		if c == 'e' {
			break
		}
		if err := d.entry(&v, depth); err != nil {
			return Value{}, err
		}
	}
	d.off++
	v.raw = d.since(start)
	return v, nil
}

func (d *decoder) entry(v *Value, depth int) error {
	if c, _ := d.peek(); c < '0' || c > '9' {
		return ErrSyntax
	}
	k, err := d.text()
	if err != nil {
		return err
	}
	key, _ := k.Bytes()
	if n := len(v.keys); n > 0 && string(v.keys[n-1]) >= string(key) {
		return ErrKeys
	}
	item, err := d.value(depth + 1)
	if err != nil {
		return err
	}
	v.keys = append(v.keys, key)
	v.vals = append(v.vals, item)
	return nil
}

// since is what was read from start on; its capacity ends there, so that no
// append reaches the bytes behind.
func (d *decoder) since(start int) []byte { return d.buf[start:d.off:d.off] }

// Encode gives the bytes of v again, built from its parts and not from Raw. An
// absent value gives nil.
func (v Value) Encode() []byte {
	switch v.kind {
	case Integer:
		return OfInt(v.num)
	case String:
		return OfBytes(v.raw[v.num:])
	case List:
		items := make([][]byte, len(v.vals))
		for i, item := range v.vals {
			items[i] = item.Encode()
		}
		return OfList(items...)
	case Dict:
		f := make(Fields, len(v.keys))
		for i, k := range v.keys {
			f[string(k)] = v.vals[i].Encode()
		}
		return OfDict(f)
	}
	return nil
}
