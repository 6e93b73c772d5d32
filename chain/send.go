package chain

import (
	"errors"
	"sort"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// How wishes become transactions. A version that may still be included pins its
// wish to its nonce: signed with another one, both could be. So nonces below a
// pinned one that nobody needs any more are filled, by a fresh wish or by a
// transaction that does nothing.

// tryOut judges a wish as if it were next.
func (c *Chain) tryOut(v *consensus.View, w *wish) error {
	acc, err := v.Account(c.cfg.Signer.Account())
	if err != nil {
		return err
	}
	t, err := c.unsigned(v, w, acc.Nonce+1)
	if err != nil {
		return err
	}
	return v.Check(t, max(c.cfg.Clock(), v.Head.Time))
}

// draft makes and signs the transaction of a wish, bound to the tip.
func (c *Chain) draft(v *consensus.View, w *wish, nonce uint64) (*types.Tx, error) {
	t, err := c.unsigned(v, w, nonce)
	if err != nil {
		return nil, err
	}
	id := t.ID()
	t.Signature = c.cfg.Signer.Sign(id[:])
	return t, nil
}

func (c *Chain) unsigned(v *consensus.View, w *wish, nonce uint64) (*types.Tx, error) {
	now := c.cfg.Clock()
	t := &types.Tx{
		Version: types.TxVersion, Chain: c.id, Kind: w.kind, Sender: c.cfg.Signer.Account(), Nonce: nonce,
		Time: now, Expiry: now + types.Millis(c.rules.ExpiryMillis), Recent: c.tipName(v), Body: w.body,
	}
	return t, c.price(v, t)
}

func (c *Chain) tipName(v *consensus.View) types.Cursor {
	return types.Cursor{Height: v.Head.Height, Root: v.Root()}
}

// price names a fee that covers a rising base fee for some blocks: a quarter
// above the present one. What is over goes to the miner.
func (c *Chain) price(v *consensus.View, t *types.Tx) error {
	if t.Kind == types.KindBundle || t.Kind == types.KindLog {
		return nil
	}
	t.Fee = types.MaxSupply // the longest encoding, for the size
	base, err := v.MinFee(len(types.Marshal(t)))
	if err != nil {
		return err
	}
	t.Fee = base + base/4
	return nil
}

// refresh looks at every wish after the tip changed and gives the transactions
// that should be on their way, in the order of their nonces.
func (c *Chain) refresh() ([]*types.Tx, error) {
	v, err := c.View()
	if err != nil {
		return nil, err
	}
	acc, err := v.Account(c.cfg.Signer.Account())
	if err != nil {
		return nil, err
	}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	p := &plan{c: c, v: v, used: acc.Nonce, out: map[uint64]*types.Tx{}}
	var fresh []*wish
	for _, w := range c.queue.sorted() {
		pinned, allowed, err := p.look(w)
		switch {
		case err != nil:
			return nil, err
		case allowed && pinned > 0:
			err = p.send(w, pinned)
		case allowed:
			fresh = append(fresh, w)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, w := range fresh {
		if err := p.send(w, p.free()); err != nil {
			return nil, err
		}
	}
	return p.whole()
}

// plan gives wishes their nonces at one tip.
type plan struct {
	c    *Chain
	v    *consensus.View
	used uint64               // nonce of the account
	out  map[uint64]*types.Tx // by nonce
}

// look tells at which nonce a wish is pinned (0: none) and whether the rules
// allow it now. One that they refuse for long, and that no block can include any
// more, is given up.
func (p *plan) look(w *wish) (pinned uint64, allowed bool, err error) {
	for i := range w.sent {
		alive, err := p.alive(&w.sent[i])
		if err != nil {
			return 0, false, err
		}
		if alive {
			pinned = w.sent[i].nonce
		}
	}
	err = p.c.tryOut(p.v, w)
	var inv *consensus.Invalid
	var missing *types.Missing
	switch {
	case err == nil:
		w.tries = 0
		return pinned, true, nil
	case !errors.As(err, &inv) && !errors.As(err, &missing):
		return 0, false, err
	}
	if w.tries++; w.tries > wishPatient && pinned == 0 {
		return 0, false, p.c.queue.giveUp(w, err)
	}
	return pinned, false, nil
}

// alive reports whether a version could be in a block above the tip.
func (p *plan) alive(x *version) (bool, error) {
	head := &p.v.Head
	reach := types.Height(p.c.rules.MutableRange)
	if x.nonce <= p.used || x.expiry < head.Time || x.recent.Height > head.Height || head.Height+1-x.recent.Height > reach {
		return false, nil
	}
	name, err := p.v.Name(x.recent.Height)
	return err == nil && name == x.recent.Root, err
}

// free is the lowest nonce without a transaction.
func (p *plan) free() uint64 {
	n := p.used + 1
	for p.out[n] != nil {
		n++
	}
	return n
}

// send puts a wish on its way with a nonce; its version is renewed before it
// expires, and stored before anybody hears of it.
func (p *plan) send(w *wish, nonce uint64) error {
	if nonce > p.used+poolPerAccount || p.out[nonce] != nil {
		return nil // its turn comes
	}
	if !p.current(w, nonce) {
		p.prune(w)
		if len(w.sent) >= maxVersions {
			return nil // until old ones are dead for good
		}
		t, err := p.c.draft(p.v, w, nonce)
		if err != nil {
			return err
		}
		w.tx = t
		w.sent = append(w.sent, version{id: t.ID(), nonce: t.Nonce, expiry: t.Expiry, recent: t.Recent})
		if err := p.c.store.Save(nil, []types.Row{w.row()}); err != nil {
			return err
		}
	}
	p.out[nonce] = w.tx
	return nil
}

// current reports whether the newest version will do.
func (p *plan) current(w *wish, nonce uint64) bool {
	if w.tx == nil || w.tx.Nonce != nonce || w.tx.Expiry-p.c.cfg.Clock() < types.Millis(p.c.rules.ExpiryMillis)/2 {
		return false
	}
	alive, err := p.alive(&w.sent[len(w.sent)-1])
	return err == nil && alive
}

// prune forgets versions that are bound to blocks beyond every change of forks.
func (p *plan) prune(w *wish) {
	keep := w.sent[:0:0]
	for _, x := range w.sent {
		if x.recent.Height+types.Height(p.c.rules.MutableRange) >= p.v.Head.Height {
			keep = append(keep, x)
		}
	}
	w.sent = keep
}

// whole fills the gaps below the highest nonce.
func (p *plan) whole() ([]*types.Tx, error) {
	var nonces []uint64
	for n := range p.out {
		nonces = append(nonces, n)
	}
	sort.Slice(nonces, func(i, j int) bool { return nonces[i] < nonces[j] })
	var list []*types.Tx
	next := p.used + 1
	for _, n := range nonces {
		for ; next < n; next++ {
			t, err := p.c.filler(p.v, next)
			if err != nil {
				return nil, err
			}
			list = append(list, t)
		}
		list = append(list, p.out[n])
		next = n + 1
	}
	return list, nil
}

// filler is a transaction that does nothing but use a nonce: the smallest wire to
// oneself.
func (c *Chain) filler(v *consensus.View, nonce uint64) (*types.Tx, error) {
	me := c.cfg.Signer.Account()
	return c.draft(v, &wish{kind: types.KindWire, body: types.Marshal(&types.Wire{To: me, Amount: types.BaseUnit})}, nonce)
}
