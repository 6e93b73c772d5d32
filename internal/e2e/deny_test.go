//go:build engine

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/staddle/staddle/api"
)

// TestDeny: what is on the list of its only holder reaches nobody, until it is
// taken off.
func TestDeny(t *testing.T) {
	a, b := start(t, "a"), start(t, "b")
	found(a, nil, b)
	films := folder(t, 300_000, 4)
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: films, Visibility: "public"}).Ref
	a.does("deny", "add", ref)
	wantText(t, a.does("deny", "ls").stdout, "rules  ", "local.deny", "//Qm")
	to := filepath.Join(t.TempDir(), "got")
	if r := b.cli("get", ref, "-o", to, "--timeout", "20s"); r.code == 0 {
		t.Fatalf("b got what a denies: %+v", r)
	}
	a.does("deny", "rm", ref)
	await(t, "b gets it", func() bool { return b.cli("get", ref, "-o", to).code == 0 })
	sameTree(t, films, to)
}
