package store

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/staddle/staddle/types"
)

// Problem is one thing that Verify found wrong.
type Problem struct {
	Segment uint32 // 0: not in a segment
	Offset  int64
	Kind    string // "piece", "replica", "block", "segment", "index"
	Key     types.Hash
	Owned   bool // somebody counts on it
	Err     error
}

// Error tells the problem in one line.
func (p *Problem) Error() string {
	if p.Kind == "disk" {
		return p.Err.Error()
	}
	if p.Segment == 0 {
		return fmt.Sprintf("%s %s: %v", p.Kind, p.Key.Short(), p.Err)
	}
	return fmt.Sprintf("%s %s in segment %d at byte %d: %v", p.Kind, p.Key.Short(), p.Segment, p.Offset, p.Err)
}

// Verified is what Verify has looked at.
type Verified struct {
	Records, Blocks int64
	Bytes           int64 // of segments
	Lost            int64 // records to be fetched again; see Losses
}

// Verify reads everything that was durable when it began, checks every hash and
// checksum, and calls bad with each problem. It changes nothing; other work goes
// on, but compaction waits. An error of bad, or of the disk, ends it.
func (s *Store) Verify(bad func(Problem) error) (Verified, error) {
	if err := s.gate.enter(); err != nil {
		return Verified{}, err
	}
	defer s.gate.leave()
	r := s.records()
	r.clean.work.Lock()
	defer r.clean.work.Unlock()
	if err := r.syncAll(); err != nil && !errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrDiskGone) {
		return Verified{}, err
	}
	v := &verifier{r: r, bad: bad, db: s.db.NewSnapshot(), ends: map[uint32]int64{}, away: map[*disk]bool{}}
	err := v.run()
	return v.seen, errors.Join(err, v.db.Close())
}

type verifier struct {
	r    *records
	bad  func(Problem) error
	db   *pebble.Snapshot
	ends map[uint32]int64
	away map[*disk]bool
	seen Verified
}

func (v *verifier) run() error {
	if err := v.blocks(); err != nil {
		return err
	}
	for _, d := range v.r.diskList() {
		if err := v.gone(d, d.gone()); err != nil {
			return err
		}
	}
	for _, s := range v.r.segs.list() {
		row, err := lookup(v.db, segmentKey(s.number))
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		known, err := parseSegmentRow(row)
		if err != nil {
			return err
		}
		v.ends[s.number] = known.end
		if v.away[s.disk] {
			continue
		}
		if err := v.segment(s.number, known); err != nil {
			return err
		}
	}
	return v.rows()
}

// gone reports, once, a disk that is not there, if that is what err says.
func (v *verifier) gone(d *disk, err error) error {
	if !errors.Is(err, ErrDiskGone) || v.away[d] {
		return nil
	}
	v.away[d] = true
	return v.bad(Problem{Kind: "disk", Owned: true, Err: err})
}

// blocks checks every block of state.
func (v *verifier) blocks() error {
	prefix := []byte{prefixNode}
	return scan(v.db, prefix, prefix, func(k, b []byte) error {
		v.seen.Blocks++
		digest := types.Hash(k[len(k)-types.HashSize:])
		if types.Digest(types.RawCID(b)) == digest {
			return nil
		}
		return v.bad(Problem{Kind: "block", Key: digest, Owned: true, Err: fmt.Errorf("%d bytes have another hash", len(b))})
	})
}

// segment reads a file from one end to the other and compares what lives in it
// with its row.
func (v *verifier) segment(number uint32, row segmentRow) (err error) {
	s, err := v.r.segs.acquire(number)
	if err != nil {
		return v.bad(Problem{Segment: number, Kind: "segment", Owned: row.count > 0, Err: err})
	}
	defer func() { err = errors.Join(err, v.r.segs.release(s)) }()
	head := make([]byte, segmentHeader)
	if err := readFull(s.file, head, 0); err == nil {
		if err = checkSegmentHead(head, number); err != nil {
			if err := v.bad(Problem{Segment: number, Kind: "segment", Err: err}); err != nil {
				return err
			}
		}
	}
	in := &scanner{f: s.file, off: segmentHeader, end: row.end}
	var live, count int64
	for {
		rec, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err := s.disk.judge(err); errors.Is(err, ErrDiskGone) {
			return v.gone(s.disk, err)
		}
		if err != nil {
			if err := v.skip(number, in, err); err != nil {
				return err
			}
			continue
		}
		if v.r.clean.stopping() {
			return ErrClosed
		}
		owned, err := v.record(number, rec)
		if err != nil {
			return err
		}
		if owned {
			live += rec.size()
			count++
		}
	}
	v.seen.Bytes += row.end
	return v.balance(number, row, live, count)
}

// skip reports a damaged header and moves behind it.
func (v *verifier) skip(number uint32, in *scanner, why error) error {
	p := Problem{Segment: number, Offset: in.off, Kind: "segment", Err: why}
	if errors.Is(why, io.ErrUnexpectedEOF) {
		p.Err = errors.New("file is shorter than the index says")
		in.off = in.end
		return v.bad(p)
	}
	if err := v.bad(p); err != nil {
		return err
	}
	if err := in.resync(); err != nil {
		p.Offset, p.Err = in.off, fmt.Errorf("the rest of the file cannot be read: %w", err)
		in.off = in.end
		return v.bad(p)
	}
	return nil
}

func (v *verifier) record(number uint32, rec found) (owned bool, err error) {
	v.seen.Records++
	row, err := lookup(v.db, id{rec.kind, rec.key}.row())
	if err != nil {
		return false, err
	}
	if row != nil {
		e, err := parseEntry(row)
		owned = err == nil && e.refs > 0 && e.place == (place{number, rec.off, rec.n})
	}
	if rec.bad == nil {
		return owned, nil
	}
	return owned, v.bad(Problem{Segment: number, Offset: rec.off, Kind: kindName(rec.kind), Key: rec.key, Owned: owned, Err: rec.bad})
}

func (v *verifier) balance(number uint32, row segmentRow, live, count int64) error {
	if live == row.live && count == row.count {
		return nil
	}
	return v.bad(Problem{
		Segment: number, Kind: "index", Owned: true,
		Err: fmt.Errorf("%d records of %d bytes live, want %d of %d", count, live, row.count, row.live),
	})
}

// rows checks that every index row points to its record, and that owners and
// counts of references agree.
func (v *verifier) rows() error {
	var refs int64
	prefix := []byte{prefixIndex}
	err := scan(v.db, prefix, prefix, func(k, b []byte) error {
		if len(k) != 2+types.HashSize {
			return v.bad(Problem{Kind: "index", Err: fmt.Errorf("key of %d bytes", len(k))})
		}
		i := id{k[1], types.Hash(k[2:])}
		e, err := parseEntry(b)
		if err != nil {
			return v.bad(Problem{Kind: "index", Key: i.key, Owned: true, Err: err})
		}
		refs += int64(e.refs)
		if e.lost() {
			v.seen.Lost++
			return nil
		}
		return v.points(i, e)
	})
	if err != nil {
		return err
	}
	owned := []byte{prefixOwned}
	err = scan(v.db, owned, owned, func(_, _ []byte) error { refs--; return nil })
	if err == nil && refs != 0 {
		err = v.bad(Problem{Kind: "index", Owned: true, Err: fmt.Errorf("%d references more than owners", refs)})
	}
	return err
}

// points checks the header that an index row points to.
func (v *verifier) points(i id, e entry) error {
	p := Problem{Segment: e.segment, Offset: e.off, Kind: kindName(i.kind), Key: i.key, Owned: e.refs > 0}
	end, ok := v.ends[e.segment]
	if !ok && e.refs == 0 {
		return nil // left over from damage; the next put of the same record heals it
	}
	if !ok || e.off+e.size() > end {
		p.Err = fmt.Errorf("index points behind the segment's end %d", end)
		return v.bad(p)
	}
	s, err := v.r.segs.acquire(e.segment)
	if errors.Is(err, ErrDiskGone) {
		return nil // its disk was reported, or it went a moment ago
	}
	if err != nil {
		p.Err = err
		return v.bad(p)
	}
	head := make([]byte, recordHeader)
	err = readFull(s.file, head, e.off)
	if err == nil {
		var h header
		if h, err = parseHeader(head); err == nil && (h.kind != i.kind || h.key != i.key || h.n != e.n) {
			err = errors.New("index points to another record")
		}
	}
	if err := v.r.segs.release(s); err != nil {
		return err
	}
	if gone := s.disk.judge(err); errors.Is(gone, ErrDiskGone) {
		return v.gone(s.disk, gone)
	}
	if err == nil {
		return nil
	}
	p.Err = err
	return v.bad(p)
}
