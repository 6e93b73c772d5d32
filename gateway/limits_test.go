package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// slowPieces answer when the test says so.
type slowPieces struct{ asked, answer chan struct{} }

func (s slowPieces) Piece(ctx context.Context, _ types.Hash) ([]byte, error) {
	s.asked <- struct{}{}
	select {
	case <-s.answer:
	case <-ctx.Done():
	}
	return nil, &types.Missing{}
}

// A device has one answer at a time; all devices together have so many.
func TestOneAnswerOfADevice(t *testing.T) {
	slow := slowPieces{make(chan struct{}, 1), make(chan struct{})}
	s := newTown(t, func(c *Config) { c.Pieces, c.Limits.Streams = slow, 1 })
	done := make(chan int, 1)
	go func() {
		_, err := s.as(validator).Smash(t.Context(), types.Hash{}, types.Hash{})
		done <- code(err)
	}()
	<-slow.asked
	if have := call(t, s.as(validator), Call{Target: "/bandwidthlog"}); have.code != 429 {
		t.Fatalf("a second one of the device: %d", have.code)
	}
	if have := call(t, s.as(second), Call{Target: "/bandwidthlog"}); have.code != 503 {
		t.Fatalf("one more than all: %d", have.code)
	}
	close(slow.answer)
	if have := <-done; have != 404 {
		t.Fatalf("the first: %d", have)
	}
	if have := call(t, s.as(validator), Call{Target: "/bandwidthlog"}); have.code != 200 {
		t.Fatalf("the next one: %d", have.code)
	}
}

// What a caller may send is bounded, and a caller that sends nothing is let go.
func TestHostileRequests(t *testing.T) {
	s := newTown(t, func(c *Config) { c.Limits.Meet, c.Limits.Idle = 200*time.Millisecond, 200*time.Millisecond })
	for name, c := range map[string]struct{ text, want string }{
		"long head":       {"GET /bandwidthlog HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 4*maxHead) + "\r\n\r\n", "HTTP/1.1 431"},
		"with a body":     {"POST /bandwidthlog HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 405"},
		"chunked body":    {"GET /bandwidthlog HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 413"},
		"body of a GET":   {"GET /bandwidthlog HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413"},
		"no HTTP":         {"hello\r\n\r\n", "HTTP/1.1 400"},
		"absolute target": {"GET http://x/bandwidthlog HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
		"nothing":         {"", ""},
		"half a head":     {"GET /bandwidthlog HTTP/1.1\r\nHost", ""},
	} {
		t.Run(name, func(t *testing.T) {
			have := s.raw(t, c.text)
			if !strings.HasPrefix(have, c.want) || c.want == "" && strings.Contains(have, " 200 ") {
				t.Fatalf("%.100q", have)
			}
		})
	}
	for name, text := range map[string]string{"nothing": "", "half": "GET /ba", "long": "GET /bandwidthlog HTTP/1.1\r\nX: " + strings.Repeat("x", 4*maxHead)} {
		t.Run("stream, "+name, func(t *testing.T) {
			m := chaintest.NewMesh()
			a, b := m.Join(validator), m.Join(owner)
			b.Handle(Protocol, func(x *chaintest.Stream) { s.gate.ServeStream(x, chaintest.Account(validator), device(validator).ID()) })
			x, err := a.Open(t.Context(), chaintest.Account(owner), Protocol)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(x, text)
			if have, _ := io.ReadAll(x); len(have) > 0 && !strings.HasPrefix(string(have), "HTTP/1.1 4") {
				t.Fatalf("%.100q", have)
			}
			m.Wait()
		})
	}
}

// raw sends bytes as a validator and reads all that comes back.
func (s *town) raw(t *testing.T, text string) string {
	t.Helper()
	config, err := expecting(device(validator), device(owner).ID())
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = "x.invalid"
	conn, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, text)
	out, err := io.ReadAll(conn)
	if err != nil && len(out) == 0 && errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("the server did not let go")
	}
	return string(out)
}

// A caller that stops reading loses its answer; a slow one that goes on does not.
func TestSlowReaders(t *testing.T) {
	logs := longShelf(t, 1)
	s := newTown(t, func(c *Config) { c.Limits.Slow, c.Logs = 300*time.Millisecond, logs })
	size := len(logs.text[types.LogFarmer])
	target := (&target{endpoint: getLog, role: types.LogFarmer, seconds: s.seconds}).String()
	r, err := s.as(validator)(t.Context(), Call{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	// The server gives up when its buffers are full for long; only then is the
	// device free again.
	if have := s.wait(target); have.code != 200 {
		t.Fatalf("after a reader that stopped: %d", have.code)
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err == nil || n >= int64(size) {
		t.Fatalf("%d of %d bytes for a reader that stopped: %v", n, size, err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// wait asks until the device has its turn.
func (s *town) wait(target string) answer {
	s.t.Helper()
	for range 50 {
		if have := call(s.t, s.as(validator), Call{Method: "HEAD", Target: target}); have.code != 429 {
			return have
		}
	}
	s.t.Fatal("the device never has its turn")
	return answer{}
}

// longShelf has a farmerlog larger than what sockets hold.
func longShelf(t *testing.T, e types.Epoch) *shelf {
	t.Helper()
	s := newShelf(t, e, 1)
	var out bytes.Buffer
	tally := lines.Tally{W: &out}
	f := settle.Farmer{Farmer: chaintest.Account(owner).Address(), Born: 1, Stored: 2, Rep: 3}
	var buf []byte
	for n := range uint32(160_000) {
		copy(f.Chunk[:], types.Be32(n))
		buf = f.Append(buf[:0], settle.Grammar{})
		if err := tally.Add(buf); err != nil {
			t.Fatal(err)
		}
	}
	s.text[types.LogFarmer] = out.Bytes()
	s.headers[0] = tally.Header(device(owner).ID(), types.LogFarmer, e)
	return s
}

// noticed tells of each connection that the server has closed.
type noticed struct {
	net.Listener
	closed chan struct{}
}

type noticedConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n noticed) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	return &noticedConn{Conn: c, closed: n.closed}, err
}

func (c *noticedConn) Close() error {
	c.once.Do(func() { c.closed <- struct{}{} })
	return c.Conn.Close()
}

// Connections above the limit are closed at once, and closed ones make room.
func TestConnectionLimit(t *testing.T) {
	s := newTown(t, func(c *Config) { c.Limits.Connections = 2 })
	closed := make(chan struct{}, 16)
	s.addr = serve(t, s.gate, func(ln net.Listener) net.Listener { return noticed{ln, closed} })
	var held []net.Conn
	for range 2 {
		config, err := expecting(device(validator), device(owner).ID())
		if err != nil {
			t.Fatal(err)
		}
		config.ServerName = "x.invalid"
		conn, err := tls.Dial("tcp", s.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	if _, err := s.as(validator)(t.Context(), Call{Target: "/bandwidthlog"}); err == nil {
		t.Fatal("a third connection was served")
	}
	<-closed
	for _, c := range held {
		_ = c.Close()
		<-closed
	}
	if have := call(t, s.as(validator), Call{Target: "/bandwidthlog"}); have.code != 200 {
		t.Fatalf("closed connections make no room: %d", have.code)
	}
}

// Serve ends while somebody still reads.
func TestServeEnds(t *testing.T) {
	s := newTown(t, nil)
	cfg := s.gate.cfg
	cfg.Logs = longShelf(t, s.e)
	g := New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, ln) }()
	s.addr = ln.Addr().String()
	r, err := s.as(validator)(t.Context(), Call{Target: (&target{endpoint: getLog, role: types.LogFarmer, seconds: s.seconds}).String()})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Serve(t.Context(), ln); err == nil {
		t.Fatal("served on a closed listener")
	}
}
