package lines

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func farmer(n byte) settle.Farmer {
	return settle.Farmer{Farmer: chaintest.Account(hostA).Address(), Chunk: types.H("staddle/test/chunk", []byte{n}), Born: 5, Stored: 6, Rep: 2}
}

func farmerBytes(n byte) []byte { return farmer(n).Append(nil, settle.Grammar{}) }

func buyer(n byte) settle.Buyer {
	return settle.Buyer{Buyer: chaintest.Account(sponsor).Address(), Chunk: types.H("staddle/test/chunk", []byte{n}), Born: 5, Stored: 6, Rep: 2}
}

func proven(n byte, smash string) []byte {
	b := buyer(n)
	b.Smash = smash
	return b.Append(nil, settle.Grammar{})
}

// derived streams lines as a Source does.
func derived(list [][]byte) func(Emit) error {
	return func(e Emit) error { return ascending(slices.Clone(list), e) }
}

// ST2.1: lines and exceptions together are the literal log, byte for byte: what
// a node writes piece by piece, and what a reader derives and corrects.
func TestST2_1(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var base [][]byte
		var literal []string
		var list []Exception
		for n := range byte(rapid.IntRange(0, 40).Draw(rt, "pieces")) {
			line := farmerBytes(n)
			switch rapid.IntRange(0, 3).Draw(rt, "fate") {
			case 0:
				list = append(list, Exception{types.LogFarmer, OpRemove, line})
				base = append(base, line)
			case 1:
				list = append(list, Exception{types.LogFarmer, OpAdd, line})
				literal = append(literal, string(line))
			default:
				base = append(base, line)
				literal = append(literal, string(line))
			}
		}
		var bought [][]byte
		var paid []string
		for n := range byte(rapid.IntRange(0, 20).Draw(rt, "bought")) {
			line := proven(n, "")
			bought = append(bought, line)
			if rapid.Bool().Draw(rt, "smash") {
				line = proven(n, "00ff")
				list = append(list, Exception{types.LogBuyer, OpReplace, line})
			}
			paid = append(paid, string(line))
		}
		x := parsedAgain(rt, list)
		have := gather(t, func(e Emit) error {
			return x.Apply(types.LogFarmer, chaintest.Account(hostA).Address(), derived(base), e)
		})
		if want := sortedLines(literal); have != want {
			rt.Fatalf("\n%s\nwant\n%s", have, want)
		}
		have = gather(t, func(e Emit) error {
			return x.Apply(types.LogBuyer, chaintest.Account(sponsor).Address(), derived(bought), e)
		})
		if want := sortedLines(paid); have != want {
			rt.Fatalf("\n%s\nwant\n%s", have, want)
		}
	})
}

// parsedAgain makes the block and reads it back; nil for none.
func parsedAgain(rt *rapid.T, list []Exception) *Exceptions {
	if len(list) == 0 {
		return nil
	}
	x, err := NewExceptions(append(list, list[0]))
	if err != nil {
		rt.Fatal(err)
	}
	block := x.Block()
	again, err := ParseExceptions(block.CID, block.Bytes)
	if err != nil || !bytes.Equal(again.Block().Bytes, block.Bytes) {
		rt.Fatalf("read back: %v", err)
	}
	return again
}

func TestExceptionsRefused(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, 300)
	cases := map[string][]Exception{
		"sponsor removes a debt":   {{types.LogBuyer, OpRemove, proven(1, "")}},
		"sponsor adds a debt":      {{types.LogBuyer, OpAdd, proven(1, "")}},
		"replaced by itself":       {{types.LogBuyer, OpReplace, proven(1, "")}},
		"farmer replaces":          {{types.LogFarmer, OpReplace, farmerBytes(1)}},
		"bandwidth line":           {{types.LogBandwidth, OpAdd, long}},
		"verdict":                  {{types.LogVerdict, OpAdd, long}},
		"no such role":             {{9, OpAdd, long}},
		"not a line":               {{types.LogFarmer, OpAdd, long}},
		"buyer's line as farmer's": {{types.LogFarmer, OpAdd, proven(1, "")}},
		"empty":                    {{types.LogBandwidth, OpReceipt, nil}},
		"not canonical":            {{types.LogFarmer, OpAdd, bytes.Replace(farmerBytes(1), []byte(`":5`), []byte(`": 5`), 1)}},
	}
	for name, list := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := NewExceptions(list); !errors.Is(err, ErrException) {
				t.Fatalf("error %v", err)
			}
		})
	}
	many := make([]Exception, 0, MaxExceptions+1)
	for n := range MaxExceptions + 1 {
		many = append(many, Exception{types.LogBandwidth, OpReceipt, append(types.Be32(uint32(n)), long...)})
	}
	if _, err := NewExceptions(many); !errors.Is(err, ErrException) {
		t.Fatalf("%d entries: %v", len(many), err)
	}
	if _, err := NewExceptions(many[:MaxExceptions]); !errors.Is(err, ErrException) {
		t.Fatalf("block above a mebibyte: %v", err)
	}
}

func TestExceptionsThatDoNotFit(t *testing.T) {
	base := [][]byte{farmerBytes(1), farmerBytes(2), farmerBytes(3)}
	other := farmer(9)
	other.Farmer = chaintest.Account(hostB).Address()
	for name, c := range map[string]struct {
		role types.LogRole
		list []Exception
	}{
		"removes what is not there": {types.LogFarmer, []Exception{{types.LogFarmer, OpRemove, farmerBytes(7)}}},
		"adds what is there":        {types.LogFarmer, []Exception{{types.LogFarmer, OpAdd, farmerBytes(2)}}},
		"speaks for another":        {types.LogFarmer, []Exception{{types.LogFarmer, OpAdd, other.Append(nil, settle.Grammar{})}}},
		"replaces nothing":          {types.LogBuyer, []Exception{{types.LogBuyer, OpReplace, proven(1, "00")}}},
		"replaces twice":            {types.LogBuyer, []Exception{{types.LogBuyer, OpReplace, proven(1, "00")}, {types.LogBuyer, OpReplace, proven(1, "01")}}},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := NewExceptions(c.list)
			if err != nil {
				t.Fatal(err)
			}
			owner := chaintest.Account(hostA).Address()
			if c.role == types.LogBuyer {
				owner = chaintest.Account(sponsor).Address()
			}
			err = x.Apply(c.role, owner, derived(base), func([]byte) error { return nil })
			if !errors.Is(err, ErrException) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestExceptionsOfAnotherName(t *testing.T) {
	x, err := NewExceptions([]Exception{{types.LogFarmer, OpAdd, farmerBytes(1)}})
	if err != nil {
		t.Fatal(err)
	}
	b := x.Block()
	if _, err := ParseExceptions(types.RawCID([]byte("other")), b.Bytes); !errors.Is(err, ErrException) {
		t.Fatalf("error %v", err)
	}
	if x, err := ParseExceptions(cid.Undef, nil); x != nil || err != nil {
		t.Fatalf("no block: %v, %v", x, err)
	}
	if n := len(x.Of(types.LogFarmer, OpAdd)); n != 1 {
		t.Fatalf("%d entries", n)
	}
}

// FuzzExceptions: no panic, bounded memory, one spelling.
func FuzzExceptions(f *testing.F) {
	x, err := NewExceptions([]Exception{
		{types.LogFarmer, OpAdd, farmerBytes(1)},
		{types.LogFarmer, OpRemove, farmerBytes(2)},
		{types.LogBuyer, OpReplace, proven(3, "00")},
		{types.LogBandwidth, OpReceipt, []byte("receipt")},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.Block().Bytes)
	f.Add([]byte{0x82, 1, 0x80})
	f.Add([]byte{0x82, 1, 0x99, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseExceptions(types.RawCID(b), b)
		if err != nil {
			return
		}
		if !bytes.Equal(types.Marshal(x), b) {
			t.Fatalf("%x is read and written as %x", b, types.Marshal(x))
		}
		again, err := NewExceptions(x.List)
		if err != nil || !bytes.Equal(types.Marshal(again), b) {
			t.Fatalf("made again: %v", err)
		}
	})
}

func TestExceptionsMemory(t *testing.T) {
	hostile := []byte{0x82, 1, 0x99, 0x10, 0x00} // 4,096 entries announced, none there
	if n := testing.AllocsPerRun(10, func() {
		if err := types.Unmarshal(hostile, new(Exceptions)); err == nil {
			t.Fatal("taken")
		}
	}); n > 50 {
		t.Fatalf("%v allocations", n)
	}
}

func TestLogAgainstHeader(t *testing.T) {
	text := string(farmerBytes(1)) + "\n"
	var tally Tally
	if err := tally.Add(farmerBytes(1)); err != nil {
		t.Fatal(err)
	}
	h := tally.Header(types.Device{1}, types.LogFarmer, 3)
	two := tally
	none := (&Tally{}).Header(types.Device{1}, types.LogFarmer, 3)
	for name, c := range map[string]struct {
		text string
		h    types.LogHeader
		ok   bool
	}{
		"same":           {text, h, true},
		"empty":          {"", none, true},
		"short":          {"", h, false},
		"one byte more":  {text + "x", h, false},
		"without LF":     {text[:len(text)-1], h, false},
		"another line":   {strings.Replace(text, "5", "6", 1), h, false},
		"repeated":       {text + text, h, false},
		"line too long":  {strings.Repeat("x", 9000) + "\n", h, false},
		"not empty":      {text, none, false},
		"only LF, empty": {"\n", none, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(strings.NewReader(c.text), &c.h, func([]byte) error { return nil })
			if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrLog) {
				t.Fatalf("error %v", err)
			}
		})
	}
	if err := two.Add(farmerBytes(1)); !errors.Is(err, ErrLog) {
		t.Fatalf("repeated line: %v", err)
	}
}

func TestHeadersOfACommitment(t *testing.T) {
	var tally Tally
	var list Headers
	for _, role := range Roles() {
		list = append(list, tally.Header(types.Device{1}, role, 3))
	}
	root, err := list.Root()
	if err != nil {
		t.Fatal(err)
	}
	good := types.LogCommitment{Epoch: 3, Root: root, Headers: 3}
	if err := list.Committed(&good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]types.LogCommitment{
		"root": {Epoch: 3, Headers: 3}, "count": {Epoch: 3, Root: root, Headers: 2}, "epoch": {Epoch: 4, Root: root, Headers: 3},
	} {
		if err := list.Committed(&c); !errors.Is(err, ErrLog) {
			t.Fatalf("other %s: %v", name, err)
		}
	}
	if h := list.Find(types.LogBuyer); h == nil || h.Role != types.LogBuyer || list.Find(types.LogVerdict) != nil {
		t.Fatal("wrong header found")
	}
	var again Headers
	if err := types.Unmarshal(types.Marshal(list), &again); err != nil || !slices.Equal(list, again) {
		t.Fatalf("read back: %v", err)
	}
}

func FuzzHeaders(f *testing.F) {
	var tally Tally
	f.Add(types.Marshal(Headers{tally.Header(types.Device{1}, types.LogFarmer, 3)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Headers
		if types.Unmarshal(b, &l) == nil && !bytes.Equal(types.Marshal(l), b) {
			t.Fatalf("%x is written as %x", b, types.Marshal(l))
		}
	})
}

// FuzzCheck: a log of a stranger costs no memory and no panic.
func FuzzCheck(f *testing.F) {
	f.Add([]byte("a\nb\n"), uint64(4))
	f.Add([]byte("b\na\n"), uint64(1<<63))
	f.Fuzz(func(t *testing.T, b []byte, n uint64) {
		h := types.LogHeader{Version: 1, Role: types.LogFarmer, Bytes: n, Lines: n / 2}
		_ = Check(bytes.NewReader(b), &h, func(line []byte) error {
			if len(line) > settle.MaxLine+1 {
				t.Fatalf("line of %d bytes", len(line))
			}
			return nil
		})
	})
}
