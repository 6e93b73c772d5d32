package archive

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/google/go-cmp/cmp"
)

// mixed holds every kind of entry and of payload.
var mixed = sync.OnceValue(func() []file {
	return []file{
		{name: "a.txt", data: []byte("hello\n")},
		{name: "a/empty", data: nil},
		{name: "a/run.sh", data: []byte("#!/bin/sh\n"), mode: 0o755},
		{name: "a-b", data: prose(1, 3000)},
		{name: "docs/long.txt", data: prose(2, 3*DeflatedChunk+77)},
		{name: "docs/big.txt", data: prose(3, 5<<20)},
		{name: "docs/exact", data: prose(4, DeflatedChunk)},
		{name: "film.mp4", data: noise(5, 2*StoredChunk+1000)},
		{name: "film2.mp4", data: noise(6, StoredChunk)},
		{name: "film3.mp4", data: noise(7, StoredChunk-100)},
		{name: "film4.mp4", data: noise(77, AlignedSize)},
		{name: "photo.jpg", data: noise(8, 700_000)},
		{name: "hollow", dir: true, mode: 0o700},
		{name: "link", link: "docs/long.txt"},
		{name: "docs/up", link: "../a/run.sh"},
		{name: strings.Repeat("deep/", 40) + "leaf", data: []byte("x")},
		{name: strings.Repeat("n", 255), data: []byte("name of 255 bytes")},
		{name: "Grüße/日本.txt", data: []byte("non-ASCII")},
		{name: "Grüße/link", link: "日本.txt"},
		{name: "ctl\n\x1b[31m\"\\'\x7f", data: []byte("control characters")},
		{name: "old", data: []byte("before 1970"), time: -1000},
		{name: "space at end ", data: []byte(" ")},
		{name: TOCName, data: []byte("mine")},
	}
})

// mixedSet is their dataset.
var mixedSet = sync.OnceValues(func() (Manifest, *memory) {
	sink := new(memory)
	m, err := Pack(folder(mixed()...), Options{Strict: true}, sink)
	if err != nil {
		panic(err)
	}
	return m, sink
})

func tgzFile(t *testing.T, tgz []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "set.tar.gz")
	if err := os.WriteFile(name, tgz, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func needs(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed here, so it cannot be the independent reader", tool)
	}
}

func TestEstargzReads(t *testing.T) {
	m, sink := mixedSet()
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(sink.tgz), 0, int64(len(sink.tgz))))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.TOCDigest().Encoded(); got != m.TOCDigest.String() {
		t.Errorf("estargz sees table of contents %s, manifest says %s", got, m.TOCDigest)
	}
	verify, err := r.VerifyTOC(r.TOCDigest())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range mixed() {
		if f.dir || f.link != "" {
			if e, ok := r.Lookup(f.name); !ok || e.LinkName != f.link {
				t.Errorf("estargz lookup of %q gives %+v", f.name, e)
			}
			continue
		}
		body, err := r.OpenFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(f.data))
		if _, err := io.ReadFull(body, got); err != nil || body.Size() != int64(len(f.data)) {
			if len(f.data) > 0 {
				t.Fatalf("estargz reads %q: %v", f.name, err)
			}
		}
		if !bytes.Equal(got, f.data) {
			t.Errorf("estargz reads other bytes of %q", f.name)
		}
		checkChunks(t, r, verify, f)
		for _, off := range []int{1, len(f.data) / 2, len(f.data) - 3} {
			part := make([]byte, 2)
			if off < 0 || off+2 > len(f.data) {
				continue
			}
			if _, err := body.ReadAt(part, int64(off)); err != nil || !bytes.Equal(part, f.data[off:off+2]) {
				t.Errorf("estargz reads %x at %d of %q: %v", part, off, f.name, err)
			}
		}
	}
}

func checkChunks(t *testing.T, r *estargz.Reader, verify estargz.TOCEntryVerifier, f file) {
	t.Helper()
	for off := int64(0); off < int64(len(f.data)); {
		e, ok := r.ChunkEntryForOffset(f.name, off)
		if !ok {
			t.Fatalf("estargz has no chunk of %q at %d", f.name, off)
		}
		v, err := verify.Verifier(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Write(f.data[off : off+e.ChunkSize]); err != nil || !v.Verified() {
			t.Fatalf("chunk of %q at %d does not verify: %v", f.name, off, err)
		}
		off += e.ChunkSize
	}
}

func TestGzipReads(t *testing.T) {
	needs(t, "gzip")
	_, sink := mixedSet()
	if out, err := exec.Command("gzip", "-t", tgzFile(t, sink.tgz)).CombinedOutput(); err != nil {
		t.Fatalf("gzip -t: %v\n%s", err, out)
	}
}

func TestTarReads(t *testing.T) {
	needs(t, "tar")
	fsys := folder(mixed()[:len(mixed())-1]...)
	_, sink := pack(t, fsys, Options{})
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xpzf", tgzFile(t, sink.tgz)).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, TOCName)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, fsys), tree(t, os.DirFS(dir))); diff != "" {
		t.Errorf("tar unpacked otherwise (-want +got)\n%s", diff)
	}
}

func TestPythonReads(t *testing.T) {
	needs(t, "python3")
	fsys := folder(mixed()[:len(mixed())-1]...)
	_, sink := pack(t, fsys, Options{})
	dir := t.TempDir()
	script := "import sys,tarfile\nwith tarfile.open(sys.argv[1],'r:gz') as t: t.extractall(sys.argv[2])"
	if out, err := exec.Command("python3", "-c", script, tgzFile(t, sink.tgz), dir).CombinedOutput(); err != nil {
		t.Fatalf("tarfile: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, TOCName)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, fsys), tree(t, os.DirFS(dir))); diff != "" {
		t.Errorf("tarfile unpacked otherwise (-want +got)\n%s", diff)
	}
}

// TestRoundTrip unpacks both ways into a real folder.
func TestRoundTrip(t *testing.T) {
	fsys := folder(mixed()...)
	m, sink := mixedSet()
	want := tree(t, fsys)
	check := func(t *testing.T, dir string, got Unpacked, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		wantDone := Unpacked{Files: int64(m.Files), Dirs: int64(m.Dirs), Symlinks: int64(m.Symlinks), Bytes: int64(m.Content)}
		if got != wantDone {
			t.Errorf("unpacked %+v, want %+v", got, wantDone)
		}
		if diff := cmp.Diff(want, tree(t, os.DirFS(dir))); diff != "" {
			t.Errorf("unpacked otherwise (-want +got)\n%s", diff)
		}
	}
	warn := UnpackOptions{Warn: func(w Warning) { t.Errorf("warning: %v", &w) }}
	t.Run("stream", func(t *testing.T) {
		dir := t.TempDir()
		got, err := Unpack(bytes.NewReader(sink.tgz), newDiskTarget(t, dir), warn)
		check(t, dir, got, err)
	})
	t.Run("random access", func(t *testing.T) {
		dir := t.TempDir()
		r, err := Open(bytes.NewReader(sink.tgz), int64(len(sink.tgz)), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.UnpackTo(newDiskTarget(t, dir), warn)
		check(t, dir, got, err)
	})
	t.Run("files that can only be read on", func(t *testing.T) {
		again, _ := pack(t, plainFS{fsys.(memFS)}, Options{})
		if diff := cmp.Diff(m, again, cmp.Comparer(sameCID)); diff != "" {
			t.Errorf("another dataset (-want +got)\n%s", diff)
		}
	})
}
