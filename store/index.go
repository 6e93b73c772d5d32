package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/staddle/staddle/types"
)

// index is the part of the key-value store that says where records are and who
// refers to them. Changes are visible at once and reach the disk together, after
// the records they point to: so the index never points at what a crash may lose.
type index struct {
	db *pebble.DB

	mu    sync.RWMutex
	rows  map[string]change // not yet committed
	batch *pebble.Batch     // the same changes in order; nil when there are none
	gen   uint64
	moved [256]uint32 // counts changes of index rows, by the first byte of their keys
}

type change struct {
	value []byte // nil: deleted
	gen   uint64 // of the batch that carries it
}

func newIndex(db *pebble.DB) *index { return &index{db: db, rows: map[string]change{}} }

func (x *index) get(key []byte) ([]byte, error) {
	x.mu.RLock()
	c, ok := x.rows[string(key)]
	x.mu.RUnlock()
	if ok {
		return c.value, nil
	}
	return lookup(x.db, key)
}

// likelyNew reads the row of a record that is most likely not held. Unlike get it
// asks the filters of the lowest level, too, which spares the reading of a block.
func (x *index) likelyNew(i id) (e entry, ok bool, err error) {
	key := i.row()
	x.mu.RLock()
	c, pending := x.rows[string(key)]
	x.mu.RUnlock()
	if pending {
		return i.parse(c.value)
	}
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: append(key[:len(key):len(key)], 0), UseL6Filters: true})
	if err != nil {
		return entry{}, false, fmt.Errorf("read the index: %w", err)
	}
	if it.SeekPrefixGE(key) {
		e, ok, err = i.parse(it.Value())
	}
	return e, ok, errors.Join(err, it.Error(), it.Close())
}

// set changes a row; a nil value deletes it.
func (x *index) set(key, value []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.batch == nil {
		x.batch = x.db.NewBatch()
	}
	if err := apply(x.batch, op{key, value}); err != nil {
		return fmt.Errorf("change the index: %w", err)
	}
	x.rows[string(key)] = change{value, x.gen}
	if key[0] == prefixIndex {
		x.moved[key[2]]++
	}
	return nil
}

// version changes whenever the row of i does.
func (x *index) version(i id) uint32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.moved[i.key[0]]
}

// waiting is the number of rows in memory, not yet committed.
func (x *index) waiting() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.rows)
}

// take hands out the changes so far for a commit; nil when there are none.
func (x *index) take() (b *pebble.Batch, gen uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, gen = x.batch, x.gen
	x.batch = nil
	x.gen++
	return b, gen
}

// landed forgets the changes that a commit has made durable.
func (x *index) landed(gen uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k, c := range x.rows {
		if c.gen <= gen {
			delete(x.rows, k)
		}
	}
}

func (x *index) close() error {
	if b, _ := x.take(); b != nil {
		return b.Close()
	}
	return nil
}

// id names a record.
type id struct {
	kind byte
	key  types.Hash
}

func (i id) row() []byte { return append([]byte{prefixIndex, i.kind}, i.key[:]...) }

// owner names who refers to records of a kind.
type owner struct {
	kind byte
	name string
}

// MaxOwner is the longest name of an owner in bytes; the shortest is 1.
const MaxOwner = 255

func (o owner) check() error {
	if len(o.name) == 0 || len(o.name) > MaxOwner {
		return fmt.Errorf("owner's name of %d bytes, want 1 to %d", len(o.name), MaxOwner)
	}
	return nil
}

func (o owner) prefix() []byte {
	return append([]byte{prefixOwned, o.kind, byte(len(o.name))}, o.name...)
}

func (o owner) row(key types.Hash) []byte { return append(o.prefix(), key[:]...) }

func (o owner) releasing() []byte { return append([]byte{prefixReleasing, o.kind}, o.name...) }

// place is where a record stands.
type place struct {
	segment uint32
	off     int64
	n       uint32 // bytes of payload
}

func (p place) size() int64 { return recordHeader + int64(p.n) }

// entry is an index row. Without references a record is free to vanish. One that
// has references and an empty place was lost: it counts as missing until it is
// put again, and its owners stay.
type entry struct {
	place
	refs uint32
}

func (e entry) lost() bool { return e.place == place{} }

const entrySize = 20

func (e entry) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, entrySize), e.segment)
	b = binary.BigEndian.AppendUint64(b, uint64(e.off))
	b = binary.BigEndian.AppendUint32(b, e.n)
	return binary.BigEndian.AppendUint32(b, e.refs)
}

func parseEntry(b []byte) (entry, error) {
	if len(b) != entrySize {
		return entry{}, fmt.Errorf("index row of %d bytes, want %d", len(b), entrySize)
	}
	off := binary.BigEndian.Uint64(b[4:])
	e := entry{place{binary.BigEndian.Uint32(b), int64(off), binary.BigEndian.Uint32(b[12:])}, binary.BigEndian.Uint32(b[16:])}
	if e.lost() && e.refs > 0 {
		return e, nil
	}
	if off < segmentHeader || off > 1<<48 || e.n == 0 || e.n > MaxPayload {
		return entry{}, fmt.Errorf("index row points to %d bytes at %d", e.n, off)
	}
	return e, nil
}

// entry reads the row of a record; false when there is none.
func (x *index) entry(i id) (entry, bool, error) {
	b, err := x.get(i.row())
	if err != nil {
		return entry{}, false, err
	}
	return i.parse(b)
}

// parse reads a row of i; nil is none.
func (i id) parse(b []byte) (entry, bool, error) {
	if b == nil {
		return entry{}, false, nil
	}
	e, err := parseEntry(b)
	if err != nil {
		return entry{}, false, &CorruptError{What: kindName(i.kind), Key: i.key, Reason: err.Error()}
	}
	return e, true, nil
}

// segmentRow is what is known of a segment without reading it.
type segmentRow struct {
	end   int64 // bytes written and indexed
	live  int64 // bytes of records with references, headers included
	count int64 // of those records
	dead  bool  // compacted; the file only waits for its deletion
	disk  uint32
}

const segmentRowSize = 25 // and 4 more when it is not on disk 0

func segmentKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixSegment}, number)
}

func (s segmentRow) encode() []byte {
	b := make([]byte, 0, segmentRowSize)
	for _, n := range []int64{s.end, s.live, s.count} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, 0)
	if s.dead {
		b[24] = 1
	}
	if s.disk > 0 {
		b = binary.BigEndian.AppendUint32(b, s.disk)
	}
	return b
}

func parseSegmentRow(b []byte) (segmentRow, error) {
	if len(b) != segmentRowSize && len(b) != segmentRowSize+4 || b[24] > 1 {
		return segmentRow{}, fmt.Errorf("segment row of %d bytes, want %d or %d", len(b), segmentRowSize, segmentRowSize+4)
	}
	var n [3]int64
	for i := range n {
		n[i] = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	s := segmentRow{end: n[0], live: n[1], count: n[2], dead: b[24] == 1}
	if len(b) > segmentRowSize {
		if s.disk = binary.BigEndian.Uint32(b[segmentRowSize:]); s.disk == 0 {
			return segmentRow{}, errors.New("segment row names disk 0")
		}
	}
	if s.end < 0 || s.live < 0 || s.count < 0 || s.live > s.end || s.count*recordHeader > s.live {
		return segmentRow{}, errors.New("segment row contradicts itself")
	}
	return s, nil
}
