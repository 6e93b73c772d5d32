package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is one file of records. end, live and count belong to who holds
// records.mu; file, users and gone to who holds segments.mu.
type segment struct {
	number uint32
	segmentRow

	file  vfs.File
	users int
	gone  bool
	stuck bool // compaction met damage here and leaves the file to Verify
}

func (s *segment) dead() int64 { return s.end - segmentHeader - s.live }

// errGone: the segment was compacted between the look-up and the read.
var errGone = errors.New("segment is gone")

// segments are the files of a store. A file stays open while somebody uses it
// and, up to a number, afterwards.
type segments struct {
	fs  vfs.FS
	dir string
	max int

	mu   sync.Mutex
	all  map[uint32]*segment
	open int
}

func segmentName(number uint32) string { return fmt.Sprintf("%08x.seg", number) }

func parseSegmentName(name string) (uint32, bool) {
	hex, ok := strings.CutSuffix(name, ".seg")
	n, err := strconv.ParseUint(hex, 16, 32)
	return uint32(n), ok && err == nil && n > 0 && segmentName(uint32(n)) == name
}

func (g *segments) path(number uint32) string { return g.fs.PathJoin(g.dir, segmentName(number)) }

func (g *segments) add(s *segment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[s.number] = s
	if s.file != nil {
		g.open++
	}
}

// acquire opens a segment for reading; the caller calls release.
func (g *segments) acquire(number uint32) (*segment, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.all[number]
	if s == nil {
		return nil, errGone
	}
	if s.file == nil {
		f, err := g.fs.Open(g.path(number), vfs.RandomReadsOption)
		if err != nil {
			return nil, fmt.Errorf("open segment %d: %w", number, err)
		}
		s.file = f
		g.open++
	}
	s.users++
	return s, nil
}

func (g *segments) release(s *segment) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.users--
	if s.users == 0 && (s.gone || g.open > g.max) {
		return g.closeFile(s)
	}
	return nil
}

func (g *segments) closeFile(s *segment) error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	g.open--
	return err
}

// remove deletes the file; readers that have it open go on.
func (g *segments) remove(s *segment) error {
	g.mu.Lock()
	s.gone = true
	delete(g.all, s.number)
	var err error
	if s.users == 0 {
		err = g.closeFile(s)
	}
	g.mu.Unlock() // a large file takes its time to go: readers need not wait
	return errors.Join(err, g.fs.Remove(g.path(s.number)))
}

func (g *segments) close() (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.all {
		err = errors.Join(err, g.closeFile(s))
	}
	return err
}

// create makes an empty segment, open for writing and with one user.
func (g *segments) create(number uint32) (*segment, error) {
	name := g.path(number)
	f, err := g.fs.OpenReadWrite(name, category)
	if err != nil {
		return nil, diskError("create a segment", g.dir, err)
	}
	if _, err = f.WriteAt(segmentHead(number), 0); err == nil {
		err = syncDir(g.fs, g.dir)
	}
	if err != nil {
		return nil, errors.Join(diskError("begin a segment", g.dir, err), f.Close(), g.fs.Remove(name))
	}
	s := &segment{number: number, segmentRow: segmentRow{end: segmentHeader}, file: f, users: 1}
	g.add(s)
	return s, nil
}

// reopen makes a segment found at start writable, with one user.
func (g *segments) reopen(s *segment) error {
	f, err := g.fs.OpenReadWrite(g.path(s.number), category)
	if err != nil {
		return diskError("open a segment", g.dir, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.file = f
	s.users++
	g.open++
	return nil
}

// cut shortens a file to end bytes.
func (g *segments) cut(number uint32, end int64) error {
	name := g.path(number)
	if g.fs == vfs.Default {
		return truncate(name, end) // syncs what stays, too
	}
	if err := vfs.LimitedCopy(g.fs, name, name+".new", end); err != nil {
		return err
	}
	if err := g.fs.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(g.fs, g.dir)
}
