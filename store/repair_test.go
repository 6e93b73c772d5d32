package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// mended repairs and gives what became missing.
func mended(t testing.TB, s *Store) (lost []types.Hash, done Repaired) {
	t.Helper()
	done, err := s.Repair(t.Context(), func(p Problem) error {
		lost = append(lost, p.Key)
		if !p.Owned || p.Err == nil || p.Fix() == "" {
			t.Errorf("%+v", p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lost, done
}

// TestRepair breaks one thing of each kind. Afterwards nothing is wrong, the
// pieces that are lost are missing and known as such, and putting them heals.
func TestRepair(t *testing.T) {
	type world struct {
		s    *Store
		name string // of the segment
		at   place  // of the second piece
		hit  types.Hash
	}
	tests := map[string]struct {
		hurt func(t *testing.T, w world)
		lost int
		done Repaired
	}{
		"nothing":        {func(*testing.T, world) {}, 0, Repaired{}},
		"a flipped bit":  {func(t *testing.T, w world) { flipBit(t, w.name, w.at.off+recordHeader+77) }, 1, Repaired{Lost: 1, Segments: 1}},
		"a header":       {func(t *testing.T, w world) { flipBit(t, w.name, w.at.off+20) }, 1, Repaired{Lost: 1, Segments: 1}},
		"a segment head": {func(t *testing.T, w world) { flipBit(t, w.name, 3) }, 0, Repaired{Segments: 1}},
		"a file cut short": {func(t *testing.T, w world) {
			if err := os.Truncate(w.name, w.at.off+100); err != nil {
				t.Fatal(err)
			}
		}, 2, Repaired{Lost: 2, Segments: 1}},
		"an index row": {func(t *testing.T, w world) {
			setRow(t, w.s, id{kindPiece, w.hit}.row(), []byte("x"))
		}, 1, Repaired{Lost: 1, Counted: 1, Found: 1}},
		"a row that is gone": {func(t *testing.T, w world) {
			setRow(t, w.s, id{kindPiece, w.hit}.row(), nil)
		}, 0, Repaired{Counted: 1, Found: 1}},
		"a row that points elsewhere": {func(t *testing.T, w world) {
			e := entry{w.at, 2}
			e.off += 5
			setRow(t, w.s, id{kindPiece, w.hit}.row(), e.encode())
		}, 1, Repaired{Lost: 1, Found: 1, Segments: 1}},
		"owners": {func(t *testing.T, w world) {
			setRow(t, w.s, id{kindPiece, w.hit}.row(), entry{w.at, 7}.encode())
		}, 0, Repaired{Counted: 1}},
		"a record that nobody owns": {func(t *testing.T, w world) {
			setRow(t, w.s, pieceOwner("a").row(w.hit), nil)
			setRow(t, w.s, pieceOwner("b").row(w.hit), nil)
		}, 0, Repaired{Counted: 1}},
		"a block": {func(t *testing.T, w world) {
			key, err := nodeKey(types.NodeCID([]byte{1}))
			if err != nil {
				t.Fatal(err)
			}
			setRow(t, w.s, key, []byte{2})
		}, 0, Repaired{Blocks: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir(), Options{Margin: 1})
			var all []types.Hash
			for i := range uint64(3) {
				all = append(all, put(t, s, "a", noise(1, i, 1000)))
				put(t, s, "b", noise(1, i, 1000))
			}
			file, at := segmentOf(t, s, all[1])
			tt.hurt(t, world{s, file, at, all[1]})
			lost, done := mended(t, s)
			if len(lost) != tt.lost || lost != nil && !slices.Contains(lost, all[1]) || done != tt.done {
				t.Fatalf("lost %v, %+v; want %d, %+v", lost, done, tt.lost, tt.done)
			}
			afterRepair(t, s, all, int(max(done.Lost-done.Found, 0)))
			s = again(t, s, Options{Margin: 1})
			for i := range uint64(3) {
				put(t, s, "a", noise(1, i, 1000))
				put(t, s, "b", noise(1, i, 1000))
			}
			afterRepair(t, s, all, 0)
			readable(t, s, all)
			if err := errors.Join(s.Pieces().Release("a"), s.Pieces().Release("b")); err != nil {
				t.Fatal(err)
			}
			if use, err := s.Usage(); err != nil || use.Live != 0 || use.Count != 0 {
				t.Fatalf("%+v %v", use, err)
			}
		})
	}
}

func flipBit(t testing.TB, name string, off int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, name, off, []byte{b[off] ^ 0x10})
}

func flipInMemory(g *segment, off int64) error {
	f, err := g.disk.shelf.reopen(g.number)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if err := readFull(f, b, off); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{b[0] ^ 0x10}, off)
	return errors.Join(err, f.Close())
}

func setRow(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	var err error
	if value == nil {
		err = s.db.Delete(key, nil)
	} else {
		err = s.db.Set(key, value, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// afterRepair: nothing is wrong, and Losses lists both owners of what is missing.
func afterRepair(t *testing.T, s *Store, all []types.Hash, missing int) {
	t.Helper()
	noProblems(t, s)
	owners, gone := 0, 0
	if err := s.Losses(func(l Loss) error {
		if owners++; l.Kind != "piece" || l.Owner != "a" && l.Owner != "b" {
			t.Errorf("%+v", l)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		var gap *types.Missing
		if _, err := s.Pieces().Get(h); errors.As(err, &gap) {
			if n, err := s.Pieces().Size(h); n == 0 && err == nil {
				gone++
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if owners != 2*missing || gone < missing {
		t.Fatalf("%d owners of lost records, %d of them read as missing, want %d", owners, gone, missing)
	}
}

// TestRepairFileGone: a whole segment was deleted.
func TestRepairFileGone(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1})
	h := put(t, s, "a", []byte("gone"))
	name, _ := segmentOf(t, s, h)
	if err := errors.Join(s.Close(), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, s.dir, Options{Margin: 1})
	lost, done := mended(t, s)
	if d := cmp.Diff([]types.Hash{h}, lost); d != "" || done.Segments != 1 {
		t.Fatal(d, done)
	}
	if use, err := s.Usage(); err != nil || use.Disk != 0 || use.Live != 0 {
		t.Fatalf("%+v %v", use, err)
	}
	noProblems(t, again(t, s, Options{Margin: 1}))
}

func TestRepairStops(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1})
	name, at := segmentOf(t, s, put(t, s, "a", noise(1, 1, 1000)))
	flipBit(t, name, at.off+recordHeader)
	stop := errors.New("stop")
	if _, err := s.Repair(t.Context(), func(Problem) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Repair(ctx, func(Problem) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, done := mended(t, s); done.Lost != 0 { // the first one had written it off
		t.Fatal(done)
	}
	noProblems(t, s)
}

// TestRepairAnything: whatever bytes of segments change, a repair ends, nothing
// is wrong afterwards, every piece is whole or missing, and putting all heals.
func TestRepairAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := Memory(diskOptions)
		if err != nil {
			rt.Fatal(err)
		}
		want := map[types.Hash][]byte{}
		for i := range uint64(6) {
			b := noise(3, i, 1000+int(i)*4000)
			want[put(t, s, "a", b)] = b
		}
		for _, g := range s.records().segs.list() {
			for range rapid.IntRange(0, 6).Draw(rt, "changes") {
				off := rapid.Int64Range(0, g.end-1).Draw(rt, "offset")
				if err := flipInMemory(g, off); err != nil {
					rt.Fatal(err)
				}
			}
		}
		lost := map[types.Hash]bool{}
		if _, err := s.Repair(t.Context(), func(p Problem) error { lost[p.Key] = true; return nil }); err != nil {
			rt.Fatal(err)
		}
		if _, err := s.Verify(func(p Problem) error { return &p }); err != nil {
			rt.Fatal(err)
		}
		for h, b := range want {
			got, err := s.Pieces().Get(h)
			if lost[h] != (err != nil) || err == nil && !bytes.Equal(got, b) {
				rt.Fatalf("lost %v: %v", lost[h], err)
			}
			put(t, s, "a", b)
		}
		if err := s.Losses(func(l Loss) error { return fmt.Errorf("%+v", l) }); err != nil {
			rt.Fatal(err)
		}
		if use, err := s.Usage(); err != nil || use.Count != 6 {
			rt.Fatalf("%+v %v", use, err)
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
