package library

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

func TestParseRef(t *testing.T) {
	id := types.H("test")
	root := types.NodeCIDOf(id).String()
	in := Ref{Dataset: id}
	owner := types.Account(types.H("owner"))
	tests := []struct {
		text string
		want Ref
	}{
		{"staddle:" + root, in},
		{root, in},
		{id.String(), in},
		{strings.ToUpper(id.String()), in},
		{"staddle:" + id.String() + "/a/b.txt", Ref{Dataset: id, Path: "a/b.txt"}},
		{root + "/", in},
		{root + "//a/./b/", Ref{Dataset: id, Path: "a/b"}},
		{"films", Ref{Name: "films"}},
		{"films/größe x", Ref{Name: "films", Path: "größe x"}},
		{"\x1b[31m", Ref{Name: "\x1b[31m"}},
		{strings.Repeat("0", 64), Ref{Name: strings.Repeat("0", 64)}}, // no dataset has the zero digest
		{"staddle:TAUT/films", Ref{Title: Title{Community: "TAUT", Name: "films"}}},
		{"staddle:TAUT/films/a/b", Ref{Title: Title{Community: "TAUT", Name: "films"}, Path: "a/b"}},
		{"staddle:TAUT/films@2026-11-20/a", Ref{Title: Title{Community: "TAUT", Name: "films", At: 1_795_219_199_999}, Path: "a"}},
		{"staddle:TAUT/films@2026-11-20T08:00:00Z", Ref{Title: Title{Community: "TAUT", Name: "films", At: 1_795_161_600_000}}},
		{"staddle:TAUT/" + owner.String() + "/films", Ref{Title: Title{Community: "TAUT", Owner: owner, Name: "films"}}},
	}
	for _, tt := range tests {
		got, err := ParseRef(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
			continue
		}
		if again, err := ParseRef(got.String()); err != nil || again != got {
			t.Errorf("%q again: %+v, %v", got.String(), again, err)
		}
	}
	for _, bad := range []string{
		"", "/", "/etc", "staddle:", "staddle:films", "staddle:/films", "staddle:TAUT/", "staddle:TAUT/a@", "staddle:TAUT/a@yesterday", "staddle:TAUT/a@1969-01-01", "staddle:TAUT/@2026-11-20",
		"staddle:TAUT/a#b", "staddle:TAUT/a/../b", "staddle:" + strings.Repeat("x", 65) + "/a", "staddle:staddle:" + root, root + "/../x", root + "/a/../b", "films/\xff",
		"films/a\x00", "\xff", strings.Repeat("x", 256), types.RawCIDOf(id).String(), cid.NewCidV1(cid.DagProtobuf, types.RawCIDOf(id).Hash()).String(),
	} {
		if got, err := ParseRef(bad); err == nil {
			t.Errorf("%q is accepted: %+v", bad, got)
		}
	}
	if _, err := ParseRef("staddle:films"); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
}

// FuzzParseRef: what is accepted says the same when written again, and its path
// cannot lead out.
func FuzzParseRef(f *testing.F) {
	f.Add("staddle:" + types.NodeCIDOf(types.H("x")).String() + "/a/b")
	f.Add("films/../..")
	f.Add(strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(r.Path, "/") || strings.Contains("/"+r.Path+"/", "/../") {
			t.Fatalf("%q leads out: %q", s, r.Path)
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Fatalf("%q: %+v, again %+v, %v", s, r, again, err)
		}
	})
}
