package ipfs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
)

// Bounds keeps a walk over a DAG finite in memory. Zero fields have the values
// of DefaultBounds.
type Bounds struct {
	Blocks  int // blocks visited, each once; 20 bytes and a little are kept for each
	Pending int // links that wait for their turn
	Depth   int // links between a root and a block
}

// DefaultBounds allow 4 TiB in pieces of 256 KiB.
var DefaultBounds = Bounds{Blocks: 1 << 24, Pending: 1 << 20, Depth: 1 << 16}

// ErrBounds is the error of a DAG that is bigger or deeper than the bounds.
var ErrBounds = errors.New("dag is too large")

func (b Bounds) filled() Bounds {
	set := func(field *int, standard int) {
		if *field <= 0 {
			*field = standard
		}
	}
	set(&b.Blocks, DefaultBounds.Blocks)
	set(&b.Pending, DefaultBounds.Pending)
	set(&b.Depth, DefaultBounds.Depth)
	return b
}

// mark stands for a block that was visited: half of its SHA-256, and the codec
// it was read with. Two blocks of one mark take 2^64 attempts to make, and one
// would only be left out of a walk.
type mark struct {
	half  [16]byte
	codec uint32
}

func markOf(c cid.Cid) mark {
	return mark{[16]byte(digest(c)), uint32(c.Prefix().Codec)}
}

// waiting is a link whose turn has not come.
type waiting struct {
	cid   cid.Cid
	depth int
}

// walker visits the blocks below roots depth first, parents before children, in
// the order of the links, each block once. Identity CIDs are followed but not
// visited: their bytes travel in the parent.
type walker struct {
	blocks Blocks
	bounds Bounds
	visit  func(cid.Cid, []byte) error
	leaf   func(cid.Cid) error // unless nil, is given raw blocks, unread

	seen  map[mark]struct{}
	stack []waiting // the last is next
}

func (w *walker) walk(ctx context.Context, roots []cid.Cid) error {
	w.bounds, w.seen = w.bounds.filled(), map[mark]struct{}{}
	if err := w.push(roots, 0); err != nil {
		return err
	}
	for len(w.stack) > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		next := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		fresh, err := w.enter(next.cid)
		if err == nil && fresh {
			err = w.step(ctx, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isRaw(c cid.Cid) bool { return c.Prefix().Codec == uint64(multicodec.Raw) }

// enter reports whether a block is met for the first time.
func (w *walker) enter(c cid.Cid) (bool, error) {
	if err := Accept(c); err != nil {
		return false, err
	}
	if isIdentity(c) {
		return true, nil // at most 128 bytes, so few links and none to itself
	}
	m := markOf(c)
	if _, ok := w.seen[m]; ok {
		return false, nil
	}
	if len(w.seen) == w.bounds.Blocks {
		return false, fmt.Errorf("%w: more than %d blocks", ErrBounds, w.bounds.Blocks)
	}
	w.seen[m] = struct{}{}
	return true, nil
}

// step visits one block and puts its links on the stack.
func (w *walker) step(ctx context.Context, at waiting) error {
	if w.leaf != nil && isRaw(at.cid) && !isIdentity(at.cid) {
		return w.leaf(at.cid)
	}
	block, err := load(ctx, w.blocks, at.cid)
	if err != nil {
		return fmt.Errorf("read block %s: %w", at.cid, err)
	}
	if !isIdentity(at.cid) {
		if err := w.visit(at.cid, block); err != nil {
			return err
		}
	}
	links, err := Links(at.cid, block)
	if err != nil {
		return err
	}
	return w.push(links, at.depth+1)
}

// push puts links on the stack, the first on top.
func (w *walker) push(links []cid.Cid, depth int) error {
	if len(links) > 0 && depth > w.bounds.Depth {
		return fmt.Errorf("%w: more than %d links deep", ErrBounds, w.bounds.Depth)
	}
	if len(w.stack)+len(links) > w.bounds.Pending {
		return fmt.Errorf("%w: %d links wait, limit %d", ErrBounds, len(w.stack)+len(links), w.bounds.Pending)
	}
	for _, c := range slices.Backward(links) {
		w.stack = append(w.stack, waiting{c, depth})
	}
	return nil
}
