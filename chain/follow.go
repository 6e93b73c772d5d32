package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// Outcome says what became of a block.
type Outcome int

// Outcomes of Add.
const (
	Known   Outcome = iota // it was here before
	Held                   // its time is ahead of the clock
	Orphan                 // its parent is not here
	Aside                  // it does not lead the best fork: kept in memory, not judged
	Adopted                // the new tip
)

// Add judges a block that would be the new tip; one of a lesser fork is set aside
// and judged when a block on it leads. Missing state is fetched from the peer that sent it; zero
// asks nobody. The error wraps *consensus.Invalid when the block can never be
// valid.
func (c *Chain) Add(ctx context.Context, b *types.Block, from types.Account) (Outcome, error) {
	c.judging.Lock()
	defer c.judging.Unlock()
	if done, out, err := c.early(b, from); done {
		return out, err
	}
	if !consensus.Better(b, c.Tip()) {
		c.mu.Lock()
		c.aside.put(b)
		c.mu.Unlock()
		return Aside, nil
	}
	return c.admit(ctx, b, from)
}

// admit judges a block whose parent is here, and keeps it.
func (c *Chain) admit(ctx context.Context, b *types.Block, from types.Account) (Outcome, error) {
	out, err := c.judge(ctx, b, from)
	if err != nil {
		return Orphan, err
	}
	return c.keep(&out)
}

// early sorts out blocks that need no judging yet.
func (c *Chain) early(b *types.Block, from types.Account) (bool, Outcome, error) {
	if b.Header.Chain != c.id {
		return true, Orphan, fmt.Errorf("block of chain %s, this is %s", b.Header.Chain.Short(), c.id.Short())
	}
	if a := c.cfg.Anchor; a.Root.Defined() && b.Header.Height == a.Height && b.Name != a.Root {
		return true, Orphan, &consensus.Invalid{Why: fmt.Errorf("block %d is %s, the invite names %s", a.Height, b.Name, a.Root)}
	}
	_, ok, err := c.store.Get(table, keyBlock+b.Name.KeyString())
	if err != nil || ok {
		return true, Known, err
	}
	if ahead := b.Header.Time - c.cfg.Clock(); ahead > types.Millis(c.rules.DriftMillis) {
		c.hold(b, from)
		return true, Held, nil
	}
	_, ok, err = c.store.Get(table, keyBlock+b.Header.Previous.KeyString())
	if err != nil || !ok {
		return true, Orphan, err
	}
	return false, Known, nil
}

const maxHeld = 64

// hold keeps a block from the future until its time has come (T3). When there
// are too many, those that are farthest off leave: anybody can invent them.
func (c *Chain) hold(b *types.Block, from types.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.held {
		if h.block.Name == b.Name {
			return
		}
	}
	c.held = append(c.held, heard{block: b, from: from})
	if len(c.held) <= maxHeld {
		return
	}
	last := 0
	for i, h := range c.held {
		if h.block.Header.Time > c.held[last].block.Header.Time {
			last = i
		}
	}
	c.held = append(c.held[:last], c.held[last+1:]...)
}

// due takes the held blocks whose time has come.
func (c *Chain) due() (ready []heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Clock()
	keep := c.held[:0:0]
	for _, h := range c.held {
		if h.block.Header.Time-now > types.Millis(c.rules.DriftMillis) {
			keep = append(keep, h)
		} else {
			ready = append(ready, h)
		}
	}
	c.held = keep
	return ready
}

// maxFetch bounds how often a block may ask for missing state.
const maxFetch = 256

// judge applies a block, fetching what is missing a batch at a time.
func (c *Chain) judge(ctx context.Context, b *types.Block, from types.Account) (consensus.Applied, error) {
	overlay := &overlay{below: c.store}
	for range maxFetch {
		out, err := consensus.Apply(overlay, b)
		var missing *types.Missing
		if err == nil {
			out.Nodes = append(overlay.list, out.Nodes...)
			return out, nil
		}
		if !errors.As(err, &missing) || from.IsZero() {
			return out, err
		}
		nodes, err := c.fetchNodes(ctx, from, []cid.Cid{missing.CID})
		if err != nil {
			return out, fmt.Errorf("block %d needs %s: %w", b.Header.Height, missing.CID, err)
		}
		overlay.add(nodes)
	}
	return consensus.Applied{}, fmt.Errorf("block %d needs more than %d blocks of state", b.Header.Height, maxFetch)
}

// overlay is the store with blocks that were fetched for one judgement and are
// stored only when it went well.
type overlay struct {
	below Store
	list  []types.Node
}

func (o *overlay) add(nodes []types.Node) { o.list = append(o.list, nodes...) }

// Node implements trie.Source.
func (o *overlay) Node(c cid.Cid) ([]byte, error) {
	for _, n := range o.list {
		if n.CID == c {
			return n.Bytes, nil
		}
	}
	return o.below.Node(c)
}

// keep stores a judged block and makes it the tip when it is better: nodes,
// block, tip and what else belongs to it in one batch.
func (c *Chain) keep(out *consensus.Applied, more ...types.Row) (Outcome, error) {
	b := &out.Block
	old := c.Tip()
	rows := append(more, blockRows(b)[0])
	best := consensus.Better(b, old)
	var back []types.Tx
	if best {
		more, undone, err := c.switchTo(b, old)
		if err != nil {
			return Aside, err
		}
		rows, back = append(rows, more...), undone
	}
	if err := c.store.Save(out.Nodes, rows); err != nil {
		err = fmt.Errorf("store block %d: %w", b.Header.Height, err)
		c.stop(err)
		return Aside, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events.put(b.Name, out.Events)
	if !best {
		return Aside, nil
	}
	c.tip = b
	c.pool.settle(b.Txs, back)
	c.notify()
	return Adopted, nil
}

// switchTo gives the rows that make b the tip, and the transactions of blocks
// that leave the present fork.
func (c *Chain) switchTo(b, old *types.Block) (rows []types.Row, back []types.Tx, err error) {
	rows = blockRows(b)[1:]
	new, gone := b, old
	for new.Header.Previous != gone.Name {
		if gone.Header.Height >= new.Header.Height {
			back = append(back, gone.Txs...)
			if gone.Header.Height > b.Header.Height {
				rows = append(rows, types.Row{Table: table, Key: heightKey(gone.Header.Height)})
			}
			if gone.Header.Height == 0 {
				return nil, nil, fmt.Errorf("block %s does not come from this genesis", b.Name)
			}
			if gone, err = c.Block(gone.Header.Previous); err != nil {
				return nil, nil, err
			}
			continue
		}
		if new, err = c.Block(new.Header.Previous); err != nil {
			return nil, nil, err
		}
		rows = append(rows, types.Row{Table: table, Key: heightKey(new.Header.Height), Value: new.Name.Bytes()})
	}
	if depth := old.Header.Height - gone.Header.Height; depth > types.Height(c.rules.MutableRange) {
		return nil, nil, fmt.Errorf("fork %d blocks deep, beyond the mutable range %d: a person decides", depth, c.rules.MutableRange)
	}
	if depth := old.Header.Height - gone.Header.Height; depth > 0 {
		c.cfg.Report("chain: changed to another fork, %d blocks back, at height %d", depth, b.Header.Height)
	}
	return rows, back, nil
}
