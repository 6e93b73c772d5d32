package chain

import (
	"context"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// mineLoop makes a block whenever it is this account's turn on the newest tip.
func (c *Chain) mineLoop(ctx context.Context) {
	if !c.cfg.Mine {
		return
	}
	changed, stop := c.Watch()
	defer stop()
	for ctx.Err() == nil && c.Trouble() == nil {
		wait, ok, err := c.turn()
		if err != nil {
			c.stop(err)
			return
		}
		if !ok {
			wait = time.Minute // no power: look again
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
			if ok && !c.behind() {
				c.mineOnce(ctx)
			}
		}
		timer.Stop()
	}
}

// behind reports whether blocks of others wait to be judged: a block on top of an
// old tip would only make a fork.
func (c *Chain) behind() bool { return c.busy.Load() > 0 || len(c.in) > 0 }

// turn is how long to wait for this account's turn.
func (c *Chain) turn() (time.Duration, bool, error) {
	v, err := c.View()
	if err != nil {
		return 0, false, err
	}
	at, ok, err := v.Turn(c.cfg.Signer.Account())
	if err != nil || !ok {
		return 0, false, err
	}
	if done, err := c.minedAt(v.Head.Height + 1); err != nil || done {
		return 0, false, err
	}
	wait := max(0, time.Duration(at-c.cfg.Clock())*time.Millisecond)
	if c.behind() {
		wait = max(wait, 20*time.Millisecond)
	}
	return wait, true, nil
}

func minedKey(h types.Height) string { return keyMined + string(types.Be64(uint64(h))) }

// minedAt reports whether this account signed a header at a height before: it
// never signs two (C3).
func (c *Chain) minedAt(h types.Height) (bool, error) {
	_, ok, err := c.store.Get(table, minedKey(h))
	return ok, err
}

// mineOnce predicts the block, stores it with a note of its height and tells the
// peers. Both are on disk at once, before anybody hears of the block (K2): a note
// without its block would keep this account from ever making it.
func (c *Chain) mineOnce(ctx context.Context) {
	tip := c.Tip()
	may, err := c.mayMine(tip)
	if err != nil {
		c.stop(err)
		return
	}
	if !may {
		return // the tip changed since it was this account's turn
	}
	c.mu.Lock()
	pool := c.pool.ordered()
	c.mu.Unlock()
	out, left, err := consensus.Predict(c.store, tip.Name, pool, c.cfg.Signer, max(c.cfg.Clock(), tip.Header.Time+1))
	if err != nil {
		c.cfg.Report("chain: cannot make block %d: %v", tip.Header.Height+1, err)
		c.pause(ctx)
		return
	}
	c.forget(left)
	row := types.Row{Table: table, Key: minedKey(out.Block.Header.Height), Value: out.Block.Name.Bytes()}
	c.judging.Lock()
	_, err = c.keep(&out, row)
	c.judging.Unlock()
	if err != nil {
		c.stop(err)
		return
	}
	c.announce(ctx, &out.Block, types.Account{})
	c.nudge()
}

// mayMine reports whether this account may make the block after a tip now, and
// has signed none of that height.
func (c *Chain) mayMine(tip *types.Block) (bool, error) {
	if err := c.Trouble(); err != nil {
		return false, err
	}
	if done, err := c.minedAt(tip.Header.Height + 1); err != nil || done {
		return false, err
	}
	v, err := c.ViewAt(tip.Name)
	if err != nil {
		return false, err
	}
	at, ok, err := v.Turn(c.cfg.Signer.Account())
	return ok && at <= c.cfg.Clock(), err
}

// pause keeps a miner that cannot make a block from trying without end.
func (c *Chain) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// forget drops transactions that the rules refuse for good: those whose nonce is
// used. Others may become valid and leave when they expire.
func (c *Chain) forget(left []consensus.Left) {
	v, err := c.View()
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range left {
		t := c.pool.byID[l.Tx]
		if t == nil {
			continue
		}
		acc, err := v.Account(t.Sender)
		if err == nil && t.Nonce <= acc.Nonce || t.Expiry < c.cfg.Clock() {
			c.pool.drop(l.Tx)
		}
	}
}
