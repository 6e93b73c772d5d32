package chain

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// Limits of the way to a block that leads. A stranger names all of it, so little
// is kept: names, and blocks up to a sum of bytes; the rest is asked for again
// when its turn comes.
const (
	maxWay      = 1 << 20 // blocks
	keepWay     = 32 << 20
	wayTimeout  = 2 * time.Minute // to find where it meets this fork
	blockWeight = 1024            // of a block without transactions, about
)

// waypoint is a block on the way; without the block itself it is asked for again.
type waypoint struct {
	name  cid.Cid
	block *types.Block
}

// catchUp finds the way from a block back to one that is known and judges it,
// oldest first.
func (c *Chain) catchUp(ctx context.Context, b *types.Block, from types.Account) error {
	way, err := c.wayBack(ctx, b, from)
	if err != nil {
		return err
	}
	for i := len(way) - 1; i >= 0; i-- {
		if way[i].block == nil {
			if err := c.recall(ctx, way[:i+1], from); err != nil {
				return err
			}
		}
		if err := c.step(ctx, way[i].block, from); err != nil {
			return err
		}
		way[i].block = nil
	}
	return nil
}

// wayBack lists the blocks from b down to the first whose parent is here. Headers
// that do not follow each other are a lie.
func (c *Chain) wayBack(ctx context.Context, b *types.Block, from types.Account) ([]waypoint, error) {
	ctx, cancel := context.WithTimeout(ctx, wayTimeout)
	defer cancel()
	way := []waypoint{{b.Name, b}}
	weight, last := weigh(b), &b.Header
	for {
		if known, err := c.has(last.Previous); err != nil || known {
			return way, err
		}
		if last.Height <= 1 || len(way) > maxWay {
			return nil, &consensus.Invalid{Why: fmt.Errorf("fork of %s does not meet this one after %d blocks", from.Short(), len(way))}
		}
		more, err := c.below(ctx, last.Previous, from)
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			if known, err := c.has(m.Name); err != nil || known {
				return way, err
			}
			if err := follows(last, &m.Header); err != nil {
				return nil, err
			}
			if weight += weigh(m); weight > keepWay {
				m = &types.Block{Name: m.Name, Header: m.Header}
				way = append(way, waypoint{name: m.Name})
			} else {
				way = append(way, waypoint{m.Name, m})
			}
			last = &m.Header
		}
	}
}

// below gives blocks from a name backwards: one that was set aside, or what the
// peer has.
func (c *Chain) below(ctx context.Context, name cid.Cid, from types.Account) ([]*types.Block, error) {
	c.mu.Lock()
	b := c.aside.byName[name]
	c.mu.Unlock()
	if b != nil {
		return []*types.Block{b}, nil
	}
	return c.ancestors(ctx, from, name)
}

// follows refuses a header that cannot be the parent of another.
func follows(h, parent *types.Header) error {
	switch {
	case parent.Chain != h.Chain:
		return &consensus.Invalid{Why: fmt.Errorf("block %d is of chain %s", parent.Height, parent.Chain.Short())}
	case parent.Height+1 != h.Height:
		return &consensus.Invalid{Why: fmt.Errorf("block %d stands below block %d", parent.Height, h.Height)}
	case parent.Time >= h.Time:
		return &consensus.Invalid{Why: fmt.Errorf("block %d of time %d stands below one of %d", parent.Height, parent.Time, h.Time)}
	case h.BaseTarget == 0 || parent.Difficulty+consensus.Work(h.BaseTarget) != h.Difficulty:
		return &consensus.Invalid{Why: fmt.Errorf("difficulty %d of block %d does not lead to %d", parent.Difficulty, parent.Height, h.Difficulty)}
	}
	return nil
}

// weigh is about how many bytes a block takes in memory.
func weigh(b *types.Block) int {
	n := blockWeight
	for i := range b.Txs {
		n += blockWeight + len(b.Txs[i].Body)
	}
	return n
}

// has reports whether a block is here, judged.
func (c *Chain) has(name cid.Cid) (bool, error) {
	_, ok, err := c.store.Get(table, keyBlock+name.KeyString())
	return ok, err
}

// recall asks again for the last block of a way, and for those that come before
// it in the same answer.
func (c *Chain) recall(ctx context.Context, way []waypoint, from types.Account) error {
	end := len(way) - 1
	for _, first := range []int{max(0, end-maxAncestors+1), end} {
		list, err := c.ancestors(ctx, from, way[first].name)
		if err != nil {
			return err
		}
		for k, b := range list[:min(len(list), end-first+1)] {
			if way[first+k].name == b.Name {
				way[first+k].block = b
			}
		}
		if way[end].block != nil {
			return nil
		}
	}
	return fmt.Errorf("peer %s does not have block %s any more", from.Short(), way[end].name)
}

// step judges one block of the way to a block that leads.
func (c *Chain) step(ctx context.Context, b *types.Block, from types.Account) error {
	c.judging.Lock()
	defer c.judging.Unlock()
	done, out, err := c.early(b, from)
	if done && out == Orphan && err == nil {
		err = fmt.Errorf("block %d lost its parent", b.Header.Height)
	}
	if done || err != nil {
		return err
	}
	_, err = c.admit(ctx, b, from)
	return err
}
