package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/staddle/staddle/types"
)

// Fix says what Repair does about a problem; empty: nothing, or it cannot.
func (p *Problem) Fix() string {
	switch {
	case p.Kind == "disk":
		return ""
	case p.Kind == "block":
		return "forget it, so that it is fetched again"
	case p.Kind == "segment":
		return "move what is whole to another file"
	case p.Kind == "index":
		return "index and count anew"
	case p.Owned:
		return "forget its bytes, so that they are fetched again"
	}
	return ""
}

// Repaired is what Repair did.
type Repaired struct {
	Lost     int64 // damaged records, now missing; Losses lists them
	Found    int64 // lost records that stand whole in a segment after all
	Counted  int64 // index rows with a wrong number of owners
	Blocks   int64 // damaged blocks, now missing
	Segments int   // files cut, emptied or forgotten because of damage
}

// Repair reads everything and makes index and files agree: what is damaged counts
// as missing, keeps its owners and heals when it is put again; index rows, counts
// and sums are made anew from records and owners; files with damage are left for
// others. lost is called with each record that became missing; an error of it
// ends the work. Nobody else should use the store meanwhile. Disks that are gone
// are left alone. It may be stopped and begun again at any moment.
func (s *Store) Repair(ctx context.Context, lost func(Problem) error) (Repaired, error) {
	if err := s.gate.enter(); err != nil {
		return Repaired{}, err
	}
	defer s.gate.leave()
	r := s.records()
	if err := r.raise(); err != nil {
		return Repaired{}, err
	}
	r.clean.work.Lock()
	defer r.clean.work.Unlock()
	m := &mender{r: r, s: s, ctx: ctx, lost: lost, hurt: map[uint32]bool{}}
	for _, step := range []func() error{m.seal, m.blocks, m.rows, m.recount, m.find, m.sums, m.files} {
		if err := step(); err != nil {
			return m.done, fmt.Errorf("repair: %w", err)
		}
		if err := errors.Join(context.Cause(ctx), r.syncAll()); err != nil {
			return m.done, fmt.Errorf("repair: %w", err)
		}
	}
	return m.done, nil
}

type mender struct {
	r    *records
	s    *Store
	ctx  context.Context
	lost func(Problem) error
	hurt map[uint32]bool // segments with damage
	done Repaired
}

func (m *mender) seal() error {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	return m.r.seal()
}

// blocks deletes the blocks that do not have their hash.
func (m *mender) blocks() error {
	prefix := []byte{prefixNode}
	return scan(m.s.db, prefix, prefix, func(k, b []byte) error {
		if len(k) > types.HashSize && types.Digest(types.RawCID(b)) == types.Hash(k[len(k)-types.HashSize:]) {
			return nil
		}
		m.done.Blocks++
		return m.s.db.Delete(slices.Clone(k), pebble.Sync)
	})
}

// eachRow calls fn with the ids of all committed index rows whose keys begin with
// first, a few thousand held in memory at a time, and syncs in between.
func (r *records) eachRow(ctx context.Context, prefix []byte, fn func(id) error) error {
	for from := prefix; from != nil; {
		var ids []id
		var next []byte
		err := scan(r.index.db, prefix, from, func(k, _ []byte) error {
			if len(k) == 2+types.HashSize {
				ids = append(ids, id{k[1], types.Hash(k[2:])})
			}
			if len(ids) == releaseStep {
				next = append(slices.Clone(k), 0)
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		for _, i := range ids {
			if err := fn(i); err != nil {
				return err
			}
		}
		if r.full() {
			if err := r.syncAll(); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// rows reads the record of every index row.
func (m *mender) rows() error {
	return m.r.eachRow(m.ctx, []byte{prefixIndex}, func(i id) error {
		e, ok, err := m.r.index.entry(i)
		if err == nil && (!ok || e.lost()) {
			return nil
		}
		if err == nil {
			_, err = m.r.stored(i)
		}
		if err == nil || errors.Is(err, ErrDiskGone) {
			return nil
		}
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		return m.forget(i, e, err)
	})
}

// forget turns a damaged record into a lost one; a row that cannot be read has a
// reference until they are counted.
func (m *mender) forget(i id, e entry, why error) error {
	m.r.mu.Lock()
	var err error
	if e.lost() { // the zero value: the row itself is damaged
		err = m.r.index.set(i.row(), entry{refs: 1}.encode())
	} else {
		m.hurt[e.segment] = true
		err = m.r.lose(i, e)
	}
	m.r.mu.Unlock()
	if err != nil || e.refs == 0 && !e.lost() {
		return err
	}
	m.done.Lost++
	return m.lost(Problem{Segment: e.segment, Offset: e.off, Kind: kindName(i.kind), Key: i.key, Owned: true, Err: why})
}

// recount compares the number of owners in each index row with the owners, one
// part of all keys after the other so that a part fits in memory.
func (m *mender) recount() error {
	var total int
	owned := []byte{prefixOwned}
	if err := scan(m.s.db, owned, owned, func(_, _ []byte) error { total++; return nil }); err != nil {
		return err
	}
	parts := 1
	for parts < 256 && total/parts > 1<<16 {
		parts *= 2
	}
	for part := range parts {
		if err := m.recountPart(256/parts, part); err != nil {
			return err
		}
	}
	return nil
}

// recountPart does it for the keys whose first byte is in one of 256/width parts.
func (m *mender) recountPart(width, part int) error {
	refs := map[id]uint32{}
	owned := []byte{prefixOwned}
	err := scan(m.s.db, owned, owned, func(k, _ []byte) error {
		if len(k) < 3 || len(k) != 3+int(k[2])+types.HashSize {
			return m.s.db.Delete(slices.Clone(k), pebble.Sync) // says nothing about anything
		}
		if i := (id{k[1], types.Hash(k[len(k)-types.HashSize:])}); int(i.key[0])/width == part {
			refs[i]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range []byte{kindPiece, kindReplica} {
		for first := part * width; first < (part+1)*width; first++ {
			if err := m.r.eachRow(m.ctx, []byte{prefixIndex, kind, byte(first)}, func(i id) error {
				n := refs[i]
				delete(refs, i)
				return m.count(i, n)
			}); err != nil {
				return err
			}
		}
	}
	for i, n := range refs { // owners without a row
		if err := m.count(i, n); err != nil {
			return err
		}
	}
	return nil
}

// count sets the number of owners of a record.
func (m *mender) count(i id, n uint32) error {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	e, ok, err := m.r.index.entry(i)
	if err != nil || e.refs == n && (ok || n == 0) {
		return err
	}
	m.done.Counted++
	if n == 0 {
		return m.r.index.set(i.row(), nil)
	}
	e.refs = n
	return m.r.index.set(i.row(), e.encode())
}

// find looks in all segments for whole records that count as lost.
func (m *mender) find() error {
	for _, s := range m.r.segs.list() {
		if s.disk.down.Load() != nil {
			continue
		}
		if err := m.findIn(s); err != nil {
			return err
		}
	}
	return nil
}

func (m *mender) findIn(s *segment) (err error) {
	if _, err := m.r.segs.acquire(s.number); err != nil {
		m.hurt[s.number] = !errors.Is(err, ErrDiskGone) // it cannot be opened
		return nil
	}
	defer func() { err = errors.Join(err, m.r.segs.release(s)) }()
	head := make([]byte, segmentHeader)
	err = readFull(s.file, head, 0)
	if errors.Is(s.disk.judge(err), ErrDiskGone) {
		return nil
	}
	if err != nil || checkSegmentHead(head, s.number) != nil {
		m.hurt[s.number] = true
	}
	in := &scanner{f: s.file, off: segmentHeader, end: s.end}
	for m.ctx.Err() == nil {
		rec, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(s.disk.judge(err), ErrDiskGone):
			return nil
		case err != nil:
			m.hurt[s.number] = true
			if in.resync() != nil {
				return nil // nothing more can be read
			}
			continue
		case rec.bad != nil:
			m.hurt[s.number] = true
			continue
		}
		if err := m.bringBack(s, rec); err != nil {
			return err
		}
	}
	return nil
}

// bringBack indexes a whole record whose row is a lost one.
func (m *mender) bringBack(s *segment, rec found) error {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	i := id{rec.kind, rec.key}
	e, ok, err := m.r.index.entry(i)
	if err != nil || !ok || !e.lost() {
		return err
	}
	m.done.Found++
	return m.r.index.set(i.row(), entry{place{s.number, rec.off, rec.n}, e.refs}.encode())
}

// sums makes the accounts of segments and store anew from the index rows.
func (m *mender) sums() error {
	if err := m.r.syncAll(); err != nil {
		return err
	}
	type sum struct{ live, count int64 }
	sums := map[uint32]sum{}
	prefix := []byte{prefixIndex}
	if err := scan(m.s.db, prefix, prefix, func(_, b []byte) error {
		if e, err := parseEntry(b); err == nil && e.refs > 0 && !e.lost() {
			old := sums[e.segment]
			sums[e.segment] = sum{old.live + e.size(), old.count + 1}
		}
		return nil
	}); err != nil {
		return err
	}
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live, r.count = 0, 0
	for _, s := range r.segs.list() {
		want := sums[s.number]
		if s.live != want.live || s.count != want.count {
			s.live, s.count = want.live, want.count
			r.touch(s)
		}
		r.live += s.live - s.count*recordHeader
		r.count += s.count
	}
	return nil
}

// files leaves the segments with damage: what is whole moves to another one, and
// a file that is not there is forgotten.
func (m *mender) files() error {
	for _, s := range m.r.segs.list() {
		if !m.hurt[s.number] || s.disk.down.Load() != nil {
			continue
		}
		m.done.Segments++
		s.stuck = false
		_, err := m.r.segs.acquire(s.number)
		if err == nil {
			err = errors.Join(m.r.segs.release(s), m.r.clean.compact(s))
		} else {
			err = m.r.strike(s)
		}
		if err != nil {
			return fmt.Errorf("leave segment %d: %w", s.number, err)
		}
	}
	return nil
}
