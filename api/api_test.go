package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type ask struct{ N int }

type told struct{ Sum int }

// serve starts a server on a socket of its own and gives a client.
func serve(t *testing.T) *Client {
	t.Helper()
	s := NewServer(func(err error) *Error { return &Error{Code: "test", Message: err.Error(), Exit: 3} })
	Handle(s, "sum", func(_ context.Context, a ask, out *Out) (told, error) {
		if a.N < 0 {
			return told{}, fmt.Errorf("number %d below 0", a.N)
		}
		out.Note("adding")
		for i := range a.N {
			out.Progress(Progress{Phase: "adding", Done: uint64(i), Total: uint64(a.N)})
		}
		return told{a.N * (a.N - 1) / 2}, nil
	})
	HandleBytes(s, "bytes", func(_ context.Context, a ask, w io.Writer) error {
		_, _ = io.WriteString(w, strings.Repeat("x", a.N))
		if a.N == 13 {
			return errors.New("broke after 13")
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return NewClient(path)
}

func TestCall(t *testing.T) {
	c := serve(t)
	var got told
	var seen []uint64
	var notes []string
	w := Watch{Progress: func(p Progress) { seen = append(seen, p.Done) }, Note: func(s string) { notes = append(notes, s) }}
	if err := c.Call(t.Context(), "sum", ask{4}, &got, w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{told{6}, []uint64{0, 1, 2, 3}, []string{"adding"}}, []any{got, seen, notes}); diff != "" {
		t.Error(diff)
	}
}

func TestCallErrors(t *testing.T) {
	c := serve(t)
	want := &Error{Code: "test", Message: "number -1 below 0", Exit: 3}
	var got *Error
	if err := c.Call(t.Context(), "sum", ask{-1}, nil, Watch{}); !errors.As(err, &got) || *got != *want {
		t.Errorf("got %v, want %v", err, want)
	}
	if err := c.Call(t.Context(), "sum", map[string]int{"Other": 1}, nil, Watch{}); !errors.As(err, &got) || !strings.Contains(got.Message, "unknown field") {
		t.Errorf("unknown field: %v", err)
	}
	if err := c.Call(t.Context(), "nothing", ask{}, nil, Watch{}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown call: %v", err)
	}
	if err := NewClient(filepath.Join(t.TempDir(), "none")).Call(t.Context(), "sum", ask{}, nil, Watch{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no daemon: %v", err)
	}
}

func TestBytes(t *testing.T) {
	c := serve(t)
	var b strings.Builder
	if err := c.Bytes(t.Context(), "bytes", ask{5}, &b); err != nil || b.String() != "xxxxx" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	var got *Error
	if err := c.Bytes(t.Context(), "bytes", ask{13}, io.Discard); !errors.As(err, &got) || got.Message != "broke after 13" {
		t.Errorf("late error: %v", err)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a second daemon got the socket")
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // as after kill -9
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("socket of a dead daemon: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("unix", path, time.Second); err == nil {
		t.Error("closed socket still answers")
	}
}
