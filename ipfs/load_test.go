package ipfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

// held is a source whose blocks come when they are let go.
type held struct {
	Blocks
	asked chan struct{}
	open  chan struct{}
}

func (h held) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	h.asked <- struct{}{}
	select {
	case <-h.open:
		return h.Blocks.Get(ctx, c)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func TestGatewayPlaces(t *testing.T) {
	s := newShelf()
	target := "/ipfs/" + s.raw([]byte("leaf")).String()
	slow := held{s, make(chan struct{}, 100), make(chan struct{})}
	g := open(t, slow, GatewayOptions{Requests: 3})
	var wg sync.WaitGroup
	codes := make([]int, 3)
	for i := range codes {
		wg.Go(func() { codes[i] = ask(t, g, http.MethodGet, target).code })
		<-slow.asked
	}
	have := ask(t, g, http.MethodGet, target)
	if have.code != 429 || have.head.Get("Retry-After") == "" || have.head.Get("Cache-Control") != "no-store" {
		t.Errorf("the fourth: %d, retry after %q", have.code, have.head.Get("Retry-After"))
	}
	close(slow.open)
	wg.Wait()
	if codes[0] != 200 || codes[1] != 200 || codes[2] != 200 {
		t.Errorf("the first three: %v", codes)
	}
	if have := ask(t, g, http.MethodGet, target); have.code != 200 {
		t.Errorf("when places are free again: %d", have.code)
	}
}

// A block that never comes ends its request.
func TestGatewayStall(t *testing.T) {
	s := newShelf()
	target := "/ipfs/" + s.raw([]byte("leaf")).String()
	slow := held{s, make(chan struct{}, 100), make(chan struct{})}
	g := open(t, slow, GatewayOptions{Stall: 20 * time.Millisecond})
	if have := ask(t, g, http.MethodGet, target); have.code < 500 {
		t.Errorf("%d %q", have.code, have.body)
	}
	quick := open(t, slow, GatewayOptions{Longest: 20 * time.Millisecond})
	if have := ask(t, quick, http.MethodGet, target); have.code != http.StatusGatewayTimeout {
		t.Errorf("past its longest time: %d %q", have.code, have.body)
	}
}

// A client that takes a byte now and then is left, and its place is free again.
func TestGatewaySlowClient(t *testing.T) {
	s := newShelf()
	c := s.file(t, make([]byte, 32<<20), 256<<10)
	h, err := Gateway(s, GatewayOptions{Requests: 1, Stall: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	server := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() { _ = server.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /ipfs/%s HTTP/1.1\r\nHost: x\r\n\r\n", c); err != nil {
		t.Fatal(err)
	}
	for one := make([]byte, 1); ; {
		if _, err := conn.Read(one); err != nil {
			t.Fatalf("before the server left: %v", err)
		}
		select {
		case <-done:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	n, err := io.Copy(io.Discard, conn)
	if n >= 32<<20 {
		t.Errorf("%d bytes came all the same (%v)", n, err)
	}
}

// connections are kept by the server over many requests: a deadline of one does
// not end the next.
func TestGatewayKeepsConnections(t *testing.T) {
	s := newShelf()
	target := "/ipfs/" + s.file(t, noise("x", 300<<10), 64<<10).String()
	h, err := Gateway(s, GatewayOptions{Stall: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/ipfs/", h)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write(make([]byte, 10000))
	})
	g := httptest.NewServer(mux)
	defer g.Close()
	if have := ask(t, g, http.MethodGet, target); have.code != 200 {
		t.Fatalf("first: %d", have.code)
	}
	time.AfterFunc(200*time.Millisecond, func() { close(release) })
	if have := ask(t, g, http.MethodGet, "/slow"); len(have.body) != 10000 {
		t.Errorf("%d bytes from the other handler", len(have.body))
	}
}

// sparse drops what is written and remembers the status.
type sparse struct {
	head http.Header
	code int
	n    int64
}

func (s *sparse) Header() http.Header { return s.head }
func (s *sparse) WriteHeader(code int) {
	if s.code == 0 {
		s.code = code
	}
}

func (s *sparse) Write(b []byte) (int, error) {
	s.WriteHeader(200)
	s.n += int64(len(b))
	return len(b), nil
}

// Ten thousand ranges are asked for at once. All are answered, by data or by a
// word to come again, and memory stays far below what they would take together.
func TestGatewayTenThousandRanges(t *testing.T) {
	const requests, size = 10_000, 16 << 20
	s := newShelf()
	c := s.file(t, make([]byte, size), 256<<10)
	h, err := Gateway(s, GatewayOptions{Requests: 128})
	if err != nil {
		t.Fatal(err)
	}
	var ok, later, bytes atomic.Int64
	var wg sync.WaitGroup
	start, turn := make(chan struct{}), make(chan struct{}, 64)
	for i := range requests {
		wg.Go(func() {
			<-start
			for first := true; ; first = false {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ipfs/"+c.String(), nil)
				from := int64(i) * (size / requests)
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+4095))
				w := &sparse{head: http.Header{}}
				h.ServeHTTP(w, r)
				bytes.Add(w.n)
				if w.code == 206 {
					ok.Add(1)
					return
				}
				if w.code != 429 {
					t.Errorf("range %d: %d", i, w.code)
					return
				}
				later.Add(1)
				if first { // who is told to come again does, when it has a turn
					turn <- struct{}{}
					defer func() { <-turn }()
				}
				runtime.Gosched()
			}
		})
	}
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	close(start)
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	var most uint64
	for running := true; running; {
		select {
		case <-finished:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
		runtime.ReadMemStats(&peak)
		most = max(most, peak.HeapAlloc)
	}
	if ok.Load() != requests {
		t.Errorf("%d of %d answered", ok.Load(), requests)
	}
	t.Logf("%d told to come again, heap %d MB before and %d MB at most", later.Load(), before.HeapAlloc>>20, most>>20)
	if most > before.HeapAlloc+256<<20 {
		t.Errorf("heap grew from %d to %d bytes", before.HeapAlloc, most)
	}
}

// The same over real connections, as many as this machine lets one program have.
func TestGatewayManyConnections(t *testing.T) {
	const connections, size = 2000, 16 << 20
	s := newShelf()
	c := s.file(t, make([]byte, size), 256<<10)
	g := open(t, s, GatewayOptions{Requests: 64})
	conns := make([]net.Conn, connections)
	for i := range conns {
		conn, err := net.Dial("tcp", g.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	var wg sync.WaitGroup
	var served atomic.Int64
	for i, conn := range conns {
		wg.Go(func() {
			from := i * (size / connections)
			_, err := fmt.Fprintf(conn, "GET /ipfs/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n", c, from, from+999)
			res, err2 := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
			if err := errors.Join(err, err2); err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			n, err := io.Copy(io.Discard, res.Body)
			if err != nil || res.StatusCode != 429 && (res.StatusCode != 206 || n != 1000) {
				t.Errorf("connection %d: %d with %d bytes: %v", i, res.StatusCode, n, err)
			}
			if res.StatusCode == 206 {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	if served.Load() < 64 {
		t.Errorf("%d served", served.Load())
	}
}
