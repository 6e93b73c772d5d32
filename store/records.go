package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/staddle/staddle/types"
)

// lazyBytes of records and lazyRows of the index may wait for a sync; more makes
// PutLazy and compaction sync by themselves.
const (
	lazyBytes = 16 << 20
	lazyRows  = 16 << 10
)

// records keeps payloads by id in segments, with owners, a quota and an index.
//
// Order of locks: grant.mu, then mu, then those of index and segments.
type records struct {
	fs    vfs.FS
	root  string // of the store
	opt   Options
	room  *diskRoom // of the key-value store
	index *index
	segs  *segments
	sync  group
	clean *compactor
	// failed is told that a disk went with what was not yet durable.
	failed func(*records)

	mu       sync.Mutex
	disks    []*disk           // the first is the directory of the store
	format   int               // of the format file
	active   *segment          // appended to; nil: the next append makes one
	dirty    map[*segment]bool // changed since the last flush, each in use; true: written to
	next     uint32            // number of the next segment
	quota    int64
	grants   map[owner]int // open reservations
	reserved int64         // granted and not yet used
	live     int64         // bytes of payload with references
	count    int64         // of records with references
	disk     int64         // bytes of all segments
	files    int           // segments
	deleted  int           // segments, since the start
	lazy     int64         // bytes appended since the last flush
	late     *landing      // belongs to the flush in work
	broken   error         // a sync failed: nobody knows what is on disk
}

// Usage is what the store holds, in bytes.
type Usage struct {
	Quota    int64 // 0: none
	Reserved int64 // granted and not yet used
	Live     int64 // pieces and replicas that somebody owns
	Count    int64 // of those
	Disk     int64 // length of all segment files
	Dead     int64 // of Disk: what compaction can give back
	Segments int
}

// Usage is exact at the moment of the call and walks nothing.
func (s *Store) Usage() (Usage, error) {
	if err := s.gate.enter(); err != nil {
		return Usage{}, err
	}
	defer s.gate.leave()
	r := s.records()
	r.mu.Lock()
	defer r.mu.Unlock()
	return Usage{
		Quota: r.quota, Reserved: r.reserved, Live: r.live, Count: r.count,
		Disk: r.disk, Dead: r.disk - r.heads() - r.live, Segments: r.files,
	}, nil
}

// IndexBytes is the length of the files of the key-value store, with blocks,
// tables, index and journal. They do not count against the quota.
func (s *Store) IndexBytes() (int64, error) {
	if err := s.gate.enter(); err != nil {
		return 0, err
	}
	defer s.gate.leave()
	return int64(s.db.Metrics().DiskSpaceUsage()), nil
}

// heads are the bytes of the headers of segments and of records that live.
func (r *records) heads() int64 { return int64(r.files)*segmentHeader + r.count*recordHeader }

// SetQuota changes the quota; what is held or reserved above it stays.
func (s *Store) SetQuota(quota int64) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	if quota < 0 {
		return fmt.Errorf("quota of %d bytes, want at least 0", quota)
	}
	s.records().mu.Lock()
	defer s.records().mu.Unlock()
	s.records().quota = quota
	return nil
}

// read gives bytes [off, off+n) of a payload, unchecked.
func (r *records) read(i id, off, n int64) ([]byte, error) {
	var out []byte
	err := r.visit(i, func(e entry, s *segment) error {
		if e.refs == 0 {
			return ErrAbsent
		}
		if off < 0 || n < 0 || off+n > int64(e.n) || off+n < off {
			return fmt.Errorf("read bytes %d to %d of a %s of %d", off, off+n, kindName(i.kind), e.n)
		}
		out = make([]byte, n)
		if err := readFull(s.file, out, e.off+recordHeader+off); err != nil {
			return r.unreadable(i, e.place, s, err)
		}
		return nil
	})
	return out, err
}

// unreadable is the error of a record that could not be read: its disk is gone,
// or it is damaged.
func (r *records) unreadable(i id, p place, s *segment, err error) error {
	if err = s.disk.judge(err); errors.Is(err, ErrDiskGone) {
		return fmt.Errorf("%s %s: %w", kindName(i.kind), i.key.Short(), err)
	}
	return r.corrupt(i, p, err)
}

// payload gives a whole payload after checking it, if somebody owns it.
func (r *records) payload(i id, check check) ([]byte, error) {
	var out []byte
	err := r.visit(i, func(e entry, s *segment) (err error) {
		if e.refs == 0 {
			return ErrAbsent
		}
		out, err = r.load(i, e, s, check)
		return err
	})
	return out, err
}

// check is how closely a payload is looked at when it is read.
type check func(header, []byte) error

// stored gives a whole payload after checking it, owned or not.
func (r *records) stored(i id) ([]byte, error) {
	var out []byte
	err := r.visit(i, func(e entry, s *segment) (err error) {
		out, err = r.load(i, e, s, header.checkPayload)
		return err
	})
	return out, err
}

// load reads and checks the record at an entry.
func (r *records) load(i id, e entry, s *segment, check check) ([]byte, error) {
	b := make([]byte, e.size())
	if err := readFull(s.file, b, e.off); err != nil {
		return nil, r.unreadable(i, e.place, s, err)
	}
	h, err := parseHeader(b)
	if err == nil && (h.kind != i.kind || h.key != i.key || h.n != e.n) {
		err = fmt.Errorf("another record stands here: %s %s of %d bytes", kindName(h.kind), h.key.Short(), h.n)
	}
	if err == nil {
		err = check(h, b[recordHeader:])
	}
	if err != nil {
		return nil, r.corrupt(i, e.place, err)
	}
	return b[recordHeader:], nil
}

func (r *records) corrupt(i id, p place, err error) error {
	return &CorruptError{What: kindName(i.kind), Key: i.key, Segment: p.segment, Offset: p.off, Reason: err.Error()}
}

// held is the entry of a record that somebody owns.
func (r *records) held(i id) (entry, bool, error) {
	e, ok, err := r.index.entry(i)
	return e, ok && e.refs > 0 && !e.lost(), err
}

// visit calls fn with the entry of i and its open segment. Compaction may move
// the record in between; then the look-up is repeated.
func (r *records) visit(i id, fn func(entry, *segment) error) error {
	for {
		e, ok, err := r.index.entry(i)
		if err != nil {
			return err
		}
		if !ok || e.lost() {
			return ErrAbsent
		}
		s, err := r.segs.acquire(e.segment)
		if errors.Is(err, errGone) {
			if again, _, err := r.index.entry(i); err != nil || again.place == e.place {
				return errors.Join(err, r.corrupt(i, e.place, errGone))
			}
			continue
		}
		if errors.Is(err, ErrDiskGone) {
			return fmt.Errorf("%s %s: %w", kindName(i.kind), i.key.Short(), err)
		}
		if err != nil {
			return r.corrupt(i, e.place, err)
		}
		return errors.Join(fn(e, s), r.segs.release(s))
	}
}

func (r *records) writable() error {
	if r.broken != nil {
		return fmt.Errorf("store takes no writes since a sync failed (restart to check the disk): %w", r.broken)
	}
	return nil
}

// put stores payload under i for g's owner and charges g when the record gains
// its first owner. The caller holds g.mu.
func (r *records) put(g *grant, i id, payload []byte) error {
	if len(payload) == 0 || len(payload) > MaxPayload {
		return fmt.Errorf("%s of %d bytes, want 1 to %d", kindName(i.kind), len(payload), MaxPayload)
	}
	if err := r.relieve(); err != nil {
		return err
	}
	h := header{kind: i.kind, key: i.key, n: uint32(len(payload)), sum: crc32.Checksum(payload, castagnoli)}
	old, held, same, err := r.lockUnchanged(i, payload)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if err := r.writable(); err != nil {
		return err
	}
	var owned []byte // what nobody owns needs no look-up
	if old.refs > 0 {
		if owned, err = r.index.get(g.owner.row(i.key)); err != nil || (owned != nil && same) {
			return err
		}
	}
	if err := r.charge(g, old, same, h.n); err != nil {
		return err
	}
	if err := r.place(g, i, replacement{h, payload, old, held, same}); err != nil {
		return err
	}
	if owned == nil {
		return r.refer(g, i)
	}
	return nil
}

// lockUnchanged compares payload with what is stored and then takes r.mu, at a
// moment when the comparison still holds. A damaged record counts as different,
// so putting it again heals it. On an error r.mu is free.
func (r *records) lockUnchanged(i id, payload []byte) (old entry, held, same bool, err error) {
	for {
		version := r.index.version(i)
		seen, found, err := r.index.likelyNew(i)
		if err != nil {
			return entry{}, false, false, err
		}
		same := false
		if found {
			stored, err := r.stored(i)
			same = err == nil && bytes.Equal(stored, payload)
		}
		r.mu.Lock()
		if r.index.version(i) == version {
			return seen, found, same, nil
		}
		r.mu.Unlock()
	}
}

// charge checks that g can pay for a record that nobody owned before or whose
// bytes change.
func (r *records) charge(g *grant, old entry, same bool, n uint32) error {
	if old.refs > 0 && same {
		return nil
	}
	if int64(n) > g.left {
		return &QuotaError{Owner: g.owner.name, Want: int64(n), Free: g.left, reservation: true}
	}
	return nil
}

type replacement struct {
	h       header
	payload []byte
	old     entry
	held    bool // old is in the index
	same    bool // and holds the payload
}

// place appends the record unless it is there, moves the index row to it and
// settles the accounts; the number of references stays.
func (r *records) place(g *grant, i id, p replacement) error {
	if p.same {
		return nil
	}
	at, err := r.append(p.h, p.payload)
	if err != nil {
		return err
	}
	if err := r.index.set(i.row(), entry{at, p.old.refs}.encode()); err != nil {
		return err
	}
	if p.held && p.old.refs > 0 {
		if !p.old.lost() {
			r.account(p.old.place, -1)
		}
		r.account(at, +1)
		r.pay(g, int64(p.h.n))
	}
	return nil
}

func (r *records) pay(g *grant, n int64) {
	g.left -= n
	r.reserved -= n
}

// account adds a record to the live ones or takes it away.
func (r *records) account(p place, sign int64) {
	r.live += sign * int64(p.n)
	r.count += sign
	if s := r.segs.get(p.segment); s != nil {
		s.live += sign * p.size()
		s.count += sign
		r.touch(s)
	}
}

func (g *segments) get(number uint32) *segment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[number]
}

// touch marks a segment's row as changed until the next flush.
func (r *records) touch(s *segment) {
	if _, ok := r.dirty[s]; ok {
		return
	}
	r.segs.mu.Lock()
	s.users++
	r.segs.mu.Unlock()
	r.dirty[s] = false
}

// refer makes g's owner an owner of the record.
func (r *records) refer(g *grant, i id) error {
	e, ok, err := r.index.entry(i)
	if err != nil {
		return err
	}
	if !ok { // placed a moment ago under the same lock
		return &CorruptError{What: kindName(i.kind), Key: i.key, Reason: "its index row vanished"}
	}
	if e.refs == math.MaxUint32 {
		return fmt.Errorf("%s %s has %d owners", kindName(i.kind), i.key.Short(), e.refs)
	}
	if e.refs++; e.refs == 1 {
		r.account(e.place, +1)
		r.pay(g, int64(e.n))
	}
	if err := r.index.set(i.row(), e.encode()); err != nil {
		return err
	}
	return r.index.set(g.owner.row(i.key), g.token[:])
}

// drop takes o's reference to a record away; the caller holds r.mu.
func (r *records) drop(o owner, key types.Hash) error {
	i := id{o.kind, key}
	owned, err := r.index.get(o.row(key))
	if err != nil || owned == nil {
		return err
	}
	if err := r.index.set(o.row(key), nil); err != nil {
		return err
	}
	e, ok, err := r.index.entry(i)
	if err != nil || !ok || e.refs == 0 {
		return err
	}
	if e.refs--; e.refs > 0 {
		return r.index.set(i.row(), e.encode())
	}
	if !e.lost() {
		r.account(e.place, -1)
	}
	return r.index.set(i.row(), nil)
}

// append writes a record at the end of the active segment; the caller holds
// r.mu. A disk that refuses is left for another, once each. After an error the
// store is as before.
func (r *records) append(h header, payload []byte) (at place, err error) {
	for range r.disks {
		if err = r.roll(h.size()); err != nil {
			return place{}, err
		}
		s := r.active
		if at, err = r.write(s, h, payload); err == nil {
			return at, nil
		}
		if len(r.disks) == 1 {
			break
		}
		if err := r.seal(); err != nil {
			return place{}, err
		}
	}
	return place{}, err
}

func (r *records) write(s *segment, h header, payload []byte) (place, error) {
	at := place{s.number, s.end, h.n}
	_, err := s.file.WriteAt(h.encode(), s.end)
	if err == nil {
		_, err = s.file.WriteAt(payload, s.end+recordHeader)
	}
	if err != nil {
		return place{}, diskError("write a "+kindName(h.kind), s.disk.dir, s.disk.judge(err))
	}
	s.end += h.size()
	r.disk += h.size()
	r.lazy += h.size()
	r.touch(s)
	r.dirty[s] = true
	return at, nil
}

// roll begins a new segment when the active one has no room for size bytes.
func (r *records) roll(size int64) error {
	if r.active != nil && (r.active.end+size <= r.opt.SegmentSize || r.active.end == segmentHeader) {
		return nil
	}
	if err := r.seal(); err != nil {
		return err
	}
	d, err := r.choose()
	if err != nil {
		return err
	}
	s, err := r.segs.create(d, r.next)
	if err != nil {
		return d.judge(err)
	}
	r.next++
	r.active = s
	r.disk += s.end
	r.files++
	r.touch(s)
	r.dirty[s] = true
	return nil
}

// seal ends the active segment; its file stays in use until it is flushed.
func (r *records) seal() error {
	if r.active == nil {
		return nil
	}
	s := r.active
	r.active = nil
	return r.segs.release(s)
}
