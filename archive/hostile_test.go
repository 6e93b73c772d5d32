package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// foreign makes a .tar.gz as others do.
func foreign(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, h := range headers {
		body := strings.Repeat("x", int(h.Size))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.ModTime = time.Unix(1_790_000_000, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func reg(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Size: size, Typeflag: tar.TypeReg}
}

func link(name, to string) *tar.Header {
	return &tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}

func dir(name string, mode int64) *tar.Header {
	return &tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeDir}
}

// unpackInside unpacks into a folder that has a neighbour, and fails when
// anything outside changed.
func unpackInside(t *testing.T, tgz []byte, opts UnpackOptions) (got map[string]string, warnings []Warning, done Unpacked, err error) {
	t.Helper()
	top := t.TempDir()
	write(t, top, file{name: "outside/secret", data: []byte("secret")}, file{name: "in", dir: true})
	before := tree(t, os.DirFS(filepath.Join(top, "outside")))
	opts.Warn = func(w Warning) { warnings = append(warnings, w) }
	done, err = Unpack(bytes.NewReader(tgz), newDiskTarget(t, filepath.Join(top, "in")), opts)
	if diff := cmp.Diff(before, tree(t, os.DirFS(filepath.Join(top, "outside")))); diff != "" {
		t.Errorf("written outside (-want +got)\n%s", diff)
	}
	if list, _ := os.ReadDir(top); len(list) != 2 {
		t.Errorf("%d names beside the folder, want 2", len(list))
	}
	return tree(t, os.DirFS(filepath.Join(top, "in"))), warnings, done, err
}

func names(t *testing.T, got map[string]string) (out []string) {
	t.Helper()
	for name := range got {
		out = append(out, name)
	}
	return out
}

// TestUnpackOutside: whatever an archive claims, nothing leaves the folder; what
// is left out is named.
func TestUnpackOutside(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []*tar.Header
		made    []string
		warned  []string
	}{
		{"dots", []*tar.Header{reg("../outside/secret", 3), reg("a/../../outside/x", 1), reg("ok", 1)}, []string{"ok"}, []string{"../outside/secret", "a/../../outside/x"}},
		{"absolute", []*tar.Header{reg("/tmp/staddle-x", 1), reg("//x", 1)}, nil, []string{"/tmp/staddle-x", "//x"}},
		{"link out", []*tar.Header{link("l", "../outside"), reg("l/x", 1)}, []string{"l", "l/x"}, []string{"l"}},
		{"absolute link", []*tar.Header{link("l", "/etc"), link("m", "/"), link("n", "")}, nil, []string{"l", "m", "n"}},
		{"link in, then through it", []*tar.Header{dir("d", 0o755), link("l", "d"), reg("l/x", 1)}, []string{"d", "l", "l/x"}, []string{"l"}},
		{"links that add up", []*tar.Header{dir("a/b", 0o755), link("d", "a/b"), link("d/e", "../.."), link("a/b/f", "../../d/../.."), link("up", "a/../..")}, []string{"a", "a/b", "d"}, []string{"a/b/f", "up", "d/e"}},
		{"link over a file", []*tar.Header{reg("f", 2), link("f", "g")}, []string{"f"}, []string{"f"}},
		{"file over a directory", []*tar.Header{dir("d", 0o755), reg("d/x", 1), reg("d", 2)}, []string{"d", "d/x"}, []string{"d"}},
		{"directory over a file", []*tar.Header{reg("f", 2), reg("f/x", 1)}, []string{"f"}, []string{"f/x"}},
		{"hard link out", []*tar.Header{{Name: "h", Linkname: "../outside/secret", Typeflag: tar.TypeLink}, {Name: "h2", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}}, nil, []string{"h", "h2"}},
		{"hard link", []*tar.Header{reg("f", 2), {Name: "h", Linkname: "f", Typeflag: tar.TypeLink}}, []string{"f", "h"}, nil},
		{"devices", []*tar.Header{{Name: "c", Typeflag: tar.TypeChar}, {Name: "b", Typeflag: tar.TypeBlock}, {Name: "p", Typeflag: tar.TypeFifo}}, nil, []string{"c", "b", "p"}},
		{"root", []*tar.Header{dir("./", 0o700), dir(".", 0o700), reg("./a", 1), reg("b//c", 1)}, []string{"a", "b", "b/c"}, nil},
		{"name of 256 bytes", []*tar.Header{reg(strings.Repeat("n", 256), 1), reg(strings.Repeat("n", 255), 1)}, []string{strings.Repeat("n", 255)}, []string{strings.Repeat("n", 256)}},
		{"control characters", []*tar.Header{reg("a\n\x1b[2J", 1)}, []string{"a\n\x1b[2J"}, nil},
		{"twice", []*tar.Header{reg("f", 2), reg("f", 3)}, []string{"f"}, nil},
		{"closed directory", []*tar.Header{dir("d", 0o500), reg("d/x", 1), dir("d/e", 0o111), reg("d/e/y", 1)}, []string{"d", "d/x", "d/e", "d/e/y"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warnings, done, err := unpackInside(t, foreign(t, c.headers...), UnpackOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var warned []string
			for _, w := range warnings {
				warned = append(warned, w.Path)
			}
			unordered := cmp.Transformer("sort", func(s []string) map[string]bool {
				m := map[string]bool{}
				for _, x := range s {
					m[x] = true
				}
				return m
			})
			if diff := cmp.Diff(c.made, names(t, got), unordered); diff != "" {
				t.Errorf("made (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.warned, warned, unordered); diff != "" || done.Skipped != int64(len(warned)) {
				t.Errorf("warnings %v, %d skipped (-want +got)\n%s", warnings, done.Skipped, diff)
			}
		})
	}
}

// TestUnpackExisting: links and files that are in the folder already are not
// written through.
func TestUnpackExisting(t *testing.T) {
	top := t.TempDir()
	write(t, top, file{name: "outside/secret", data: []byte("secret")}, file{name: "in/l", link: "../outside"},
		file{name: "in/s", link: "../outside/secret"}, file{name: "in/d/keep", data: []byte("kept")})
	if err := os.Link(filepath.Join(top, "outside/secret"), filepath.Join(top, "in/h")); err != nil {
		t.Fatal(err)
	}
	var warned []string
	done, err := Unpack(bytes.NewReader(foreign(t, reg("l/x", 1), reg("s", 1), reg("h", 1), reg("d/new", 1))),
		newDiskTarget(t, filepath.Join(top, "in")), UnpackOptions{Warn: func(w Warning) { warned = append(warned, w.Path) }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"l/x"}, warned); diff != "" || done.Files != 3 {
		t.Errorf("%d files made, warnings (-want +got)\n%s", done.Files, diff)
	}
	if b, err := os.ReadFile(filepath.Join(top, "outside/secret")); err != nil || string(b) != "secret" {
		t.Errorf("the file outside holds %q (%v)", b, err)
	}
	if list, _ := os.ReadDir(filepath.Join(top, "outside")); len(list) != 1 {
		t.Errorf("%d files outside, want 1", len(list))
	}
	if b, _ := os.ReadFile(filepath.Join(top, "in/d/keep")); string(b) != "kept" {
		t.Error("a file beside was changed")
	}
}

// TestUnpackLimits: bombs end at the limits.
func TestUnpackLimits(t *testing.T) {
	many := make([]*tar.Header, 100)
	for i := range many {
		many[i] = dir(fmt.Sprintf("d%d", i), 0o755)
	}
	bomb := foreign(t, reg("big", 50<<20))
	for _, c := range []struct {
		name string
		tgz  []byte
		l    Limits
		want string
	}{
		{"bytes", bomb, Limits{Bytes: 1 << 20}, "are above limit 1048576"},
		{"entries", foreign(t, many...), Limits{Entries: 99}, "more than 99 entries"},
		{"names", foreign(t, many...), Limits{Pending: 1000}, "more than 1000 bytes"},
		{"cut in the middle", bomb[:len(bomb)/2], Limits{}, "unexpected EOF"},
		{"no gzip", []byte("PK\x03\x04 not a tar"), Limits{}, "not a .tar.gz"},
		{"empty", nil, Limits{}, "not a .tar.gz"},
		{"rubbish behind", append(bytes.Clone(bomb), "rubbish"...), Limits{}, "after the end"},
		{"endless zeros", zeros(t, foreign(t, reg("a", 1)), 100<<20), Limits{}, "after the end"},
		{"one bit", flip(bomb, len(bomb)-6), Limits{}, "checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := unpackInside(t, c.tgz, UnpackOptions{Limits: c.l})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 4
	return b
}

// zeros appends a gzip member of n zeros.
func zeros(t *testing.T, tgz []byte, n int) []byte {
	t.Helper()
	out := bytes.NewBuffer(bytes.Clone(tgz))
	z := gzip.NewWriter(out)
	for range n >> 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var errTarget = errors.New("no space left on device")

// fullTarget fails at one of its methods.
type fullTarget struct {
	diskTarget
	at string
}

func (f fullTarget) Create(name string) (io.WriteCloser, error) {
	w, err := f.diskTarget.Create(name)
	if f.at == "create" {
		w.Close()
		return nil, errTarget
	}
	return fullFile{w, f.at}, err
}

func (f fullTarget) Mkdir(name string) error {
	if f.at == "mkdir" {
		return errTarget
	}
	return f.diskTarget.Mkdir(name)
}

func (f fullTarget) Set(name string, mode fs.FileMode, modTime int64) error {
	if f.at == "set" {
		return errTarget
	}
	return f.diskTarget.Set(name, mode, modTime)
}

func (f fullTarget) Symlink(to, name string) error {
	if f.at == "symlink" {
		return errTarget
	}
	return f.diskTarget.Symlink(to, name)
}

type fullFile struct {
	io.WriteCloser
	at string
}

func (f fullFile) Write(p []byte) (int, error) {
	if f.at == "write" {
		return 0, errTarget
	}
	return f.WriteCloser.Write(p)
}

func (f fullFile) Close() error {
	err := f.WriteCloser.Close()
	if f.at == "close" {
		return errTarget
	}
	return err
}

func TestUnpackFullDisk(t *testing.T) {
	_, sink := mixedSet()
	for _, at := range []string{"create", "mkdir", "set", "symlink", "write", "close"} {
		if _, err := Unpack(bytes.NewReader(sink.tgz), fullTarget{newDiskTarget(t, t.TempDir()), at}, UnpackOptions{}); !errors.Is(err, errTarget) {
			t.Errorf("full at %s: stream gives %v", at, err)
		}
		if _, err := open(t, sink.tgz).UnpackTo(fullTarget{newDiskTarget(t, t.TempDir()), at}, UnpackOptions{}); !errors.Is(err, errTarget) {
			t.Errorf("full at %s: random access gives %v", at, err)
		}
	}
}

func TestInclude(t *testing.T) {
	_, sink := mixedSet()
	include := func(name string, typ Type) bool { return strings.HasPrefix(name, "docs/") && typ == File }
	dir := t.TempDir()
	done, err := open(t, sink.tgz).UnpackTo(newDiskTarget(t, dir), UnpackOptions{Include: include})
	if err != nil || done.Files != 3 || done.Dirs != 0 {
		t.Errorf("unpacked %+v (%v)", done, err)
	}
	got := tree(t, os.DirFS(dir))
	if len(got) != 4 || got["docs/exact"] == "" {
		t.Errorf("%d entries", len(got))
	}
}

// rewrite packs a table of contents of our own making behind an empty payload.
func rewrite(t testing.TB, toc string, payload int64) []byte {
	t.Helper()
	tgz := make([]byte, payload)
	w := &tocWriter{z: newDeflater(), sum: sha256.New()}
	w.z.Reset(&w.out)
	if err := w.json([]byte(toc)); err != nil {
		t.Fatal(err)
	}
	tail := make([]byte, tarPadding(w.size)+2*tarBlock)
	if err := errors.Join(w.write(tail), w.z.Close()); err != nil {
		t.Fatal(err)
	}
	head := ustar{name: TOCName, mode: 0o444, size: w.size, typeflag: '0', uname: Packer}.append(nil)
	tgz = append(appendBlockHead(appendGzipHead(tgz, 0), len(head), moreBlocks), head...)
	for _, p := range w.out.parts {
		tgz = append(tgz, p...)
	}
	whole := append(append(bytes.Clone(head), toc...), tail...)
	tgz = appendGzipTail(tgz, crcOf(whole), int64(len(whole)))
	return appendFooter(tgz, payload)
}

const (
	when   = `"modtime":"2026-11-20T08:00:00Z"`
	digest = `"sha256:0000000000000000000000000000000000000000000000000000000000000000"`
)

// TestHostileTOC: each line alone is enough to refuse the whole table.
func TestHostileTOC(t *testing.T) {
	file := func(more string) string {
		return `{"name":"f","type":"reg","size":5,` + when + `,"mode":420,` + more + `}`
	}
	good := file(`"offset":200,"digest":` + digest + `,"chunkDigest":` + digest + `,"packedSize":30`)
	wrap := func(lines ...string) string { return tocStart + strings.Join(lines, ",\n") + "\n" + tocEnd }
	if _, err := Open(bytes.NewReader(rewrite(t, wrap(good), 1000)), int64(len(rewrite(t, wrap(good), 1000))), 0); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	d := func(name string) string { return `{"name":"` + name + `","type":"dir",` + when + `,"mode":493}` }
	for name, toc := range map[string]string{
		"nothing":              "",
		"other packer":         strings.Replace(wrap(good), "tgz/1", "tgz/2", 1),
		"no end":               tocStart + good + "\n",
		"more behind":          wrap(good) + " ",
		"spaces":               wrap(strings.Replace(good, ":", ": ", 1)),
		"unknown field":        wrap(strings.Replace(good, `"mode":420`, `"mode":420,"uid":7`, 1)),
		"field twice":          wrap(strings.Replace(good, `"mode":420`, `"mode":420,"mode":420`, 1)),
		"no line":              wrap(""),
		"not JSON":             wrap("{"),
		"deep JSON":            wrap(strings.Repeat("[", 20000)),
		"long line":            wrap(`{"name":"` + strings.Repeat("x", maxRow) + `"}`),
		"dots":                 wrap(d("../")),
		"absolute":             wrap(d("/a/")),
		"not clean":            wrap(d("a//")),
		"directory no slash":   wrap(d("a")),
		"file with slash":      wrap(strings.Replace(good, `"f"`, `"f/"`, 1)),
		"no parent":            wrap(d("a/b/")),
		"parent is a file":     wrap(good, d("f/a/")),
		"unsorted":             wrap(d("b/"), d("a/")),
		"twice":                wrap(d("a/"), d("a/")),
		"unknown type":         wrap(`{"name":"f","type":"char",` + when + `}`),
		"bad time":             wrap(strings.Replace(d("a/"), "2026-11-20", "2026-02-30", 1)),
		"setuid":               wrap(strings.Replace(d("a/"), "493", "2541", 1)),
		"huge mode":            wrap(strings.Replace(d("a/"), "493", "4294967789", 1)),
		"negative mode":        wrap(strings.Replace(d("a/"), "493", "-1", 1)),
		"link without target":  wrap(`{"name":"f","type":"symlink",` + when + `,"mode":511}`),
		"file with target":     wrap(strings.Replace(good, `"mode"`, `"linkName":"x","mode"`, 1)),
		"no chunk":             wrap(file(`"digest":` + digest)),
		"huge file":            wrap(strings.Replace(good, `"size":5`, `"size":9000000000000000000`, 1)),
		"negative size":        wrap(strings.Replace(good, `"size":5`, `"size":-5`, 1)),
		"larger than a chunk":  wrap(strings.Replace(good, `"size":5`, `"size":1048577`, 1)),
		"offset behind":        wrap(strings.Replace(good, `"offset":200`, `"offset":990`, 1)),
		"negative offset":      wrap(strings.Replace(good, `"offset":200`, `"offset":-200`, 1)),
		"packed behind":        wrap(strings.Replace(good, `"packedSize":30`, `"packedSize":900`, 1)),
		"packed to nothing":    wrap(strings.Replace(good, `"packedSize":30`, `"packedSize":1`, 1)),
		"packed missing":       wrap(strings.Replace(good, `,"packedSize":30`, ``, 1)),
		"overlap":              wrap(good, strings.Replace(good, `"f"`, `"g"`, 1)),
		"two digests":          wrap(strings.Replace(good, "0000", "0001", 1)),
		"digest of other kind": wrap(strings.ReplaceAll(good, "sha256:", "sha512:")),
		"short digest":         wrap(strings.ReplaceAll(good, "0000", "")),
		"chunk alone":          wrap(`{"name":"f","type":"chunk","offset":5,"chunkOffset":5,"chunkSize":5,"chunkDigest":` + digest + `}`),
		"stored overlap":       wrap(strings.Replace(file(`"offset":200,"digest":`+digest+`,"chunkDigest":`+digest+`,"stored":true`), `"size":5`, `"size":900`, 1)),
		"empty with payload":   wrap(strings.Replace(good, `"size":5,`, ``, 1)),
		"not aligned":          wrap(strings.Replace(file(`"offset":200,"chunkSize":4193966,"chunkDigest":`+digest+`,"stored":true`), `"size":5`, `"size":4194304`, 1)),
	} {
		tgz := rewrite(t, toc, 1000)
		if _, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 0); err == nil {
			t.Errorf("%s: accepted\n%.200s", name, toc)
		}
	}
	t.Run("more lines than members", func(t *testing.T) {
		var lines []string
		for i := range 100 {
			lines = append(lines, d(fmt.Sprintf("%03d/", i)))
		}
		tgz := rewrite(t, wrap(lines...), 1000)
		if _, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 0); err == nil || !strings.Contains(err.Error(), "more lines") {
			t.Errorf("error %v", err)
		}
		tgz = rewrite(t, wrap(lines...), 2000)
		if _, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 0); err != nil {
			t.Error(err)
		}
		if _, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 1000); err == nil || !strings.Contains(err.Error(), "above limit 1000") {
			t.Errorf("error %v", err)
		}
	})
}

// TestBomb: a small file that claims much takes little memory.
func TestBomb(t *testing.T) {
	toc := tocStart + strings.Repeat(`{"name":"x","type":"dir"},`+"\n", 2_000_000) + tocEnd
	tgz := rewrite(t, toc, 100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Open(bytes.NewReader(tgz), int64(len(tgz)), 0); err == nil {
		t.Error("accepted")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("%d bytes allocated for an archive of %d", used, len(tgz))
	}
}

// TestFlippedBits: no single bit passes where the reader promises to verify.
func TestFlippedBits(t *testing.T) {
	data := prose(1, 200_000)
	_, sink := pack(t, folder(file{name: "f", data: data}), Options{})
	r := open(t, sink.tgz)
	starts, end, _ := offsets(t, sink.tgz, "f")
	for at := starts[0]; at < end; at += 97 {
		if at < starts[0]+gzipHead {
			continue // time, flags and system of a gzip header say nothing
		}
		bad := flip(sink.tgz, int(at))
		b := &Reader{r: bytes.NewReader(bad), size: r.size, tocOffset: r.tocOffset, nodes: r.nodes}
		f, err := b.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := f.WriteTo(&out); err == nil && !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("a bit at %d changes the file unnoticed", at)
		}
	}
	for at := r.TOCOffset(); at < int64(len(sink.tgz)); at++ {
		if b, err := Open(bytes.NewReader(flip(sink.tgz, int(at))), int64(len(sink.tgz)), 0); err == nil && b.TOCDigest() != r.TOCDigest() {
			t.Fatalf("a bit at %d changes the table of contents unnoticed", at)
		}
	}
}

// TestReadAt compares random reads with the file.
func TestReadAt(t *testing.T) {
	files := mixed()
	_, sink := mixedSet()
	r := open(t, sink.tgz)
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(files).Draw(t, "file")
		if f.dir || f.link != "" {
			if _, err := r.Open(f.name); err == nil {
				t.Fatalf("%q opened", f.name)
			}
			return
		}
		x, err := r.Open(f.name)
		if err != nil {
			t.Fatal(err)
		}
		off := rapid.IntRange(0, len(f.data)+5).Draw(t, "offset")
		got := make([]byte, rapid.IntRange(0, 300_000).Draw(t, "length"))
		n, err := x.ReadAt(got, int64(off))
		want := f.data[min(off, len(f.data)):min(off+len(got), len(f.data))]
		if !bytes.Equal(got[:n], want) || (err == nil) != (n == len(got)) {
			t.Fatalf("%d of %d bytes at %d of %q: %v", n, len(want), off, f.name, err)
		}
		checkPieces(t, r, sink.tgz, f, off, len(got))
	})
}

// checkPieces reads again with every other piece wiped out.
func checkPieces(t *rapid.T, r *Reader, tgz []byte, f file, off, length int) {
	first, count, err := r.PiecesFor(f.name, int64(off), int64(length))
	if err != nil {
		t.Fatal(err)
	}
	want := f.data[min(off, len(f.data)):min(off+length, len(f.data))]
	if count == 0 || len(want) == 0 {
		if int(count)+len(want) != 0 {
			t.Fatalf("%d pieces for %d bytes", count, len(want))
		}
		return
	}
	start, end := int64(first-1)*types.PieceSize, int64(first-1+count)*types.PieceSize
	part := window{bytes.NewReader(tgz), start, end}
	n, err := r.lookup(f.name)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	x := (&Reader{r: part, size: r.size, nodes: r.nodes}).open(n)
	if _, err := x.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes at %d of %q from pieces %d to %d: %v", length, off, f.name, first, first+count-1, err)
	}
	if waste := int64(count)*types.PieceSize - int64(len(want)); n.stored && waste > 2*types.PieceSize+int64(len(want))/100 {
		t.Fatalf("%d pieces for %d bytes", count, len(want))
	}
}

// window is a source of which only some bytes are held.
type window struct {
	r          io.ReaderAt
	start, end int64
}

func (w window) ReadAt(p []byte, off int64) (int, error) {
	if off < w.start || off+int64(len(p)) > w.end {
		return 0, fmt.Errorf("bytes %d to %d are not in %d to %d", off, off+int64(len(p)), w.start, w.end)
	}
	return w.r.ReadAt(p, off)
}

func TestList(t *testing.T) {
	_, sink := mixedSet()
	r := open(t, sink.tgz)
	for dir, want := range map[string][]string{
		"docs": {"docs/big.txt", "docs/exact", "docs/long.txt", "docs/up"}, "hollow": nil, "deep": {"deep/deep"},
		"Grüße": {"Grüße/link", "Grüße/日本.txt"}, "a": {"a/empty", "a/run.sh"},
	} {
		list, err := r.List(dir)
		var got []string
		for _, e := range list {
			got = append(got, e.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q holds (-want +got)\n%s%v", dir, diff, err)
		}
	}
	top, err := r.List(".")
	if err != nil || len(top) != 18 {
		t.Errorf("%d entries at the top, want 18 (%v)", len(top), err)
	}
	if _, err := r.List("no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, err := r.List("a.txt"); err == nil {
		t.Error("a file is listed")
	}
	first, count := r.TOCPieces()
	if int64(first-1) != r.TOCOffset()/types.PieceSize || int64(first-1+count) != PieceCount(int64(len(sink.tgz))) {
		t.Errorf("table of contents in %d pieces from %d", count, first)
	}
}
