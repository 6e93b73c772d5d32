package chain

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// heard is what a peer said, for the loop: a block with its sender, or a
// transaction that this node took into its pool.
type heard struct {
	block *types.Block
	from  types.Account
	tx    *types.Tx
}

const (
	inboxSize     = 1024 // more is dropped: peers tell again, or are asked
	askTimeout    = 10 * time.Second
	followTimeout = 5 * time.Minute // for the way to a block, however long
	pollEvery     = 2 * time.Second
)

// inbox hands something to the loop, without waiting.
func (c *Chain) inbox(h heard) {
	select {
	case c.in <- h:
	default:
	}
}

// nudge wakes the loop: there are wishes to look at.
func (c *Chain) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run follows and extends the chain until ctx ends. It is called once.
func (c *Chain) Run(ctx context.Context) error {
	defer close(c.over)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { c.mineLoop(ctx) })
	work.Go(func() { c.pollLoop(ctx) })
	for {
		if err := c.Trouble(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case h := <-c.in:
			c.take(ctx, h)
		case <-c.wake:
			c.afterTip()
		}
	}
}

// take deals with one thing heard.
func (c *Chain) take(ctx context.Context, h heard) {
	if h.tx != nil {
		e := c.request(tellTx, 1)
		h.tx.EncodeTo(e)
		c.tellAll(ctx, e.Data(), h.from)
		return
	}
	c.receive(ctx, h.block, h.from)
}

// receive adds a block and passes it on when it became the tip.
func (c *Chain) receive(ctx context.Context, b *types.Block, from types.Account) {
	c.busy.Add(1)
	defer c.busy.Add(-1)
	before := c.Tip()
	err := c.follow(ctx, b, from)
	c.blame(from, err)
	if tip := c.Tip(); tip != before {
		c.announce(ctx, tip, from)
		c.afterTip()
	}
}

// follow adds a block with whatever is missing below it: its transactions, when
// only the header was announced, and its ancestors, when it leads.
func (c *Chain) follow(ctx context.Context, b *types.Block, from types.Account) error {
	ask, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	if list := types.NodeCID(types.Marshal(types.TxList{Txs: b.Txs})); list != b.Header.Txs && len(b.Txs) == 0 {
		whole, err := c.ancestors(ask, from, b.Name)
		if err != nil {
			return err
		}
		b = whole[0]
	}
	out, err := c.Add(ask, b, from)
	if err == nil && out == Orphan && consensus.Better(b, c.Tip()) {
		err = c.catchUp(ask, b, from)
	}
	return err
}

// blame stops listening to a peer that sent what can never be valid.
func (c *Chain) blame(from types.Account, err error) {
	var inv *consensus.Invalid
	if err == nil {
		return
	}
	c.cfg.Report("chain: block from %s: %v", from.Short(), err)
	if errors.As(err, &inv) && !from.IsZero() {
		c.ban(from)
	}
}

// afterTip ends wishes that are included and sends the others.
func (c *Chain) afterTip() {
	if err := c.endWishes(); err != nil {
		c.stop(err)
		return
	}
	c.mu.Lock()
	c.pool.expire(c.cfg.Clock())
	c.mu.Unlock()
	list, err := c.refresh()
	if err != nil {
		c.stop(err)
		return
	}
	for _, t := range list {
		err := c.AddTx(t)
		if errors.Is(err, errKnown) {
			continue
		}
		var inv *consensus.Invalid
		if err != nil && !errors.As(err, &inv) {
			c.stop(err)
		}
	}
}

// endWishes walks the blocks that were added since the last look.
func (c *Chain) endWishes() error {
	undo, do, err := c.Updates(c.seen, 1<<20)
	if err != nil {
		return err
	}
	if len(undo) > 0 || !c.queue.looked || c.Tip().Header.Height%64 == 0 {
		if err := c.revive(); err != nil {
			return err
		}
	}
	for _, u := range do {
		if err := c.included(u.Block); err != nil {
			return err
		}
	}
	return nil
}

// stop notes a fault of the store: the chain stands still rather than guess.
func (c *Chain) stop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble == nil {
		c.trouble = err
	}
	c.nudge()
}

// Trouble is the fault that stopped the chain, or nil.
func (c *Chain) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// announce pushes a block to the connected peers; a large one is named by its
// header only and pulled.
func (c *Chain) announce(ctx context.Context, b *types.Block, except types.Account) {
	e := c.request(tellBlock, 1)
	b.EncodeTo(e)
	if len(e.Data()) > pushBytes {
		short := *b
		short.Txs = nil
		e = c.request(tellBlock, 1)
		short.EncodeTo(e)
	}
	c.tellAll(ctx, e.Data(), except)
}

// tellAll sends one request to every peer, each on its own and in the
// background; who does not answer is left alone for a while.
func (c *Chain) tellAll(ctx context.Context, msg []byte, except types.Account) {
	for _, p := range c.listeners() {
		if p == except {
			continue
		}
		c.talk.Go(func() {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			_, err := c.net.Request(ask, p, Protocol, msg, 16)
			c.heardFrom(p, err)
		})
	}
}

// listeners are the connected peers that answer this protocol, as far as known.
func (c *Chain) listeners() []types.Account {
	now := c.cfg.Clock()
	var out []types.Account
	all := c.net.Connected()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range all {
		if p != c.cfg.Signer.Account() && c.deaf[p] <= now {
			out = append(out, p)
		}
	}
	return out
}

const (
	deafMillis = 30_000
	maxDeaf    = 4096
)

// heardFrom notes whether a peer answers. Strangers that only fetch pieces do not
// speak this protocol; asking them again and again would cost more than it gives.
// A peer that once answered is asked on: it may just be slow.
func (c *Chain) heardFrom(p types.Account, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.deaf) >= maxDeaf {
		c.deaf = map[types.Account]types.Millis{}
	}
	switch until, known := c.deaf[p]; {
	case err == nil:
		c.deaf[p] = answers
	case !known || until != answers:
		c.deaf[p] = c.cfg.Clock() + deafMillis
	}
}

// answers stands in the table of deaf peers for one that is not.
const answers types.Millis = 0

// tellAgain sends this account's waiting transactions once more: a peer may have
// missed them, and only what all miners know is sure to enter a block.
func (c *Chain) tellAgain(ctx context.Context) {
	me := c.cfg.Signer.Account()
	c.mu.Lock()
	var list []types.Tx
	for _, t := range c.pool.ordered() {
		if t.Sender == me {
			list = append(list, t)
		}
	}
	c.mu.Unlock()
	for i := range list {
		e := c.request(tellTx, 1)
		list[i].EncodeTo(e)
		c.tellAll(ctx, e.Data(), types.Account{})
	}
}

// pollLoop asks the peers for their tips, so that what was missed is found, and
// lets in the blocks that were held.
func (c *Chain) pollLoop(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	defer c.talk.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, h := range c.due() {
			c.inbox(h)
		}
		c.poll(ctx)
		c.tellAgain(ctx)
		c.nudge()
	}
}

// poll asks all peers for their tips at once; one that leads is for the loop.
func (c *Chain) poll(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range c.listeners() {
		if c.isBanned(p) {
			continue
		}
		all.Go(func() {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			b, err := c.askTipOf(ask, p)
			c.heardFrom(p, err)
			if err == nil && b.Header.Chain == c.id && consensus.Better(b, c.Tip()) {
				c.inbox(heard{block: b, from: p})
			}
		})
	}
	all.Wait()
}
