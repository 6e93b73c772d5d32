package library

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestCarry takes datasets of each visibility from one machine to another by a
// directory.
func TestCarry(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	want := tree(t, folder)
	a := openAs(t, person(1), nil)
	for name, p := range map[string]Published{
		"public": a.mustPut(t, folder), "me": a.putAs(t, folder, forMe), "members": a.putAs(t, folder, forMembers(person(2))),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "usb")
			out, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
			ok(t, err)
			if out.Moved != int64(p.Attachment.Size) {
				t.Fatalf("%+v", out)
			}
			again, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
			if ok(t, err); again.Moved != 0 {
				t.Fatalf("a second export wrote %d bytes", again.Moved)
			}
			b := openAs(t, person(1), nil)
			in, err := b.ImportFrom(t.Context(), dir, ImportOptions{}, Watch{})
			ok(t, err)
			if d := cmp.Diff(Carried{Attachment: p.Attachment, Name: p.Manifest.Name, Moved: out.Moved}, in, cidEqual); d != "" {
				t.Fatal(d)
			}
			again, err = b.ImportFrom(t.Context(), dir, ImportOptions{}, Watch{})
			if ok(t, err); again.Moved != 0 {
				t.Fatalf("a second import wrote %d bytes", again.Moved)
			}
			r, err := b.Verify(t.Context(), p.Ref(), Watch{})
			ok(t, errors.Join(err, r.Err()))
			_, err = b.Get(t.Context(), p.Ref(), filepath.Join(dir, "out"), GetOptions{}, Watch{})
			ok(t, err)
			if d := cmp.Diff(want, tree(t, filepath.Join(dir, "out"))); d != "" {
				t.Fatal(d)
			}
			b.sound(t)
			stranger := openAs(t, person(9), nil)
			blind, err := stranger.ImportFrom(t.Context(), dir, ImportOptions{}, Watch{})
			if ok(t, err); name != "public" && blind.Name != "" {
				t.Fatalf("a stranger knows the name %q", blind.Name)
			}
		})
	}
}

var cidEqual = cmp.Comparer(func(a, b types.Attachment) bool { return sameAttachment(&a, &b) })

// TestCarryIsTGZ: the files of pieces, one after the other, are what every tar
// unpacks.
func TestCarryIsTGZ(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	plant(t, folder)
	a := open(t, t.TempDir(), nil)
	p := a.mustPut(t, folder)
	_, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
	ok(t, err)
	var tgz bytes.Buffer
	_, err = a.Export(t.Context(), p.Ref(), &tgz, Watch{})
	ok(t, err)
	raw, err := os.ReadFile(filepath.Join(dir, "pieces", "000001"))
	if ok(t, err); !bytes.Equal(raw, tgz.Bytes()) {
		t.Fatal("other bytes")
	}
}

func TestCarryResumes(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	plant(t, folder)
	a := open(t, t.TempDir(), nil)
	p := a.mustPut(t, folder)
	part := filepath.Join(dir, "pieces", "000001")
	stop := func(job func(context.Context, Watch) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		err := job(ctx, Watch{Progress: func(Progress) { cancel() }})
		wantIs(t, err, context.Canceled)
	}
	_, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
	ok(t, err)
	ok(t, os.Remove(filepath.Join(dir, manifestFile)))
	ok(t, os.Truncate(part, 3*types.PieceSize+5))
	if _, err := open(t, t.TempDir(), nil).ImportFrom(t.Context(), dir, ImportOptions{}, Watch{}); !errors.Is(err, ErrExport) {
		t.Fatal(err)
	}
	out, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
	if ok(t, err); out.Moved != int64(p.Attachment.Size)-3*types.PieceSize {
		t.Fatalf("%d bytes were written again", out.Moved)
	}
	far := t.TempDir()
	stop(func(ctx context.Context, w Watch) error { _, err := a.ExportTo(ctx, p.Ref(), far, w); return err })
	_, err = a.ExportTo(t.Context(), p.Ref(), far, Watch{})
	ok(t, err)
	b := open(t, t.TempDir(), nil)
	stop(func(ctx context.Context, w Watch) error {
		_, err := b.ImportFrom(ctx, far, ImportOptions{}, w)
		return err
	})
	in, err := b.ImportFrom(t.Context(), far, ImportOptions{}, Watch{})
	if ok(t, err); in.Moved == 0 || in.Moved >= int64(p.Attachment.Size) {
		t.Fatalf("%d bytes of %d were taken again", in.Moved, p.Attachment.Size)
	}
	b.sound(t)
}

func TestCarryDamage(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	a := open(t, t.TempDir(), nil)
	p, other := a.mustPut(t, folder), a.mustPut(t, filepath.Join(folder, "small"))
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  error
	}{
		"a bit of a piece":   {func(dir string) { flipAt(t, filepath.Join(dir, "pieces", "000001"), 300_000) }, ErrBad},
		"a piece is missing": {func(dir string) { ok(t, os.Truncate(filepath.Join(dir, "pieces", "000001"), 300_000)) }, nil},
		"no pieces":          {func(dir string) { ok(t, os.Remove(filepath.Join(dir, "pieces", "000001"))) }, os.ErrNotExist},
		"a bit of a block":   {func(dir string) { flipAt(t, filepath.Join(dir, blocksFile), 150) }, ErrBad},
		"the head of blocks": {func(dir string) { flipAt(t, filepath.Join(dir, blocksFile), 5) }, ErrExport},
		"blocks cut":         {func(dir string) { ok(t, os.Truncate(filepath.Join(dir, blocksFile), 100)) }, ErrExport},
		"no blocks":          {func(dir string) { ok(t, os.Remove(filepath.Join(dir, blocksFile))) }, ErrExport},
		"the manifest":       {func(dir string) { flipAt(t, filepath.Join(dir, manifestFile), 200) }, ErrExport},
		"no manifest":        {func(dir string) { ok(t, os.Remove(filepath.Join(dir, manifestFile))) }, ErrExport},
		"another's manifest": {func(dir string) {
			far := t.TempDir()
			_, err := a.ExportTo(t.Context(), other.Ref(), far, Watch{})
			ok(t, err)
			ok(t, os.Rename(filepath.Join(far, manifestFile), filepath.Join(dir, manifestFile)))
		}, ErrExport},
	} {
		dir := t.TempDir()
		_, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
		ok(t, err)
		c.spoil(dir)
		b := open(t, t.TempDir(), nil)
		if _, err := b.ImportFrom(t.Context(), dir, ImportOptions{}, Watch{}); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if h, err := b.Held(p.Attachment.Dataset()); err == nil && h.Whole {
			t.Errorf("%s: the dataset counts as whole", name)
		}
	}
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "letters"), nil, 0o600))
	if _, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{}); !errors.Is(err, ErrOccupied) {
		t.Errorf("a directory with other things: %v", err)
	}
	dir = t.TempDir()
	_, err := a.ExportTo(t.Context(), other.Ref(), dir, Watch{})
	ok(t, err)
	if _, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{}); !errors.Is(err, ErrOccupied) {
		t.Errorf("a directory with another dataset: %v", err)
	}
}

// flipAt changes a bit.
func flipAt(t *testing.T, name string, off int) {
	t.Helper()
	b, err := os.ReadFile(name)
	ok(t, err)
	b[off] ^= 1
	ok(t, os.WriteFile(name, b, 0o600))
}

func FuzzManifest(f *testing.F) {
	h := exampleHeld()
	m := manifest{Attachment: h.Attachment, Blocks: 7}
	f.Add(m.text())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest(b); err == nil && !bytes.Equal(m.text(), b) {
			t.Fatal("another spelling is read")
		}
	})
}

func FuzzCAR(f *testing.F) {
	n := types.NewNode([]byte{0x80})
	var out bytes.Buffer
	w, err := newCARWriter(&out, n.CID)
	if err == nil {
		err = errors.Join(w.add(n), w.add(n), w.w.Flush())
	}
	if err != nil || w.size != int64(out.Len()) {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readCAR(bytes.NewReader(b), int64(len(b)), n.CID)
		if err != nil {
			if !errors.Is(err, ErrExport) {
				t.Fatal(err)
			}
			return
		}
		for c := range x.at {
			if b, err := x.Node(c); err == nil && types.Digest(types.RawCID(b)) != types.Digest(c) {
				t.Fatal("a block that is another")
			}
		}
	})
}

// exportVectors is spec/vectors/export.json: the manifest and the CAR of one block
// that is its root.
type exportVectors struct {
	Manifest string `json:"manifest"` // of the dataset in rows_test.go with 7 bytes of blocks
	Block    string `json:"block"`
	CAR      string `json:"car"`
	LastFile string `json:"last_file"` // of a dataset of 10,000 pieces
	LastAt   int64  `json:"last_at"`   // where its last piece begins in that
}

func TestExportVectors(t *testing.T) {
	h := exampleHeld()
	m := manifest{Attachment: h.Attachment, Blocks: 7}
	n := types.NewNode([]byte{0x81, 0x07})
	var car bytes.Buffer
	w, err := newCARWriter(&car, n.CID)
	ok(t, err)
	ok(t, errors.Join(w.add(n), w.w.Flush()))
	got := exportVectors{Manifest: string(m.text()), Block: hex.EncodeToString(n.Bytes), CAR: hex.EncodeToString(car.Bytes())}
	got.LastFile, got.LastAt = place(10_000)
	if os.Getenv("UPDATE_VECTORS") != "" {
		out, err := json.MarshalIndent(got, "", "  ")
		ok(t, err)
		ok(t, os.WriteFile("../spec/vectors/export.json", append(out, '\n'), 0o644))
	}
	raw, err := os.ReadFile("../spec/vectors/export.json")
	ok(t, err)
	var want exportVectors
	ok(t, json.Unmarshal(raw, &want))
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	back, err := parseManifest([]byte(want.Manifest))
	ok(t, err)
	if d := cmp.Diff(m, back, cidEqual); d != "" {
		t.Fatal(d)
	}
}

// TestCarryInPlace leaves the pieces in the directory.
func TestCarryInPlace(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	plant(t, folder)
	a := openAs(t, person(1), nil)
	p := a.putAs(t, folder, forMe)
	_, err := a.ExportTo(t.Context(), p.Ref(), dir, Watch{})
	ok(t, err)
	b := openAs(t, person(1), nil)
	before := b.usage(t).Live
	in, err := b.ImportFrom(t.Context(), dir, ImportOptions{InPlace: true}, Watch{})
	ok(t, err)
	if in.Moved != 0 || in.InPlace != int64(p.Attachment.Size) || b.usage(t).Live != before {
		t.Fatalf("%+v, %d bytes in the store", in, b.usage(t).Live)
	}
	again, err := b.ImportFrom(t.Context(), dir, ImportOptions{InPlace: true}, Watch{})
	if ok(t, err); again.InPlace != 0 {
		t.Fatalf("a second import noted %d bytes", again.InPlace)
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err = b.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if d := cmp.Diff(tree(t, folder), tree(t, out)); d != "" {
		t.Fatal(d)
	}
	flipAt(t, filepath.Join(dir, "pieces", "000001"), 300_000)
	r, err := b.Verify(t.Context(), p.Ref(), Watch{})
	if ok(t, err); r.Err() == nil {
		t.Fatalf("a piece that changed in its place is not missed: %+v", r)
	}
	ok(t, b.Remove(p.Ref()))
	if _, err := os.Stat(filepath.Join(dir, manifestFile)); err != nil {
		t.Fatal("removing a dataset touched the directory:", err)
	}
	flipAt(t, filepath.Join(dir, "pieces", "000001"), 300_000)
	in, err = b.ImportFrom(t.Context(), dir, ImportOptions{}, Watch{})
	if ok(t, err); in.Moved != int64(p.Attachment.Size) {
		t.Fatalf("%+v", in)
	}
	b.sound(t)
}
