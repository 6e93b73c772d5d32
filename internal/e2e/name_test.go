//go:build engine

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// TestNames: one member names a dataset, another fetches it by that name, meets
// the next version, and still finds the first by its date and by its root.
func TestNames(t *testing.T) {
	a, b := start(t, "a"), start(t, "b")
	call[api.Community](a, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})
	b.does("community", "join", invite(a))
	one, two := folder(t, 100_000, 1), folder(t, 100_000, 2)
	first := strings.TrimSpace(a.does("put", one).stdout)
	second := strings.TrimSpace(a.does("put", two).stdout)

	a.exits(2, "name", "set", "films", first+"/text")
	a.exits(1, "name", "set", "a@b", first)
	wantText(t, a.does("name", "set", "films", first).stdout, "staddle:TAUT/"+a.account+"/films  version 1 in block")
	between := time.Now().UTC().Add(time.Second) // blocks are a second apart at least
	await(t, "a later second", func() bool { return time.Now().After(between) })
	await(t, "b knows the name", func() bool { return b.cli("name", "show", "films").code == 0 })
	got := filepath.Join(t.TempDir(), "got")
	b.does("get", "films", "-o", got)
	sameTree(t, one, got)

	a.does("name", "set", "films", "staddle:"+strings.TrimPrefix(second, "staddle:"))
	await(t, "b knows the new version", func() bool {
		return strings.Contains(b.does("name", "show", "films").stdout, second)
	})
	got2 := filepath.Join(t.TempDir(), "got2")
	b.does("get", "staddle:TAUT/films", "-o", got2)
	sameTree(t, two, got2)
	r := b.does("get", first, "-o", filepath.Join(t.TempDir(), "got3"))
	wantText(t, r.stderr, "a newer version exists: staddle:TAUT/"+a.account+"/films")
	dated := "staddle:TAUT/" + a.account + "/films@" + between.Format(time.RFC3339)
	wantText(t, b.does("ls", dated).stdout, "text")
	same, err := os.ReadFile(filepath.Join(one, "film.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	if old := b.does("cat", dated+"/film.mkv").stdout; old != string(same) {
		t.Errorf("the version of %s has %d bytes, want %d", dated, len(old), len(same))
	}

	a.does("name", "drop", "films")
	await(t, "the name is given up", func() bool { return b.cli("ls", "staddle:TAUT/films").code == 5 })
	wantText(t, a.does("name", "ls").stdout, "given up")
	b.exits(5, "ls", "staddle:ELSE/films")
}
