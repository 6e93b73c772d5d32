package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/store"
)

// notebook keeps what a node reports.
type notebook struct {
	mu    sync.Mutex
	lines []string
}

func (b *notebook) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *notebook) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// founder is a node alone in a community of its own.
func founder(t *testing.T) (*Node, *notebook) {
	t.Helper()
	home := t.TempDir()
	book := new(notebook)
	n, err := Open(Config{Home: home, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Mine: true, Report: book.note})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	q := api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"}
	if _, err := n.createCommunity(t.Context(), q, nil); err != nil {
		t.Fatal(err)
	}
	return n, book
}

// TestFullDiskEndsNothing: an engine that ends because the disk is full is
// opened anew once the disk takes a write; the daemon goes on. Any other end of
// an engine ends the daemon.
func TestFullDiskEndsNothing(t *testing.T) {
	n, book := founder(t)
	before := n.current()
	full := &store.DiskError{Doing: "commit", Dir: "here"}
	before.parts = append(before.parts, part{"host", func(context.Context) error { return fmt.Errorf("follow chain: %w", full) }})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	bad := errors.New("bad memory")
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for n.current() == before && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	height := n.current().chain.Tip().Header.Height
	for n.current().chain.Tip().Header.Height == height && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Fatalf("the community did not go on:\n%s", book.all())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if !strings.Contains(book.all(), "there is room on the disk again") {
		t.Errorf("reported:\n%s", book.all())
	}

	n, _ = founder(t)
	n.current().parts = append(n.current().parts, part{"host", func(context.Context) error { return bad }})
	if err := n.Run(t.Context()); !errors.Is(err, bad) {
		t.Errorf("the daemon ended with %v, want %v", err, bad)
	}
}
