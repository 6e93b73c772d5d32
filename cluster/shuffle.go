package cluster

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/staddle/staddle/settle"
)

// shuffle takes the facts of all map tasks and gives them back by partition,
// sorted by bytes. Facts stay in memory up to a limit; beyond it, sorted runs go
// to disk and are merged from there.
type shuffle struct {
	parts int
	want  []bool // by partition; facts of the others are thrown away
	dir   string // of spilled runs
	arena int    // bytes of facts that a worker collects before it sorts
	limit int64  // bytes of sorted runs that stay in memory

	mu   sync.Mutex
	held int64
	runs []*run
}

const (
	minArena     = 1 << 20  // holds the longest fact
	maxArena     = 32 << 20 // one sort of this size stays fast
	entrySize    = 24       // bytes of an entry, counted into the memory
	spillBuffer  = 256 << 10
	cursorBuffer = 32 << 10
)

func newShuffle(t *task, mem int64, workers int) *shuffle {
	s := &shuffle{parts: len(t.done), dir: filepath.Join(t.dir, "spill"), limit: mem / 2}
	for _, d := range t.done {
		s.want = append(s.want, d == nil)
	}
	var input int64
	for _, src := range t.sources {
		input += src.size
	}
	s.arena = int(min(max(mem/int64(6*workers), minArena), maxArena, max(input, minArena)))
	return s
}

// entry is a fact in an arena. The first 16 bytes decide nearly all comparisons.
type entry struct {
	hi, lo uint64
	at     uint32
	size   uint32 // with LF, below 2^24; the partition in the upper 8 bits
}

func (e entry) length() uint32 { return e.size & (1<<24 - 1) }
func (e entry) part() int      { return int(e.size >> 24) }

// prefix gives the first 16 bytes of a line as two numbers, zeros after its end.
func prefix(line []byte) (hi, lo uint64) {
	if len(line) >= 16 {
		return binary.BigEndian.Uint64(line), binary.BigEndian.Uint64(line[8:])
	}
	var b [16]byte
	copy(b[:], line)
	return binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
}

// run is a sorted set of facts, in memory or on disk.
type run struct {
	buf     []byte
	entries []entry
	bounds  []int // of the partitions in entries; nil on disk

	file    *os.File
	offsets []int64 // of the partitions in the file
}

// collector is the writer of one map worker.
type collector struct {
	s       *shuffle
	buf     []byte
	entries []entry
	spare   []entry
}

func (s *shuffle) collector() *collector { return &collector{s: s} }

var errHalfLine = errors.New("a stage wrote half a line")

// Write takes whole facts.
func (c *collector) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n') + 1
		if n == 0 {
			return 0, errHalfLine
		}
		if err := c.add(b[:n]); err != nil {
			return 0, err
		}
		b = b[n:]
	}
	return total, nil
}

func (c *collector) add(line []byte) error {
	part := settle.PartitionOf(line, c.s.parts)
	if !c.s.want[part] {
		return nil
	}
	if len(line) >= minArena {
		return fmt.Errorf("fact of %d bytes, at most %d", len(line), minArena)
	}
	if len(c.buf)+len(line) > c.s.arena {
		if err := c.seal(); err != nil {
			return err
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, 0, c.s.arena)
	}
	hi, lo := prefix(line[:len(line)-1])
	c.entries = append(c.entries, entry{hi, lo, uint32(len(c.buf)), uint32(len(line)) | uint32(part)<<24})
	c.buf = append(c.buf, line...)
	return nil
}

// seal sorts what was collected and hands it over as a run.
func (c *collector) seal() error {
	if len(c.entries) == 0 {
		return nil
	}
	r := &run{buf: c.buf, bounds: make([]int, c.s.parts+1)}
	r.entries = c.byPartition(r.bounds)
	for p := range c.s.parts {
		r.sort(r.entries[r.bounds[p]:r.bounds[p+1]])
	}
	size := int64(cap(r.buf) + entrySize*cap(r.entries))
	c.s.mu.Lock()
	stays := c.s.held+size <= c.s.limit
	if stays {
		c.s.held += size
		c.s.runs = append(c.s.runs, r)
	}
	n := len(c.s.runs)
	c.s.mu.Unlock()
	if stays {
		c.buf, c.entries, c.spare = nil, nil, c.entries[:0]
		return nil
	}
	if err := c.s.spill(r, n); err != nil {
		return fmt.Errorf("spill %d facts: %w", len(r.entries), err)
	}
	c.buf, c.entries, c.spare = c.buf[:0], c.entries[:0], r.entries
	return nil
}

// byPartition is a counting sort.
func (c *collector) byPartition(bounds []int) []entry {
	for _, e := range c.entries {
		bounds[e.part()+1]++
	}
	for p := 1; p < len(bounds); p++ {
		bounds[p] += bounds[p-1]
	}
	if cap(c.spare) < len(c.entries) {
		c.spare = make([]entry, len(c.entries))
	}
	sorted := c.spare[:len(c.entries)]
	next := slices.Clone(bounds)
	for _, e := range c.entries {
		sorted[next[e.part()]] = e
		next[e.part()]++
	}
	return sorted
}

func (r *run) line(e entry) []byte { return r.buf[e.at : e.at+e.length()] }

func (r *run) sort(list []entry) {
	slices.SortFunc(list, func(a, b entry) int {
		if a.hi != b.hi {
			return cmp.Compare(a.hi, b.hi)
		}
		if a.lo != b.lo {
			return cmp.Compare(a.lo, b.lo)
		}
		return compareLines(r.line(a), r.line(b))
	})
}

// compareLines leaves the LF out, as sort does: it is not the smallest byte.
func compareLines(a, b []byte) int { return bytes.Compare(a[:len(a)-1], b[:len(b)-1]) }

// spill writes a run to disk; it keeps nothing of its memory.
func (s *shuffle) spill(r *run, held int) (err error) {
	disk := &run{offsets: make([]int64, s.parts+1)}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if disk.file, err = os.CreateTemp(s.dir, fmt.Sprintf("after-%d-*", held)); err != nil {
		return err
	}
	w := bufio.NewWriterSize(disk.file, spillBuffer)
	var at int64
	for p := range s.parts {
		for _, e := range r.entries[r.bounds[p]:r.bounds[p+1]] {
			n, err := w.Write(r.line(e))
			at += int64(n)
			if err != nil {
				return errors.Join(err, disk.file.Close())
			}
		}
		disk.offsets[p+1] = at
	}
	if err := w.Flush(); err != nil {
		return errors.Join(err, disk.file.Close())
	}
	s.mu.Lock()
	s.runs = append(s.runs, disk)
	s.mu.Unlock()
	return nil
}

// close frees the spilled runs.
func (s *shuffle) close() error {
	var errs []error
	for _, r := range s.runs {
		if r.file != nil {
			errs = append(errs, r.file.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
