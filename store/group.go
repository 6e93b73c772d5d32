package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// group lets many callers share one flush: the first does it, those who come
// meanwhile share the next.
type group struct {
	mu      sync.Mutex
	cond    *sync.Cond
	busy    bool
	begun   uint64 // number of the newest flush
	ended   uint64
	durable uint64 // newest flush that succeeded
	err     error  // of the newest flush that failed
}

// wait returns when a flush that began after the call has ended.
func (g *group) wait(flush func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cond == nil {
		g.cond = sync.NewCond(&g.mu)
	}
	want := g.begun + 1
	for g.ended < want {
		if g.busy {
			g.cond.Wait()
			continue
		}
		g.lead(flush)
	}
	if g.durable >= want {
		return nil
	}
	return g.err
}

func (g *group) lead(flush func() error) {
	g.busy = true
	g.begun++
	n := g.begun
	g.mu.Unlock()
	err := flush()
	g.mu.Lock()
	g.busy, g.ended = false, n
	if err != nil {
		g.err = err
	} else {
		g.durable = n
	}
	g.cond.Broadcast()
}

// syncAll returns when every change made before the call is durable.
func (r *records) syncAll() error { return r.sync.wait(r.flush) }

// flush makes every change so far durable: first the records, then, in one
// synced commit, the rows that point to them.
func (r *records) flush() error {
	if err := r.room.floor("sync"); err != nil {
		return err
	}
	r.mu.Lock()
	if err := r.writable(); err != nil {
		r.mu.Unlock()
		return err
	}
	dirty, batch, gen, err := r.takeChanges()
	r.mu.Unlock()
	if err == nil {
		err = r.land(dirty, batch)
	}
	if err != nil {
		r.mu.Lock()
		r.broken = err
		r.mu.Unlock()
		return fmt.Errorf("sync: %w", err)
	}
	r.index.landed(gen)
	return nil
}

func (r *records) takeChanges() (dirty map[*segment]bool, b *pebble.Batch, gen uint64, err error) {
	for s := range r.dirty {
		if !s.segmentRow.dead {
			err = errors.Join(err, r.index.set(segmentKey(s.number), s.encode()))
		}
	}
	dirty, r.dirty, r.lazy = r.dirty, map[*segment]bool{}, 0
	b, gen = r.index.take()
	return dirty, b, gen, err
}

func (r *records) land(dirty map[*segment]bool, b *pebble.Batch) (err error) {
	for s, written := range dirty {
		if written {
			err = errors.Join(err, s.disk.judge(s.file.SyncData()))
		}
		err = errors.Join(err, r.segs.release(s))
	}
	if b == nil {
		return err
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	return errors.Join(err, b.Close())
}
