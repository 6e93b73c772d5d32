//go:build engine

package e2e

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/staddle/staddle/api"
)

// TestPrivate: a host keeps what it cannot read. When the publisher's machine is
// lost, the same words on another one read it from the host; a member reads what
// is sealed to him; a stranger reads by a link only.
func TestPrivate(t *testing.T) {
	a, b := start(t, "a"), start(t, "b")
	host := start(t, "h")
	validators := []*peer{start(t, "v1"), start(t, "v2"), start(t, "v3")}
	found(a, validators, append([]*peer{b, host}, validators...)...)
	host.does("host", "enable", "--space", "1")
	await(t, "host and validators are registered", func() bool {
		c := a.community()
		return c.Hosts == 1 && c.Validators == 3
	})
	films := folder(t, 600_000, 3)
	keep := []string{"--copies", "1", "--encoding", "plain", "--epochs", "200", "--wait", "--json"}
	mine := object(t, a.does(append([]string{"put", films, "--visibility", "me"}, keep...)...).stdout)["ref"].(string)
	ours := object(t, a.does(append([]string{"put", films, "--visibility", "members", "--to", b.account}, keep...)...).stdout)["ref"].(string)
	link := strings.TrimSpace(a.does("link", mine).stdout)
	wantText(t, a.does("ls").stdout, filepath.Base(films)+"  (me)", filepath.Base(films)+"  (members)")
	wantText(t, a.does("prove", mine).stdout, "30/30 leaves", "ok")

	dir := t.TempDir()
	b.does("get", ours, "-o", filepath.Join(dir, "member"))
	sameTree(t, films, filepath.Join(dir, "member"))
	wantText(t, b.exits(4, "get", mine, "-o", filepath.Join(dir, "stranger")).stderr, "sealed")
	b.does("get", link, "-o", filepath.Join(dir, "link"))
	sameTree(t, films, filepath.Join(dir, "link"))
	if log, err := os.ReadFile(b.log); err != nil || strings.Contains(string(log), "#k=") {
		t.Fatalf("the log of b tells a key, or %v", err)
	}
	wantText(t, host.exits(4, "cat", mine+"/film.mkv").stderr, "sealed")

	words := a.home
	inv := invite(host)
	a.kill()
	again := newPeer(t, "again", sameWords(t, words))
	again.up()
	call[api.Community](again, api.CallCommunityJoin, api.JoinRequest{Invite: inv})
	await(t, "the new machine knows what is kept for its words", func() bool {
		r := again.cli("ls", "--mine")
		return r.code == 0 && strings.Contains(r.stdout, filepath.Base(films)+"  (me)") && strings.Contains(r.stdout, mine)
	})
	to := filepath.Join(dir, "restored")
	await(t, "the same words read it from the host", func() bool { return again.cli("get", mine, "-o", to).code == 0 })
	sameTree(t, films, to)
}

// sameWords makes a home with the words of another and a device of its own.
func sameWords(t *testing.T, home string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(home, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	lines[2] = "device " + strings.Repeat("07", 32)
	body := strings.Join(lines[:3], "\n") + "\n"
	other := filepath.Join(t.TempDir(), "again")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(other, "identity"), fmt.Appendf(nil, "%ssum %08x\n", body, crc32.ChecksumIEEE([]byte(body))))
	return other
}
