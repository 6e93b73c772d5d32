package library

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/archive"
)

// denied is a folder of which some names cannot be opened: tests may run as root,
// who can open everything.
type denied struct {
	fs.FS
	names []string
}

func (d denied) Open(name string) (fs.File, error) {
	if slices.Contains(d.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name)
}

func (d denied) ReadDir(name string) ([]fs.DirEntry, error) {
	if slices.Contains(d.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return fs.ReadDir(d.FS, name)
}

func (d denied) ReadLink(name string) (string, error)   { return fs.ReadLink(d.FS, name) }
func (d denied) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(d.FS, name) }

// TestHostileFolder: what cannot be kept is named in one warning each, the rest
// comes back; with Strict it is an error.
func TestHostileFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir)
	ok(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	ok(t, err)
	defer l.Close()
	ok(t, os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")))
	ok(t, os.Symlink("../../outside", filepath.Join(dir, "bin/climbs")))
	ok(t, os.WriteFile(filepath.Join(dir, "bad\xffname"), []byte("x"), 0o600))
	device := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o600, 1<<8|3) == nil
	f, err := openFolder(dir)
	ok(t, err)
	defer f.Close()
	f.fsys = denied{f.fsys, []string{"bin/run", "small/5"}}

	s := open(t, t.TempDir(), nil)
	warned := map[string]string{}
	p, err := s.put(t.Context(), f, public, Watch{Warn: func(w archive.Warning) { warned[w.Path] += w.Reason }})
	ok(t, err)
	want := []string{"absolute", "bad\xffname", "bin/climbs", "bin/run", "fifo", "small/5", "socket"}
	if device {
		want = append(want, "null")
	} else {
		t.Log("no device: making one takes root")
	}
	for _, name := range want {
		if warned[name] == "" {
			t.Errorf("no warning for %q", name)
		}
	}
	if len(warned) != len(want) || p.Manifest.Warnings != uint64(len(want)) {
		t.Errorf("warned of %q", warned)
	}
	out := filepath.Join(t.TempDir(), "out")
	got, err := s.Get(t.Context(), p.Ref(), out, GetOptions{}, Watch{})
	ok(t, err)
	if got.Unpacked.Skipped != 2 {
		t.Errorf("unpacked %+v", got.Unpacked)
	}
	all := tree(t, out)
	if all["film.mkv"] == "" || all["bin/link"] == "" || all["absolute"] != "" || all["bin/climbs"] != "" {
		t.Errorf("unpacked %v", all)
	}
	strict := public
	strict.Strict = true
	if _, err := s.put(t.Context(), f, strict, Watch{}); err == nil {
		t.Error("strict put succeeds")
	}
	s.sound(t)
}

// TestTargetLeadsOut: links that are in the target before lead nowhere, and files
// beside it stay.
func TestTargetLeadsOut(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	plant(t, folder)
	s := open(t, t.TempDir(), nil)
	p := s.mustPut(t, folder)
	top := t.TempDir()
	outside := filepath.Join(top, "outside")
	target := filepath.Join(top, "target")
	ok(t, os.MkdirAll(filepath.Join(target, "book.txt"), 0o755))
	ok(t, os.Mkdir(outside, 0o755))
	ok(t, os.WriteFile(filepath.Join(outside, "mine"), []byte("mine"), 0o644))
	ok(t, os.Symlink("../outside", filepath.Join(target, "small")))
	ok(t, os.Symlink("../outside/mine", filepath.Join(target, "film.mkv")))
	before := tree(t, outside)

	_, err := s.Get(t.Context(), p.Ref(), target, GetOptions{}, Watch{})
	wantIs(t, err, ErrOccupied)
	got, err := s.Get(t.Context(), p.Ref(), target, GetOptions{Replace: true}, Watch{})
	ok(t, err)
	if d := cmp.Diff(before, tree(t, outside)); d != "" {
		t.Fatal(d)
	}
	want, have := tree(t, folder), tree(t, target)
	if got.Unpacked.Skipped == 0 || have["small"] != "link ../outside" || !strings.HasPrefix(have["book.txt"], "dir") {
		t.Fatalf("unpacked %+v, have %q", got.Unpacked, have)
	}
	if have["film.mkv"] != want["film.mkv"] || have["bin/run"] != want["bin/run"] {
		t.Fatalf("film %q, want %q", have["film.mkv"], want["film.mkv"])
	}
}

// TestTarget: names that a Target must refuse, and modes that it must not set.
func TestTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := &target{dir: dir, work: dir}
	ok(t, to.begin())
	defer to.root.Close()
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		if _, err := to.create(name); err == nil {
			t.Errorf("%q is made", name)
		}
		if err := to.Mkdir(name); err == nil {
			t.Errorf("directory %q is made", name)
		}
	}
}

// TestTargetModes: no bit beyond permissions is ever set, and a name that is too
// long for this disk is left out, not fatal.
func TestTargetModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := &target{dir: dir, work: dir}
	ok(t, to.begin())
	defer to.root.Close()
	f, err := to.create("x")
	ok(t, err)
	ok(t, f.Close())
	ok(t, to.Set("x", 0o755|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky, 5))
	info, err := os.Lstat(filepath.Join(dir, "x"))
	ok(t, err)
	if info.Mode() != 0o755 || info.ModTime().Unix() != 5 {
		t.Fatalf("mode %v, time %v", info.Mode(), info.ModTime())
	}
	_, err = to.create(strings.Repeat("n", 256))
	wantIs(t, err, archive.ErrSkip)
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Fatalf("left over: %v", list)
	}
}
