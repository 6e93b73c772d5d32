package library

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// State is where blocks and rows are kept.
type State interface {
	// Node gives a block that is held, else *types.Missing.
	Node(c cid.Cid) ([]byte, error)
	// Get gives the value of a row, and whether there is one.
	Get(table, key string) ([]byte, bool, error)
	// Scan calls fn with the rows whose keys begin with prefix and are not below
	// from, in order.
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
	// Save puts blocks and rows down together or not at all; a nil value deletes.
	Save(nodes []types.Node, rows []types.Row) error
}

// Pieces is where pieces are kept, each under its digest and its owners.
type Pieces interface {
	// Get gives a piece whose hash was checked; *types.Missing when it is not held.
	Get(digest types.Hash) ([]byte, error)
	// Load is Get for whoever checks the hash himself.
	Load(digest types.Hash) ([]byte, error)
	// Size is the length of a piece in bytes; 0 when it is not held.
	Size(digest types.Hash) (int64, error)
	// Release takes the pieces of an owner away.
	Release(owner string) error
}

// Room is bytes set aside for pieces of one owner. What was put stays when the
// process dies, the room does not.
type Room interface {
	// PutKnown stores a piece whose digest the caller has just computed; durable at
	// the next Commit at the latest. A piece that is held already uses no room.
	PutKnown(digest types.Hash, piece []byte) error
	// Adopt makes the owner an owner of a piece that is held; false when it is not.
	Adopt(digest types.Hash) (bool, error)
	// Flush begins to make durable what was put, unless it is at that already;
	// Commit gives the error of the last.
	Flush() (begun bool, err error)
	// Left is the number of bytes not yet used.
	Left() int64
	// Commit makes all durable and gives the rest back.
	Commit() error
}

// Source gives what is not held here. It may take long and must end with ctx.
// What it cannot find is an error; one that wraps ErrNotHeld when nobody is known
// to have it. Nothing it gives is trusted.
type Source interface {
	// Attachment describes a dataset.
	Attachment(ctx context.Context, dataset types.DatasetID) (types.Attachment, error)
	// Nodes gives blocks of the dataset, in any order.
	Nodes(ctx context.Context, dataset types.DatasetID, want []cid.Cid) ([]types.Node, error)
	// Pieces hands each piece to to with its place in want, in any order, one call
	// at a time; the bytes are to's from then on. An error of to says that the
	// piece was wrong or cannot be kept, and ends the work when it is given back.
	Pieces(ctx context.Context, dataset types.DatasetID, want []types.Hash, to func(i int, piece []byte) error) error
}

// Config joins a Library with its surroundings. All fields but Source, Seed and
// Chance are needed.
type Config struct {
	State   State
	Pieces  Pieces
	Reserve func(owner string, bytes int64) (Room, error)
	Source  Source              // nil: Offline
	Now     func() types.Millis // for the time at which a dataset was added

	// Seed gives what the words stand for (K0), when a private dataset is put or
	// opened. An error that wraps fs.ErrNotExist says that there are no words. Nil:
	// the same.
	Seed   func() (keys.Seed, error)
	Chance io.Reader // for salts; nil: the system's
}

// Rooms makes a Config's Reserve of a store's, whose reservations are of a type
// of its own.
func Rooms[R Room](reserve func(owner string, bytes int64) (R, error)) func(string, int64) (Room, error) {
	return func(owner string, bytes int64) (Room, error) {
		r, err := reserve(owner, bytes)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
}

// Library is the datasets of one node.
type Library struct {
	Config
	placed *placed // is Config's Pieces

	mu     sync.Mutex      // held while rows are read and changed
	active map[string]bool // owners of puts that run

	hidden  hidden  // from strangers
	readers readers // tables of contents
	flying  flying  // pieces that streams are fetching
}

// New opens the library of a store and finishes releases that a crash interrupted.
func New(c Config) (*Library, error) {
	if c.Source == nil {
		c.Source = Offline{}
	}
	if c.Seed == nil {
		c.Seed = func() (keys.Seed, error) { return keys.Seed{}, fmt.Errorf("words: %w", fs.ErrNotExist) }
	}
	if c.Chance == nil {
		c.Chance = rand.Reader
	}
	p, err := openPlaced(&c)
	if err != nil {
		return nil, err
	}
	c.Pieces = p
	l := &Library{Config: c, placed: p, active: map[string]bool{}}
	return l, l.sweep()
}

// Phase is a part of a job.
type Phase string

// Phases, in the order in which a job goes through them.
const (
	Reading   Phase = "reading"
	Fetching  Phase = "fetching"
	Unpacking Phase = "unpacking"
	Writing   Phase = "writing"
	Verifying Phase = "verifying"
)

// Progress says how far a job is.
type Progress struct {
	Phase Phase
	Name  string // file at work, if any; hostile text
	Done  uint64 // bytes
	Total uint64 // bytes; 0 while unknown; an estimate when reading
}

// Watch is told what happens in a job, by one goroutine at a time. Nil fields
// are not called.
type Watch struct {
	Progress func(Progress)
	Warn     func(archive.Warning) // a thing left out; hostile text
}

func (w Watch) progress(p Progress) {
	if w.Progress != nil {
		w.Progress(p)
	}
}

// Piece gives a piece that is held, for serving; *types.Missing when it is not.
func (l *Library) Piece(digest types.Hash) ([]byte, error) { return l.Pieces.Load(digest) }
