package archive

import (
	"io"
	"io/fs"
	"runtime"
	"testing"
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
