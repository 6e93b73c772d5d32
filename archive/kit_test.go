package archive

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// memory is a Sink that keeps everything.
type memory struct {
	tgz    []byte
	pieces []types.Hash
	nodes  map[cid.Cid][]byte
	order  []cid.Cid
}

func (m *memory) Piece(number uint32, digest types.Hash, data []byte) error {
	if int(number) != len(m.pieces)+1 || types.RawCIDOf(digest) != types.RawCID(data) {
		return fmt.Errorf("piece %d after %d", number, len(m.pieces))
	}
	m.pieces = append(m.pieces, digest)
	m.tgz = append(m.tgz, data...)
	return nil
}

func (m *memory) Node(n types.Node) error {
	if m.nodes == nil {
		m.nodes = map[cid.Cid][]byte{}
	}
	m.nodes[n.CID] = n.Bytes
	m.order = append(m.order, n.CID)
	return nil
}

// set is the set of pieces, to count what two versions share.
func (m *memory) set() map[types.Hash]bool {
	out := map[types.Hash]bool{}
	for _, p := range m.pieces {
		out[p] = true
	}
	return out
}

// newPieces counts pieces of m that before does not hold.
func (m *memory) newPieces(before *memory) (n int) {
	old := before.set()
	for p := range m.set() {
		if !old[p] {
			n++
		}
	}
	return n
}

func pack(t testing.TB, fsys fs.FS, opts Options) (Manifest, *memory) {
	t.Helper()
	sink := new(memory)
	m, err := Pack(fsys, opts, sink)
	if err != nil {
		t.Fatal(err)
	}
	if m.Size != uint64(len(sink.tgz)) || int(m.Pieces) != len(sink.pieces) {
		t.Fatalf("manifest says %d bytes in %d pieces, sink has %d in %d", m.Size, m.Pieces, len(sink.tgz), len(sink.pieces))
	}
	return m, sink
}

// packStored packs with members that are not deflated, which is much faster and
// places small files by the same rules.
func packStored(t testing.TB, fsys fs.FS) (Manifest, *memory) {
	t.Helper()
	sink := new(memory)
	p, err := NewPlanner(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAssembler(Options{}, sink)
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		raw := append(bytes.Clone(m.data), make([]byte, m.Pad)...)
		if m.Header {
			raw = appendTarHeader(nil, m.Entry)
		}
		if err := a.Add(m, Packed{Bytes: AppendStored(nil, raw), Digest: PieceDigest(m.data)}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := a.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out, sink
}

// file is one entry of a test folder. The zero mode is 0644, of a directory 0755.
type file struct {
	name string
	data []byte
	link string
	dir  bool
	mode fs.FileMode
	time int64
}

// folder is an in-memory fs.ReadLinkFS; directories above files are made.
func folder(files ...file) fs.FS { return memFS{build(files)} }

var testTime = time.Unix(1_790_000_000, 999)

// noise is incompressible and the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	if _, err := r.Read(b); err != nil {
		panic(err)
	}
	return b
}

// prose is compressible and the same for the same seed.
func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	words := []string{"granary ", "stone ", "rat ", "damp ", "keeps ", "lifted ", "the ", "and ", "of ", "\n"}
	var b bytes.Buffer
	for b.Len() < n {
		if r.IntN(8) == 0 {
			fmt.Fprintf(&b, "%x ", r.Uint32())
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.Bytes()[:n]
}

// diskTarget is a Target in a real folder, through os.Root.
type diskTarget struct{ root *os.Root }

func newDiskTarget(t testing.TB, dir string) diskTarget {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return diskTarget{root}
}

func skipped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSkip, err)
}

func (d diskTarget) Mkdir(name string) error {
	err := d.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, err := d.root.Lstat(name)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is in the way: %w", name, fs.ErrExist)
		}
		return skipped(err)
	}
	return skipped(err)
}

func (d diskTarget) Create(name string) (io.WriteCloser, error) {
	if info, err := d.root.Lstat(name); err == nil && !info.IsDir() {
		if err := d.root.Remove(name); err != nil {
			return nil, skipped(err)
		}
	}
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	return f, skipped(err)
}

func (d diskTarget) Symlink(target, name string) error { return skipped(d.root.Symlink(target, name)) }
func (d diskTarget) Link(old, name string) error       { return skipped(d.root.Link(old, name)) }

func (d diskTarget) Set(name string, mode fs.FileMode, modTime int64) error {
	if err := d.root.Chmod(name, mode); err != nil {
		return err
	}
	when := time.Unix(modTime, 0)
	return d.root.Chtimes(name, when, when)
}

// tree is what a folder holds, as comparable text.
func tree(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			out[name] = fmt.Sprintf("dir %o %d", info.Mode().Perm(), info.ModTime().Unix())
		case d.Type() == fs.ModeSymlink:
			link, err := fs.ReadLink(fsys, name)
			out[name] = "link " + link
			return err
		default:
			data, err := fs.ReadFile(fsys, name)
			out[name] = fmt.Sprintf("file %o %d %s", info.Mode().Perm(), info.ModTime().Unix(), PieceDigest(data))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// write puts the files of fsys on disk.
func write(t testing.TB, dir string, files ...file) {
	t.Helper()
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case f.link != "":
			err = os.Symlink(f.link, name)
		case f.dir:
			err = os.MkdirAll(name, 0o755)
		default:
			err = os.WriteFile(name, f.data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func sameCID(a, b cid.Cid) bool { return a == b }

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
