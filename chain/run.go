package chain

import (
	"context"
	"errors"
	"fmt"
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
	inboxSize  = 1024 // more is dropped: peers tell again, or are asked
	askTimeout = 10 * time.Second
	pollEvery  = 2 * time.Second
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

// Run follows and extends the chain until ctx ends. One Run at a time.
func (c *Chain) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { c.mineLoop(ctx) })
	work.Go(func() { c.pollLoop(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-c.in:
			c.take(ctx, h)
		case <-c.wake:
			c.afterTip()
		}
		if err := c.Trouble(); err != nil {
			return err
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
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	before := c.Tip()
	out, err := c.Add(ask, b, from)
	if err == nil && out == Orphan {
		err = c.catchUp(ask, b, from)
	}
	c.blame(from, err)
	if tip := c.Tip(); tip != before {
		c.announce(ctx, tip, from)
		c.afterTip()
	}
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
	_ = undo // a wish that was included on a lost fork comes back through the pool
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
// background; who does not answer in time is asked at the next poll.
func (c *Chain) tellAll(ctx context.Context, msg []byte, except types.Account) {
	for _, p := range c.net.Connected() {
		if p == except || p == c.cfg.Signer.Account() {
			continue
		}
		c.talk.Go(func() {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			_, _ = c.net.Request(ask, p, Protocol, msg, 16) // a deaf peer hears at the next poll
		})
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
		for _, b := range c.due() {
			c.inbox(heard{block: b})
		}
		c.poll(ctx)
		c.nudge()
	}
}

func (c *Chain) poll(ctx context.Context) {
	for _, p := range c.net.Connected() {
		if p == c.cfg.Signer.Account() || c.isBanned(p) {
			continue
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		b, err := c.askTipOf(ask, p)
		if err == nil && b.Header.Chain == c.id && consensus.Better(b, c.Tip()) {
			err = c.pull(ask, b, p)
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			c.cfg.Report("chain: peer %s: %v", p.Short(), err)
		}
	}
}

// pull gets a block that a peer names as its tip, with its transactions, and the
// way to it.
func (c *Chain) pull(ctx context.Context, b *types.Block, from types.Account) error {
	if _, known, err := c.store.Get(table, keyBlock+b.Name.KeyString()); err != nil || known {
		return err
	}
	full, err := c.ancestors(ctx, from, b.Name)
	if err != nil {
		return fmt.Errorf("tip %d: %w", b.Header.Height, err)
	}
	for i := len(full) - 1; i >= 0; i-- {
		c.inbox(heard{block: full[i], from: from})
	}
	return nil
}
