//go:build engine

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/staddle/staddle/api"
)

// nobody is the account of the system that owns nothing.
const nobody = 65534

// TestHostileFolder: a folder with all that a disk can hold goes through a daemon:
// what cannot be published is named and left out, nothing hangs, nothing leads
// outside, and no name moves a cursor.
func TestHostileFolder(t *testing.T) {
	dir := t.TempDir()
	p := newPeer(t, "a", filepath.Join(dir, "a"))
	root := os.Geteuid() == 0
	if root { // who reads everything cannot be refused
		p.user = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	p.up()
	call[api.Community](p, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})

	odd := filepath.Join(dir, "odd")
	good := hostileFolder(t, odd, root)
	r := p.does("put", odd)
	for _, left := range []string{"pipe", "secret", "out", "up"} {
		wantText(t, r.stderr, "warning: \""+left+"\": ")
	}
	if root {
		wantText(t, r.stderr, `warning: "null": `)
	}
	ref := strings.TrimSpace(r.stdout)
	p.exits(1, "put", odd, "--strict")

	for _, args := range [][]string{{"ls", ref}, {"ls", ref, "-R"}} {
		r := p.does(args...)
		wantText(t, r.stdout, `\x1b[31mred`, `new\nline`, `turn\u202eed`, strings.Repeat("n", 255))
		if strings.ContainsAny(r.stdout, "\x1b\u202e") {
			t.Fatalf("%v prints a control character: %q", args, r.stdout)
		}
	}
	to := filepath.Join(dir, "got")
	p.exits(3, "get", ref, "-o", to) // the links that lead out are left out again
	got := tree(t, to)
	for name, content := range good {
		if !strings.HasSuffix(got[name], " "+content) {
			t.Errorf("%q is %q, want %q", name, got[name], content)
		}
		delete(got, name)
	}
	for name, content := range got {
		t.Errorf("%q is too much: %q", name, content)
	}
}

// hostileFolder makes the folder and tells what of it can be published.
func hostileFolder(t *testing.T, dir string, device bool) map[string]string {
	t.Helper()
	good := map[string]string{}
	for _, name := range []string{
		"\x1b[31mred", "new\nline", "back\\slash", "turn\u202eed", "größe", " ", "-rf", "\x7f", strings.Repeat("n", 255), "...",
	} {
		write(t, filepath.Join(dir, name), []byte(name))
		good[name] = name
	}
	if err := os.Symlink("größe", filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	good["in"] = "größe"
	write(t, filepath.Join(dir, "secret"), []byte("secret"))
	make := []func() error{
		func() error { return os.Symlink("/etc/passwd", filepath.Join(dir, "out")) },
		func() error { return os.Symlink("../../etc/passwd", filepath.Join(dir, "up")) },
		func() error { return os.Chmod(filepath.Join(dir, "secret"), 0) },
		func() error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) },
	}
	if device {
		make = append(make, func() error { return syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3) })
	}
	for _, f := range make {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	return good
}
