package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// segment is one file of records. end, live and count belong to who holds
// records.mu; file, users and gone to who holds segments.mu.
type segment struct {
	number uint32
	disk   *disk
	segmentRow

	file  segmentFile
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
	if err := s.disk.gone(); err != nil {
		return nil, err
	}
	if s.file == nil {
		f, err := s.disk.shelf.open(number)
		if err != nil {
			return nil, s.disk.judge(fmt.Errorf("open segment %d: %w", number, err))
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
	return errors.Join(err, s.disk.shelf.remove(s.number))
}

func (g *segments) close() (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.all {
		err = errors.Join(err, g.closeFile(s))
	}
	return err
}

// create makes an empty segment on d, open for writing and with one user.
func (g *segments) create(d *disk, number uint32) (*segment, error) {
	f, err := d.shelf.create(number)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, disk: d, segmentRow: segmentRow{end: segmentHeader, disk: d.number}, file: f, users: 1}
	g.add(s)
	return s, nil
}

// reopen makes a segment found at start writable, with one user.
func (g *segments) reopen(s *segment) error {
	f, err := s.disk.shelf.reopen(s.number)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.file = f
	s.users++
	g.open++
	return nil
}
