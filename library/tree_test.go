package library

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// TestTree: the UnixFS directory of a dataset takes next to no room, and its leaves
// are the bytes of the files; with the dataset it goes.
func TestTree(t *testing.T) {
	folder := t.TempDir()
	film := noise(1, 600_000)
	ok(t, os.WriteFile(filepath.Join(folder, "film.mkv"), film, 0o644))
	ok(t, os.WriteFile(filepath.Join(folder, "a.txt"), []byte("hello\n"), 0o644))
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	before := s.usage(t).Live
	root, err := s.Tree(t.Context(), folder, p.Attachment.Dataset(), Watch{})
	ok(t, err)
	if after := s.usage(t).Live; after != before {
		t.Errorf("%d bytes of pieces, before %d", after, before)
	}
	if b, err := s.Block(root); err != nil || root.Prefix().Codec != cid.DagProtobuf || len(b) == 0 {
		t.Errorf("root %s: %d bytes, %v", root, len(b), err)
	}
	leaves := [][]byte{film[:types.PieceSize], film[types.PieceSize : 2*types.PieceSize], film[2*types.PieceSize:], []byte("hello\n")}
	for i, want := range leaves {
		c := types.RawCID(want)
		b, err := s.Block(c)
		if n, sizeErr := s.BlockSize(c); err != nil || sizeErr != nil || !bytes.Equal(b, want) || n != len(want) {
			t.Errorf("leaf %d: %d bytes, said %d: %v %v", i, len(b), n, err, sizeErr)
		}
	}
	ok(t, s.Remove(p.Ref()))
	for i, b := range leaves {
		if _, err := s.Block(types.RawCID(b)); !missing(err) {
			t.Errorf("leaf %d of a dataset that was removed: %v", i, err)
		}
	}
	if rows, err := s.fell(p.Attachment.Dataset()); len(rows) != 0 || err != nil {
		t.Errorf("rows stay: %v %v", rows, err)
	}
}

// TestTreeOfAnother: a folder that is not the dataset's any more gives no wrong
// block, and a private dataset gets no directory.
func TestTreeOfAnother(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, "a.txt")
	ok(t, os.WriteFile(name, []byte("hello\n"), 0o644))
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	ok(t, os.WriteFile(name, []byte("other\n"), 0o644))
	_, err := s.Tree(t.Context(), folder, p.Attachment.Dataset(), Watch{})
	ok(t, err)
	if _, err := s.Block(types.RawCID([]byte("other\n"))); !missing(err) {
		t.Errorf("a block of another folder: %v", err)
	}
	if _, err := s.Tree(t.Context(), folder, types.H("nothing"), Watch{}); err == nil {
		t.Error("a dataset that is not here got a directory")
	}
}
