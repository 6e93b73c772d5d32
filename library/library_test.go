package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

func TestPutGetOffline(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "home")
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	var seen []Progress
	p, err := s.Put(t.Context(), folder, public, Watch{Progress: func(p Progress) { seen = append(seen, p) }})
	ok(t, err)
	if p.Attachment.Name != "home" || p.Repeated || p.Stored < int64(p.Attachment.Size)*9/10 {
		t.Fatalf("published %+v", p)
	}
	last := seen[len(seen)-1]
	if last.Phase != Reading || last.Done != last.Total || last.Done != p.Manifest.Content {
		t.Fatalf("last progress %+v of %d bytes", last, p.Manifest.Content)
	}
	out := filepath.Join(t.TempDir(), "out")
	got, err := s.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if got.Bytes != 0 || got.Unpacked.Skipped != 0 || got.Unpacked.Bytes != int64(p.Manifest.Content) {
		t.Fatalf("fetched %+v", got)
	}
	if d := cmp.Diff(tree(t, folder), tree(t, out)); d != "" {
		t.Fatal(d)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Fatalf("left over: %q", left)
	}
	s.sound(t)
}

// TestSameAsPack: the pipeline gives what packing on one core gives.
func TestSameAsPack(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	f, err := openFolder(folder)
	ok(t, err)
	defer f.Close()
	m, err := archive.Pack(f.fsys, archive.Options{Name: f.name, RangePieces: 4}, ignore{})
	ok(t, err)
	if d := cmp.Diff(fmt.Sprintf("%+v", m), fmt.Sprintf("%+v", p.Manifest)); d != "" {
		t.Fatal(d)
	}
}

type ignore struct{}

func (ignore) Piece(uint32, types.Hash, []byte) error { return nil }
func (ignore) Node(types.Node) error                  { return nil }

// TestRepeatedPut: an unchanged folder writes nothing new, a changed one shares
// its pieces, another name only changes the row.
func TestRepeatedPut(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	first := s.mustPut(t, folder)
	before := s.usage(t)
	again := s.mustPut(t, folder)
	if !again.Repeated || again.Stored != 0 || again.Ref() != first.Ref() {
		t.Fatalf("again: %+v", again)
	}
	if d := cmp.Diff(before, s.usage(t)); d != "" {
		t.Fatal(d)
	}
	named, err := s.Put(t.Context(), folder, PutOptions{Name: "other", Visibility: types.VisibilityPublic, RangePieces: 4}, Watch{})
	ok(t, err)
	if named.Repeated || named.Stored != 0 || named.Ref() != first.Ref() {
		t.Fatalf("named: %+v", named)
	}
	ok(t, os.WriteFile(filepath.Join(folder, "small/new"), []byte("new"), 0o644))
	changed := s.mustPut(t, folder)
	if changed.Ref() == first.Ref() || changed.Stored == 0 || changed.Stored > int64(first.Attachment.Size)/2 {
		t.Fatalf("changed: stored %d of %d", changed.Stored, first.Attachment.Size)
	}
	all, err := s.Datasets()
	ok(t, err)
	if len(all) != 2 || all[0].Attachment.Dataset() != changed.Attachment.Dataset() || all[1].Attachment.Name != "other" {
		t.Fatalf("datasets %+v", all)
	}
	ok(t, s.Remove(changed.Ref()))
	ok(t, s.Remove(first.Ref()))
	if u := s.usage(t); u.Live != 0 || u.Count != 0 {
		t.Fatalf("after removing all: %+v", u)
	}
	s.sound(t)
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	_, err := s.Put(t.Context(), filepath.Join(folder, "absent"), public, Watch{})
	wantIs(t, err, fs.ErrNotExist)
	for _, name := range []string{"a/b", "staddle:x", "\xff", strings.Repeat("x", 256)} {
		if _, err := s.Put(t.Context(), folder, PutOptions{Name: name, Visibility: types.VisibilityPublic}, Watch{}); err == nil {
			t.Errorf("name %q is accepted", name)
		}
	}
	if u := s.usage(t); u.Live != 0 || u.Reserved != 0 {
		t.Fatalf("usage %+v", u)
	}
}

func TestPutOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, filepath.Join(dir, "book.txt"))
	list, err := s.List(t.Context(), Ref{Name: "book.txt"})
	ok(t, err)
	if len(list) != 1 || list[0].Name != "book.txt" || p.Manifest.Files != 1 {
		t.Fatalf("list %+v", list)
	}
	empty := s.mustPut(t, filepath.Join(dir, "hollow/deep"))
	out := filepath.Join(t.TempDir(), "out")
	_, err = s.Get(t.Context(), empty.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if got := tree(t, out); len(got) != 0 {
		t.Fatalf("empty folder holds %v", got)
	}
}

// TestStopped: a put and a get stopped in the middle keep what they have, and
// repeating them ends well without doing it twice.
func TestStopped(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	ctx, stop := context.WithCancel(t.Context())
	_, err := s.Put(ctx, folder, public, Watch{Progress: func(p Progress) {
		if p.Done > 6<<20 {
			stop()
		}
	}})
	wantIs(t, err, context.Canceled)
	left, err := s.Leftovers()
	ok(t, err)
	kept := s.usage(t)
	if len(left) != 1 || left[0].Folder != folder || kept.Live == 0 || kept.Reserved != 0 {
		t.Fatalf("left %+v, usage %+v", left, kept)
	}
	p := s.mustPut(t, folder)
	if p.Stored+kept.Live < int64(p.Attachment.Size) || p.Stored > int64(p.Attachment.Size)-kept.Live/2 {
		t.Fatalf("stored %d after %d of %d", p.Stored, kept.Live, p.Attachment.Size)
	}
	if left, _ = s.Leftovers(); len(left) != 0 {
		t.Fatalf("left %+v", left)
	}

	from := &peer{of: s.Library, limit: 10}
	far := open(t, t.TempDir(), from)
	out := filepath.Join(t.TempDir(), "out")
	_, err = far.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	wantIs(t, err, errGone)
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("target is there: %v", err)
	}
	from.limit = 0
	_, err = far.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if from.asked != int(p.Attachment.Pieces) {
		t.Fatalf("%d pieces were fetched, want %d", from.asked, p.Attachment.Pieces)
	}
	if d := cmp.Diff(tree(t, folder), tree(t, out)); d != "" {
		t.Fatal(d)
	}
	wholeHere(t, far, p.Ref())
}

// wholeHere checks that a library needs nobody for a dataset.
func wholeHere(t *testing.T, s *shelf, ref Ref) {
	t.Helper()
	h, err := s.Held(ref.Dataset)
	ok(t, err)
	r, err := s.Verify(t.Context(), ref, Watch{})
	ok(t, err)
	ok(t, r.Err())
	if !h.Whole || r.Good != h.Attachment.Pieces || r.Bytes != h.Attachment.Size || h.TOC.IsZero() {
		t.Fatalf("held %+v, report %+v", h, r)
	}
	s.sound(t)
}

func TestTidy(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	ctx, stop := context.WithCancel(t.Context())
	_, err := s.Put(ctx, folder, public, Watch{Progress: func(Progress) { stop() }})
	wantIs(t, err, context.Canceled)
	ok(t, s.Tidy())
	left, err := s.Leftovers()
	ok(t, err)
	if u := s.usage(t); u.Live != 0 || len(left) != 0 {
		t.Fatalf("usage %+v, left %+v", u, left)
	}
}

// TestPartial: list and cat fetch what they need and no more.
func TestPartial(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	from := &peer{of: s.Library}
	far := open(t, t.TempDir(), from)
	list, err := far.List(t.Context(), p.Ref())
	ok(t, err)
	if len(list) != 7 || from.asked > 2 {
		t.Fatalf("%d entries after %d pieces", len(list), from.asked)
	}
	film := p.Ref()
	film.Path = "film.mkv"
	var b bytes.Buffer
	before := from.asked
	n, err := far.Cat(t.Context(), film, &b, 3_000_000, 300_000)
	ok(t, err)
	want := noise(1, 5<<20+12345)
	if n != 300_000 || !bytes.Equal(b.Bytes(), want[3_000_000:3_300_000]) {
		t.Fatalf("cat gives %d bytes", n)
	}
	if from.asked-before > 3 {
		t.Fatalf("%d pieces for 300,000 bytes", from.asked-before)
	}
	b.Reset()
	_, err = far.Cat(t.Context(), film, &b, 0, -1)
	ok(t, err)
	if !bytes.Equal(b.Bytes(), want) {
		t.Fatal("the film differs")
	}
	b.Reset()
	n, err = far.Cat(t.Context(), film, &b, 6<<20, 10)
	if err != nil || n != 0 {
		t.Fatalf("behind the end: %d, %v", n, err)
	}
	h, err := far.Held(p.Attachment.Dataset())
	ok(t, err)
	r, err := far.Verify(t.Context(), p.Ref(), Watch{})
	ok(t, err)
	if h.Whole || r.Missing == 0 || r.Bad != 0 {
		t.Fatalf("held %+v, report %+v", h, r)
	}
	wantIs(t, r.Err(), ErrNotHeld)
	ok(t, far.Remove(p.Ref()))
	if u := far.usage(t); u.Live != 0 {
		t.Fatalf("usage %+v", u)
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	tests := []struct {
		name string
		path string
		o    GetOptions
		want func(name string) bool
	}{
		{"file", "book.txt", GetOptions{}, func(n string) bool { return n == "book.txt" }},
		{"folder", "small/3", GetOptions{}, func(n string) bool { return n == "small" || strings.HasPrefix(n, "small/3") }},
		{"include", "", GetOptions{Include: []string{"*.txt", "bin"}}, func(n string) bool { return n == "book.txt" || strings.HasPrefix(n, "bin") }},
		{"exclude", "", GetOptions{Exclude: []string{"small", "*.mkv", "odd/*"}}, func(n string) bool {
			return !strings.HasPrefix(n, "small") && n != "film.mkv" && !strings.HasPrefix(n, "odd/")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := &peer{of: s.Library}
			far := open(t, t.TempDir(), from)
			ref := p.Ref()
			ref.Path = tt.path
			out := filepath.Join(t.TempDir(), "out")
			_, err := far.Get(t.Context(), ref, out, tt.o, Watch{})
			ok(t, err)
			want := tree(t, folder)
			for name := range want {
				if !tt.want(name) {
					delete(want, name)
				}
			}
			got := tree(t, out)
			if _, made := got["small"]; made && tt.path != "" {
				got["small"] = want["small"] // made for what it holds, with its own time
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatal(d)
			}
			if from.asked >= int(p.Attachment.Pieces) {
				t.Fatalf("all %d pieces were fetched", from.asked)
			}
		})
	}
	_, err := s.Get(t.Context(), Ref{Dataset: p.Attachment.Dataset(), Path: "absent"}, filepath.Join(t.TempDir(), "x"), GetOptions{}, Watch{})
	wantIs(t, err, fs.ErrNotExist)
	_, err = s.Get(t.Context(), p.Ref(), filepath.Join(t.TempDir(), "x"), GetOptions{Include: []string{"["}}, Watch{})
	if err == nil {
		t.Fatal("a broken pattern is accepted")
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	far := open(t, t.TempDir(), &peer{of: s.Library})
	var b bytes.Buffer
	_, err := far.Export(t.Context(), p.Ref(), &b, Watch{})
	ok(t, err)
	if uint64(b.Len()) != p.Attachment.Size {
		t.Fatalf("%d bytes, want %d", b.Len(), p.Attachment.Size)
	}
	r, err := archive.Open(bytes.NewReader(b.Bytes()), int64(b.Len()), 0)
	ok(t, err)
	if r.TOCDigest() != p.Manifest.TOCDigest {
		t.Fatal("another table of contents")
	}
	wholeHere(t, far, p.Ref())
}

// TestLies: whatever a source says, nothing wrong is kept or unpacked.
func TestLies(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	tests := []struct {
		name string
		from peer
		want error
	}{
		{"flipped bit", peer{spoil: func(i int, b []byte) []byte { b[i%len(b)] ^= 1; return b }}, ErrBad},
		{"cut", peer{spoil: func(_ int, b []byte) []byte { return b[:len(b)-1] }}, ErrBad},
		{"endless", peer{spoil: func(_ int, b []byte) []byte { return append(b, make([]byte, 1<<20)...) }}, ErrBad},
		{"silent", peer{silent: true}, ErrNotHeld},
		{"other blocks", peer{wrong: true}, ErrBad},
		{"another dataset", peer{lie: func(a types.Attachment) types.Attachment { a.Index = types.NodeCID([]byte{0xf6}); return a }}, ErrBad},
		{"another UnixFS root", peer{lie: func(a types.Attachment) types.Attachment { a.UnixFS = types.RawCID(nil); return a }}, ErrBad},
		{"one range more", peer{lie: func(a types.Attachment) types.Attachment { a.RangeCount++; return a }}, ErrBad},
		{"private", peer{lie: func(a types.Attachment) types.Attachment { a.Visibility = types.VisibilityMe; return a }}, ErrBad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.from.of = s.Library
			far := open(t, t.TempDir(), &tt.from)
			out := filepath.Join(t.TempDir(), "out")
			_, err := far.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
			wantIs(t, err, tt.want)
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("target is there: %v", err)
			}
			far.sound(t)
		})
	}
	t.Run("one piece more", func(t *testing.T) {
		far := open(t, t.TempDir(), &peer{of: s.Library, lie: func(a types.Attachment) types.Attachment {
			a.Pieces, a.Size = a.Pieces+1, a.Size+types.PieceSize
			return a
		}})
		if _, err := far.Get(t.Context(), p.Ref(), filepath.Join(t.TempDir(), "x"), GetOptions{}, Watch{}); err == nil {
			t.Fatal("accepted")
		}
	})
}

func TestOffline(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	ref, err := ParseRef(strings.Repeat("ab", 32))
	ok(t, err)
	_, err = s.Get(t.Context(), ref, filepath.Join(t.TempDir(), "x"), GetOptions{}, Watch{})
	wantIs(t, err, ErrNotHeld)
	_, err = s.List(t.Context(), Ref{Name: "nobody"})
	wantIs(t, err, ErrNotHeld)
	_, err = s.Verify(t.Context(), ref, Watch{})
	wantIs(t, err, ErrNotHeld)
	wantIs(t, s.Remove(ref), ErrNotHeld)
	var o Offline
	_, err = o.Nodes(t.Context(), ref.Dataset, nil)
	ok(t, err)
	ok(t, o.Pieces(t.Context(), ref.Dataset, nil, nil))
	wantIs(t, o.Pieces(t.Context(), ref.Dataset, []types.Hash{{1}}, nil), ErrNotHeld)
}

// TestAnyCores: the dataset does not depend on the number of cores.
func TestAnyCores(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var first Published
	for i, cores := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(cores)
		p := open(t, t.TempDir(), nil).mustPut(t, folder)
		if i == 0 {
			first = p
		}
		if d := cmp.Diff(fmt.Sprintf("%+v", first), fmt.Sprintf("%+v", p)); d != "" {
			t.Fatalf("%d cores: %s", cores, d)
		}
	}
}
