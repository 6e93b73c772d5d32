package store

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options tune a store; the zero value is good for a node.
type Options struct {
	// Quota is the most bytes of pieces and replicas to hold, reservations
	// included; 0 means as much as the disk has. Files may be larger by what
	// compaction has not yet given back, at most two segments.
	Quota int64
	// Margin is the free space in bytes that writes leave on the disk, so that
	// the key-value store never hits the end. 0 means 64 MiB. Reservations
	// keep all of it free; writes already granted may use three quarters.
	Margin uint64
	// SegmentSize is the length in bytes at which a new segment file begins.
	// 0 means 256 MiB; the least is 64 KiB.
	SegmentSize int64
	// CacheBytes of the key-value store. 0 means 16 MiB.
	CacheBytes int64
	// OpenSegments is the number of segment files kept open. 0 means 64.
	OpenSegments int

	fs vfs.FS
}

const (
	defaultMargin  = 64 << 20
	defaultSegment = 256 << 20
	leastSegment   = 64 << 10
	defaultCache   = 16 << 20
	defaultOpen    = 64
	memTable       = 4 << 20
	dbFiles        = 200
	dbDir          = "db"
	segmentsDir    = "segments"
)

func (o Options) withDefaults() Options {
	if o.Margin == 0 {
		o.Margin = defaultMargin
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegment
	}
	o.SegmentSize = max(o.SegmentSize, leastSegment)
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	if o.OpenSegments == 0 {
		o.OpenSegments = defaultOpen
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	return o
}

// Store is an open store. One process has it open at a time.
type Store struct {
	dir     string
	opt     Options
	lock    io.Closer
	format  int // of the files, when it was opened
	db      *pebble.DB
	now     atomic.Pointer[records]
	heal    healing
	gate    gate
	trouble atomic.Pointer[error]
}

// Open opens or makes the store in dir. It cuts torn tails of segments, ends
// releases that were interrupted, and then the background compaction runs until
// Close. Errors: ErrLocked, ErrNewer, ErrNotStore, ErrDiskFull.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, opt: o.withDefaults()}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), s.closeFiles())
	}
	return s, nil
}

// Memory is a store in memory, the same code over files that are not there; for
// tests.
func Memory(o Options) (*Store, error) {
	o.fs = vfs.NewMem()
	return Open("/memory", o)
}

func (s *Store) open() (err error) {
	if s.lock, s.format, err = claim(s.opt.fs, s.dir); err != nil {
		return err
	}
	room := &diskRoom{fs: s.opt.fs, dir: s.dir, margin: s.opt.Margin}
	if err = room.check("opening", s.opt.Margin/4); err != nil {
		return err
	}
	if err = s.makeDirs(); err != nil {
		return err
	}
	if s.db, err = pebble.Open(s.opt.fs.PathJoin(s.dir, dbDir), s.dbOptions()); err != nil {
		return diskError("open the index", s.dir, err)
	}
	r, err := openRecords(s, room, s.opt.Quota)
	if err == nil {
		s.now.Store(r)
	}
	return err
}

func (s *Store) records() *records { return s.now.Load() }

// makeDirs makes the directories and their names durable: a synced file in a
// directory that a power cut forgets is lost all the same.
func (s *Store) makeDirs() error {
	for _, name := range []string{dbDir, segmentsDir} {
		if err := s.opt.fs.MkdirAll(s.opt.fs.PathJoin(s.dir, name), 0o700); err != nil {
			return diskError("make directory "+name, s.dir, err)
		}
	}
	if err := syncDir(s.opt.fs, s.dir); err != nil {
		return err
	}
	return syncDir(s.opt.fs, s.opt.fs.PathDir(s.dir))
}

func (s *Store) dbOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                 s.opt.fs,
		CacheSize:          s.opt.CacheBytes,
		MemTableSize:       memTable,
		MaxOpenFiles:       dbFiles,
		FormatMajorVersion: pebble.FormatValueSeparation, // moves forward with formatVersion only
		Logger:             quiet{},
		EventListener:      &pebble.EventListener{BackgroundError: s.note},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// quiet drops the chatter of the key-value store; its errors reach callers and
// Trouble.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf is called when a commit failed half-way; going on could acknowledge
// what is not on disk. The journal is replayed at the next start.
func (quiet) Fatalf(format string, args ...any) {
	panic("store: " + fmt.Sprintf(format, args...))
}

func (s *Store) note(err error) { s.trouble.Store(&err) }

// Trouble is the newest failure of work in the background (compaction), or nil.
func (s *Store) Trouble() error {
	if p := s.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// Close waits for calls in progress, makes lazy writes durable and closes.
func (s *Store) Close() error {
	if !s.gate.shut(func() { s.records().clean.interrupt() }) {
		return ErrClosed
	}
	s.heal.work.Wait()
	return s.closeFiles()
}

func (s *Store) closeFiles() (err error) {
	if r := s.records(); r != nil {
		err = errors.Join(r.close(), s.heal.close())
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// gate counts calls in progress, so that Close can wait for them. Calls nest.
type gate struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{}
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// shut refuses new calls, tells the long ones with hurry, and waits for all;
// false when it was shut before.
func (g *gate) shut(hurry func()) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.closed, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	hurry()
	<-g.empty
	return true
}
