package ipfs

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
)

// fetchBatch is how many blocks of a DAG are asked for at once: 8 MiB of pieces
// of 256 KiB, at most 64 MiB of the largest blocks.
const fetchBatch = 32

// Fetched counts what a fetch stored.
type Fetched struct {
	Blocks int
	Bytes  int64
}

// source gives blocks that it was asked for, in any order, checked. It ends
// early only with an error.
type source func(ctx context.Context, want []cid.Cid, got func(cid.Cid, []byte) error) error

// fetchDAG stores the blocks below root, in batches, each block once. Bounds
// are those of a walk.
func fetchDAG(ctx context.Context, from source, root cid.Cid, put Put, bounds Bounds) (Fetched, error) {
	var done Fetched
	w := walker{bounds: bounds.filled(), seen: map[mark]struct{}{}}
	if err := w.push([]cid.Cid{root}, 0); err != nil {
		return done, err
	}
	for len(w.stack) > 0 {
		want, depths, err := w.batch()
		if err != nil {
			return done, err
		}
		links := map[cid.Cid][]cid.Cid{}
		err = from(ctx, want, func(c cid.Cid, block []byte) error {
			if err := Check(c, block); err != nil {
				return err
			}
			var err error
			if links[c], err = Links(c, block); err != nil {
				return err
			}
			done.Blocks++
			done.Bytes += int64(len(block))
			return put(ctx, c, block)
		})
		if err != nil {
			return done, err
		}
		for i, c := range want {
			if err := w.push(links[c], depths[i]+1); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// batch takes the next links off the stack; those inside identity CIDs take
// their place at once.
func (w *walker) batch() (want []cid.Cid, depths []int, err error) {
	for len(w.stack) > 0 && len(want) < fetchBatch {
		next := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		fresh, err := w.enter(next.cid)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case !fresh:
		case isIdentity(next.cid):
			if err := w.open(next); err != nil {
				return nil, nil, err
			}
		default:
			want, depths = append(want, next.cid), append(depths, next.depth)
		}
	}
	return want, depths, nil
}

// open pushes the links inside an identity CID.
func (w *walker) open(at waiting) error {
	block, err := inside(at.cid)
	if err != nil {
		return err
	}
	links, err := Links(at.cid, block)
	if err != nil {
		return fmt.Errorf("identity CID: %w", err)
	}
	return w.push(links, at.depth+1)
}
