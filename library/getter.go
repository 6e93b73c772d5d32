package library

import (
	"context"
	"sync"

	"github.com/staddle/staddle/types"
)

// streamStep is how many bytes of room a stream sets aside at a time.
const streamStep = 16 << 20

// getter fetches runs of pieces, each piece once however many streams want it.
type getter struct {
	d    *dataset
	tell func() // a piece has come
	room *room
}

func (g *getter) close() error {
	if g.room == nil {
		return nil
	}
	return g.room.close()
}

// get returns when all pieces of s are here.
func (g *getter) get(s span) error {
	return g.d.each([]span{s}, func(first uint32, digests []types.Hash) error {
		for {
			f, other, err := g.claim(first, digests)
			if err != nil || len(f.want) == 0 && other == nil {
				return err
			}
			if len(f.want) > 0 {
				err = g.ask(f)
			} else {
				err = g.wait(other)
			}
			if err != nil {
				return err
			}
		}
	})
}

// claim takes those pieces that are not held and that nobody brings; other is
// the end of a flight of one that somebody does.
func (g *getter) claim(first uint32, digests []types.Hash) (f *fetching, other <-chan struct{}, err error) {
	f = &fetching{d: g.d}
	for i, digest := range digests {
		n, err := g.d.l.Pieces.Size(digest)
		if err != nil {
			g.d.l.flying.land(f, f.want...)
			return f, nil, err
		}
		if n > 0 {
			continue
		}
		if theirs := g.d.l.flying.start(digest, f); theirs != nil {
			other = theirs
			continue
		}
		f.want = append(f.want, digest)
		f.lengths = append(f.lengths, g.d.length(first+uint32(i)))
	}
	return f, other, nil
}

// ask fetches what was claimed.
func (g *getter) ask(f *fetching) (err error) {
	defer func() { g.d.l.flying.land(f, f.want...) }()
	if g.room == nil {
		if err := g.d.own(); err != nil {
			return err
		}
		if g.room, err = openRoom(g.d.l.Reserve, g.d.owner(), 0); err != nil {
			return err
		}
		g.room.step = streamStep
	}
	f.room = g.room
	for _, n := range f.lengths {
		f.total += n
	}
	f.came = func(digest types.Hash) {
		g.d.l.flying.land(f, digest)
		g.tell()
	}
	return f.ask()
}

func (g *getter) wait(other <-chan struct{}) error {
	select {
	case <-other:
		g.tell()
		return nil
	case <-g.d.ctx.Done():
		return context.Cause(g.d.ctx)
	}
}

// flying knows which pieces streams are fetching, so that players of one file at
// once do not fetch it twice.
type flying struct {
	mu sync.Mutex
	by map[types.Hash]flight
}

type flight struct {
	owner *fetching
	end   chan struct{} // closed when the piece has come, or will not
}

// start takes a piece, or gives the end of the flight that it is on already.
func (f *flying) start(digest types.Hash, owner *fetching) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[types.Hash]flight{}
	}
	if have, ok := f.by[digest]; ok {
		return have.end
	}
	f.by[digest] = flight{owner, make(chan struct{})}
	return nil
}

// land ends flights of the owner.
func (f *flying) land(owner *fetching, digests ...types.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, digest := range digests {
		if have, ok := f.by[digest]; ok && have.owner == owner {
			close(have.end)
			delete(f.by, digest)
		}
	}
}
