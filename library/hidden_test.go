package library

import (
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// TestP2 checks that strangers get nothing of a private dataset: neither where it
// was put, nor where it was fetched, nor after a restart.
func TestP2(t *testing.T) {
	folder := t.TempDir()
	plant(t, folder)
	a := openAs(t, person(1), nil)
	secret, public := a.putAs(t, folder, forMe), a.mustPut(t, folder)
	parts := func(l *Library, p Published) (all []cid.Cid) {
		ok(t, l.EachPart(t.Context(), p.Ref(), func(c cid.Cid) error { all = append(all, c); return nil }))
		all = append(all, p.Attachment.Ranges)
		d, err := l.describe(t.Context(), p.Ref(), Watch{})
		ok(t, err)
		ok(t, d.openIndex())
		ok(t, d.checkRoots(l.State.Node, func(n types.Node) error { all = append(all, n.CID); return nil }))
		return all
	}
	check := func(what string, l *Library, p Published, want bool) {
		t.Helper()
		for _, c := range parts(l, p) {
			if got := l.Public(c); got != want {
				t.Errorf("%s: %s is public: %v", what, c, got)
			}
		}
	}
	check("where it was put", a.Library, secret, false)
	check("a public one", a.Library, public, true)
	b := openAs(t, person(1), &peer{of: a.Library})
	if !b.Public(public.Attachment.Index) {
		t.Error("nothing is held, and nothing is public")
	}
	_, err := b.Get(t.Context(), secret.Ref(), filepath.Join(t.TempDir(), "out"), GetOptions{}, Watch{})
	ok(t, err)
	check("where it was fetched", b.Library, secret, false)
	for _, s := range []*shelf{a, b} {
		again, err := New(s.Config)
		ok(t, err)
		all := parts(s.Library, secret)
		for _, c := range all {
			if again.Public(c) {
				t.Errorf("after a restart %s is public", c)
			}
		}
	}
	other, err := New(a.Config)
	ok(t, err)
	if c := parts(a.Library, public)[3]; !other.Public(c) {
		t.Error("a piece of a public dataset is hidden after a restart")
	}
	if other.Public(cid.Undef) {
		t.Error("no CID is public")
	}
}
