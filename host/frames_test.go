package host

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// form is one of the records of this package.
type form struct {
	have types.Encodable
	into func() types.Decodable
}

func someRecord() *record {
	r := &record{Count: 2, Encoded: types.H("encoded"), Plain: types.H("plain"), Modulus: types.H("modulus")}
	digest := r.digest(types.H("attempt"), 1)
	r.Signature = chaintest.Signer(2).Sign(digest[:])
	return r
}

func someSlots() *replica.Slots {
	s, err := replica.NewSlots(2, 3)
	if err != nil {
		panic(err)
	}
	if err := s.Put(1, types.H("root")); err != nil {
		panic(err)
	}
	return s
}

var forms = sync.OnceValue(makeForms)

func makeForms() map[string]form {
	modulus := bytes.Repeat([]byte{0xff}, replica.ModulusSize)
	held := make([]byte, bitmapSize)
	held[0] = 5
	root := replica.PieceRoot([]byte("bytes"))
	digest := pieceDigest(types.H("attempt"), 1, 3, root)
	piece := &pieceFrame{Index: 3, Root: root, Signature: chaintest.Signer(2).Sign(digest[:]), Bytes: []byte("bytes")}
	kept := &keptLot{Attempt: types.H("attempt"), Dataset: types.H("dataset"), Copy: 2, Encoding: 1, Ranges: []keptRange{
		{Range: types.Range{ID: types.H("r0"), First: 1, Count: 2}, Last: types.PieceSize, Entry: &replica.Entry{Range: types.H("r0"), Leaves: 512}},
		{Range: types.Range{ID: types.H("r1"), First: 3, Count: 1}, Last: 1500},
	}}
	return map[string]form{
		"begin":    {&begin{Lot: types.H("lot"), Attempt: types.H("attempt"), Range: 1, Modulus: modulus}, func() types.Decodable { return new(begin) }},
		"standing": {&standing{Held: held}, func() types.Decodable { return new(standing) }},
		"whole":    {&standing{Record: someRecord()}, func() types.Decodable { return new(standing) }},
		"piece":    {&frame{Piece: piece}, func() types.Decodable { return new(frame) }},
		"record":   {&frame{Record: someRecord()}, func() types.Decodable { return new(frame) }},
		"lot file": {kept, func() types.Decodable { return new(keptLot) }},
		"range file": {&keptCode{
			Encoder: chaintest.Account(2), Modulus: modulus, Digests: []types.Hash{types.H("p")}, Record: someRecord(),
		}, func() types.Decodable { return new(keptCode) }},
		"slots file": {&keptSlots{someSlots(), someSlots()}, func() types.Decodable { return new(keptSlots) }},
	}
}

// TestStreamVectors compares the frames with the vectors of the spec.
func TestStreamVectors(t *testing.T) {
	type vector struct{ Name, Bytes string }
	var all []vector
	for _, name := range []string{"begin", "standing", "whole", "piece", "record"} {
		all = append(all, vector{name, hex.EncodeToString(types.Marshal(forms()[name].have))})
	}
	got, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const file = "../spec/vectors/replica-stream.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}

func TestFormsRoundTrip(t *testing.T) {
	for name, f := range forms() {
		t.Run(name, func(t *testing.T) {
			raw := types.Marshal(f.have)
			got := f.into()
			if err := types.Unmarshal(raw, got); err != nil {
				t.Fatal(err)
			}
			if again := types.Marshal(got.(types.Encodable)); !bytes.Equal(raw, again) {
				t.Fatalf("%x reads as %x", raw, again)
			}
			for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
				if err := types.Unmarshal(bad, f.into()); err == nil {
					t.Errorf("accepted %d of %d bytes", len(bad), len(raw))
				}
			}
		})
	}
}

func TestFormsRefuse(t *testing.T) {
	long := &frame{Piece: &pieceFrame{Bytes: make([]byte, types.PieceSize+1)}}
	tests := map[string]form{
		"piece too long":      {long, func() types.Decodable { return new(frame) }},
		"short bitmap":        {&standing{Held: make([]byte, bitmapSize-1)}, func() types.Decodable { return new(standing) }},
		"no bitmap":           {&standing{}, func() types.Decodable { return new(standing) }},
		"short modulus":       {&begin{Modulus: make([]byte, 255)}, func() types.Decodable { return new(begin) }},
		"range beyond a lot":  {&begin{Range: 64, Modulus: make([]byte, 256)}, func() types.Decodable { return new(begin) }},
		"piece beyond a file": {&frame{Piece: &pieceFrame{Index: 256}}, func() types.Decodable { return new(frame) }},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			if err := types.Unmarshal(types.Marshal(f.have), f.into()); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

// TestFramesFitTheirLimits: the largest honest frames are let through.
func TestFramesFitTheirLimits(t *testing.T) {
	largest := []struct {
		limit int
		v     types.Encodable
	}{
		{maxBegin, forms()["begin"].have},
		{maxState, &standing{Record: someRecord()}},
		{maxFrame, &frame{Piece: &pieceFrame{Index: 255, Bytes: make([]byte, types.PieceSize)}}},
	}
	for _, x := range largest {
		if n := len(types.Marshal(x.v)); n > x.limit {
			t.Errorf("%T of %d bytes above %d", x.v, n, x.limit)
		}
	}
}

func FuzzForms(f *testing.F) {
	for _, x := range forms() {
		f.Add(types.Marshal(x.have))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, x := range forms() {
			got := x.into()
			if types.Unmarshal(b, got) != nil {
				continue
			}
			if again := types.Marshal(got.(types.Encodable)); !bytes.Equal(again, b) {
				t.Errorf("%s: %x reads as %x", name, b, again)
			}
		}
	})
}

// TestDecodersAreBounded: a short input that promises much costs little.
func TestDecodersAreBounded(t *testing.T) {
	inputs := [][]byte{
		{0x85, 1, 3, 0x58, 0x20},
		{0x85, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0},
		{0x86, 1, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x83, 1, 0x84, 1, 0x19, 0x10, 0, 0x19, 1, 0, 0x99, 0x10, 0},
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		for _, f := range forms() {
			for _, b := range inputs {
				if types.Unmarshal(b, f.into()) == nil {
					t.Fatalf("%x was accepted", b)
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Fatalf("%d bytes for %d short inputs", used, 100*len(inputs)*len(forms()))
	}
}
