package ipfs

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ipfs/boxo/blockstore"
	block "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
)

// shop is Blocks as the libraries of IPFS want them: a store that takes nothing.
type shop struct{ blocks Blocks }

var (
	_ blockstore.Blockstore = shop{}

	errReadOnly = errors.New("blocks are read only")
	errBudget   = errors.New("request needs too many blocks")
)

// budgetKey is where a context carries how many blocks may still be read for it,
// an *atomic.Int64.
type budgetKey struct{}

// spend takes one block off the budget of a context, when it has one.
func spend(ctx context.Context) error {
	if left, ok := ctx.Value(budgetKey{}).(*atomic.Int64); ok && left.Add(-1) < 0 {
		return errBudget
	}
	return nil
}

// absent puts the error of a block that is not there in the words of IPLD.
func absent(c cid.Cid, err error) error {
	if IsNotHeld(err) {
		return format.ErrNotFound{Cid: c}
	}
	return err
}

// Get implements blockstore.Blockstore.
func (s shop) Get(ctx context.Context, c cid.Cid) (block.Block, error) {
	if err := spend(ctx); err != nil {
		return nil, err
	}
	b, err := load(ctx, s.blocks, c)
	if err != nil {
		return nil, absent(c, err)
	}
	return block.NewBlockWithCid(b, c)
}

// GetSize implements blockstore.Blockstore.
func (s shop) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	n, err := sizeOf(ctx, s.blocks, c)
	return n, absent(c, err)
}

// Has implements blockstore.Blockstore.
func (s shop) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := Accept(c); err != nil || isIdentity(c) {
		return err == nil, err
	}
	return s.blocks.Has(ctx, c)
}

// Put implements blockstore.Blockstore.
func (shop) Put(context.Context, block.Block) error { return errReadOnly }

// PutMany implements blockstore.Blockstore.
func (shop) PutMany(context.Context, []block.Block) error { return errReadOnly }

// DeleteBlock implements blockstore.Blockstore.
func (shop) DeleteBlock(context.Context, cid.Cid) error { return errReadOnly }

// AllKeysChan implements blockstore.Blockstore; there is no list.
func (shop) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, fmt.Errorf("list blocks: %w", errors.ErrUnsupported)
}
