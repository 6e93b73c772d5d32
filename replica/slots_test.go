package replica

import (
	"bytes"
	"errors"
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func newSlots(t testing.TB, pieces, last int) *Slots {
	t.Helper()
	s, err := NewSlots(pieces, last)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func slotsRoot(t testing.TB, s *Slots) types.Hash {
	t.Helper()
	root, err := s.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestSlotsResume lets 4,096 pieces arrive in random order and stops at every
// hundredth: the root is that of the order.
func TestSlotsResume(t *testing.T) {
	const pieces = 4096
	roots := some(pieces)
	for _, seed := range []int64{1, 2, 3} {
		s := newSlots(t, pieces, 256)
		for k, i := range rand.New(rand.NewSource(seed)).Perm(pieces) {
			if err := s.Put(i, roots[i]); err != nil {
				t.Fatal(err)
			}
			if k%100 == 99 {
				stored := types.Marshal(s)
				s = new(Slots)
				if err := types.Unmarshal(stored, s); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, want := slotsRoot(t, s), rfcRoot(roots); got != want {
			t.Errorf("seed %d: root %s, want %s", seed, got, want)
		}
	}
	encoders := make([][]types.Hash, 5)
	var ranges []types.Hash
	for r := range pieces / 256 {
		s := newSlots(t, 256, 256)
		for i := range 256 {
			if err := s.Put(255-i, roots[r*256+255-i]); err != nil {
				t.Fatal(err)
			}
		}
		encoders[r%5] = append(encoders[r%5], slotsRoot(t, s))
	}
	for r := range pieces / 256 {
		ranges = append(ranges, encoders[r%5][r/5])
	}
	if got, want := Root(ranges), rfcRoot(roots); got != want {
		t.Errorf("ranges of 5 encoders join to %s, want %s", got, want)
	}
}

func TestSlotsEveryShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.IntRange(1, 9).Draw(t, "pieces")
		last := rapid.SampledFrom([]int{1, 2, 3, 255, 256}).Draw(t, "last")
		data := noise("slots", (pieces-1)*types.PieceSize+last*LeafSize)
		s, err := NewSlots(pieces, last)
		if err != nil {
			t.Fatal(err)
		}
		part := func(i int) []byte { return data[i*types.PieceSize : min((i+1)*types.PieceSize, len(data))] }
		for _, i := range rapid.Permutation(indices(pieces)).Draw(t, "order") {
			if _, err := s.Root(); !errors.Is(err, ErrIncomplete) {
				t.Fatalf("root before the end: %v", err)
			}
			if err := s.Put(i, PieceRoot(part(i))); err != nil {
				t.Fatal(err)
			}
		}
		hashes := leafHashes(data)
		root, err := s.Root()
		if want := Root(hashes); err != nil || root != want || s.Leaves() != uint64(len(hashes)) {
			t.Fatalf("root %s of %d leaves (%v), want %s of %d", root, s.Leaves(), err, want, len(hashes))
		}
		leaf := rapid.Uint64Range(0, s.Leaves()-1).Draw(t, "leaf")
		got, path, err := s.Path(leaf, part(int(leaf/PieceLeaves)))
		if err != nil || !bytes.Equal(got, data[leaf*LeafSize:(leaf+1)*LeafSize]) {
			t.Fatalf("leaf %d: %v", leaf, err)
		}
		if up, err := Fold(LeafHash(got), leaf, s.Leaves(), path); err != nil || up != root {
			t.Fatalf("leaf %d leads to %s (%v), want %s", leaf, up, err, root)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestSlotsRefuse(t *testing.T) {
	for _, v := range [][2]int{{0, 1}, {MaxPieces + 1, 1}, {1, 0}, {1, 257}} {
		if s, err := NewSlots(v[0], v[1]); err == nil {
			t.Errorf("%d pieces, last of %d leaves: %v", v[0], v[1], s)
		}
	}
	data := noise("refuse", types.PieceSize+LeafSize)
	first, second := data[:types.PieceSize], data[types.PieceSize:]
	s := newSlots(t, 2, 1)
	if _, _, err := s.Path(0, first); !errors.Is(err, ErrPiece) {
		t.Errorf("path in a piece that is not there: %v", err)
	}
	for range 2 { // the second time changes nothing
		if err := s.Put(0, PieceRoot(first)); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]int{1}, s.Missing()); d != "" {
		t.Error(d)
	}
	if _, _, err := s.Path(0, first); !errors.Is(err, ErrIncomplete) {
		t.Errorf("path in an incomplete range: %v", err)
	}
	for _, i := range []int{-1, 2} {
		if err := s.Put(i, types.Hash{}); !errors.Is(err, ErrPiece) || s.Has(i) {
			t.Errorf("put piece %d: %v", i, err)
		}
	}
	if err := s.Put(0, PieceRoot(second)); !errors.Is(err, ErrPiece) {
		t.Errorf("put another piece 0: %v", err)
	}
	if err := s.Put(1, PieceRoot(second)); err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(first)
	spoilt[77] ^= 1
	for what, v := range map[string]struct {
		leaf  uint64
		piece []byte
		want  error
	}{
		"spoilt piece":  {0, spoilt, ErrPiece},
		"other piece":   {0, second, ErrPiece},
		"short piece":   {3, first[:2*LeafSize], ErrPiece},
		"broken leaf":   {0, first[:len(first)-1], ErrPiece},
		"number beyond": {257, second, ErrPath},
	} {
		if _, _, err := s.Path(v.leaf, v.piece); !errors.Is(err, v.want) {
			t.Errorf("%s: %v, want %v", what, err, v.want)
		}
	}
}

func FuzzSlots(f *testing.F) {
	s, err := NewSlots(3, 9)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(types.Marshal(s))
	if err := s.Put(1, name("root")); err != nil {
		f.Fatal(err)
	}
	f.Add(types.Marshal(s))
	f.Add([]byte{0x84, 1, 0x19, 0x10, 0, 1, 0x99, 0x10, 0})
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, b, new(Slots)) })
}

type record interface {
	types.Encodable
	types.Decodable
}

// roundTrip reads b, which must be refused or be the one form of its value, in
// memory that is bounded by the input.
func roundTrip(t *testing.T, b []byte, v record) {
	var err error
	took := allocated(func() { err = types.Unmarshal(b, v) })
	if limit := uint64(64<<10 + 200*len(b)); took > limit {
		t.Fatalf("%d bytes read into %d bytes of heap, want at most %d", len(b), took, limit)
	}
	if err == nil && !bytes.Equal(types.Marshal(v), b) {
		t.Fatalf("%x is a second form of %x", b, types.Marshal(v))
	}
}
