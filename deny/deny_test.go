package deny

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

func list(t testing.TB, lines ...string) *List {
	t.Helper()
	l := new(List)
	if err := l.Read(strings.NewReader(strings.Join(lines, "\n")), func(n int, err error) { t.Errorf("line %d: %v", n, err) }); err != nil {
		t.Fatal(err)
	}
	return l
}

// vector is a line of spec/vectors/deny.json. The first are examples of the
// published format.
type vector struct {
	Item   string `json:"item"`   // CID[/path]
	Hashed string `json:"hashed"` // rule of Line
	Legacy string `json:"legacy"` // older rule for the same, "" when not listed
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../spec/vectors/deny.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		c, path, err := ParseItem(v.Item)
		if err != nil {
			t.Fatal(err)
		}
		if v.Hashed != "" {
			if got := Line(c, path); got != v.Hashed {
				t.Errorf("%s: %s, want %s", v.Item, got, v.Hashed)
			}
		}
		for _, rule := range []string{v.Hashed, v.Legacy, "/ipfs/" + v.Item} {
			if l := list(t, rule); rule != "" && (!l.DeniedPath(c, path) || l.Denied(other)) {
				t.Errorf("%s does not deny %s, or more than that", rule, v.Item)
			}
		}
	}
	if len(all) < 4 {
		t.Fatalf("%d vectors", len(all))
	}
}

var other = types.RawCID([]byte("other"))

// TestP3 holds the rules of the format against what they deny.
func TestP3(t *testing.T) {
	a, b := types.RawCID([]byte("a")), types.NodeCID([]byte("b"))
	v0 := cid.NewCidV0(a.Hash())
	pb := cid.NewCidV1(cid.DagProtobuf, a.Hash())
	for name, c := range map[string]struct {
		lines []string
		yes   []string // item: CID letter and path
		no    []string
	}{
		"nothing":          {nil, nil, []string{"a", "a/x"}},
		"cid":              {[]string{"/ipfs/" + a.String()}, []string{"a", "a/x", "v0", "pb"}, []string{"b"}},
		"another codec":    {[]string{"/ipfs/" + pb.String()}, []string{"a", "v0"}, []string{"b"}},
		"version 0":        {[]string{"/ipfs/" + v0.String()}, []string{"a", "pb"}, nil},
		"hashed":           {[]string{Line(a, "")}, []string{"a", "a/x", "v0", "pb"}, []string{"b"}},
		"path":             {[]string{"/ipfs/" + a.String() + "/x"}, []string{"a/x", "a/x/", "v0/x"}, []string{"a", "a/y", "a/x/y", "a/xy"}},
		"path and slash":   {[]string{"/ipfs/" + a.String() + "/x/"}, []string{"a/x"}, []string{"a"}},
		"hashed path":      {[]string{Line(a, "x/y")}, []string{"a/x/y", "pb/x/y"}, []string{"a", "a/x", "a/x/y/z"}},
		"escaped":          {[]string{"/ipfs/" + a.String() + "/x%20y"}, []string{"a/x y"}, []string{"a/x%20y"}},
		"prefix":           {[]string{"/ipfs/" + a.String() + "/ab*"}, []string{"a/ab", "a/abc", "a/ab/c"}, []string{"a", "a/a", "a/b"}},
		"prefix and slash": {[]string{"/ipfs/" + a.String() + "/ab/*"}, []string{"a/ab", "a/ab/c"}, []string{"a"}},
		"all below":        {[]string{"/ipfs/" + a.String() + "/*"}, []string{"a", "a/x"}, []string{"b"}},
		"last wins":        {[]string{"/ipfs/" + a.String(), "!" + Line(a, ""), "/ipfs/" + b.String()}, []string{"b"}, []string{"a"}},
		"exception below":  {[]string{"/ipfs/" + a.String() + "/*", "!/ipfs/" + a.String() + "/free*"}, []string{"a", "a/x"}, []string{"a/free", "a/free/x"}},
		"denied again":     {[]string{"!" + Line(a, ""), Line(a, "")}, []string{"a"}, nil},
		"hints, comments":  {[]string{"# why", "", Line(a, "") + " reason=law", "/ipfs/" + b.String() + "\thint=1"}, []string{"a", "b"}, nil},
		"a name":           {[]string{"/ipns/example.org"}, nil, []string{"a"}},
		"header":           {[]string{"version: 1", "name: x", "hints:", "  a: b", "---", Line(a, "")}, []string{"a"}, []string{"b"}},
	} {
		l := list(t, c.lines...)
		check := func(items []string, want bool) {
			for _, item := range items {
				what, path, _ := strings.Cut(item, "/")
				at := map[string]cid.Cid{"a": a, "b": b, "v0": v0, "pb": pb}[what]
				if got := l.DeniedPath(at, path); got != want {
					t.Errorf("%s: %s denied: %v", name, item, got)
				}
				if path == "" && l.Denied(at) != want {
					t.Errorf("%s: block %s denied: %v", name, item, !want)
				}
			}
		}
		check(c.yes, true)
		check(c.no, false)
	}
	if list(t, Line(a, "")).Denied(cid.Undef) {
		t.Error("nothing is denied")
	}
}

func TestReadRefuses(t *testing.T) {
	blake, err := multihash.Encode(make([]byte, 32), multihash.BLAKE3)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{
		"garbage", "/ipfs/", "/ipfs/x", "//", "//xyz0", "//" + strings.Repeat("g", 64), "//" + multihash.Multihash(blake).B58String(),
		"/ipld/" + other.String(), "/ipfs/" + other.String() + "/%zz", "/ipfs/" + other.String() + "/%1", "/ipfs/" + strings.Repeat("b", 300),
		"//" + strings.Repeat("1", 200), "/ipfs/" + other.String() + "/" + strings.Repeat("x", 5000), "/ipfs/\xff",
	}
	var lines []int
	l := new(List)
	err = l.Read(strings.NewReader(strings.Join(append(bad, Line(other, "")), "\n")), func(n int, err error) {
		lines = append(lines, n)
		if !errors.Is(err, ErrRule) {
			t.Errorf("line %d: %v", n, err)
		}
	})
	want := make([]int, len(bad))
	for i := range want {
		want[i] = i + 1
	}
	if d := cmp.Diff(want, lines); err != nil || d != "" || l.Len() != 1 || !l.Denied(other) {
		t.Fatal(err, d, l.Len())
	}
	for name, s := range map[string]string{
		"a later version": "version: 2\n---\n" + Line(other, ""),
		"an endless line": strings.Repeat("x", maxLine+1),
	} {
		if err := new(List).Read(strings.NewReader(s), func(int, error) {}); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	full := &List{count: MaxRules}
	if err := full.Read(strings.NewReader(Line(other, "")), func(int, error) {}); !errors.Is(err, ErrRule) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("version: 1\n---\n/ipfs/" + other.String() + "/a*\n!" + Line(other, "") + "\n//" + strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, s string) {
		l := new(List)
		bad := 0
		if err := l.Read(strings.NewReader(s), func(int, error) { bad++ }); err != nil {
			return
		}
		if l.Len()+bad > strings.Count(s, "\n")+1 {
			t.Fatalf("%d rules and %d errors in %d lines", l.Len(), bad, strings.Count(s, "\n")+1)
		}
		l.DeniedPath(other, s)
	})
}

func BenchmarkDenied(b *testing.B) {
	l := new(List)
	for i := range uint32(100_000) {
		if err := l.Add(Line(types.RawCID(types.Be32(i)), "")); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		l.Denied(other)
	}
}
