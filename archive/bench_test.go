package archive

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"testing"

	"github.com/staddle/staddle/types"
)

// hollow is a folder of one file that is all zeros and only in the mind.
type hollow int64

func (h hollow) Open(name string) (fs.File, error) {
	if name == "." {
		return nil, fs.ErrInvalid
	}
	return &hollowFile{io.LimitReader(zeroReader{}, int64(h)), h}, nil
}

func (h hollow) ReadDir(string) ([]fs.DirEntry, error) {
	return []fs.DirEntry{fs.FileInfoToDirEntry(h.info())}, nil
}

func (h hollow) info() fs.FileInfo {
	return hollowInfo{memInfo{&memNode{file: file{name: "hollow"}}}, h}
}

type hollowInfo struct {
	memInfo
	size hollow
}

func (h hollowInfo) Size() int64 { return int64(h.size) }

type hollowFile struct {
	io.Reader
	size hollow
}

func (f *hollowFile) Stat() (fs.FileInfo, error) { return f.size.info(), nil }
func (f *hollowFile) Close() error               { return nil }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestPackMemory: memory does not grow with the size of files.
func TestPackMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Pack(hollow(192<<20), Options{}, discard{})
	if err != nil || m.Content != 192<<20 {
		t.Fatalf("packed %d bytes: %v", m.Content, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d bytes allocated to pack %d", used, m.Content)
	}
}

// discard is a Sink that keeps nothing.
type discard struct{}

func (discard) Piece(uint32, types.Hash, []byte) error { return nil }
func (discard) Node(types.Node) error                  { return nil }

func benchPack(b *testing.B, files ...file) {
	fsys, size := folder(files...), int64(0)
	for _, f := range files {
		size += int64(len(f.data))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Pack(fsys, Options{}, discard{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPackStored(b *testing.B) { benchPack(b, file{name: "film", data: noise(1, 64<<20)}) }

func BenchmarkPackDeflated(b *testing.B) { benchPack(b, file{name: "text", data: prose(1, 16<<20)}) }

func BenchmarkPackSmall(b *testing.B) {
	var files []file
	for i := range 2000 {
		files = append(files, file{name: fmt.Sprintf("d%02d/f%05d", i/100, i), data: prose(uint64(i), 10<<10)})
	}
	benchPack(b, files...)
}

func BenchmarkOpen(b *testing.B) {
	var files []file
	for i := range 20000 {
		files = append(files, file{name: fmt.Sprintf("d%02d/f%05d", i/100, i), data: []byte("x")})
	}
	_, sink := pack(b, folder(files...), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if r := open(b, sink.tgz); r.Len() != 20200 {
			b.Fatal(r.Len())
		}
	}
}

func BenchmarkReadStored(b *testing.B) {
	data := noise(1, 32<<20)
	_, sink := pack(b, folder(file{name: "film", data: data}), Options{})
	f, err := open(b, sink.tgz).Open("film")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var w bytes.Buffer
		w.Grow(len(data))
		if _, err := f.WriteTo(&w); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		if _, err := BuildIndex(16384, numbered, discard{}.Node); err != nil {
			b.Fatal(err)
		}
	}
}
