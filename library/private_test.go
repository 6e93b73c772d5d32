package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// person is whoever has the words.
func person(n byte) keys.Seed { return keys.Seed{n} }

// openAs is a shelf of somebody.
func openAs(t testing.TB, who keys.Seed, src Source) *shelf {
	t.Helper()
	s := open(t, t.TempDir(), src)
	s.Config.Seed = func() (keys.Seed, error) { return who, nil }
	return s
}

var forMe = PutOptions{Visibility: types.VisibilityMe, RangePieces: 4, Name: "films"}

func forMembers(to ...keys.Seed) PutOptions {
	o := forMe
	o.Visibility = types.VisibilityMembers
	for _, s := range to {
		o.To = append(o.To, s.Account().Account())
	}
	return o
}

func (s *shelf) putAs(t testing.TB, folder string, o PutOptions) Published {
	t.Helper()
	p, err := s.Put(t.Context(), folder, o, Watch{})
	ok(t, err)
	return p
}

// TestP1_3 checks who can read what, each on a machine that has nothing but words
// and a source of blocks and pieces.
func TestP1_3(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	want := tree(t, folder)
	a := openAs(t, person(1), nil)
	mine, ours, public := a.putAs(t, folder, forMe), a.putAs(t, folder, forMembers(person(2), person(3))), a.mustPut(t, folder)
	for _, c := range []struct {
		name string
		of   Published
		who  byte
		ok   bool
	}{
		{"me, the same words", mine, 1, true},
		{"me, somebody else", mine, 2, false},
		{"members, the publisher", ours, 1, true},
		{"members, the first", ours, 2, true},
		{"members, the second", ours, 3, true},
		{"members, somebody else", ours, 4, false},
		{"public, anybody", public, 4, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openAs(t, person(c.who), &peer{of: a.Library})
			dir := filepath.Join(t.TempDir(), "out")
			got, err := b.Get(t.Context(), c.of.Ref(), dir, GetOptions{}, Watch{})
			if !c.ok {
				wantIs(t, err, ErrSealed)
				if _, err := os.Stat(dir); err == nil {
					t.Fatal("something was unpacked")
				}
				return
			}
			ok(t, err)
			if d := cmp.Diff(want, tree(t, dir)); d != "" || got.Name != c.of.Manifest.Name {
				t.Fatal(got.Name, d)
			}
			r, err := b.Verify(t.Context(), c.of.Ref(), Watch{})
			if ok(t, errors.Join(err, r.Err())); r.Sealed || r.Name != got.Name || r.Good != c.of.Attachment.Pieces {
				t.Fatalf("%+v", r)
			}
			b.sound(t)
		})
	}
}

// TestLink reads by a link where no words are, keeps the key, and never shows it.
func TestLink(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	a := openAs(t, person(1), nil)
	p := a.putAs(t, folder, forMe)
	keyed, err := a.Keyed(t.Context(), p.Ref())
	ok(t, err)
	link := keyed.Link()
	b := open(t, t.TempDir(), &peer{of: a.Library})
	if _, err := b.List(t.Context(), p.Ref()); !errors.Is(err, ErrSealed) {
		t.Fatal(err)
	}
	ref, err := ParseRef(link)
	ok(t, err)
	if ref != keyed || strings.Contains(fmt.Sprintf("%v %+v %#v %s %x", ref, ref, ref, ref, ref.Key), link[len(link)-20:]) {
		t.Fatalf("%v", ref)
	}
	if _, err = b.List(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	ref.Path = "book.txt"
	var out bytes.Buffer
	_, err = b.Cat(t.Context(), Ref{Name: "films", Path: "book.txt"}, &out, 1000, 5000)
	ok(t, err)
	book, err := os.ReadFile(filepath.Join(folder, "book.txt"))
	ok(t, err)
	if !bytes.Equal(out.Bytes(), book[1000:6000]) {
		t.Fatal("other bytes")
	}
	again, err := b.Keyed(t.Context(), Ref{Name: "films"})
	if ok(t, err); again.Link() != link {
		t.Fatal("the key was not kept")
	}
	ok(t, b.Remove(Ref{Name: "films"}))
	if _, err := b.List(t.Context(), p.Ref()); !errors.Is(err, ErrSealed) {
		t.Fatal("the key stayed after the dataset went:", err)
	}
	wrong := ref
	wrong.Key = Key{1}
	if _, err := b.List(t.Context(), wrong); !errors.Is(err, ErrSealed) {
		t.Fatal(err)
	}
	var tgz bytes.Buffer
	got, err := b.Export(t.Context(), ref, &tgz, Watch{})
	_, size, whyNot := b.Describe(t.Context(), ref)
	ok(t, errors.Join(err, whyNot))
	if tgz.Len() != int(size) || got.Name != "films" {
		t.Fatal(tgz.Len(), size, got.Name)
	}
}

func TestParseLink(t *testing.T) {
	root := Ref{Dataset: types.H("vector")}.String()
	key := strings.Repeat("A", 42) + "E"
	for s, good := range map[string]bool{
		root + "#k=" + key: true, root + "/a#b#k=" + key: true, root + "/a#b": true, "films#k=" + key: true,
		root + "#k=": false, root + "#k=" + key[:42]: false, root + "#k=" + key + "A": false,
		root + "#k=" + key[:42] + "F": false, root + "#k=" + strings.Repeat("A", 43): false, "#k=" + key: false,
	} {
		r, err := ParseRef(s)
		if (err == nil) != good {
			t.Errorf("%s: %v", s, err)
		}
		if err != nil && (strings.Contains(err.Error(), "AAAA") || !errors.Is(err, ErrAmbiguous)) {
			t.Errorf("%s: the error is %q", s, err)
		}
		if err == nil && strings.Contains(s, "#k=") != strings.Contains(r.Link(), "#k=") {
			t.Errorf("%s: read back as %s", s, r.Link())
		}
	}
}

// TestSealedOnDisk checks that a host's store holds nothing readable, and can be
// verified without a key.
func TestSealedOnDisk(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	a := openAs(t, person(1), nil)
	p := a.putAs(t, folder, forMembers(person(2)))
	at := &p.Attachment
	if at.Name != "" || len(at.MediaTypes) != 0 || at.Salt.IsZero() || at.Pieces%16 != 0 || at.Visibility != types.VisibilityMembers {
		t.Fatalf("%+v", at)
	}
	h := open(t, t.TempDir(), &peer{of: a.Library})
	d := &dataset{l: h.Library, ctx: t.Context(), id: at.Dataset()}
	var err error
	d.held, err = d.ask()
	ok(t, err)
	ok(t, d.openIndex())
	_, err = d.obtain(nil, nil)
	ok(t, err)
	r, err := h.Verify(t.Context(), p.Ref(), Watch{})
	ok(t, errors.Join(err, r.Err()))
	if !r.Sealed || r.Name != "" || r.Good != at.Pieces {
		t.Fatalf("%+v", r)
	}
	book, err := os.ReadFile(filepath.Join(folder, "film.mkv"))
	ok(t, err)
	ok(t, h.store.Close())
	ok(t, filepath.WalkDir(h.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, book[1<<20:1<<20+64]) || bytes.Contains(data, []byte("film")) {
			t.Errorf("%s shows something", name)
		}
		return err
	}))
}

// TestVersions checks when a version shares pieces with the one before.
func TestPrivateVersions(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	a := openAs(t, person(1), nil)
	first := a.putAs(t, folder, forMembers(person(2)))
	if again := a.putAs(t, folder, forMembers(person(2))); !again.Repeated || again.Stored != 0 || again.Ref() != first.Ref() {
		t.Fatalf("the same folder again: %+v", again)
	}
	more := a.putAs(t, folder, forMembers(person(2), person(3)))
	if more.Attachment.Salt != first.Attachment.Salt || more.Stored != types.PieceSize {
		t.Errorf("one member more: %d bytes are new", more.Stored)
	}
	fewer := a.putAs(t, folder, forMembers(person(3)))
	if fewer.Attachment.Salt == first.Attachment.Salt || fewer.Stored != int64(fewer.Attachment.Size) {
		t.Errorf("one member less: %d bytes are new", fewer.Stored)
	}
	o := forMembers(person(3))
	o.NewKey = true
	fresh := a.putAs(t, folder, o)
	o.NewKey = false
	if after := a.putAs(t, folder, o); fresh.Attachment.Salt == fewer.Attachment.Salt || after.Ref() != fresh.Ref() {
		t.Errorf("a new key: %v, then %v", fresh.Ref(), after.Ref())
	}
	if alone := a.putAs(t, folder, forMe); alone.Attachment.Salt == fresh.Attachment.Salt {
		t.Error("another visibility under the same key")
	}
}

func TestPrivateRefused(t *testing.T) {
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "a"), []byte("x"), 0o600))
	a := openAs(t, person(1), nil)
	tooMany := forMembers()
	for i := range uint32(archive.MaxBoxes + 1) {
		tooMany.To = append(tooMany.To, types.Account(types.H("a", types.Be32(i))))
	}
	noPoint := forMembers()
	noPoint.To = []types.Account{{2}}
	toMe := forMe
	toMe.To = []types.Account{person(2).Account().Account()}
	for name, o := range map[string]PutOptions{"nobody": forMembers(), "too many": tooMany, "no point": noPoint, "me to others": toMe} {
		if _, err := a.Put(t.Context(), folder, o, Watch{}); err == nil {
			t.Errorf("%s: put", name)
		}
	}
	b := open(t, t.TempDir(), nil)
	if _, err := b.Put(t.Context(), folder, forMe, Watch{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without words: %v", err)
	}
	if _, err := a.Put(t.Context(), folder, forMembers(person(1), person(1)), Watch{}); err != nil {
		t.Error(err)
	}
}

// TestStoppedPrivatePut checks that a put that was stopped finds its pieces.
func TestStoppedPrivatePut(t *testing.T) {
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "film"), noise(5, 6<<20), 0o600))
	a := openAs(t, person(1), nil)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, err := a.Put(ctx, folder, forMe, Watch{Progress: func(Progress) {
		if seen++; seen == 3 {
			cancel()
		}
	}})
	wantIs(t, err, context.Canceled)
	kept := a.usage(t).Live
	p := a.putAs(t, folder, forMe)
	if kept == 0 || p.Stored+kept > int64(p.Attachment.Size) {
		t.Fatalf("%d bytes were kept, %d new, of %d", kept, p.Stored, p.Attachment.Size)
	}
	a.sound(t)
}

// TestPrivateLies gives descriptions that a private dataset cannot have.
func TestPrivateLies(t *testing.T) {
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "a"), []byte("x"), 0o600))
	a := openAs(t, person(1), nil)
	p := a.putAs(t, folder, forMe)
	for name, lie := range map[string]func(*types.Attachment){
		"name":   func(a *types.Attachment) { a.Name = "films" },
		"salt":   func(a *types.Attachment) { a.Salt = types.Hash{} },
		"pieces": func(a *types.Attachment) { a.Pieces, a.Size = 15, 15*types.PieceSize },
		"public": func(a *types.Attachment) { a.Visibility = types.VisibilityPublic },
	} {
		b := openAs(t, person(1), &peer{of: a.Library, lie: func(a types.Attachment) types.Attachment { lie(&a); return a }})
		if _, err := b.List(t.Context(), p.Ref()); !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := openAs(t, person(1), &peer{of: a.Library, lie: func(a types.Attachment) types.Attachment { a.Salt[0]++; return a }})
	if _, err := other.List(t.Context(), p.Ref()); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
}

func FuzzPrivateRows(f *testing.F) {
	p, s := private{Name: "films", Key: Key{1}}, salting{Salt: types.H("s"), To: []types.Account{{1}}}
	f.Add(types.Marshal(&p))
	f.Add(types.Marshal(&s))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p private
		if err := types.Unmarshal(b, &p); err == nil && !bytes.Equal(types.Marshal(&p), b) {
			t.Fatal("a row of another spelling")
		}
		var s salting
		if err := types.Unmarshal(b, &s); err == nil && !bytes.Equal(types.Marshal(&s), b) {
			t.Fatal("a row of another spelling")
		}
	})
}
