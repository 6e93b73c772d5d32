package bencode

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEncode(t *testing.T) {
	cases := map[string][]byte{
		"i-42e":                OfInt(-42),
		"0:":                   OfBytes(nil),
		"4:spam":               OfString("spam"),
		"l4:spami0ee":          OfList(OfString("spam"), OfInt(0)),
		"le":                   OfList(),
		"de":                   OfDict(nil),
		"d1:a1:x2:aai1e1:blee": OfDict(Fields{"b": OfList(), "aa": OfInt(1), "a": OfString("x")}),
	}
	for want, got := range cases {
		if string(got) != want {
			t.Errorf("encoded %q, want %q", got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	cases := []struct {
		name, in string
		want     error
	}{
		{"empty", "", ErrShort},
		{"leading zero", "i01e", ErrNumber},
		{"minus zero", "i-0e", ErrNumber},
		{"plus", "i+1e", ErrNumber},
		{"no digits", "ie", ErrNumber},
		{"65 bits", "i9223372036854775808e", ErrNumber},
		{"endless digits", "i" + strings.Repeat("1", 500), ErrNumber},
		{"open integer", "i12", ErrShort},
		{"length with zero", "01:a", ErrNumber},
		{"length beyond end", "5:abcd", ErrShort},
		{"length huge", "9223372036854775807:a", ErrShort},
		{"length open", "5", ErrShort},
		{"open list", "l", ErrShort},
		{"open dict", "d", ErrShort},
		{"key without value", "d1:ae", ErrSyntax},
		{"key not a string", "di1ei2ee", ErrSyntax},
		{"keys unsorted", "d1:bi1e1:ai2ee", ErrKeys},
		{"key twice", "d1:ai1e1:ai2ee", ErrKeys},
		{"trailing", "i1ei2e", ErrTrailing},
		{"unknown byte", "x", ErrSyntax},
		{"too deep", strings.Repeat("l", 9) + strings.Repeat("e", 9), ErrDeep},
		{"bomb of lists", strings.Repeat("l", 2000), ErrDeep},
		{"too many", "l" + strings.Repeat("0:", 512) + "e", ErrManyParts},
		{"too large", strings.Repeat("0", 2049), ErrTooLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Decode([]byte(c.in)); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestDecodeAtLimits(t *testing.T) {
	for _, in := range []string{
		strings.Repeat("l", 8) + strings.Repeat("e", 8),
		"l" + strings.Repeat("0:", 511) + "e",
		"2043:" + strings.Repeat("x", 2043),
		"i9223372036854775807e", "i-9223372036854775808e",
	} {
		v, err := Decode([]byte(in))
		if err != nil {
			t.Fatalf("%.20q: %v", in, err)
		}
		if string(v.Raw()) != in {
			t.Errorf("raw %.20q, want %.20q", v.Raw(), in)
		}
	}
}

func TestAccess(t *testing.T) {
	v, err := Decode([]byte("d1:ai7e1:b3:abc1:cli1eee"))
	if err != nil {
		t.Fatal(err)
	}
	n, okInt := v.Get("a").Int()
	b, okBytes := v.Get("b").Bytes()
	if n != 7 || !okInt || string(b) != "abc" || !okBytes || len(v.Get("c").Items()) != 1 {
		t.Errorf("got %d %v, %q %v, %d items", n, okInt, b, okBytes, len(v.Get("c").Items()))
	}
	if _, ok := v.Get("b").Int(); ok {
		t.Error("a string was read as integer")
	}
	if _, ok := v.Get("a").Bytes(); ok {
		t.Error("an integer was read as string")
	}
	absent := v.Get("z").Get("deeper")
	if absent.Kind() != Absent || absent.Raw() != nil || absent.Items() != nil {
		t.Error("an absent key is not absent")
	}
}

// The read buffer of a socket is reused: what was decoded must not change.
func TestDecodeSharesNothing(t *testing.T) {
	in := []byte("d1:v5:helloe")
	v, err := Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	clear(in)
	if got, _ := v.Get("v").Bytes(); string(got) != "hello" {
		t.Errorf("value became %q", got)
	}
	if string(v.Get("v").Raw()) != "5:hello" {
		t.Errorf("raw became %q", v.Get("v").Raw())
	}
}

func TestDecodeMemory(t *testing.T) {
	bomb := []byte("l" + strings.Repeat("i0e", 511) + "e")
	const runs = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := Decode(bomb); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 256<<10 {
		t.Errorf("decoding %d bytes allocates %d, limit %d", len(bomb), n, 256<<10)
	}
}

func generate(depth int) *rapid.Generator[[]byte] {
	leaf := rapid.OneOf(
		rapid.Map(rapid.Int64(), OfInt),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), OfBytes))
	if depth == 0 {
		return leaf
	}
	inner := generate(depth - 1)
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(v [][]byte) []byte { return OfList(v...) }),
		rapid.Map(rapid.MapOfN(rapid.StringN(0, 5, 9), inner, 0, 4),
			func(m map[string][]byte) []byte { return OfDict(m) }))
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := generate(3).Draw(t, "value")
		if len(in) > MaxSize {
			t.Skip("drawn value above the packet size")
		}
		v, err := Decode(in)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if !bytes.Equal(v.Encode(), in) {
			t.Fatalf("%q became %q", in, v.Encode())
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"i1e", "4:spam", "l4:spami0ee", "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", "d", "i-0e", "9:", "lllllllll"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Decode(in)
		if err != nil {
			return
		}
		if !bytes.Equal(v.Raw(), in) || !bytes.Equal(v.Encode(), in) {
			t.Errorf("%q was accepted but reads back as %q", in, v.Encode())
		}
	})
}
