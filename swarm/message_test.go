package swarm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// sampleMessages has one of each kind; names are those of the spec page.
func sampleMessages() []struct {
	Name string
	m    message
} {
	_, want := piecesOf(3)
	q := &quote{Epoch: 5, Known: 12, Past: 7, Have: []byte{0b101}}
	q.Units, q.Free, q.Window, q.Owed = 2, 1<<30, 64, 3
	return []struct {
		Name string
		m    message
	}{
		{"hello", &hello{Chain: chain, Pays: true, Have: want}},
		{"pieces", &ask{ID: 1, Pays: true, Pieces: want[:2]}},
		{"range", &ask{ID: 2, Of: chain, First: 37, Count: 64}},
		{"nodes", &ask{ID: 3, Nodes: []cid.Cid{types.NodeCIDOf(want[0]), types.RawCIDOf(want[1])}}},
		{"receipt", receipt(2, 5, 24, 1000)},
		{"quote", q},
		{"taken", &taken{Epoch: 5, Units: 24, Owed: 1, Window: 8}},
		{"refused", &refused{ID: 3, First: 1, Count: 2, Refusal: Refusal{ReasonQuota, "nothing is free any more"}}},
		{"dispute", &dispute{Epoch: 5, Units: 24, Refusal: Refusal{ReasonReceipt, "of another chain"}}},
	}
}

func parseTo(b []byte, server bool) (message, error) {
	if server {
		return parseAsk(b)
	}
	return parseAnswer(b)
}

// FuzzMessages: what is taken has this one spelling; bulk shares the memory of
// its frame.
func FuzzMessages(f *testing.F) {
	for _, v := range sampleMessages() {
		b := types.Marshal(v.m)
		f.Add(b, true)
		f.Add(b, false)
		f.Add(b[:len(b)-1], true)
	}
	f.Add(bulk{Paid: true, ID: 7, Item: 3, Data: []byte("piece")}.frame(), false)
	f.Fuzz(func(t *testing.T, b []byte, toServer bool) {
		if isBulk(b) {
			if m, err := parseBulk(b); err == nil && !bytes.Equal(m.frame(), b) {
				t.Errorf("bulk %x became %x", b, m.frame())
			}
			return
		}
		m, err := parseTo(b, toServer)
		if err != nil {
			return
		}
		if again := types.Marshal(m); !bytes.Equal(again, b) {
			t.Errorf("%T: %x became %x", m, b, again)
		}
	})
}

// TestParseAllocatesLittle: heads that promise much give an error first.
func TestParseAllocatesLittle(t *testing.T) {
	huge := []byte{0x9a, 0xff, 0xff, 0xff, 0xff}
	id := append([]byte{0x58, 32}, make([]byte, 32)...)
	inputs := [][]byte{
		huge,
		append(append([]byte{0x84, 1}, id...), append([]byte{0xf4}, huge...)...),
		append([]byte{0x84, 2, 1, 0xf4}, huge...),
		append([]byte{0x84, 4, 1, 0xf4}, huge...),
		append([]byte{0x89, 16, 1, 1, 1, 1, 1, 1, 1}, 0x5a, 0xff, 0xff, 0xff, 0xff),
		append([]byte{0x86, 18, 1, 1, 1, 1}, 0x7a, 0xff, 0xff, 0xff, 0xff),
	}
	perRun := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			for _, in := range inputs {
				if _, err := parseTo(in, in[1] < 16); err == nil {
					b.Fatalf("%x was taken", in)
				}
			}
		}
	}).AllocedBytesPerOp()
	if perRun > 64<<10 {
		t.Errorf("%d bytes for %d short inputs", perRun, len(inputs))
	}
}

func TestMessagesRefused(t *testing.T) {
	for _, v := range sampleMessages() {
		b := types.Marshal(v.m)
		toServer := v.Name == "hello" || v.Name == "pieces" || v.Name == "range" || v.Name == "nodes" || v.Name == "receipt"
		if _, err := parseTo(b, !toServer); err == nil {
			t.Errorf("%s goes both ways", v.Name)
		}
		if len(b) > maxAsk {
			t.Errorf("%s has %d bytes", v.Name, len(b))
		}
		for i := range b {
			if _, err := parseTo(b[:i], toServer); err == nil {
				t.Errorf("%s cut at byte %d was taken", v.Name, i)
			}
		}
	}
	long := &refused{ID: 1, Count: 1, Refusal: Refusal{ReasonFailed, string(bytes.Repeat([]byte("é"), 300))}}
	if _, err := parseTo(types.Marshal(long), false); err != nil {
		t.Errorf("our own long text is refused: %v", err)
	}
}

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const vectorFile = "../spec/vectors/pieces.json"

type vectors struct {
	Messages []messageVector `json:"messages"`
}

type messageVector struct{ Name, Frame string }

func TestVectors(t *testing.T) {
	var got vectors
	for _, v := range sampleMessages() {
		got.Messages = append(got.Messages, messageVector{v.Name, hex.EncodeToString(types.Marshal(v.m))})
	}
	got.Messages = append(got.Messages,
		messageVector{"bulk, free", hex.EncodeToString(bulk{ID: 1, Item: 2, Data: []byte("piece")}.frame())},
		messageVector{"bulk, charged", hex.EncodeToString(bulk{Paid: true, ID: 258, Item: 63, Data: []byte("piece")}.frame())})
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want vectors
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i, v := range sampleMessages() {
		frame, err := hex.DecodeString(want.Messages[i].Frame)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseTo(frame, i < 5)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if d := cmp.Diff(types.Marshal(v.m), types.Marshal(m)); d != "" {
			t.Errorf("%s: %s", v.Name, d)
		}
	}
}
