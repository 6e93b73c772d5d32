package play

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRanges(t *testing.T) {
	film := noise(3<<20 + 17)
	s := newShelf(map[string][]byte{"a/film.mp4": film})
	size := len(film)
	at := URL(serve(t, s, Limits{}), s.root.String(), "a/film.mp4")
	tag := `"` + s.root.String() + `/a/film.mp4"`
	tests := []struct {
		name, method string
		head         []string
		code         int
		from, to     int // bytes of the body; from -1: another body
		span         string
	}{
		{"whole", "GET", nil, 200, 0, size, ""},
		{"head", "HEAD", nil, 200, 0, 0, ""},
		{"head of a range", "HEAD", []string{"Range", "bytes=5-9"}, 206, 0, 0, fmt.Sprintf("bytes 5-9/%d", size)},
		{"middle", "GET", []string{"Range", "bytes=1000000-1000009"}, 206, 1000000, 1000010, fmt.Sprintf("bytes 1000000-1000009/%d", size)},
		{"open end", "GET", []string{"Range", fmt.Sprintf("bytes=%d-", size-9)}, 206, size - 9, size, fmt.Sprintf("bytes %d-%d/%d", size-9, size-1, size)},
		{"the last", "GET", []string{"Range", "bytes=-100"}, 206, size - 100, size, fmt.Sprintf("bytes %d-%d/%d", size-100, size-1, size)},
		{"beyond the end", "GET", []string{"Range", fmt.Sprintf("bytes=%d-%d", size-1, size+50)}, 206, size - 1, size, fmt.Sprintf("bytes %d-%d/%d", size-1, size-1, size)},
		{"out of bounds", "GET", []string{"Range", fmt.Sprintf("bytes=%d-", size)}, 416, -1, 0, fmt.Sprintf("bytes */%d", size)},
		{"malformed", "GET", []string{"Range", "bytes=9-5"}, 416, -1, 0, ""},
		{"another unit", "GET", []string{"Range", "lines=1-2"}, 416, -1, 0, ""},
		{"too many", "GET", []string{"Range", "bytes=" + strings.Repeat("0-0,", 16) + "1-1"}, 200, 0, size, ""},
		{"not changed", "GET", []string{"If-None-Match", tag}, 304, 0, 0, ""},
		{"changed", "GET", []string{"If-None-Match", `"other"`}, 200, 0, size, ""},
		{"if the same", "GET", []string{"Range", "bytes=1-2", "If-Range", tag}, 206, 1, 3, fmt.Sprintf("bytes 1-2/%d", size)},
		{"if not the same", "GET", []string{"Range", "bytes=1-2", "If-Range", `"other"`}, 200, 0, size, ""},
		{"must be another", "GET", []string{"If-Match", `"other"`}, 412, 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, tt.method, at, tt.head...)
			if a.code != tt.code || a.err != nil || a.head.Get("Content-Range") != tt.span {
				t.Fatalf("code %d, range %q, %v", a.code, a.head.Get("Content-Range"), a.err)
			}
			if tt.from >= 0 && !bytes.Equal(a.body, film[tt.from:tt.to]) {
				t.Errorf("%d bytes, want %d", len(a.body), tt.to-tt.from)
			}
			if tt.code < 300 && (a.head.Get("Etag") != tag || a.head.Get("Accept-Ranges") != "bytes" || a.head.Get("Content-Type") != "video/mp4" ||
				!strings.Contains(a.head.Get("Cache-Control"), "immutable")) {
				t.Errorf("head %v", a.head)
			}
		})
	}
}

// TestOnlyTheRange: a range fetches the pieces that hold it and no other.
func TestOnlyTheRange(t *testing.T) {
	film := noise(16 << 20)
	s := newShelf(map[string][]byte{"film.mp4": film})
	at := URL(serve(t, s, Limits{}), s.root.String(), "film.mp4")
	ask(t, "HEAD", at)
	ask(t, "GET", at, "Range", "bytes=99999999-")
	if s.calls.Load() != 0 {
		t.Fatal("a head, or a range that is not there, was fetched")
	}
	a := ask(t, "GET", at, "Range", "bytes=5000000-6048575")
	if !bytes.Equal(a.body, film[5000000:6048576]) || s.fetched() > 5*pieceStep {
		t.Errorf("%d bytes of %d fetched", len(a.body), s.fetched())
	}
	a = ask(t, "GET", at, "Range", "bytes=0-9, 9000000-9000009,-5")
	kind, params, err := mime.ParseMediaType(a.head.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || a.code != 206 {
		t.Fatalf("code %d, %s: %v", a.code, kind, err)
	}
	parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for _, want := range [][]byte{film[:10], film[9000000:9000010], film[len(film)-5:]} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(p); err != nil || !bytes.Equal(b, want) {
			t.Errorf("part of %d bytes: %v", len(b), err)
		}
	}
	if s.fetched() > 8*pieceStep {
		t.Errorf("%d bytes fetched", s.fetched())
	}
}

// TestIndexAtTheEnd plays a film whose index stands behind its pictures, as a
// player does that knows boxes: their heads, then the index, then from a place in
// the middle.
func TestIndexAtTheEnd(t *testing.T) {
	pictures := noise(40 << 20)
	box := func(kind string, body []byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+8)), kind...), body...)
	}
	film := append(box("ftyp", []byte("isom0000")), box("mdat", pictures)...)
	film = append(film, box("moov", noise(300_000))...)
	s := newShelf(map[string][]byte{"film.mp4": film})
	at := URL(serve(t, s, Limits{}), s.root.String(), "film.mp4")

	watched := int64(0)
	part := func(from, n int64) []byte { // an open range of which a player takes what it wants
		r, err := http.NewRequestWithContext(t.Context(), "GET", at, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := make([]byte, n)
		if _, err := io.ReadFull(res.Body, b); err != nil || !bytes.Equal(b, film[from:from+n]) {
			t.Fatalf("bytes at %d: %v", from, err)
		}
		watched += n
		return b
	}
	place := int64(0)
	for kind := ""; kind != "moov"; {
		head := part(place, 8)
		if kind = string(head[4:8]); kind != "moov" {
			place += int64(binary.BigEndian.Uint32(head))
		}
	}
	part(place, int64(len(film))-place)
	part(1000, 6<<20)
	part(25<<20, 6<<20)
	if got := s.fetched(); float64(got) > 1.6*float64(watched) {
		t.Errorf("%d bytes fetched for %d watched", got, watched)
	}
}

func TestPaths(t *testing.T) {
	odd := "odd/<b>\x1b[31m\n\"'& %2e?#.txt"
	s := newShelf(map[string][]byte{"a/b.txt": []byte("hello"), odd: []byte("odd"), "javascript:alert(1)": []byte("x"), "page.html": []byte("<script>"), "größe": nil})
	addr := serve(t, s, Limits{})
	base := "http://" + addr + "/"
	tests := []struct {
		path, body string
		code       int
	}{
		{"films/a/b.txt", "hello", 200},
		{URL("", s.root.String(), odd)[len("http:///"):], "odd", 200},
		{"films/gr%C3%B6%C3%9Fe", "", 200},
		{"films/page.html", "<script>", 200},
		{"films/a/b.txt/", "no directory", 404},
		{"films/absent", "not exist", 404},
		{"other/a/b.txt", "not exist", 404},
		{"films/a/../a/b.txt", "not a path", 400},
		{"films/%2e%2e/x", "not a path", 400},
		{"films//a/b.txt", "not a path", 400},
		{"films/./a", "not a path", 400},
		{"films/a%00b", "not a path", 400},
		{"films/%ff", "not a path", 400},
		{"", "not a path", 400},
		{"/evil.example/", "not a path", 400},
		{"films/a", "", 302},
	}
	for _, tt := range tests {
		a := ask(t, "GET", base+tt.path)
		if a.code != tt.code || !strings.Contains(string(a.body), tt.body) {
			t.Errorf("%q: code %d, %q", tt.path, a.code, a.body)
		}
		if a.head.Get("X-Content-Type-Options") != "nosniff" || a.head.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%q: head %v", tt.path, a.head)
		}
	}
	if p := ask(t, "GET", base+"films/page.html").head.Get("Content-Security-Policy"); !strings.HasPrefix(p, "sandbox;") {
		t.Errorf("a page of a dataset has the policy %q", p)
	}
	if to := ask(t, "GET", base+"films/a").head.Get("Location"); to != "/films/a/" {
		t.Errorf("a directory leads to %q", to)
	}
	if c := ask(t, "GET", base+"films/a/b.txt").head.Get("Cache-Control"); c != "no-cache" {
		t.Errorf("under a name: %q", c)
	}
	list := string(ask(t, "GET", base+"films/odd/").body)
	want := `<a href="./%3Cb%3E%1B%5B31m%0A%22%27&amp;%20%252e%3F%23.txt">&lt;b&gt;`
	if !strings.Contains(strings.ReplaceAll(list, "&#39;", "%27"), want) || strings.ContainsAny(list, "\x1b") {
		t.Errorf("listing %q lacks %q", list, want)
	}
	top := string(ask(t, "GET", base+"films/").body)
	for _, part := range []string{`href="./javascript:alert%281%29"`, `href="./a/"`, `href="./gr%C3%B6%C3%9Fe"`} {
		if !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(top, "(", "%28"), ")", "%29"), part) {
			t.Errorf("listing %q lacks %q", top, part)
		}
	}
}

func TestStrangers(t *testing.T) {
	s := newShelf(map[string][]byte{"a": []byte("hello")})
	addr := serve(t, s, Limits{})
	tests := []struct {
		method string
		head   []string
		code   int
	}{
		{"GET", []string{"Host", "localhost:1234"}, 200},
		{"GET", []string{"Host", "LOCALHOST"}, 200},
		{"GET", []string{"Host", "[::1]:80"}, 200},
		{"GET", []string{"Host", "127.9.9.9"}, 200},
		{"GET", []string{"Host", "evil.example"}, 403},
		{"GET", []string{"Host", "127.0.0.1.evil.example"}, 403},
		{"GET", []string{"Host", "localhost.evil.example:80"}, 403},
		{"GET", []string{"Host", "192.168.1.1"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", []string{"Sec-Fetch-Site", "none"}, 200},
		{"GET", []string{"Origin", "http://evil.example"}, 403},
		{"GET", []string{"Origin", "null"}, 403},
		{"GET", []string{"Origin", "http://" + addr}, 200},
		{"POST", nil, 405},
		{"OPTIONS", []string{"Origin", "http://evil.example"}, 405},
	}
	for _, tt := range tests {
		a := ask(t, tt.method, "http://"+addr+"/films/a", tt.head...)
		if a.code != tt.code || a.head.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %v: code %d, head %v", tt.method, tt.head, a.code, a.head)
		}
	}
	for _, bad := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0", "nonsense"} {
		if ln, err := Listen(bad); err == nil {
			t.Errorf("listens on %s", ln.Addr())
		}
	}
}

// TestFaults: what goes wrong before the first byte is told, what goes wrong
// later ends the connection.
func TestFaults(t *testing.T) {
	s := newShelf(map[string][]byte{"film.mp4": noise(1 << 20)})
	s.fail = errNobody
	at := "http://" + serve(t, s, Limits{}) + "/films/film.mp4"
	a := ask(t, "GET", at, "Range", "bytes=5-")
	if a.code != 502 || !strings.Contains(string(a.body), errNobody.Error()) || a.head.Get("Content-Range")+a.head.Get("Etag") != "" {
		t.Errorf("code %d, %q, %v", a.code, a.body, a.head)
	}
	late := newShelf(map[string][]byte{"film.mp4": noise(2 << 20)})
	at = "http://" + serve(t, &failing{late}, Limits{}) + "/films/film.mp4"
	if a = ask(t, "GET", at); a.code != 200 || a.err == nil || len(a.body) == 0 {
		t.Errorf("code %d, %d bytes: %v", a.code, len(a.body), a.err)
	}
}

// failing fails after half of what was asked.
type failing struct{ *shelf }

func (f *failing) Read(ctx context.Context, root, path string, part Part, w io.Writer) error {
	part.To = part.From + (part.To-part.From)/2
	if err := f.shelf.Read(ctx, root, path, part, w); err != nil {
		return err
	}
	return errNobody
}

// TestLeaving: a client that goes away ends the reading, and one that does not
// read is let go.
func TestLeaving(t *testing.T) {
	s := newShelf(map[string][]byte{"film.mp4": noise(64 << 20)})
	addr := serve(t, s, Limits{Stall: 300 * time.Millisecond})
	for _, stays := range []bool{false, true} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		fmt.Fprintf(c, "GET /films/film.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := bufio.NewReader(c).ReadByte(); err != nil {
			t.Fatal(err)
		}
		if !stays {
			_ = c.Close()
		}
		for deadline := time.Now().Add(20 * time.Second); s.now.Load() > 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("stays %v: still read from", stays)
			}
		}
		_ = c.Close()
	}
	if got := s.read.Load(); got > 24<<20 {
		t.Errorf("%d bytes were read for nobody", got)
	}
}

// TestCrowd: 10,000 requests at once are answered, some with 503, and only as
// many read as there are places.
func TestCrowd(t *testing.T) {
	film := noise(1 << 20)
	s := newShelf(map[string][]byte{"film.mp4": film})
	addr := serve(t, s, Limits{Connections: 256, Requests: 16, Wait: 100 * time.Millisecond})
	at := "http://" + addr + "/films/film.mp4"
	many := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 500, MaxIdleConnsPerHost: 500}, Timeout: time.Minute}
	defer many.CloseIdleConnections()
	var good, busy atomic.Int64
	var work sync.WaitGroup
	for i := range 10_000 {
		work.Go(func() {
			from := i * 97 % (len(film) - 1000)
			r, _ := http.NewRequestWithContext(t.Context(), "GET", at, nil)
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+999))
			res, err := many.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			switch {
			case res.StatusCode == 206 && err == nil && bytes.Equal(b, film[from:from+1000]):
				good.Add(1)
			case res.StatusCode == 503 && res.Header.Get("Retry-After") == "1":
				busy.Add(1)
			default:
				t.Errorf("code %d, %d bytes: %v", res.StatusCode, len(b), err)
			}
		})
	}
	work.Wait()
	if good.Load() == 0 || good.Load()+busy.Load() != 10_000 || s.most.Load() > 16 {
		t.Errorf("%d answered, %d told to wait, %d read at once", good.Load(), busy.Load(), s.most.Load())
	}
	t.Logf("%d answered, %d told to wait", good.Load(), busy.Load())
}

// TestBusy: who finds no place is told so.
func TestBusy(t *testing.T) {
	s := newShelf(map[string][]byte{"a": noise(10)})
	s.hold = make(chan struct{})
	addr := serve(t, s, Limits{Requests: 1, Wait: time.Millisecond})
	first := make(chan answer, 1)
	go func() { first <- ask(t, "GET", "http://"+addr+"/films/a") }()
	for s.now.Load() == 0 {
		runtime.Gosched()
	}
	if a := ask(t, "GET", "http://"+addr+"/films/a"); a.code != 503 || a.head.Get("Retry-After") != "1" {
		t.Errorf("code %d, %v", a.code, a.head)
	}
	close(s.hold)
	if a := <-first; a.code != 200 || len(a.body) != 10 {
		t.Errorf("code %d, %d bytes", a.code, len(a.body))
	}
}

func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-9", "bytes=-5", "bytes=9-", "bytes=0-0, 5-9", "bytes=", "bytes=9223372036854775807-9223372036854775807"} {
		f.Add(s, int64(100))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		parts, err := ranges(header, size)
		if len(parts) > maxRanges || err != nil && parts != nil {
			t.Errorf("%d ranges, %v", len(parts), err)
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("/films/a/b.txt")
	f.Add("/films/..%2fx")
	f.Add("//evil.example/")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.ParseRequestURI(s)
		if err != nil {
			return
		}
		root, path, err := split(u)
		if err == nil && (root == "" || strings.Contains(root, "/") || strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../")) {
			t.Errorf("%q gives %q and %q", s, root, path)
		}
	})
}
