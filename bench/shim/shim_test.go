package shim

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	start := time.Unix(1000, 0)
	b := NewBucket(chunk) // one chunk a second, so a burst of four is free
	steps := []struct {
		at   time.Duration
		take int
		want time.Duration
	}{
		{0, burst, 0},
		{0, chunk, time.Second},
		{0, chunk / 2, 1500 * time.Millisecond},
		{time.Second, chunk, 1500 * time.Millisecond},
		{2500 * time.Millisecond, 0, 0},
		{time.Hour, burst, 0}, // what was not used is kept up to one burst
		{time.Hour, chunk, time.Second},
	}
	for i, s := range steps {
		if got := b.Take(s.take, start.Add(s.at)); got != s.want {
			t.Errorf("step %d: wait %s, want %s", i, got, s.want)
		}
	}
	if got := NewBucket(0).Take(1<<40, start); got != 0 {
		t.Errorf("without a rate: wait %s", got)
	}
}

// echo answers every connection with what it says, until it ends its side.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func proxy(t *testing.T, to string, line Line) (*Proxy, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New(l, to, line)
	t.Cleanup(func() { _ = p.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return p, c.(*net.TCPConn)
}

// around sends bytes to the echo and gives what comes back, and how long it took.
func around(t *testing.T, c *net.TCPConn, sent []byte) ([]byte, time.Duration) {
	t.Helper()
	began := time.Now()
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return got, time.Since(began)
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// TestProxy holds lines to their least time; how much longer a busy machine
// takes is no fault of theirs.
func TestProxy(t *testing.T) {
	tests := map[string]struct {
		line  Line
		bytes int
		least time.Duration
	}{
		"free":           {Line{}, 4 << 20, 0},
		"nothing":        {Line{Delay: 5 * time.Millisecond}, 0, 10 * time.Millisecond},
		"slow":           {Line{Rate: 1 << 20}, 512<<10 + burst, 500 * time.Millisecond},
		"far":            {Line{Delay: 50 * time.Millisecond}, 1 << 20, 100 * time.Millisecond},
		"slow and far":   {Line{Rate: 2 << 20, Delay: 50 * time.Millisecond}, 512<<10 + burst, 350 * time.Millisecond},
		"far, no window": {Line{Delay: 20 * time.Millisecond}, 16 << 20, 40 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := proxy(t, echo(t), tt.line)
			sent := noise(tt.bytes)
			got, took := around(t, c, sent)
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
			}
			if took < tt.least {
				t.Errorf("took %s, less than %s", took, tt.least)
			}
		})
	}
}

func TestProxyPassesEndsOn(t *testing.T) {
	t.Run("nobody behind", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody := l.Addr().String()
		_ = l.Close()
		_, c := proxy(t, nobody, Line{})
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a byte came from nobody")
		}
	})
	t.Run("close", func(t *testing.T) {
		p, c := proxy(t, echo(t), Line{Delay: time.Millisecond})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a byte came through a closed proxy")
		}
	})
}

// TestRoom shows that an address means something else in a room.
func TestRoom(t *testing.T) {
	r, err := NewRoom()
	if errors.Is(err, ErrPermission) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside, err := r.Listen(outside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := New(inside, echo(t), Line{})
	defer p.Close()
	var c net.Conn
	r.run(func() { c, err = net.Dial("tcp", outside.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := noise(100_000)
	if got, _ := around(t, c.(*net.TCPConn), sent); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
	}
}
