package store

import (
	"bytes"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// overwrite changes bytes of a file in place.
func overwrite(t testing.TB, name string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// short is a Problem without the text of its error.
type short struct {
	Kind  string
	Key   types.Hash
	Owned bool
}

func problems(t testing.TB, s *Store) (out []short) {
	t.Helper()
	_, err := s.Verify(func(p Problem) error {
		if p.Err == nil || p.Error() == "" {
			t.Errorf("a problem without words: %+v", p)
		}
		out = append(out, short{p.Kind, p.Key, p.Owned})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDamageIsReportedAndHealed(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  int64 // in the record
		want func(h types.Hash) []short
	}{
		{"payload", recordHeader + 3, func(h types.Hash) []short { return []short{{"piece", h, true}} }},
		{"header", 10, func(h types.Hash) []short {
			return []short{{"segment", types.Hash{}, false}, {"index", types.Hash{}, true}, {"piece", h, true}}
		}},
		{"magic", 0, func(h types.Hash) []short {
			return []short{{"segment", types.Hash{}, false}, {"index", types.Hash{}, true}, {"piece", h, true}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir(), Options{Margin: 1})
			res := reserve(t, s, "a", 100_000)
			before := putPiece(t, res, noise(1, 1, 1000))
			hit := putPiece(t, res, noise(1, 2, 1000))
			behind := putPiece(t, res, noise(1, 3, 1000))
			name, at := segmentOf(t, s, hit)
			overwrite(t, name, at.off+tt.off, []byte{0xAA})
			if _, err := s.Pieces().Get(hit); !errors.Is(err, ErrCorrupt) {
				t.Errorf("get: %v", err)
			}
			for _, h := range []types.Hash{before, behind} {
				if _, err := s.Pieces().Get(h); err != nil {
					t.Error(err)
				}
			}
			if d := cmp.Diff(tt.want(hit), problems(t, s)); d != "" {
				t.Error(d)
			}
			putPiece(t, res, noise(1, 2, 1000))
			if b, err := s.Pieces().Get(hit); err != nil || !bytes.Equal(b, noise(1, 2, 1000)) {
				t.Errorf("after it was put again: %v", err)
			}
			if use, err := s.Usage(); err != nil || use.Live != 3000 || use.Count != 3 {
				t.Errorf("%+v %v", use, err)
			}
			for _, p := range problems(t, s) {
				if p.Owned {
					t.Errorf("still counted on: %+v", p)
				}
			}
		})
	}
}

// TestDamageStopsCompaction: a segment with a damaged piece that somebody owns
// is left alone, the others go on.
func TestDamageStopsCompaction(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1, SegmentSize: leastSegment})
	var keep []types.Hash
	for i := range uint64(8) {
		keep = append(keep, putPiece(t, reserve(t, s, "keep", 20_000), noise(1, i, 20_000)))
		putPiece(t, reserve(t, s, "drop", 20_000), noise(2, i, 20_000))
	}
	name, at := segmentOf(t, s, keep[0])
	overwrite(t, name, at.off+recordHeader, []byte("damage"))
	res, err := s.Pieces().Reserve("drop", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(res.Commit(), s.Pieces().Release("drop")); err != nil {
		t.Fatal(err)
	}
	for range 3 { // one error for the stuck segment at most, then none
		if err = s.Compact(); err == nil {
			break
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "doctor") {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pieces().Get(keep[0]); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	for _, h := range keep[1:] {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatal(err)
	}
	// Once the damaged piece was put again nothing holds the old file.
	putPiece(t, reserve(t, s, "keep", 20_000), noise(1, 0, 20_000))
	if err := s.Pieces().Release("keep"); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Dead != 0 || use.Live != 0 {
		t.Fatalf("%+v %v", use, err)
	}
}

func TestSegmentFileLost(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{Margin: 1})
	h := putPiece(t, reserve(t, s, "a", 100), []byte("gone"))
	name, _ := segmentOf(t, s, h)
	if err := errors.Join(s.Close(), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{Margin: 1})
	if _, err := s.Pieces().Get(h); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("get: %v", err)
	}
	want := []short{{"segment", types.Hash{}, true}, {"piece", h, true}}
	if d := cmp.Diff(want, problems(t, s)); d != "" {
		t.Fatal(d)
	}
	putPiece(t, reserve(t, s, "a", 100), []byte("gone"))
	if _, err := s.Pieces().Get(h); err != nil {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Live != 4 || use.Count != 1 {
		t.Fatalf("%+v %v", use, err)
	}
}

func TestSegmentFileCut(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{Margin: 1})
	res := reserve(t, s, "a", 10_000)
	first, second := putPiece(t, res, noise(1, 1, 3000)), putPiece(t, res, noise(1, 2, 3000))
	name, at := segmentOf(t, s, second)
	if err := errors.Join(s.Close(), os.Truncate(name, at.off+500)); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{Margin: 1})
	if _, err := s.Pieces().Get(first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pieces().Get(second); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	third := putPiece(t, reserve(t, s, "a", 10_000), noise(1, 3, 3000))
	if other, _ := segmentOf(t, s, third); other == name {
		t.Fatal("the damaged file is written to")
	}
	if len(problems(t, s)) == 0 {
		t.Fatal("nothing is reported")
	}
}

func TestBlockDamaged(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1})
	n := types.NewNode([]byte{0x01})
	key, err := nodeKey(n.CID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set(key, []byte{0x02}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Node(n.CID); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if d := cmp.Diff([]short{{"block", types.Digest(n.CID), true}}, problems(t, s)); d != "" {
		t.Fatal(d)
	}
}

func TestVerifyEndsWithTheErrorOfItsFunction(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1})
	res := reserve(t, s, "a", 10_000)
	for i := range uint64(3) {
		name, at := segmentOf(t, s, putPiece(t, res, noise(1, i, 1000)))
		overwrite(t, name, at.off+recordHeader, []byte{1, 2, 3})
	}
	stop, calls := errors.New("stop"), 0
	_, err := s.Verify(func(Problem) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{Margin: 1})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, formatFile)
	good, err := os.ReadFile(name)
	if err != nil || string(good) != "staddle store 1 13502807\n" {
		t.Fatalf("%q %v", good, err)
	}
	for text, want := range map[string]error{
		string(formatLine(3)):         ErrNewer,
		"staddle store 1 00000000\n":  ErrCorrupt,
		"staddle store 01 13502807\n": ErrCorrupt,
		"staddle store 0 00000000\n":  ErrCorrupt,
		string(good) + "x":            ErrCorrupt,
		strings.Repeat("x", 10_000):   ErrCorrupt,
		"":                            ErrCorrupt,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{Margin: 1}); !errors.Is(err, want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, Options{Margin: 1})
}

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Margin: 1}); !errors.Is(err, ErrNotStore) {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
}

func FuzzScanner(f *testing.F) {
	h := header{kind: kindPiece, key: types.Digest(types.RawCID([]byte("abc"))), n: 3, sum: crc([]byte("abc"))}
	rec := append(h.encode(), "abc"...)
	f.Add(rec)
	f.Add(append(slices.Clone(rec), rec...))
	f.Add(append(append([]byte("STDRSTDR"), rec...), "STDR"...))
	f.Add(flip(rec, 40))
	huge := header{kind: kindPiece, n: MaxPayload}
	f.Add(huge.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &scanner{f: bytes.NewReader(b), end: int64(len(b))}
		for last := int64(-1); s.off < s.end; {
			if s.off <= last {
				t.Fatalf("no progress at %d", s.off)
			}
			last = s.off
			rec, err := s.next()
			if err == nil {
				if !bytes.Equal(rec.encode(), b[rec.off:rec.off+recordHeader]) {
					t.Fatalf("header at %d encodes differently", rec.off)
				}
				continue
			}
			if err := s.resync(); err != nil {
				t.Fatal(err)
			}
		}
		if cap(s.buf) > len(b) {
			t.Fatalf("%d bytes held for an input of %d", cap(s.buf), len(b))
		}
	})
}

// TestResyncAcrossWindows: a header is found wherever it stands.
func TestResyncAcrossWindows(t *testing.T) {
	h := header{kind: kindPiece, key: types.Digest(types.RawCID([]byte("abc"))), n: 3, sum: crc([]byte("abc"))}
	rec := append(h.encode(), "abc"...)
	for at := int64(64<<10 - 60); at < 64<<10+60; at += 3 {
		b := append(append(make([]byte, at-200), bytes.Repeat([]byte("STDR"), 50)...), rec...)
		s := &scanner{f: bytes.NewReader(b), end: int64(len(b))}
		if err := s.resync(); err != nil || s.off != at {
			t.Fatalf("found at %d, want %d: %v", s.off, at, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(entry{place{1, 16, 4}, 2}.encode())
	f.Add(segmentRow{end: 1000, live: 100, count: 1}.encode())
	f.Add(formatLine(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEntry(b); err == nil && !bytes.Equal(e.encode(), b) {
			t.Fatalf("entry %x encodes as %x", b, e.encode())
		}
		if s, err := parseSegmentRow(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Fatalf("segment row %x encodes as %x", b, s.encode())
		}
		if v, err := parseFormat(b); err == nil && !bytes.Equal(formatLine(v), b) {
			t.Fatalf("format %q is version %d", b, v)
		}
	})
}
