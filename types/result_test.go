package types

import (
	"bytes"
	"math/big"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var cmpBig = cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })

func resultLine(first, last byte, s, b int64) ResultLine {
	l := ResultLine{S: s, B: b, T: big.NewInt(100*s + 7*b)}
	l.Address[0], l.Address[19] = first, last
	return l
}

func TestResultBucketRoundTrip(t *testing.T) {
	huge := new(big.Int).Lsh(big.NewInt(1), 256)
	most := new(big.Int).Sub(huge, big.NewInt(1))
	bucket := ResultBucket{Lines: []ResultLine{resultLine(9, 1, 3, 1), resultLine(9, 2, -1, 0), resultLine(9, 3, 0, -1<<62)}}
	bucket.Lines[0].T = most
	bucket.Lines[1].T = new(big.Int).Neg(most)
	bucket.Lines[2].T = new(big.Int)
	var have ResultBucket
	if err := Unmarshal(Marshal(&bucket), &have); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bucket, have, cmpBig); diff != "" {
		t.Fatal(diff)
	}
}

func TestResultBucketRefuses(t *testing.T) {
	many := make([]ResultLine, MaxBucketLines+1)
	for i := range many {
		many[i] = resultLine(1, 0, 1, 1)
		many[i].Address[10], many[i].Address[11] = byte(i>>8), byte(i)
	}
	tooBig := resultLine(1, 1, 1, 1)
	tooBig.T = new(big.Int).Lsh(big.NewInt(1), 256)
	for _, c := range []struct {
		name, want string
		lines      []ResultLine
	}{
		{"no line", "without lines", nil},
		{"empty line", "is empty", []ResultLine{resultLine(1, 1, 0, 0)}},
		{"order", "after", []ResultLine{resultLine(1, 2, 1, 1), resultLine(1, 1, 1, 1)}},
		{"twice", "after", []ResultLine{resultLine(1, 2, 1, 1), resultLine(1, 2, 1, 1)}},
		{"two first bytes", "after", []ResultLine{resultLine(1, 2, 1, 1), resultLine(2, 3, 1, 1)}},
		{"too many", "above limit", many},
		{"t above 256 bits", "above limit", []ResultLine{tooBig}},
	} {
		err := Unmarshal(Marshal(&ResultBucket{Lines: c.lines}), new(ResultBucket))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSignedBigHasOneForm(t *testing.T) {
	for _, b := range [][]byte{{0x41, 0x00}, {0x41, 0x01}, {0x42, 0x00, 0x00}, {0x42, 0x02, 0x05}, {0x43, 0x01, 0x00, 0x05}} {
		d := NewDecoder(b)
		if n := d.SignedBig(); d.End() == nil {
			t.Errorf("% x reads as %s", b, n)
		}
	}
}

func testResult(t testing.TB) (Result, []ResultBucket) {
	t.Helper()
	buckets := []ResultBucket{
		{Lines: []ResultLine{resultLine(0, 1, 5, -2), resultLine(0, 2, -3, 0)}},
		{Lines: []ResultLine{resultLine(255, 1, -2, 2)}},
	}
	var r Result
	for i, k := range []int{0, 255} {
		entry, err := buckets[i].Entry()
		if err != nil {
			t.Fatal(err)
		}
		r.Entries[k] = entry
	}
	return r, buckets
}

func TestResult(t *testing.T) {
	r, buckets := testResult(t)
	var have Result
	if err := Unmarshal(Marshal(&r), &have); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(Marshal(&have), Marshal(&r)) {
		t.Fatal("result changes on the way")
	}
	net, credit, err := have.Totals()
	if err != nil || !net.IsZero() {
		t.Fatalf("net %v, %v", net, err)
	}
	if want := (Totals{S: 5, B: 2, T: big.NewInt(486)}); !cmp.Equal(credit, want, cmpBig) {
		t.Fatal(cmp.Diff(want, credit, cmpBig))
	}
	if have.Lines() != 3 {
		t.Fatalf("%d lines", have.Lines())
	}
	if err := have.Check(0, &buckets[0]); err != nil {
		t.Fatal(err)
	}
	if err := have.Check(255, &buckets[1]); err != nil {
		t.Fatal(err)
	}
	if err := have.Check(7, &ResultBucket{}); err != nil {
		t.Fatal(err)
	}
	if have.Check(1, &buckets[1]) == nil || have.Check(0, &buckets[1]) == nil || have.Check(0, &ResultBucket{}) == nil {
		t.Fatal("another bucket passes")
	}
}

func TestResultEntryIsConsistent(t *testing.T) {
	r, _ := testResult(t)
	for name, change := range map[string]func(*ResultEntry){
		"lines without link": func(e *ResultEntry) { e.Lines = 1 },
		"sums without lines": func(e *ResultEntry) { e.Net.S = 1 },
		"link without lines": func(e *ResultEntry) { e.Bucket = NodeCID(nil) },
		"raw link":           func(e *ResultEntry) { e.Bucket, e.Lines = RawCID(nil), 1 },
		"too many lines":     func(e *ResultEntry) { e.Bucket, e.Lines = NodeCID(nil), MaxBucketLines+1 },
	} {
		bad := r
		change(&bad.Entries[3])
		if Unmarshal(Marshal(&bad), new(Result)) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestTotalsDoNotWrap(t *testing.T) {
	sum := Totals{S: 1 << 62, B: -1 << 62, T: big.NewInt(1)}
	kept := sum
	if sum.Add(1<<62, 0, nil) == nil || sum.Add(0, -1<<62-1, nil) == nil || sum.Add(0, 0, new(big.Int).Lsh(big.NewInt(1), 256)) == nil {
		t.Fatal("a sum wraps")
	}
	if !cmp.Equal(sum, kept, cmpBig) {
		t.Fatal("a failed addition changes the sum")
	}
	if err := sum.Add(1<<62-1, -1<<62, big.NewInt(-1)); err != nil || sum.S != 1<<63-1 || sum.B != -1<<63 || sum.T.Sign() != 0 {
		t.Fatal(sum, err)
	}
}

// fuzzResultCodec checks a decoder: what it accepts encodes to the same bytes, and it
// allocates in proportion to its input.
func fuzzResultCodec(f *testing.F, fresh func() resultCodec, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
		f.Add(s[:len(s)/2])
		f.Add(append(bytes.Clone(s), 0))
	}
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m0, m1 runtime.MemStats
		v := fresh()
		runtime.ReadMemStats(&m0)
		err := Unmarshal(b, v)
		runtime.ReadMemStats(&m1)
		if used := m1.TotalAlloc - m0.TotalAlloc; used > 1<<20+uint64(1000*len(b)) {
			t.Fatalf("%d bytes for an input of %d", used, len(b))
		}
		if err == nil && !bytes.Equal(Marshal(v), b) {
			t.Fatalf("% x encodes as % x", b, Marshal(v))
		}
	})
}

type resultCodec = interface {
	Encodable
	Decodable
}

func FuzzResultBucket(f *testing.F) {
	_, buckets := testResult(f)
	fuzzResultCodec(f, func() resultCodec { return new(ResultBucket) }, Marshal(&buckets[0]), Marshal(&buckets[1]))
}

func FuzzResult(f *testing.F) {
	r, _ := testResult(f)
	fuzzResultCodec(f, func() resultCodec { return new(Result) }, Marshal(&r), Marshal(new(Result)))
}

func FuzzLogHeader(f *testing.F) {
	h := testHeaders()[0]
	fuzzResultCodec(f, func() resultCodec { return new(LogHeader) }, Marshal(&h))
}
