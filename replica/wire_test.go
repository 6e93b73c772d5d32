package replica

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// someLot is a lot of one plain range of two pieces, the last of 3 leaves.
func someLot(t *testing.T) (types.LotID, LotTerms, func(leaf uint64) *Proof) {
	t.Helper()
	pieces := [][]byte{noise("a", types.PieceSize), noise("b", 3*LeafSize)}
	s, err := NewSlots(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pieces {
		if err := s.Put(i, PieceRoot(p)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := s.Root()
	if err != nil {
		t.Fatal(err)
	}
	entry := Entry{Range: name("range"), Encoded: root, Plain: root, Leaves: s.Leaves()}
	tree, err := LotTree([]Entry{entry})
	if err != nil {
		t.Fatal(err)
	}
	lot := name("lot")
	return lot, LotTerms{Root: tree.Root().Hash, Leaves: s.Leaves(), Ranges: 1}, func(leaf uint64) *Proof {
		data, path, err := s.Path(leaf, pieces[leaf/PieceLeaves])
		if err != nil {
			t.Fatal(err)
		}
		place, err := tree.Path(0)
		if err != nil {
			t.Fatal(err)
		}
		return &Proof{Lot: lot, Leaf: data, Path: path, Range: entry, Place: place}
	}
}

func TestLeavesAskedAndChecked(t *testing.T) {
	lot, terms, prove := someLot(t)
	good := types.Marshal(prove(257))
	flipped := bytes.Clone(good)
	flipped[60] ^= 1
	claimed := prove(257)
	claimed.Claim = &SumPath{}
	other := prove(257)
	other.Lot = name("other")
	tests := []struct {
		name    string
		leaf    uint64
		encoded []byte
		want    Verdict
	}{
		{"good", 257, good, Shown},
		{"nothing", 257, nil, Missed},
		{"trailing byte", 257, append(bytes.Clone(good), 0), Malformed},
		{"flipped bit", 257, flipped, Forged},
		{"another leaf", 256, good, Forged},
		{"beyond the lot", 259, good, Forged},
		{"with a claim", 257, types.Marshal(claimed), Elsewhere},
		{"another lot", 257, types.Marshal(other), Elsewhere},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := LeafRequest{Lot: lot, Leaves: []uint64{tt.leaf}}
			r := q.Check(&LeafAnswer{Proofs: [][]byte{tt.encoded}}, terms)
			if r.Verdicts[0] != tt.want || (r.Reasons[0] == nil) != (tt.want == Shown) {
				t.Fatalf("verdict %s (%v), want %s", r.Verdicts[0], r.Reasons[0], tt.want)
			}
		})
	}
	q := LeafRequest{Lot: lot, Leaves: []uint64{0, 257}}
	if r := q.Check(&LeafAnswer{Proofs: [][]byte{types.Marshal(prove(0))}}, terms); r.Verdicts[0] != Shown || r.Verdicts[1] != Missed {
		t.Fatalf("verdicts %v, want shown and missed", r.Verdicts)
	}
}

// frames are one of each, with how to read it.
func frames() map[string]struct {
	have types.Encodable
	into func() types.Decodable
} {
	type pair = struct {
		have types.Encodable
		into func() types.Decodable
	}
	leafQ := func() types.Decodable { return new(LeafRequest) }
	leafA := func() types.Decodable { return new(LeafAnswer) }
	bundleQ := func() types.Decodable { return new(BundleRequest) }
	return map[string]pair{
		"leaf request":  {&LeafRequest{Lot: name("l"), Attempt: name("a"), Leaves: []uint64{0, 1 << 40}}, leafQ},
		"leaf answer":   {&LeafAnswer{Proofs: [][]byte{nil, {1, 2}}}, leafA},
		"check request": {&BundleRequest{Check: []byte{1, 2, 3}}, bundleQ},
		"get request":   {&BundleRequest{Epoch: 7, Host: types.Account(name("h"))}, bundleQ},
		"check answer":  {&CheckAnswer{Signature: types.Signature{1, 2}}, func() types.Decodable { return new(CheckAnswer) }},
	}
}

func TestWireRoundTrips(t *testing.T) {
	for what, f := range frames() {
		t.Run(what, func(t *testing.T) {
			raw := types.Marshal(f.have)
			got := f.into()
			if err := types.Unmarshal(raw, got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(f.have, got); d != "" {
				t.Fatal(d)
			}
			version := bytes.Clone(raw)
			version[1] = 2
			for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), version} {
				if err := types.Unmarshal(bad, f.into()); err == nil {
					t.Errorf("accepted %x", bad)
				}
			}
		})
	}
	empty := []types.Encodable{&LeafRequest{}, &BundleRequest{Check: []byte{}}}
	for i, into := range []types.Decodable{new(LeafRequest), new(BundleRequest)} {
		if err := types.Unmarshal(types.Marshal(empty[i]), into); err == nil {
			t.Errorf("empty request %T accepted", into)
		}
	}
	many := &LeafRequest{Leaves: make([]uint64, MaxAsked+1)}
	if err := types.Unmarshal(types.Marshal(many), new(LeafRequest)); err == nil {
		t.Error("request for 65 leaves accepted")
	}
}

// TestWireVectors compares the frames with the vectors of the spec.
func TestWireVectors(t *testing.T) {
	type vector struct{ Name, Bytes string }
	for file, names := range map[string][]string{
		"leaf.json":   {"leaf request", "leaf answer"},
		"bundle.json": {"check request", "get request", "check answer"},
	} {
		var all []vector
		for _, n := range names {
			all = append(all, vector{n, hex.EncodeToString(types.Marshal(frames()[n].have))})
		}
		golden(t, file, all)
	}
}

func TestWireLimitsHold(t *testing.T) {
	full := &LeafRequest{Leaves: make([]uint64, MaxAsked)}
	for i := range full.Leaves {
		full.Leaves[i] = 1<<64 - 1
	}
	answer := &LeafAnswer{Proofs: make([][]byte, MaxAsked)}
	for i := range answer.Proofs {
		answer.Proofs[i] = make([]byte, MaxProof)
	}
	if n := len(types.Marshal(full)); n > MaxLeafRequest {
		t.Errorf("request of %d bytes above %d", n, MaxLeafRequest)
	}
	if n := len(types.Marshal(answer)); n > MaxLeafAnswer {
		t.Errorf("answer of %d bytes above %d", n, MaxLeafAnswer)
	}
	if n := len(types.Marshal(&BundleRequest{Check: make([]byte, MaxBundle)})); n > MaxBundleRequest {
		t.Errorf("request of %d bytes above %d", n, MaxBundleRequest)
	}
}

func TestPostSaysWhatTheBundleHolds(t *testing.T) {
	b := &Bundle{Epoch: 4, Host: types.Account(name("h")), Proofs: [][]byte{{1, 2}, nil, {3}}}
	want := &types.BundlePost{Epoch: 4, Root: b.Root(), Proofs: 3, Size: 3, Missed: []uint32{1}}
	if d := cmp.Diff(want, b.Post()); d != "" {
		t.Fatal(d)
	}
}

func FuzzWire(f *testing.F) {
	for _, x := range frames() {
		f.Add(types.Marshal(x.have))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for what, x := range frames() {
			got := x.into()
			if types.Unmarshal(b, got) != nil {
				continue
			}
			if again := types.Marshal(got.(types.Encodable)); !bytes.Equal(again, b) {
				t.Errorf("%s: %x reads as %x", what, b, again)
			}
		}
	})
}
