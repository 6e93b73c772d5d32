package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// shelf is a library over a real store on disk.
type shelf struct {
	*Library
	store *store.Store
	dir   string
	clock atomic.Int64 // Unix ms
}

func open(t testing.TB, dir string, src Source) *shelf {
	t.Helper()
	return openWith(t, dir, src, store.Options{SegmentSize: 8 << 20})
}

func openWith(t testing.TB, dir string, src Source, o store.Options) *shelf {
	t.Helper()
	st, err := store.Open(dir, o)
	ok(t, err)
	s := &shelf{store: st, dir: dir}
	s.clock.Store(1_790_000_000_000)
	s.Library, err = New(Config{
		State: st, Pieces: st.Pieces(), Reserve: Rooms(st.Pieces().Reserve), Source: src,
		Now: func() types.Millis { return types.Millis(s.clock.Add(1)) },
	})
	ok(t, err)
	t.Cleanup(func() { s.close(t) })
	return s
}

func (s *shelf) close(t testing.TB) {
	if err := s.store.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}

func (s *shelf) usage(t testing.TB) store.Usage {
	t.Helper()
	u, err := s.store.Usage()
	ok(t, err)
	return u
}

// sound checks that all that somebody counts on in the store is as it should be.
func (s *shelf) sound(t testing.TB) {
	t.Helper()
	_, err := s.store.Verify(func(p store.Problem) error {
		if p.Owned {
			return &p
		}
		return nil
	})
	ok(t, err)
}

// peer is a Source over another library, with faults.
type peer struct {
	of     *Library
	asked  int                              // pieces
	limit  int                              // pieces to give before gone; 0: all
	spoil  func(i int, piece []byte) []byte // nil: as they are
	lie    func(types.Attachment) types.Attachment
	wrong  bool // blocks have other bytes
	silent bool // gives nothing and no error
}

var errGone = errors.New("peer is gone")

func (p *peer) Attachment(_ context.Context, id types.DatasetID) (types.Attachment, error) {
	a, err := p.of.Attachment(id)
	if p.lie != nil {
		a = p.lie(a)
	}
	return a, err
}

func (p *peer) Nodes(_ context.Context, _ types.DatasetID, want []cid.Cid) (out []types.Node, err error) {
	if p.silent {
		return nil, nil
	}
	for _, c := range want {
		b, err := p.of.State.Node(c)
		if err != nil {
			return nil, err
		}
		if p.wrong {
			b = append(bytes.Clone(b), 0)
		}
		out = append(out, types.Node{CID: c, Bytes: b})
	}
	return out, nil
}

func (p *peer) Pieces(ctx context.Context, _ types.DatasetID, want []types.Hash, to func(int, []byte) error) error {
	if p.silent {
		return nil
	}
	for i := range want {
		at := len(want) - 1 - i // not in order
		if p.limit > 0 && p.asked >= p.limit {
			return errGone
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := p.of.Piece(want[at])
		if err != nil {
			return err
		}
		p.asked++
		if p.spoil != nil {
			b = p.spoil(at, bytes.Clone(b))
		}
		if err := to(at, b); err != nil {
			return err
		}
	}
	return nil
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

var public = PutOptions{Visibility: types.VisibilityPublic, RangePieces: 4}

func (s *shelf) mustPut(t testing.TB, folder string) Published {
	t.Helper()
	p, err := s.Put(t.Context(), folder, public, Watch{})
	ok(t, err)
	return p
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	words := []string{"granary ", "stone ", "rat ", "damp ", "keeps ", "the ", "and ", "\n"}
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x ", r.Uint32())
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.Bytes()[:n]
}

// plant writes a folder with a film that is stored, text that is deflated, many
// small files, links, empty things and odd names.
func plant(t testing.TB, dir string) {
	t.Helper()
	write := func(name string, data []byte, mode fs.FileMode) {
		name = filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(name), 0o755))
		ok(t, os.WriteFile(name, data, 0o600))
		ok(t, os.Chmod(name, mode))
	}
	write("film.mkv", noise(1, 5<<20+12345), 0o644)
	write("book.txt", prose(2, 3<<20+99), 0o640)
	write("void", nil, 0o600)
	write("bin/run", []byte("#!/bin/sh\n"), 0o755)
	write("odd/\x1b[31mred\nline", []byte("hostile"), 0o644)
	write("odd/"+string(bytes.Repeat([]byte("n"), 255)), []byte("long"), 0o644)
	write("odd/größe-π", []byte("utf8"), 0o644)
	for i := range 60 {
		write(fmt.Sprintf("small/%d/%03d", i%7, i), prose(uint64(100+i), 100+i*40), 0o644)
	}
	ok(t, os.MkdirAll(filepath.Join(dir, "hollow/deep"), 0o755))
	ok(t, os.Symlink("../book.txt", filepath.Join(dir, "bin/link")))
	old := time.Unix(1_500_000_000, 0)
	ok(t, os.Chtimes(filepath.Join(dir, "book.txt"), old, old))
	ok(t, os.Chmod(filepath.Join(dir, "hollow"), 0o500))
	ok(t, os.Chtimes(filepath.Join(dir, "hollow"), old, old))
}

// tree is what a folder holds, as comparable text.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		switch {
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(name)
			out[rel] = "link " + link
			return err
		case d.IsDir():
			out[rel] = fmt.Sprintf("dir %o %d", info.Mode().Perm(), info.ModTime().Unix())
		default:
			data, err := os.ReadFile(name)
			out[rel] = fmt.Sprintf("file %o %d %s", info.Mode(), info.ModTime().Unix(), archive.PieceDigest(data))
			return err
		}
		return nil
	}))
	return out
}
