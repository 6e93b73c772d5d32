package settle

import (
	"bytes"
	"errors"
	"math/big"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// roundTrip checks a parser: what it accepts has one canonical form, which reads
// back as the same value.
func roundTrip[T any](f *testing.F, parse func([]byte, Grammar) (T, error), form func(*T, []byte, Grammar) []byte, seeds ...string) {
	for _, s := range seeds {
		for line := range strings.Lines(s) {
			line = strings.TrimSuffix(line, "\n")
			f.Add([]byte(line), false)
			f.Add([]byte(line), true)
			f.Add([]byte(strings.ReplaceAll(line, ",", " , ")), false)
			f.Add([]byte(line[:len(line)/2]), false)
		}
	}
	f.Fuzz(func(t *testing.T, line []byte, legacy bool) {
		g := Grammar{LegacyIDs: legacy}
		value, err := parse(line, g)
		if err != nil {
			var code Code
			if !errors.As(err, &code) || code == Accepted || code >= codeEnd {
				t.Fatalf("error %v is no code", err)
			}
			return
		}
		once := form(&value, nil, g)
		again, err := parse(once, g)
		if err != nil {
			t.Fatalf("%q became %q: %v", line, once, err)
		}
		if twice := form(&again, nil, g); !bytes.Equal(once, twice) {
			t.Fatalf("%q, then %q", once, twice)
		}
		if diff := cmp.Diff(value, again, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzFarmer(f *testing.F) {
	roundTrip(f, ParseFarmer, func(v *Farmer, b []byte, g Grammar) []byte { return v.Append(b, g) }, docFarmers)
}

func FuzzBuyer(f *testing.F) {
	roundTrip(f, ParseBuyer, func(v *Buyer, b []byte, g Grammar) []byte { return v.Append(b, g) }, docBuyers)
}

func FuzzBandwidth(f *testing.F) {
	roundTrip(f, ParseBandwidth, func(v *Bandwidth, b []byte, g Grammar) []byte { return v.Append(b, g) }, relayA, relayB,
		`{"id":"`+idCB+`","remote":"`+idD8+`","s":-9007199254740991,"receipt":"a.b_c-D9"}`)
}

func FuzzVerdict(f *testing.F) {
	roundTrip(f, ParseVerdict, func(v *Verdict, b []byte, g Grammar) []byte { return v.Append(b, g) },
		`{"verdict":"active","chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","farmer":"`+idCB+`","ok":1}`,
		`{"verdict":"serve","chunkID":"1d4b6e4aa86d48c464c9adf83940d4e00df8affc","farmer":"`+idCB+`","ok":0}`)
}

func FuzzJoined(f *testing.F) {
	roundTrip(f, ParseJoined, func(v *Joined, b []byte, g Grammar) []byte { return v.Append(b, g) }, docJoined, docRows,
		`{"chunkID":"2b3b7615443069fa6886eec0283d23b09b54a906f78df2d1e537db0ebbf148ca","buyers":["`+idCB+`","`+idD8+`"],"rep":5,"reps":[5,2],"renew":0,"farmers":[]}`)
}

func FuzzNet(f *testing.F) {
	roundTrip(f, ParseNet, func(v *Net, b []byte, g Grammar) []byte {
		if v.S == 0 && v.B == 0 {
			return []byte(`{"id":"` + v.ID.String() + `","s":0}`)
		}
		return v.Append(b, g)
	}, docCollation, `{"id":"`+idCB+`","s":-9223372036854775807}`, `{"id":"`+idCB+`","b":1}`)
}

func FuzzRow(f *testing.F) {
	roundTrip(f, ParseRow, func(v *Row, b []byte, g Grammar) []byte { return AppendRow(b, v, g) }, docCollation,
		`{"id":"`+idCB+`","s":3,"b":-1,"t":2999999999999999999999999999999}`)
}

func FuzzFeedback(f *testing.F) {
	var seeds []byte
	for k := range feedbackEnd {
		fb := Feedback{Kind: k, Node: sampleAddress("farmer", 1), Chunk: types.H("staddle/test/chunk"), Rep: 3, Farmers: 6, Peer: sampleAddress("farmer", 2), Receipt: "r1"}
		seeds = append(fb.Append(seeds, Grammar{}), '\n')
	}
	roundTrip(f, ParseFeedback, func(v *Feedback, b []byte, g Grammar) []byte { return v.Append(b, g) }, string(seeds))
}

func FuzzCounts(f *testing.F) {
	f.Add("in=5 out=3 legacy=1 E_GRAMMAR=2")
	f.Add("in=x")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCounts(text)
		if err != nil {
			return
		}
		if again, err := ParseCounts(c.String()); err != nil || again != c {
			t.Fatalf("%s reads as %s, %v", c, again, err)
		}
	})
}

func FuzzParams(f *testing.F) {
	f.Add("beacon=" + testBeacon.String() + "\nstoragecost=5\nbandwidthcost=7\nverdicts=1\nlegacy-ids=true\nshard=0x3/4")
	f.Add("owner=" + idCB + "\nminrep=3\nepochend=77\nvalidator=v\nepochtimestamp=5\nsig=x")
	f.Fuzz(func(t *testing.T, text string) {
		values := map[string]string{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			values[name] = value
		}
		p, err := ParseParams(func(name string) string { return values[name] })
		if err != nil {
			return
		}
		list := p.Settings()
		again, err := ParseParams(func(name string) string {
			for _, s := range list {
				if s.Name == name {
					return s.Value
				}
			}
			return ""
		})
		if diff := cmp.Diff(list, again.Settings()); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

// FuzzStages feeds a filter with anything: no panic, and a reducer takes what its
// own mapper wrote.
func FuzzStages(f *testing.F) {
	for _, s := range []string{docFarmers + docBuyers, docRows, relayA + relayB + relayC, docCollation, "}{}{\n\n}{", ""} {
		for which := range Stages() {
			f.Add([]byte(s), uint8(which))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, which uint8) {
		stage := Stages()[int(which)%len(Stages())]
		p := Params{Beacon: testBeacon, StorageCost: big.NewInt(3), BandwidthCost: big.NewInt(5), LegacyIDs: true, Verdicts: len(in)%2 == 0}
		var facts, out bytes.Buffer
		if _, err := stage.Map(p, bytes.NewReader(in), &facts); err != nil {
			t.Fatalf("map %s: %v", stage.Name(), err)
		}
		_, err := stage.Reduce(p, strings.NewReader(sorted(facts.String())), &out)
		if err != nil && !errors.Is(err, ErrOverflow) {
			t.Fatalf("reduce %s of %q: %v", stage.Name(), facts.String(), err)
		}
		_, _ = stage.Reduce(p, bytes.NewReader(in), &out) // anything: an error at most
	})
}

// A hostile stream does not make a filter hold it: at its end, with everything
// that is not reachable collected, less than the buffers' size is in use.
func TestBoundedMemory(t *testing.T) {
	const bound = 2 << 20
	for _, c := range []struct {
		pattern string
		size    int
		stages  []Stage
	}{
		{"x", 32 << 20, Stages()},
		{"{\"farmer\":\"", 32 << 20, Stages()},
		{"}{", 3 << 20, []Stage{joinStage{}}},
		{"\n", 3 << 20, []Stage{joinStage{}}},
	} {
		for _, stage := range c.stages {
			var before, after runtime.MemStats
			in := &endless{pattern: []byte(strings.Repeat(c.pattern, 1000)), left: c.size, atEnd: func() {
				runtime.GC()
				runtime.ReadMemStats(&after)
			}}
			runtime.GC()
			runtime.ReadMemStats(&before)
			if _, err := stage.Map(Params{}, in, discard{}); err != nil {
				t.Fatal(err)
			}
			if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); after.HeapAlloc == 0 || held > bound {
				t.Fatalf("stage %s holds %d bytes of %d of %q", stage.Name(), held, c.size, c.pattern)
			}
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
