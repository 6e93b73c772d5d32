package ipfs

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

var anchor = regexp.MustCompile(`<a href="([^"]*)"`)

// mirror lists a page as programs do that mirror plain listings over HTTP: the
// links that lead one level below the page, without queries and to the same
// place, a slash at the end meaning a directory.
func mirror(t testing.TB, g *httptest.Server, target string) (names []string) {
	t.Helper()
	have := ask(t, g, http.MethodGet, target)
	if have.code != 200 || have.head.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s: %d %s", target, have.code, have.head.Get("Content-Type"))
	}
	base, err := url.Parse(g.URL + target)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range anchor.FindAllStringSubmatch(string(have.body), -1) {
		ref, err := url.Parse(html.UnescapeString(a[1]))
		if err != nil {
			t.Fatalf("link %q: %v", a[1], err)
		}
		u := base.ResolveReference(ref)
		name, below := strings.CutPrefix(u.Path, base.Path)
		if strings.Contains(u.String(), "?") || u.Host != base.Host || u.Scheme != base.Scheme || !below {
			continue
		}
		if name != "" && !strings.Contains(strings.TrimSuffix(name, "/"), "/") {
			names = append(names, name)
		}
	}
	return names
}

// odd are names that a careless page would break at.
var odd = []string{
	"100%.txt", "<script>alert(1)<script>", "?query=1", "a b", "a&amp;b", "a:b", "http:", "javascript:alert(1)", "ünï.txt", "\"quoted\"",
	"#anchor", "%2e%2e", "...", "~", "a\nb", "\u202egnp.exe", "日本", "a\\b", "x\x1b[2J",
}

func TestListing(t *testing.T) {
	s := newShelf()
	text := s.raw([]byte("text"))
	film := s.file(t, noise("film", 200<<10), 64<<10)
	sub := s.dir(t, link{"inner.txt", text, 4})
	links := []link{
		{"", text, 4},
		{".", text, 4},
		{"..", text, 4},
		{"../../etc/passwd", text, 4},
		{"/root", text, 4},
		{"a/b", text, 4},
		{"film.bin", film, 1},
		{"gone", pbCID(t, []byte("gone")), 1},
		{"shards", sharded(t, s, 10), 1},
		{"sub", sub, 1},
	}
	want := []string{"film.bin", "gone", "shards/", "sub/"}
	for _, name := range odd {
		links, want = append(links, link{name, text, 4}), append(want, name)
	}
	slices.SortFunc(links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	root := s.dir(t, links...)
	g := open(t, s, GatewayOptions{})
	names := mirror(t, g, "/ipfs/"+root.String()+"/")
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("mirrored %q, want %q", names, want)
	}
	for _, name := range odd {
		if have := ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"/"+url.PathEscape(name)); have.code != 200 || string(have.body) != "text" {
			t.Errorf("%q leads to %d %.80q", name, have.code, have.body)
		}
	}
	page := string(ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"/").body)
	for _, bad := range []string{"<script>", "href=\"/", "href=\"..", "javascript:alert(1)\"", "\x1b", "\u202e", "a\nb"} {
		if strings.Contains(strings.ReplaceAll(page, `href="./javascript`, ""), bad) {
			t.Errorf("page has %q", bad)
		}
	}
	if !strings.Contains(page, `<a href="./film.bin">film.bin</a> 204800`) {
		t.Errorf("page does not say how big the film is:\n%.2000s", page)
	}
	if deeper := string(ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"/sub/").body); !strings.Contains(deeper, `<a href="../">`) {
		t.Errorf("no way back from a subdirectory:\n%s", deeper)
	}
}

func TestListingHeaders(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	g := open(t, s, GatewayOptions{})
	at := "/ipfs/" + root.String() + "/sub/"
	have := ask(t, g, http.MethodGet, at)
	if roots := strings.Split(have.head.Get("X-Ipfs-Roots"), ","); len(roots) != 2 || roots[0] != root.String() {
		t.Errorf("roots %v", roots)
	}
	head := ask(t, g, http.MethodHead, at)
	if head.code != 200 || len(head.body) > 0 || head.head.Get("Etag") != have.head.Get("Etag") {
		t.Errorf("HEAD: %d %s", head.code, head.head.Get("Etag"))
	}
	if again := ask(t, g, http.MethodGet, at, "If-None-Match: "+have.head.Get("Etag")); again.code != 304 {
		t.Errorf("with Etag: %d", again.code)
	}
	for _, accept := range []string{"application/vnd.ipld.car", "application/vnd.ipld.raw", "text/html, application/x-tar;q=0.9"} {
		if other := ask(t, g, http.MethodGet, at, "Accept: "+accept); strings.HasPrefix(other.head.Get("Content-Type"), "text/html") {
			t.Errorf("a page for %s", accept)
		}
	}
}

// A page of its own is what a directory shows.
func TestListingIndex(t *testing.T) {
	s := newShelf()
	root := s.dir(t, link{"index.html", s.raw([]byte("<p>hello")), 8})
	have := ask(t, open(t, s, GatewayOptions{}), http.MethodGet, "/ipfs/"+root.String()+"/")
	if have.code != 200 || string(have.body) != "<p>hello" || have.head.Get("Content-Type") != "text/html" {
		t.Errorf("%d %s %q", have.code, have.head.Get("Content-Type"), have.body)
	}
}

// Shards in which a few blocks make endless directories end a listing.
func TestListingBombs(t *testing.T) {
	s := newShelf()
	label := func(i int) string { return fmt.Sprintf("%02X", i) }
	entry := func(i int) string { return fmt.Sprintf("%02Xname", i) }
	deep := s.pb(t, shardData(t), link{entry(0), s.raw(nil), 1})
	for range 9 {
		deep = s.pb(t, shardData(t), link{label(0), deep, 1})
	}
	barren := bomb(t, s, 256, 7, shardData(t), label)
	full := s.pb(t, shardData(t), link{entry(0), s.raw(nil), 1}, link{entry(1), s.raw(nil), 1})
	for range 5 {
		var links []link
		for i := range 256 {
			links = append(links, link{label(i), full, 1})
		}
		full = s.pb(t, shardData(t), links...)
	}
	strange, err := shardDataOf(7)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Gateway(s, GatewayOptions{Blocks: 5000, Entries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range map[string]cid.Cid{
		"too deep": deep, "no entries": barren, "too many entries": full,
		"strange width": s.pb(t, strange, link{"0name", s.raw(nil), 1}),
		"short name":    s.pb(t, shardData(t), link{"0", s.raw(nil), 1}),
		"no shard":      s.pb(t, shardData(t), link{"00", s.dir(t), 1}),
	} {
		t.Run(name, func(t *testing.T) {
			s.gets = 0
			if !aborted(h, "/ipfs/"+root.String()+"/") {
				t.Error("the listing looks whole")
			}
			if s.gets > 6000 {
				t.Errorf("%d reads", s.gets)
			}
		})
	}
}

// aborted reports whether an answer was broken off, or was an error.
func aborted(h http.Handler, target string) (broken bool) {
	defer func() {
		if recover() != nil { // http.ErrAbortHandler
			broken = true
		}
	}()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, target, nil))
	return w.Code != http.StatusOK
}

// The other ways to a bomb end as well.
func TestBombsElsewhere(t *testing.T) {
	s := newShelf()
	root := bomb(t, s, 256, 7, shardData(t), func(i int) string { return fmt.Sprintf("%02X", i) })
	h, err := Gateway(s, GatewayOptions{Blocks: 5000})
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?format=car", "?format=car&dag-scope=entity", "?format=tar", "/name", "?format=dag-json", "?format=car&car-dups=y"} {
		s.gets = 0
		aborted(h, "/ipfs/"+root.String()+query)
		if s.gets > 6000 {
			t.Errorf("%s: %d reads", query, s.gets)
		}
	}
}

// Files that lie about their sizes give errors, and what was asked stays bounded.
func TestHostileFiles(t *testing.T) {
	s := newShelf()
	leaf := s.raw([]byte("leaf"))
	file := func(size uint64, sizes ...uint64) []byte {
		b := appendVarint([]byte{0x08, 2, 0x18}, size)
		for _, n := range sizes {
			b = appendVarint(append(b, 0x20), n)
		}
		return b
	}
	zeros := s.raw(make([]byte, 1024))
	size := uint64(1024)
	for range 5 { // 174^5 times the same block
		sizes, links := []uint64{}, []link{}
		for range 174 {
			sizes, links = append(sizes, size), append(links, link{"", zeros, 1})
		}
		size *= 174
		zeros = s.pb(t, file(size, sizes...), links...)
	}
	endless := s.pb(t, file(4, 4), link{"", leaf, 4})
	for range maxFileDepth {
		endless = s.pb(t, file(4, 4), link{"", endless, 4})
	}
	g := open(t, s, GatewayOptions{Blocks: 100})
	tests := map[string]struct {
		root cid.Cid
		rang string
		code int
	}{
		"part is shorter":       {s.pb(t, file(9, 9), link{"", leaf, 4}), "bytes=8-", 422},
		"part is a directory":   {s.pb(t, file(4, 4), link{"", s.dir(t), 4}), "bytes=1-", 422},
		"part is not held":      {s.pb(t, file(4, 4), link{"", types.RawCID([]byte("gone")), 4}), "bytes=1-", 404},
		"too deep":              {endless, "bytes=1-", 422},
		"sizes overflow":        {s.pb(t, file(2, 1<<63, 1<<63+2), link{"", leaf, 4}, link{"", leaf, 4}), "bytes=1-", 422},
		"middle of an exabyte":  {zeros, "bytes=50000000000-50000000003", 206},
		"no data":               {s.pb(t, nil, link{"", leaf, 4}), "bytes=0-", 422},
		"data is not a message": {s.pb(t, []byte("\xff\xff"), link{"", leaf, 4}), "bytes=0-", 422},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if have := ask(t, g, http.MethodGet, "/ipfs/"+tt.root.String(), "Range: "+tt.rang); have.code != tt.code {
				t.Errorf("%d %.120q, want %d", have.code, have.body, tt.code)
			}
		})
	}
}

func FuzzParseNode(f *testing.F) {
	s := newShelf()
	for _, c := range []cid.Cid{s.dir(f, link{"a", s.raw(nil), 1}), s.file(f, noise("x", 300), 64), sharded(f, s, 3)} {
		f.Add(s.blocks[string(c.Hash())])
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		mh, err := multihash.Sum(block, multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		n, err := parseNode(cid.NewCidV1(cid.DagProtobuf, mh), block)
		if err == nil && (n.size() < 0 || len(n.links) > len(block)) {
			t.Errorf("%d bytes, %d links from %d bytes", n.size(), len(n.links), len(block))
		}
	})
}
