package host

import (
	"context"
	"runtime"
	"sync"
)

// Pool is where pieces are encoded: one for the whole process, as many workers
// as processors, at low priority, so that chain and audits never starve.
type Pool struct {
	work chan func()
	end  chan struct{}
	wait sync.WaitGroup
}

// NewPool starts the workers; 0 means one a processor.
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{work: make(chan func()), end: make(chan struct{})}
	for range workers {
		p.wait.Go(p.serve)
	}
	return p
}

// serve works on a thread of its own, which ends with it: its priority is never
// anybody else's.
func (p *Pool) serve() {
	runtime.LockOSThread()
	yieldToOthers()
	for {
		select {
		case f := <-p.work:
			f()
		case <-p.end:
			return
		}
	}
}

// Do runs f on a worker and waits for it. Without a free worker it waits, until
// ctx ends: then f does not run. After Close it never runs.
func (p *Pool) Do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case p.work <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.end:
		return context.Canceled
	}
}

// Close ends the workers after what they do now. It must be called once.
func (p *Pool) Close() {
	close(p.end)
	p.wait.Wait()
}
