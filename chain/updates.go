package chain

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// keepEvents is for how many blocks events stay in memory; older ones are
// computed again, which gives the same.
const keepEvents = 512

type recent struct {
	byName map[cid.Cid][]types.Event
	order  []cid.Cid
}

func newRecent() *recent { return &recent{byName: map[cid.Cid][]types.Event{}} }

func (r *recent) put(name cid.Cid, ev []types.Event) {
	if _, ok := r.byName[name]; ok {
		return
	}
	r.byName[name] = ev
	if r.order = append(r.order, name); len(r.order) > keepEvents {
		delete(r.byName, r.order[0])
		r.order = r.order[1:]
	}
}

// Events gives what a block did.
func (c *Chain) Events(b *types.Block) ([]types.Event, error) {
	c.mu.Lock()
	ev, ok := c.events.byName[b.Name]
	c.mu.Unlock()
	if ok || b.Header.Height == 0 {
		return ev, nil
	}
	out, err := consensus.Apply(c.store, b)
	if err != nil {
		return nil, fmt.Errorf("events of block %d: %w", b.Header.Height, err)
	}
	return out.Events, nil
}

// Updates gives a follower the way from its cursor to the present fork: blocks
// to undo, newest first, then at most n blocks to do, oldest first. A zero
// cursor starts at genesis. The follower stores the cursor of what it did with
// its own data.
func (c *Chain) Updates(after types.Cursor, n int) (undo, do []types.Update, err error) {
	tip := c.Tip()
	at := after
	for at.Root.Defined() {
		name, err := c.NameAt(at.Height)
		if err == nil && name == at.Root {
			break
		}
		b, err := c.Block(at.Root)
		if err != nil {
			return nil, nil, fmt.Errorf("undo: %w", err)
		}
		ev, err := c.Events(b)
		if err != nil {
			return nil, nil, err
		}
		undo = append(undo, types.Update{Block: b, Events: ev})
		if b.Header.Height == 0 {
			return nil, nil, fmt.Errorf("undo: block %s is of another community", at.Root)
		}
		at = types.Cursor{Height: b.Header.Height - 1, Root: b.Header.Previous}
	}
	next := types.Height(0)
	if at.Root.Defined() {
		next = at.Height + 1
	}
	for ; next <= tip.Header.Height && len(do) < n; next++ {
		u, err := c.update(next)
		if err != nil {
			return nil, nil, err
		}
		do = append(do, u)
	}
	return undo, do, nil
}

func (c *Chain) update(h types.Height) (types.Update, error) {
	name, err := c.NameAt(h)
	if err != nil {
		return types.Update{}, err
	}
	b, err := c.Block(name)
	if err != nil {
		return types.Update{}, err
	}
	ev, err := c.Events(b)
	return types.Update{Block: b, Events: ev}, err
}
