package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// checkingTarget refuses what a Target must never be asked for.
type checkingTarget struct {
	t    *testing.T
	dirs map[string]bool
}

func (c checkingTarget) name(name string) {
	if !fs.ValidPath(strings.ToValidUTF8(name, "?")) || name == "." || strings.ContainsRune(name, 0) {
		c.t.Errorf("asked for the name %q", name)
	}
	if i := strings.LastIndexByte(name, '/'); i > 0 && !c.dirs[name[:i]] {
		c.t.Errorf("asked for %q before its directory", name)
	}
}

func (c checkingTarget) Mkdir(name string) error {
	c.name(name)
	c.dirs[name] = true
	return nil
}

func (c checkingTarget) Create(name string) (io.WriteCloser, error) {
	c.name(name)
	return nopCloser{io.Discard}, nil
}

func (c checkingTarget) Symlink(target, name string) error {
	c.name(name)
	if LinkLeadsOut(name, target) {
		c.t.Errorf("asked for a link from %q to %q", name, target)
	}
	return nil
}

func (c checkingTarget) Set(name string, mode fs.FileMode, _ int64) error {
	c.name(name)
	if mode&^fs.ModePerm != 0 {
		c.t.Errorf("asked for mode %v", mode)
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func seeds(f *testing.F) [][]byte {
	f.Helper()
	_, small := pack(f, folder(file{name: "d/a", data: []byte("x")}, file{name: "l", link: "d/a"}, file{name: "e", dir: true}), Options{})
	_, empty := pack(f, folder(), Options{})
	return [][]byte{small.tgz, empty.tgz, foreign(f, reg("a", 3), link("b", "a"), &tar.Header{Name: "h", Linkname: "a", Typeflag: tar.TypeLink})}
}

func FuzzUnpack(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tgz []byte) {
		limits := Limits{Bytes: 1 << 20, Entries: 1000, Pending: 1 << 20}
		done, err := Unpack(bytes.NewReader(tgz), checkingTarget{t, map[string]bool{}}, UnpackOptions{Limits: limits})
		if done.Bytes > limits.Bytes || err == nil && done.Files+done.Dirs > 2000 {
			t.Errorf("%+v is above the limits", done)
		}
	})
}

func FuzzOpen(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tgz []byte) {
		r, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 1<<20)
		if err != nil {
			return
		}
		_, err = r.UnpackTo(checkingTarget{t, map[string]bool{}}, UnpackOptions{Limits: Limits{Bytes: 1 << 20}})
		if err == nil && r.Content() > 1<<20 {
			t.Errorf("%d bytes unpacked", r.Content())
		}
	})
}

// FuzzTOC feeds tables of contents without their wrapping. What is accepted
// comes back byte for byte when it is written again.
func FuzzTOC(f *testing.F) {
	_, sink := pack(f, folder(mixed()[:6]...), Options{})
	r := open(f, sink.tgz)
	f.Add(tocText(r), int64(1<<30))
	f.Add([]byte(tocStart+tocEnd), int64(100))
	f.Fuzz(func(t *testing.T, toc []byte, limit int64) {
		tgz := rewrite(t, string(toc), 0)
		nodes, digest, err := readTOC(bytes.NewReader(tgz), limit, 1<<20)
		if err != nil {
			return
		}
		again := &Reader{nodes: nodes}
		if got := tocText(again); !bytes.Equal(got, toc) || PieceDigest(toc) != digest {
			t.Errorf("accepted\n%s\nwritten again\n%s", toc, got)
		}
	})
}

// tocText writes the table of contents of a Reader again.
func tocText(r *Reader) []byte {
	out := []byte(tocStart)
	for i := range r.nodes {
		n := &r.nodes[i]
		if i > 0 {
			out = append(out, ",\n"...)
		}
		if len(n.chunks) == 0 {
			rec := headRecord(&n.Entry)
			out = rec.append(out)
		}
		for k, c := range n.chunks {
			if k > 0 {
				out = append(out, ",\n"...)
			}
			m := Member{Entry: &n.Entry, Stored: n.stored, Offset: int64(k) * n.chunkSize(), Size: int64(n.length(k))}
			rec := chunkRecord(m, c.offset, c.digest)
			if k == len(n.chunks)-1 && !n.stored {
				rec.PackedSize = n.end - n.chunks[0].offset
			}
			out = rec.append(out)
		}
	}
	if len(r.nodes) > 0 {
		out = append(out, '\n')
	}
	return append(out, tocEnd...)
}

func FuzzFooter(f *testing.F) {
	f.Add(appendFooter(nil, 0))
	f.Add(appendFooter(nil, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, err := parseFooter(b)
		if err == nil && (at < 0 || !bytes.Equal(appendFooter(nil, at), b)) {
			t.Errorf("footer %x gives %d", b, at)
		}
	})
}

// FuzzTarHeader: what we write, archive/tar reads back.
func FuzzTarHeader(f *testing.F) {
	f.Add("a/b", "", uint8(1), int64(5), int64(1_790_000_000))
	f.Add(strings.Repeat("d/", 90)+"é", "x", uint8(3), int64(0), int64(-5))
	f.Add(strings.Repeat("n", 255), "", uint8(1), int64(9<<30), int64(1)<<34)
	f.Fuzz(func(t *testing.T, name, link string, typ uint8, size, when int64) {
		e := Entry{Name: name, Link: link, Type: Type(typ), Size: size, ModTime: when, Mode: 0o640}
		if e.check() != nil || LinkLeadsOut(name, link) && e.Type == Symlink {
			return
		}
		h, err := tar.NewReader(bytes.NewReader(append(appendTarHeader(nil, &e), make([]byte, 1024)...))).Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			t.Fatalf("%+v: %v", e, err)
		}
		if h.Name != e.key() || h.Linkname != link || h.Size != size || h.ModTime.Unix() != when || h.Mode != 0o640 || h.Typeflag != typeflag(e.Type) {
			t.Errorf("%+v comes back as %+v", e, h)
		}
	})
}
