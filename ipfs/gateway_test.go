package ipfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/go-cid"
	gocar "github.com/ipld/go-car/v2"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// open starts a gateway over blocks.
func open(t testing.TB, b Blocks, o GatewayOptions) *httptest.Server {
	t.Helper()
	h, err := Gateway(b, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// answer is what a gateway said.
type answer struct {
	code int
	head http.Header
	body []byte
}

// ask sends a request as it stands, without following redirects. Headers come
// as "Name: value".
func ask(t testing.TB, s *httptest.Server, method, target string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		if h == "" {
			continue
		}
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	res, err := s.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// sharded stores a HAMT directory of n files.
func sharded(t testing.TB, s *shelf, n int) cid.Cid {
	t.Helper()
	shard, err := hamt.NewShard(dag{shelf: s}, 256)
	if err != nil {
		t.Fatal(err)
	}
	shard.SetCidBuilder(cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256})
	for i := range n {
		text := merkledag.NewRawNode(fmt.Appendf(nil, "file %d", i))
		if err := s.Put(t.Context(), text.Cid(), text.RawData()); err != nil {
			t.Fatal(err)
		}
		if err := shard.Set(t.Context(), fmt.Sprintf("f%04d.txt", i), text); err != nil {
			t.Fatal(err)
		}
	}
	root, err := shard.Node()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), root.Cid(), root.RawData()); err != nil {
		t.Fatal(err)
	}
	return root.Cid()
}

func TestGatewayFiles(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	film, g := noise("film", 500<<10), open(t, s, GatewayOptions{})
	base := "/ipfs/" + root.String()
	leaf := types.RawCID(film[:64<<10])
	tests := map[string]struct {
		target, header string
		code           int
		body           []byte
		head           map[string]string
	}{
		"whole file": {base + "/film.bin", "", 200, film, map[string]string{
			"Accept-Ranges": "bytes", "Content-Length": "512000", "Cache-Control": "public, max-age=29030400, immutable",
			"X-Ipfs-Path": base + "/film.bin", "Content-Security-Policy": "sandbox", "Access-Control-Allow-Origin": "*",
		}},
		"range": {base + "/film.bin", "Range: bytes=65530-131080", 206, film[65530:131081], map[string]string{
			"Content-Range": "bytes 65530-131080/512000", "Content-Length": "65551",
		}},
		"last bytes":        {base + "/film.bin", "Range: bytes=-10", 206, film[len(film)-10:], map[string]string{"Content-Range": "bytes 511990-511999/512000"}},
		"open range":        {base + "/film.bin", "Range: bytes=400000-", 206, film[400000:], nil},
		"more than is":      {base + "/film.bin", "Range: bytes=511999-9999999", 206, film[511999:], nil},
		"past the end":      {base + "/film.bin", "Range: bytes=512000-", 416, nil, map[string]string{"Content-Range": "bytes */512000"}},
		"past by far":       {base + "/film.bin", "Range: bytes=9223372036854775807-", 416, nil, nil},
		"two ranges":        {base + "/film.bin", "Range: bytes=1-2,4-5", 206, film[1:3], nil},
		"no range":          {base + "/film.bin", "Range: bytes=5-2", 400, nil, nil},
		"small file":        {base + "/text.txt", "", 200, []byte("some text\n"), map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		"small range":       {base + "/text.txt", "Range: bytes=5-8", 206, []byte("text"), nil},
		"inline":            {base + "/sub/inline", "", 200, []byte("inline"), nil},
		"leaf as dag-pb":    {"/ipfs/" + pbAs(leaf).String(), "", 422, nil, nil},
		"leaf":              {"/ipfs/" + leaf.String(), "", 200, film[:64<<10], nil},
		"absent":            {base + "/none", "", 404, nil, nil},
		"below a file":      {base + "/text.txt/more", "", 404, nil, nil},
		"not held":          {"/ipfs/" + types.RawCID([]byte("nowhere")).String(), "", 404, nil, nil},
		"no CID":            {"/ipfs/hello", "", 400, nil, nil},
		"directory":         {base, "", 301, nil, map[string]string{"Location": base + "/"}},
		"raw":               {base + "?format=raw", "", 200, s.blocks[string(root.Hash())], map[string]string{"Content-Type": "application/vnd.ipld.raw"}},
		"raw by header":     {"/ipfs/" + leaf.String(), "Accept: application/vnd.ipld.raw", 200, film[:64<<10], nil},
		"unknown format":    {base, "Accept: application/vnd.ipld.pudding", 400, nil, nil},
		"only if cached":    {"/ipfs/" + types.RawCID([]byte("nowhere")).String(), "Cache-Control: only-if-cached", 412, nil, nil},
		"unknown hash":      {"/ipfs/" + hashed(t, multihash.SHA1, film).String(), "", 400, nil, nil},
		"identity megabyte": {"/ipfs/" + hashed(t, multihash.IDENTITY, make([]byte, 2000)).String(), "", 400, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			have := ask(t, g, http.MethodGet, tt.target, tt.header)
			if have.code != tt.code || tt.body != nil && !bytes.Equal(have.body, tt.body) {
				t.Fatalf("%d with %d bytes (%.100q), want %d with %d", have.code, len(have.body), have.body, tt.code, len(tt.body))
			}
			for name, want := range tt.head {
				if have.head.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, have.head.Get(name), want)
				}
			}
			head := ask(t, g, http.MethodHead, tt.target)
			if tt.code == 200 && (head.code != 200 || len(head.body) > 0 || head.head.Get("Content-Length") != fmt.Sprint(len(tt.body))) {
				t.Errorf("HEAD: %d, %s bytes", head.code, head.head.Get("Content-Length"))
			}
			if tag := have.head.Get("Etag"); tt.code == 200 {
				if again := ask(t, g, http.MethodGet, tt.target, "If-None-Match: "+tag, tt.header); tag == "" || again.code != 304 {
					t.Errorf("with Etag %s: %d", tag, again.code)
				}
			}
		})
	}
}

// Ranges answered by If-Range, and a file of zero bytes.
func TestGatewayIfRange(t *testing.T) {
	s := newShelf()
	film := noise("film", 300<<10)
	c, g := s.file(t, film, 64<<10), open(t, s, GatewayOptions{})
	for tag, want := range map[string]int{`"` + c.String() + `"`: 206, `"other"`: 200} {
		if have := ask(t, g, http.MethodGet, "/ipfs/"+c.String(), "Range: bytes=0-99", "If-Range: "+tag); have.code != want {
			t.Errorf("If-Range %s: %d, want %d", tag, have.code, want)
		}
	}
	empty := s.file(t, nil, 64<<10)
	if have := ask(t, g, http.MethodGet, "/ipfs/"+empty.String(), "Range: bytes=0-9"); have.code != 200 || len(have.body) != 0 {
		t.Errorf("empty file: %d %q", have.code, have.body)
	}
}

func TestGatewayRefuses(t *testing.T) {
	s := newShelf()
	base := "/ipfs/" + folder(t, s).String()
	g := open(t, s, GatewayOptions{})
	tests := map[string]struct {
		method, target string
		want           int
	}{
		"root":            {"GET", "/", 404},
		"elsewhere":       {"GET", "/etc/passwd", 404},
		"a name":          {"GET", "/ipns/example.org", 501},
		"dots":            {"GET", base + "/sub/../text.txt", 400},
		"escaped dots":    {"GET", base + "/sub/%2e%2e/text.txt", 400},
		"escaped slash":   {"GET", base + "/sub%2f..%2ftext.txt", 400},
		"out of the root": {"GET", "/ipfs/../../../etc/passwd", 400},
		"one dot":         {"GET", base + "/./text.txt", 400},
		"zero byte":       {"GET", base + "/a%00b", 400},
		"twice escaped":   {"GET", base + "/%252e%252e", 404},
		"not UTF-8":       {"GET", base + "/%ff%fe", 404},
		"long":            {"GET", base + "/" + strings.Repeat("a", 4096), 414},
		"deep":            {"GET", base + strings.Repeat("/a", 256), 414},
		"put":             {"PUT", base + "/x", 405},
		"delete":          {"DELETE", base, 405},
		"options":         {"OPTIONS", base, 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if have := ask(t, g, tt.method, tt.target); have.code != tt.want {
				t.Errorf("%d %.80q, want %d", have.code, have.body, tt.want)
			}
		})
	}
	res, err := g.Client().Post(g.URL+base, "text/plain", strings.NewReader("a body"))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != 413 {
		t.Errorf("with a body: %d", res.StatusCode)
	}
}

// Strangers get what the policy serves, whatever is held.
func TestGatewayPolicy(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	private := s.raw([]byte("private"))
	g := open(t, Public(s, only{string(root.Hash()): true}), GatewayOptions{})
	for target, want := range map[string]int{
		"/ipfs/" + root.String() + "?format=raw":    200,
		"/ipfs/" + root.String() + "/text.txt":      404,
		"/ipfs/" + private.String():                 404,
		"/ipfs/" + private.String() + "?format=car": 404,
		"/ipfs/" + private.String() + "?format=raw": 404,
	} {
		if have := ask(t, g, http.MethodGet, target); have.code != want && !(want == 404 && strings.Contains(target, "car") && !bytes.Contains(have.body, []byte("private"))) {
			t.Errorf("%s: %d, want %d", target, have.code, want)
		}
	}
}

// only is a policy that lists what is served, by multihash.
type only map[string]bool

func (o only) Serve(_ context.Context, c cid.Cid) bool { return o[string(c.Hash())] }

// carOf asks for a CAR and checks each block on the way.
func carOf(t testing.TB, g *httptest.Server, target string, headers ...string) (list []cid.Cid) {
	t.Helper()
	have := ask(t, g, http.MethodGet, target, headers...)
	if have.code != 200 || !strings.HasPrefix(have.head.Get("Content-Type"), "application/vnd.ipld.car") {
		t.Fatalf("%s: %d %s", target, have.code, have.head.Get("Content-Type"))
	}
	r, err := gocar.NewBlockReader(bytes.NewReader(have.body))
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b.Cid())
	}
}

func TestGatewayCAR(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	film := s.file(t, noise("film", 500<<10), 64<<10)
	text := types.RawCID([]byte("some text\n"))
	g := open(t, s, GatewayOptions{})
	base := "/ipfs/" + root.String()
	all := carOf(t, g, base+"?format=car")
	var want []cid.Cid
	w := walker{blocks: s, visit: func(c cid.Cid, _ []byte) error {
		want = append(want, c)
		return nil
	}}
	if err := w.walk(t.Context(), []cid.Cid{root}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(all, want) {
		t.Errorf("dag-scope=all: %v, want %v", all, want)
	}
	tests := map[string]struct {
		query, accept string
		count         int
		first         cid.Cid
		second        cid.Cid
	}{
		"block":            {"/film.bin?format=car&dag-scope=block", "", 2, root, film},
		"entity dir":       {"/sub?format=car&dag-scope=entity", "", 2, root, cid.Undef},
		"entity file":      {"/film.bin?format=car&dag-scope=entity", "", 2 + 8, root, film},
		"entity bytes":     {"/film.bin?format=car&dag-scope=entity&entity-bytes=70000:140000", "", 2 + 2, root, film},
		"entity end":       {"/film.bin?format=car&dag-scope=entity&entity-bytes=-10:*", "", 2 + 1, root, film},
		"order and no dup": {"?dag-scope=all", "application/vnd.ipld.car; version=1; order=dfs; dups=n", len(want), root, film},
		"order and dups":   {"?dag-scope=all", "application/vnd.ipld.car; version=1; order=dfs; dups=y", len(want) + 1, root, film},
		"leaf":             {"/text.txt?format=car", "", 2, root, text},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			have := carOf(t, g, base+tt.query, "Accept: "+tt.accept)
			if len(have) != tt.count || have[0] != tt.first || tt.second.Defined() && have[1] != tt.second {
				t.Errorf("%d blocks %v, want %d from %s, %s", len(have), have, tt.count, tt.first, tt.second)
			}
		})
	}
	for query, code := range map[string]int{
		"?format=car&dag-scope=galaxy":                      400,
		"?format=car&entity-bytes=9:1":                      400,
		"?format=car&car-version=2":                         400,
		"?format=car&car-order=random":                      400,
		"/none?format=car":                                  200, // the blocks that prove it
		"/film.bin?format=car&entity-bytes=99999999999:*":   200,
		"/film.bin?format=car&entity-bytes=0:9999999999999": 200,
	} {
		if have := ask(t, g, http.MethodGet, base+query); have.code != code {
			t.Errorf("%s: %d, want %d", query, have.code, code)
		}
	}
}

func TestGatewayFormats(t *testing.T) {
	s := newShelf()
	root := folder(t, s)
	record := []byte("\xa2aa\x01ab\xd8*X%\x00" + string(root.Bytes()))
	c := types.NodeCID(record)
	if err := s.Put(t.Context(), c, record); err != nil {
		t.Fatal(err)
	}
	g := open(t, s, GatewayOptions{})
	base := "/ipfs/" + c.String()
	if json := ask(t, g, http.MethodGet, base+"?format=dag-json"); json.code != http.StatusNotAcceptable {
		t.Errorf("dag-cbor as dag-json: %d %.100s", json.code, json.body)
	}
	text := fmt.Appendf(nil, `{"a":1,"b":{"/":%q}}`, root.String())
	d := cid.NewCidV1(cid.DagJSON, types.RawCID(text).Hash())
	if err := s.Put(t.Context(), d, text); err != nil {
		t.Fatal(err)
	}
	if json := ask(t, g, http.MethodGet, "/ipfs/"+d.String()+"?format=dag-json"); json.code != 200 || !bytes.Equal(json.body, text) {
		t.Errorf("dag-json: %d %s, want %s", json.code, json.body, text)
	}
	page := ask(t, g, http.MethodGet, base+"/", "Accept: text/html")
	if page.code != 200 || !bytes.Contains(page.body, []byte("/ipfs/"+root.String())) {
		t.Errorf("a record as a page: %d %.200s", page.code, page.body)
	}
	if cbor := ask(t, g, http.MethodGet, base, "Accept: application/vnd.ipld.dag-cbor"); cbor.code != 200 || !bytes.Equal(cbor.body, record) {
		t.Errorf("dag-cbor: %d %x", cbor.code, cbor.body)
	}
	if through := ask(t, g, http.MethodGet, base+"/b/text.txt"); through.code != 200 || string(through.body) != "some text\n" {
		t.Errorf("path through a record: %d %q", through.code, through.body)
	}
	archive := ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"?format=tar")
	var names []string
	r := tar.NewReader(bytes.NewReader(archive.body))
	for h, err := r.Next(); !errors.Is(err, io.EOF); h, err = r.Next() {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(h.Name, root.String()))
	}
	if want := []string{"", "/film.bin", "/sub", "/sub/again.txt", "/sub/inline", "/text.txt"}; !slices.Equal(names, want) {
		t.Errorf("tar has %q, want %q", names, want)
	}
}

func TestGatewaySharded(t *testing.T) {
	s := newShelf()
	root := sharded(t, s, 3000)
	g := open(t, s, GatewayOptions{})
	if have := ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"/f2345.txt"); string(have.body) != "file 2345" {
		t.Errorf("%d %q", have.code, have.body)
	}
	if have := ask(t, g, http.MethodGet, "/ipfs/"+root.String()+"/f3000.txt"); have.code != 404 {
		t.Errorf("absent name: %d", have.code)
	}
	names := mirror(t, g, "/ipfs/"+root.String()+"/")
	slices.Sort(names)
	if len(names) != 3000 || names[0] != "f0000.txt" || names[2999] != "f2999.txt" {
		t.Errorf("%d names", len(names))
	}
	if blocks := carOf(t, g, "/ipfs/"+root.String()+"?format=car&dag-scope=entity"); len(blocks) < 200 || len(blocks) > 400 {
		t.Errorf("%d shards", len(blocks))
	}
}
