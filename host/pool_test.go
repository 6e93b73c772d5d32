package host

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

func TestPoolWorksAtOnceAndEnds(t *testing.T) {
	p := NewPool(2)
	var running atomic.Int32
	meet := make(chan struct{})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			done <- p.Do(t.Context(), func() {
				if running.Add(1) == 2 {
					close(meet)
				}
				<-meet // both are on a worker
			})
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	if err := p.Do(t.Context(), func() { t.Error("work after the end") }); err == nil {
		t.Fatal("the pool took work after its end")
	}
}

func TestPoolGivesUpWithItsCaller(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	begun, hold := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- p.Do(context.Background(), func() {
			close(begun)
			<-hold
		})
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Do(ctx, func() { t.Error("work of a caller that went") }); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want Canceled", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}

func TestCacheKeepsTheNewest(t *testing.T) {
	c := newCache[int, string](2)
	c.put(1, "a")
	c.put(2, "b")
	if v, ok := c.get(1); !ok || v != "a" {
		t.Fatalf("%q, %t", v, ok)
	}
	c.put(3, "c")
	c.put(1, "d")
	if _, ok := c.get(2); ok {
		t.Fatal("the oldest is still there")
	}
	for k, want := range map[int]string{1: "d", 3: "c"} {
		if v, ok := c.get(k); !ok || v != want {
			t.Fatalf("%d: %q, %t", k, v, ok)
		}
	}
	c.clear()
	if _, ok := c.get(1); ok || c.order.Len() != 0 {
		t.Fatal("not empty")
	}
}
