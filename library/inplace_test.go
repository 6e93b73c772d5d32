package library

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var placedPut = PutOptions{Visibility: types.VisibilityPublic, RangePieces: 4, InPlace: true}

func (s *shelf) mustPlace(t testing.TB, folder string) Published {
	t.Helper()
	p, err := s.Put(t.Context(), folder, placedPut, Watch{})
	ok(t, err)
	return p
}

// media is a folder of files that are stored: a film, photos, a song, and text.
func media(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	old := time.Unix(1_500_000_000, 0)
	for name, data := range map[string][]byte{
		"film.mkv": noise(1, 4<<20+321), "photo/1.jpg": noise(2, 1<<20), "photo/2.jpg": noise(3, 700_001),
		"photo/3.jpg": noise(4, 70_000), "song.mp3": noise(5, 900_000), "text": prose(6, 30_000),
	} {
		name = filepath.Join(folder, name)
		ok(t, os.MkdirAll(filepath.Dir(name), 0o755))
		ok(t, os.WriteFile(name, data, 0o644))
		ok(t, os.Chtimes(name, old, old))
		ok(t, os.Chtimes(filepath.Dir(name), old, old))
	}
	return folder
}

// rowBytes is what the rows of recipes take.
func (s *shelf) rowBytes(t testing.TB) (n int) {
	t.Helper()
	for _, table := range []string{tableRecipes, tablePlaced, tableRisks} {
		ok(t, s.State.Scan(table, "", "", func(key string, value []byte) error {
			n += len(key) + len(value)
			return nil
		}))
	}
	return n
}

// TestInPlace: the dataset is the same as a copied one and as whole, the store
// holds hardly any of it, and all of it can be read and let go.
func TestInPlace(t *testing.T) {
	t.Parallel()
	folder := media(t)
	copied := open(t, t.TempDir(), nil).mustPut(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPlace(t, folder)
	if p.Ref() != copied.Ref() || p.InPlace < int64(p.Attachment.Size)*8/10 || p.Stored+p.InPlace > int64(p.Attachment.Size) {
		t.Fatalf("stored %d and %d in place of %d", p.Stored, p.InPlace, p.Attachment.Size)
	}
	if n := s.rowBytes(t); n*200 > int(p.InPlace) {
		t.Fatalf("%d bytes of rows for %d in place", n, p.InPlace)
	}
	wholeHere(t, s, p.Ref())
	out := filepath.Join(t.TempDir(), "out")
	far := open(t, t.TempDir(), &peer{of: s.Library})
	_, err := far.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if d := cmp.Diff(tree(t, folder), tree(t, out)); d != "" {
		t.Fatal(d)
	}

	s.close(t)
	s = open(t, s.dir, nil)
	wholeHere(t, s, p.Ref())
	ok(t, s.Remove(p.Ref()))
	if u, n := s.usage(t), s.rowBytes(t); u.Live != 0 || n != 0 {
		t.Fatalf("after removing it: %+v and %d bytes of rows", u, n)
	}
}

// TestPlacedFilm: a large film costs less than a hundredth of itself.
func TestPlacedFilm(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "film"), noise(1, 40<<20), 0o644))
	s := open(t, t.TempDir(), nil)
	p := s.mustPlace(t, folder)
	if grown := int64(s.rowBytes(t)) + s.usage(t).Live; grown*100 > int64(p.Attachment.Size) {
		t.Fatalf("grows by %d for %d", grown, p.Attachment.Size)
	}
}

// TestAtRisk: whatever happens to a file, nobody is given wrong bytes; the owner
// is told which file it is; a source makes the dataset whole again, and so does
// the file when it comes back.
func TestAtRisk(t *testing.T) {
	t.Parallel()
	harm := map[string]func(t *testing.T, name string){
		"changed, with the old time": func(t *testing.T, name string) {
			info, err := os.Stat(name)
			ok(t, err)
			b, err := os.ReadFile(name)
			ok(t, err)
			b[3<<20] ^= 1
			ok(t, os.WriteFile(name, b, 0o644))
			ok(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
		},
		"truncated": func(t *testing.T, name string) { ok(t, os.Truncate(name, 1<<20)) },
		"symlink": func(t *testing.T, name string) {
			ok(t, os.Rename(name, name+".moved"))
			ok(t, os.Symlink("film.mkv.moved", name))
		},
		"deleted":   func(t *testing.T, name string) { ok(t, os.Remove(name)) },
		"directory": func(t *testing.T, name string) { ok(t, os.Remove(name)); ok(t, os.Mkdir(name, 0o755)) },
		"folder":    func(t *testing.T, name string) { ok(t, os.Rename(filepath.Dir(name), filepath.Dir(name)+".moved")) },
	}
	whole := open(t, t.TempDir(), nil)
	same := whole.mustPut(t, media(t))
	for what, do := range harm {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			folder := media(t)
			s := open(t, t.TempDir(), nil)
			p := s.mustPlace(t, folder)
			if p.Ref() != same.Ref() {
				t.Fatal("another dataset")
			}
			do(t, filepath.Join(folder, "film.mkv"))
			atRisk(t, s, &p, what == "changed, with the old time")

			s.Source = &peer{of: whole.Library}
			out := filepath.Join(t.TempDir(), "out")
			_, err := s.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
			ok(t, err)
			wholeHere(t, s, p.Ref())
			if r, err := s.Risks(); err != nil || len(r) > 0 {
				t.Fatalf("still at risk: %+v, %v", r, err)
			}
		})
	}
}

// atRisk checks what a dataset with a changed film says.
func atRisk(t *testing.T, s *shelf, p *Published, hidden bool) {
	t.Helper()
	_, err := s.Get(t.Context(), p.Ref(), filepath.Join(t.TempDir(), "out"), GetOptions{}, Watch{})
	wantIs(t, err, ErrAtRisk)
	wantIs(t, err, ErrNotHeld)
	r, err := s.Verify(t.Context(), p.Ref(), Watch{})
	ok(t, err)
	wantIs(t, r.Err(), ErrAtRisk)
	if r.AtRisk == 0 || r.AtRisk != r.Bad || hidden && r.AtRisk != 1 {
		t.Fatalf("report %+v", r)
	}
	digest := r.Problems[0].Digest
	_, err = s.Piece(digest)
	if _, missing := isMissing(err); !missing || s.Has(digest) {
		t.Fatalf("a remote reader gets %v", err)
	}
	h, err := s.Held(p.Attachment.Dataset())
	ok(t, err)
	risks, err := s.AtRisk(&h)
	ok(t, err)
	if len(risks) == 0 || risks[0].Since == 0 || !strings.Contains(r.Problems[0].Error(), risks[0].File) {
		t.Fatalf("risks %+v, %v", risks, &r.Problems[0])
	}
}

// TestTouched: another time of a file, or another place of the folder, is no
// change; a put of the moved folder notes the new place.
func TestTouched(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "media")
	ok(t, os.Rename(media(t), folder))
	s := open(t, t.TempDir(), nil)
	p := s.mustPlace(t, folder)
	now := time.Unix(1_700_000_000, 5)
	ok(t, os.Chtimes(filepath.Join(folder, "film.mkv"), now, now))
	wholeHere(t, s, p.Ref())
	ok(t, os.Chtimes(filepath.Join(folder, "film.mkv"), now.Add(7), now.Add(7)))
	p = s.mustPlace(t, folder)

	moved := filepath.Join(t.TempDir(), "media")
	ok(t, os.Rename(folder, moved))
	again := s.mustPlace(t, moved)
	if again.Ref() != p.Ref() {
		t.Fatalf("moved: %+v", again)
	}
	wholeHere(t, s, p.Ref())
	h, err := s.Held(p.Attachment.Dataset())
	ok(t, err)
	if r, err := s.AtRisk(&h); err != nil || len(r) > 0 {
		t.Fatalf("still at risk: %+v, %v", r, err)
	}
}

// TestToCopiesAndBack: a put says how the pieces are kept from now on.
func TestToCopiesAndBack(t *testing.T) {
	t.Parallel()
	folder := media(t)
	s := open(t, t.TempDir(), nil)
	p := s.mustPlace(t, folder)
	little := s.usage(t).Live
	s.mustPut(t, folder)
	if u := s.usage(t); u.Live != int64(p.Attachment.Size) || s.rowBytes(t) != 0 {
		t.Fatalf("copied: %+v with %d bytes of rows", u, s.rowBytes(t))
	}
	wholeHere(t, s, p.Ref())
	s.mustPlace(t, folder)
	if u := s.usage(t); u.Live != little {
		t.Fatalf("in place again: %+v, want %d", u, little)
	}
	wholeHere(t, s, p.Ref())
}

// TestKilledPlace: whatever the moment, nothing but the dataset is left in the
// end.
func TestKilledPlace(t *testing.T) {
	t.Parallel()
	folder := media(t)
	began := time.Now()
	whole := open(t, t.TempDir(), nil)
	p := whole.mustPlace(t, folder)
	want, rows := whole.usage(t).Live, whole.rowBytes(t)
	dir, caught := t.TempDir(), 0
	for _, after := range moments(t, 5, time.Since(began)) {
		if killed(t, after, "place", dir, folder) {
			caught++
		}
		s := open(t, dir, nil)
		s.sound(t)
		if all, err := s.Datasets(); err != nil || len(all) > 0 {
			ok(t, err)
			wholeHere(t, s, p.Ref())
		}
		s.close(t)
	}
	t.Logf("%d killed at work", caught)
	s := open(t, dir, nil)
	s.mustPlace(t, folder)
	wholeHere(t, s, p.Ref())
	if u, n := s.usage(t), s.rowBytes(t); u.Live != want || n < rows-100 || n > rows+100 {
		t.Fatalf("usage %+v, want %d live; rows %d, want %d", u, want, n, rows)
	}
}

// counting counts what is written.
type counting struct {
	State
	Room
	writes *int
}

func (c counting) Save(nodes []types.Node, rows []types.Row) error {
	*c.writes += len(nodes) + len(rows)
	return c.State.Save(nodes, rows)
}

func (c counting) PutKnown(h types.Hash, b []byte) error { *c.writes++; return c.Room.PutKnown(h, b) }
func (c counting) Adopt(h types.Hash) (bool, error)      { *c.writes++; return c.Room.Adopt(h) }

// TestNothingWritten: putting an unchanged folder again writes nothing; a changed
// one writes what has changed.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]PutOptions{"copies": public, "in place": placedPut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, writes := media(t), 0
			s := open(t, t.TempDir(), nil)
			reserve := s.Reserve
			s.State = counting{State: s.State, writes: &writes}
			s.Reserve = func(owner string, n int64) (Room, error) {
				writes++
				r, err := reserve(owner, n)
				return counting{Room: r, writes: &writes}, err
			}
			put := func() Published {
				p, err := s.Put(t.Context(), folder, o, Watch{})
				ok(t, err)
				return p
			}
			first := put()
			before := writes
			again := put()
			if !again.Repeated || again.Since != nil || again.Ref() != first.Ref() || writes != before {
				t.Fatalf("%d writes, %+v", writes-before, again)
			}
			ok(t, os.WriteFile(filepath.Join(folder, "zz"), noise(9, 600_000), 0o644))
			added := put()
			if added.Repeated || added.Stored+added.InPlace < 600_000 || added.Stored > 1_600_000 || added.Since.Percent() < 70 {
				t.Fatalf("%+v, %+v", added, added.Since)
			}
			wholeHere(t, s, added.Ref())
			ok(t, s.Remove(first.Ref()))
			wholeHere(t, s, added.Ref())
		})
	}
}

func exampleRecipe() *recipe {
	return &recipe{
		folder: "/films", files: []recipeFile{{"a/film.mkv", 1 << 20, 5}},
		parts: []part{{bytes: []byte("head")}, {file: 1, off: 7, n: 65531}, {n: 500}},
	}
}

func TestRecipeRow(t *testing.T) {
	want := exampleRecipe()
	var got recipe
	ok(t, types.Unmarshal(types.Marshal(want), &got))
	if d := cmp.Diff(types.Marshal(want), types.Marshal(&got)); d != "" || got.size() != 4+65531+500 {
		t.Fatal(d, got.size())
	}
	for name, spoil := range map[string]func(r *recipe){
		"no folder":          func(r *recipe) { r.folder = "" },
		"climbs":             func(r *recipe) { r.files[0].name = "../x" },
		"no such file":       func(r *recipe) { r.parts[1].file = 2 },
		"behind the end":     func(r *recipe) { r.parts[1].off = 1<<20 - 65530 },
		"negative":           func(r *recipe) { r.parts[1].off = -1 },
		"both":               func(r *recipe) { r.parts[0].n = 1 },
		"neither":            func(r *recipe) { r.parts[2].n = 0 },
		"zeros at an offset": func(r *recipe) { r.parts[2].off = 1 },
		"too much":           func(r *recipe) { r.parts[2].n = types.PieceSize },
		"too literal":        func(r *recipe) { r.parts[0].bytes = make([]byte, maxLiteral+1) },
		"nothing":            func(r *recipe) { r.parts = nil },
	} {
		r := exampleRecipe()
		if spoil(r); types.Unmarshal(types.Marshal(r), &got) == nil {
			t.Errorf("%s: is read", name)
		}
	}
}

func FuzzRecipe(f *testing.F) {
	f.Add(types.Marshal(exampleRecipe()))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip[recipe](t, b) })
}

func FuzzRisk(f *testing.F) {
	f.Add(types.Marshal(&Risk{File: "/films/a", Reason: "is gone", Since: 3}))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip[Risk](t, b) })
}

func FuzzVersion(f *testing.F) {
	f.Add(types.Marshal(&Version{Folder: "/films", Name: "films", Added: 3}))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip[Version](t, b) })
}

// roundTrip: what is read is written as it was.
func roundTrip[T any, P interface {
	*T
	types.Encodable
	types.Decodable
}](t *testing.T, b []byte) {
	v := P(new(T))
	if types.Unmarshal(b, v) == nil && string(types.Marshal(v)) != string(b) {
		t.Fatalf("%x encodes again as %x", b, types.Marshal(v))
	}
}

// TestSince: what put says of the version before is what the pieces say.
func TestSince(t *testing.T) {
	t.Parallel()
	folder := media(t)
	for i := range 300 {
		name := filepath.Join(folder, "small", string(rune('a'+i%26)), time.Unix(int64(i), 0).UTC().Format("150405"))
		ok(t, os.MkdirAll(filepath.Dir(name), 0o755))
		ok(t, os.WriteFile(name, noise(uint64(i), 20_000), 0o644))
	}
	s := open(t, t.TempDir(), nil)
	if first := s.mustPut(t, folder); first.Since != nil {
		t.Fatalf("the first has a version before: %+v", first.Since)
	}
	ok(t, os.Rename(filepath.Join(folder, "film.mkv"), filepath.Join(folder, "film, restored.mkv")))
	renamed := s.mustPut(t, folder)
	if s := renamed.Since; s == nil || s.Pieces-s.Shared > 4 || s.SharedRanges*4 < s.Ranges*3 {
		t.Fatalf("renamed: %+v", s) // the film's own two, the end of its group, the table of contents
	}
	same(t, s, &renamed)
	ok(t, os.WriteFile(filepath.Join(folder, "small/k/000010"), []byte("edited"), 0o644))
	edited := s.mustPut(t, folder)
	same(t, s, &edited)
	if edited.Since.Dataset != renamed.Attachment.Dataset() {
		t.Fatal("compared with another version")
	}
	list, err := s.Versions(folder, edited.Attachment.Name)
	ok(t, err)
	if len(list) != 3 || list[1].Dataset != renamed.Attachment.Dataset() || list[1].Added != edited.Since.Added {
		t.Fatalf("versions %+v", list)
	}
}

// same holds Since against the sets of pieces.
func same(t *testing.T, s *shelf, p *Published) {
	t.Helper()
	set := func(h Held) map[types.Hash]bool {
		out := map[types.Hash]bool{}
		ok(t, s.pieces(t.Context(), stretch{&h, []span{{1, h.Attachment.Pieces}}}, func(h types.Hash) { out[h] = true }))
		return out
	}
	h, err := s.Held(p.Since.Dataset)
	ok(t, err)
	old, want := set(h), uint32(0)
	ok(t, s.pieces(t.Context(), stretch{&Held{Attachment: p.Attachment}, []span{{1, p.Attachment.Pieces}}}, func(h types.Hash) {
		if old[h] {
			want++
		}
	}))
	if p.Since.Shared != want || p.Since.Pieces != p.Attachment.Pieces {
		t.Fatalf("since %+v, want %d shared", p.Since, want)
	}
}
