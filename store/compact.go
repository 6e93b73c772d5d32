package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// compactor gives back the room of records without owners. It copies what lives
// in a segment to the active one, syncs, and deletes the file; readers of the
// old file go on undisturbed.
type compactor struct {
	r    *records
	note func(error)
	work sync.Mutex    // one compaction or verification at a time
	woke chan struct{} // capacity 1: a wake that finds it full is already heard
	quit chan struct{}
	once sync.Once // closes quit
	done sync.WaitGroup
}

func newCompactor(r *records, note func(error)) *compactor {
	return &compactor{r: r, note: note, woke: make(chan struct{}, 1), quit: make(chan struct{})}
}

func (c *compactor) start() {
	c.done.Add(1)
	go func() {
		defer c.done.Done()
		for {
			select {
			case <-c.quit:
				return
			case <-c.woke:
				if err := c.run(context.Background(), mostlyDead); err != nil {
					c.note(fmt.Errorf("compaction: %w", err))
				}
			}
		}
	}()
}

func (c *compactor) wake() {
	select {
	case c.woke <- struct{}{}:
	default:
	}
}

// interrupt makes compaction and verification end soon.
func (c *compactor) interrupt() { c.once.Do(func() { close(c.quit) }) }

func (c *compactor) stopping() bool {
	select {
	case <-c.quit:
		return true
	default:
		return false
	}
}

// A policy says which segments are worth the copying.
type policy func(s *segment, active bool) bool

func mostlyDead(s *segment, active bool) bool {
	return s.dead() > 0 && s.dead() >= s.live && (!active || s.live == 0)
}

func anyDead(s *segment, _ bool) bool { return s.dead() > 0 }

// Compact gives back the room of all pieces and replicas without owners.
// Deleting works on a full disk; moving what lives needs room for one segment.
func (s *Store) Compact() error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	return s.records().clean.run(context.Background(), anyDead)
}

// run compacts, the deadest first, until no segment is worth it or ctx ends.
func (c *compactor) run(ctx context.Context, worth policy) error {
	c.work.Lock()
	defer c.work.Unlock()
	for !c.stopping() && ctx.Err() == nil {
		s, err := c.pick(worth)
		if err != nil || s == nil {
			return err
		}
		if err := c.compact(s); err != nil {
			return fmt.Errorf("segment %d: %w", s.number, err)
		}
	}
	return nil
}

// relieve compacts in the foreground when the files have outgrown the quota by
// two segments, not counting the headers of what lives.
func (r *records) relieve() error {
	r.mu.Lock()
	over := r.quota > 0 && r.disk-r.heads() > max(r.quota, r.live)+2*r.opt.SegmentSize
	r.mu.Unlock()
	if !over {
		return nil
	}
	return r.clean.run(context.Background(), anyDead)
}

// pick chooses a segment and, when it is the active one, seals it.
func (c *compactor) pick(worth policy) (*segment, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if err := c.r.writable(); err != nil {
		return nil, err
	}
	var ripe []*segment
	for _, s := range c.r.segs.list() {
		if (!s.stuck || s.live == 0) && s.disk.down.Load() == nil && worth(s, s == c.r.active) {
			ripe = append(ripe, s)
		}
	}
	if len(ripe) == 0 {
		return nil, nil
	}
	best := slices.MaxFunc(ripe, func(a, b *segment) int { return cmp.Compare(a.dead(), b.dead()) })
	if best == c.r.active {
		return best, c.r.seal()
	}
	return best, nil
}

// list gives the segments by number.
func (g *segments) list() []*segment {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*segment, 0, len(g.all))
	for _, s := range g.all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return out
}

func (c *compactor) compact(s *segment) error {
	if s.stuck {
		return c.retire(s)
	}
	clean, err := c.move(s)
	if err != nil || c.stopping() {
		return err
	}
	if !clean && c.lives(s) {
		s.stuck = true
		return fmt.Errorf("%w: left as it is; see `staddle doctor --verify`", ErrCorrupt)
	}
	return c.retire(s)
}

func (c *compactor) lives(s *segment) bool {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return s.live > 0
}

// move copies what lives in s and is whole; false when there was damage.
func (c *compactor) move(s *segment) (clean bool, err error) {
	if _, err := c.r.segs.acquire(s.number); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.r.segs.release(s)) }()
	in := &scanner{f: s.file, off: segmentHeader, end: s.end}
	for clean = true; !c.stopping(); {
		rec, err := in.next()
		if errors.Is(err, io.EOF) {
			return clean, nil
		}
		if err != nil {
			if clean, err = false, s.disk.judge(err); errors.Is(err, ErrDiskGone) {
				return false, err
			}
			if in.resync() != nil {
				return false, nil
			}
			continue
		}
		lives, err := c.moveRecord(s, rec)
		if err == nil && c.r.full() {
			err = c.r.syncAll()
		}
		if err != nil {
			return false, err
		}
		if lives && rec.bad != nil {
			clean = false
		}
	}
	return false, nil
}

// moveRecord copies one record if an index row points to it and it has owners.
func (c *compactor) moveRecord(s *segment, rec found) (lives bool, err error) {
	r, i := c.r, id{rec.kind, rec.key}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok, err := r.index.entry(i)
	if err != nil || !ok || e.place != (place{s.number, rec.off, rec.n}) {
		return false, err
	}
	if e.refs == 0 {
		return false, r.index.set(i.row(), nil)
	}
	if rec.bad != nil {
		return true, nil
	}
	if err := r.room.floor("compaction"); err != nil {
		return true, err
	}
	at, err := r.append(rec.header, rec.payload)
	if err != nil {
		return true, err
	}
	r.account(e.place, -1)
	r.account(at, +1)
	return true, r.index.set(i.row(), entry{at, e.refs}.encode())
}

// retire deletes a segment that nothing points to. The row says so before the
// file goes, so that a crash in between revives nothing.
func (c *compactor) retire(s *segment) error {
	r := c.r
	r.mu.Lock()
	if s.live != 0 || s.count != 0 {
		s.stuck = true
		r.mu.Unlock()
		return &CorruptError{What: "index", Segment: s.number, Reason: fmt.Sprintf("%d bytes live after all were moved", s.live)}
	}
	s.segmentRow.dead = true
	err := r.index.set(segmentKey(s.number), s.encode())
	r.mu.Unlock()
	if err == nil {
		err = r.syncAll()
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.disk -= s.end
	r.files--
	r.deleted++
	err = r.index.set(segmentKey(s.number), nil)
	r.mu.Unlock()
	return errors.Join(err, r.segs.remove(s))
}
