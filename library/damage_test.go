package library

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// flip changes one bit of a stored piece on disk and opens the library again.
func (s *shelf) flip(t *testing.T, number uint32, src Source) (*shelf, types.Hash) {
	t.Helper()
	all, err := s.Datasets()
	ok(t, err)
	d, err := s.open(t.Context(), Ref{Dataset: all[0].Attachment.Dataset()}, Watch{})
	ok(t, err)
	digests, err := d.digests(number, 1)
	ok(t, err)
	piece, err := s.Piece(digests[0])
	ok(t, err)
	s.close(t)
	found := false
	ok(t, filepath.WalkDir(s.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		at := bytes.Index(b, piece)
		if at < 0 {
			return nil
		}
		found = true
		b[at+len(piece)/2] ^= 0x10
		return os.WriteFile(name, b, 0o600)
	}))
	if !found {
		t.Fatal("the piece is in no file")
	}
	return open(t, s.dir, src), digests[0]
}

// TestFlippedBit: verify names the piece, get refuses to unpack it, and a source
// or the folder heals it.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	whole := open(t, t.TempDir(), nil)
	p := whole.mustPut(t, folder)
	s := open(t, t.TempDir(), nil)
	s.mustPut(t, folder)

	s, digest := s.flip(t, 7, nil)
	r, err := s.Verify(t.Context(), p.Ref(), Watch{})
	ok(t, err)
	if r.Bad != 1 || r.Good != p.Attachment.Pieces-1 || r.Problems[0].Number != 7 || r.Problems[0].Digest != digest {
		t.Fatalf("report %+v", r)
	}
	wantIs(t, r.Err(), ErrBad)
	wantIs(t, r.Err(), store.ErrCorrupt)
	out := filepath.Join(t.TempDir(), "out")
	_, err = s.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	wantIs(t, err, ErrBad)

	s.close(t)
	from := &peer{of: whole.Library}
	s = open(t, s.dir, from)
	_, err = s.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if from.asked != 1 {
		t.Fatalf("%d pieces were fetched", from.asked)
	}
	if d := cmp.Diff(tree(t, folder), tree(t, out)); d != "" {
		t.Fatal(d)
	}
	wholeHere(t, s, p.Ref())

	s, _ = s.flip(t, 3, nil)
	s.mustPut(t, folder)
	wholeHere(t, s, p.Ref())
}

// gone hides one block from a State.
type gone struct {
	State
	hide func(n types.Node) bool
}

func (g gone) Save(nodes []types.Node, rows []types.Row) error {
	var kept []types.Node
	for _, n := range nodes {
		if !g.hide(n) {
			kept = append(kept, n)
		}
	}
	return g.State.Save(kept, rows)
}

// TestLostBlocks: verify finds each kind of block that is not there.
func TestLostBlocks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	tests := map[string]struct {
		hide types.Hash
		what string
	}{
		"index":  {types.Digest(p.Attachment.Index), "index"},
		"ranges": {types.Digest(p.Attachment.Ranges), "roots"},
		"unixfs": {types.Digest(p.Attachment.UnixFS), "roots"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), nil)
			s.State = gone{s.State, func(n types.Node) bool { return types.Digest(n.CID) == tt.hide }}
			s.mustPut(t, folder)
			r, err := s.Verify(t.Context(), p.Ref(), Watch{})
			ok(t, err)
			if r.Bad != 1 || r.Problems[0].What != tt.what {
				t.Fatalf("report %+v", r)
			}
			wantIs(t, r.Err(), ErrBad)
		})
	}
}

// TestQuota: a put that does not fit leaves nothing; one that adds nothing fits.
func TestQuota(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	small := openWith(t, t.TempDir(), nil, store.Options{Quota: 3 << 20})
	_, err := small.Put(t.Context(), folder, public, Watch{})
	wantIs(t, err, store.ErrQuota)
	left, err := small.Leftovers()
	ok(t, err)
	if u := small.usage(t); u.Live != 0 || u.Reserved != 0 || len(left) != 0 {
		t.Fatalf("usage %+v, left %+v", u, left)
	}
	small.sound(t)

	tight := openWith(t, t.TempDir(), nil, store.Options{Quota: 9 << 20})
	tight.mustPut(t, folder)
	if again := tight.mustPut(t, folder); !again.Repeated {
		t.Fatalf("again %+v", again)
	}
	if u := tight.usage(t); u.Reserved != 0 || u.Live > u.Quota {
		t.Fatalf("usage %+v", u)
	}
}

// TestRoomGrows: an estimate that was far too small is no error.
func TestRoomGrows(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	r, err := openRoom(s.Reserve, "x", 10)
	ok(t, err)
	for i := range uint64(5) {
		piece := noise(i, types.PieceSize)
		err := r.putKnown(archive.PieceDigest(piece), piece)
		ok(t, err)
	}
	ok(t, r.close())
	if u := s.usage(t); r.stored != 5*types.PieceSize || u.Live != r.stored || u.Reserved != 0 {
		t.Fatalf("stored %d, usage %+v", r.stored, u)
	}
	if err := r.close(); err == nil {
		t.Fatal("closed twice")
	}
	none := errors.New("none")
	_, err = openRoom(func(string, int64) (Room, error) { return nil, none }, "x", 10)
	wantIs(t, err, none)
}
