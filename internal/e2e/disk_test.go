//go:build engine

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/staddle/staddle/api"
)

const (
	smallDisk = 192 << 20
	ballast   = 100 << 20
	bigFilm   = 60 << 20 // fits, but not beside the ballast
)

// TestFullDisk: a daemon on a disk that is really full refuses a put with the
// reason, loses nothing that it had, keeps serving, and takes the same put once
// there is room.
func TestFullDisk(t *testing.T) {
	disk := smallFS(t)
	a := newPeer(t, "a", filepath.Join(disk, "a"), "--quota", "1099511627776")
	a.log = filepath.Join(t.TempDir(), "log")
	a.up()
	call[api.Community](a, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})
	films := folder(t, 700_000, 6)
	ref := strings.TrimSpace(a.does("put", films).stdout)

	heavy := filepath.Join(disk, "ballast")
	write(t, heavy, make([]byte, ballast))
	big := folder(t, bigFilm, 7)
	r := a.exits(1, "put", big, "--json")
	if e := object(t, r.stderr[strings.LastIndex(strings.TrimSpace(r.stderr), "\n")+1:]); e["code"] != "store.disk_full" {
		t.Fatalf("put on a full disk: %v", e)
	}
	write(t, filepath.Join(disk, "rest"), nil)
	fillUp(t, filepath.Join(disk, "rest"))
	r = a.cli("put", folder(t, 300_000, 8))
	if r.code == 0 || !strings.Contains(r.stderr, "free space on that disk") {
		t.Fatalf("put with not a byte left: exit code %d, %s", r.code, r.stderr)
	}
	wantText(t, a.does("verify", ref).stdout, "ok")
	a.does("cat", ref+"/text/a.txt")

	for _, name := range []string{heavy, filepath.Join(disk, "rest")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	second := strings.TrimSpace(a.does("put", big).stdout)
	wantText(t, a.does("verify", ref, second).stdout, "ok")
	got := filepath.Join(t.TempDir(), "got")
	a.does("get", ref, "-o", got)
	sameTree(t, films, got)

	height := a.community().Height
	await(t, "the chain grows again", func() bool { return a.community().Height > height+2 })
	a.kill()
	a.up()
	wantText(t, a.does("verify", ref, second).stdout, "ok")
}

// smallFS is a disk of its own.
func smallFS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=192m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || st.Blocks*uint64(st.Bsize) != smallDisk {
		t.Fatalf("a disk of %d bytes, want %d: %v", st.Blocks*uint64(st.Bsize), smallDisk, err)
	}
	return dir
}

// fillUp writes to a file until the disk is full.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
