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
	late := r.late
	r.mu.Unlock()
	if late != nil {
		if err := r.finish(late); err != nil {
			return err
		}
	}
	r.mu.Lock()
	dirty, batch, gen, err := r.takeChanges()
	r.mu.Unlock()
	if err != nil {
		return r.breakDown(err)
	}
	return r.finish(&landing{dirty, batch, gen})
}

// landing is what one flush makes durable.
type landing struct {
	dirty map[*segment]bool
	batch *pebble.Batch
	gen   uint64
}

// finish makes a landing durable. A bucket that cannot be reached has lost
// nothing: the landing waits for the next flush.
func (r *records) finish(l *landing) error {
	r.late = l
	err := r.upload(l)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	r.late = nil
	if err := r.land(l.dirty, l.batch); err != nil {
		return r.breakDown(err)
	}
	r.index.landed(l.gen)
	return nil
}

// upload makes objects of what is in memory.
func (r *records) upload(l *landing) error {
	for s, written := range l.dirty {
		if written && s.disk.shelf.whole() {
			if err := s.disk.judge(s.file.SyncData()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *records) breakDown(err error) error {
	r.mu.Lock()
	first := r.broken == nil
	r.broken = err
	r.mu.Unlock()
	if first && errors.Is(err, ErrDiskGone) {
		r.failed(r)
	}
	return fmt.Errorf("sync: %w", err)
}

func (r *records) takeChanges() (dirty map[*segment]bool, b *pebble.Batch, gen uint64, err error) {
	if r.active != nil && r.active.disk.shelf.whole() {
		err = r.seal() // it becomes an object now
	}
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
