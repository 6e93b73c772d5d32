package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/deny"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// shelf is a library with one dataset, named films.
func shelf(t *testing.T) (*library.Library, library.Published) {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	lib, err := library.New(library.Config{
		State: st, Pieces: st.Pieces(), Reserve: library.Rooms(st.Pieces().Reserve), Now: func() types.Millis { return 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "film"), make([]byte, 700_000), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := lib.Put(t.Context(), folder, library.PutOptions{Name: "films", Visibility: types.VisibilityPublic}, library.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	return lib, p
}

func denials(t *testing.T, home string) *Denials {
	t.Helper()
	d, err := OpenDenials(home, func(w string) {
		if !strings.Contains(w, "nonsense") {
			t.Errorf("warning: %s", w)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDenials(t *testing.T) {
	lib, p := shelf(t)
	home := t.TempDir()
	d := denials(t, home)
	do := func(do string, items ...string) *api.DenyResult {
		t.Helper()
		r, err := d.Change(t.Context(), lib, api.DenyRequest{Do: do, Items: items})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	other := types.RawCID([]byte("other"))
	a := &p.Attachment
	state := func() (out []bool) {
		var parts []bool
		err := lib.EachPart(t.Context(), p.Ref(), func(c cid.Cid) error { parts = append(parts, d.Denied(c)); return nil })
		if err != nil || len(parts) != 2+int(a.Pieces) {
			t.Fatal(err, len(parts))
		}
		return append(parts[:3], d.Denied(other))
	}
	want := func(what string, same bool, otherToo bool) {
		t.Helper()
		if diff := cmp.Diff([]bool{same, same, same, otherToo}, state()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	want("at first", false, false)
	if r := do(api.DenyAdd, "films", other.String()); r.Changed != 3+int(a.Pieces) {
		t.Fatalf("%+v", r)
	}
	want("after add", true, true)
	raw, err := os.ReadFile(filepath.Join(home, "deny", "local.deny"))
	if err != nil || strings.Contains(string(raw), other.String()) || strings.Contains(string(raw), "films") {
		t.Errorf("%v: the file names what is denied", err)
	}
	do(api.DenyAdd, "films") // again: no rule twice
	if r := do(api.DenyList); len(r.Rules) != 3+int(a.Pieces) {
		t.Errorf("%d rules", len(r.Rules))
	}
	d = denials(t, home)
	want("after a restart", true, true)
	do(api.DenyRemove, "films")
	want("after rm", false, true)

	list := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(list, []byte("nonsense\n/ipfs/"+a.Index.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := do(api.DenyImport, list); r.Changed != 1 || len(r.Warnings) != 1 {
		t.Errorf("%+v", r)
	}
	if !d.Denied(a.Index) || d.Denied(a.UnixFS) {
		t.Error("an imported list does not count")
	}
	do(api.DenyRemove, "films", other.String())
	want("excepted from an imported list", false, false)
	do(api.DenyAdd, "/ipfs/"+other.String()+"/secret", "/ipfs/"+other.String()+"/x*", deny.Line(a.UnixFS, ""))
	if d.Denied(other) || !d.DeniedPath(other, "secret") || !d.DeniedPath(other, "xyz") || !d.Denied(a.UnixFS) {
		t.Error("paths are not denied")
	}
}

func TestDenialsRefuse(t *testing.T) {
	lib, p := shelf(t)
	home := t.TempDir()
	d := denials(t, home)
	unknown := library.Ref{Dataset: types.H("unknown")}
	for _, items := range [][]string{{"absent"}, {"/ipfs/x"}, {"//x"}, {p.Ref().Link() + "/film"}, {"/ipns/a b"}, {"/ipfs/" + unknown.Root().String() + "/a b*"}} {
		if r, err := d.Change(t.Context(), lib, api.DenyRequest{Do: api.DenyAdd, Items: items}); err == nil {
			t.Errorf("%q: %+v", items, r)
		}
	}
	r, err := d.Change(t.Context(), lib, api.DenyRequest{Do: api.DenyAdd, Items: []string{unknown.String()}})
	if err != nil || r.Changed != 1 || len(r.Warnings) != 1 || !d.Denied(unknown.Root()) {
		t.Errorf("a dataset that is not here: %+v, %v", r, err)
	}
	empty := filepath.Join(home, "empty")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Import(empty); !errors.Is(err, deny.ErrRule) {
		t.Error(err)
	}
	if _, err := d.Change(t.Context(), lib, api.DenyRequest{Do: "burn"}); err == nil {
		t.Error("an unknown word does something")
	}
	if err := os.WriteFile(filepath.Join(home, "deny", "new.deny"), []byte("version: 2\n---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDenials(home, func(string) {}); err == nil {
		t.Error("a list of a later version is passed over in silence")
	}
}
