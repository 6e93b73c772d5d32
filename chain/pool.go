package chain

import (
	"bytes"
	"fmt"
	"sort"

	"github.com/staddle/staddle/types"
)

// Limits of the pool.
const (
	poolBytes      = 8 << 20
	poolPerAccount = 64
)

// pool holds transactions that are not in a block yet, one a sender and nonce.
type pool struct {
	byID  map[types.TxID]*types.Tx
	slots map[slotKey]types.TxID
	per   map[types.Account]int
	size  int
}

type slotKey struct {
	sender types.Account
	nonce  uint64
}

func newPool() *pool {
	return &pool{byID: map[types.TxID]*types.Tx{}, slots: map[slotKey]types.TxID{}, per: map[types.Account]int{}}
}

func (p *pool) has(id types.TxID) bool { return p.byID[id] != nil }

// add takes a checked transaction. One with the same sender and nonce is
// replaced by a higher fee, or by one that is bound to a newer block.
func (p *pool) add(t *types.Tx) error {
	id, key := t.ID(), slotKey{t.Sender, t.Nonce}
	if p.has(id) {
		return nil
	}
	if old, ok := p.slots[key]; ok {
		was := p.byID[old]
		if t.Fee <= was.Fee && t.Recent.Height <= was.Recent.Height {
			return fmt.Errorf("fee %d does not replace the waiting transaction's %d", t.Fee, was.Fee)
		}
		p.drop(old)
	}
	size := len(types.Marshal(t))
	switch {
	case p.per[t.Sender] >= poolPerAccount:
		return fmt.Errorf("account %s has %d waiting transactions, at most %d", t.Sender.Short(), p.per[t.Sender], poolPerAccount)
	case p.size+size > poolBytes:
		return fmt.Errorf("pool of %d bytes is full", p.size)
	}
	p.byID[id], p.slots[key] = t, id
	p.per[t.Sender]++
	p.size += size
	return nil
}

func (p *pool) drop(id types.TxID) {
	t := p.byID[id]
	if t == nil {
		return
	}
	delete(p.byID, id)
	delete(p.slots, slotKey{t.Sender, t.Nonce})
	if p.per[t.Sender]--; p.per[t.Sender] == 0 {
		delete(p.per, t.Sender)
	}
	p.size -= len(types.Marshal(t))
}

// settle takes out what a block included and puts back what left the fork.
func (p *pool) settle(included, back []types.Tx) {
	for i := range included {
		p.drop(included[i].ID())
		if id, ok := p.slots[slotKey{included[i].Sender, included[i].Nonce}]; ok {
			p.drop(id)
		}
	}
	for i := range back {
		_ = p.add(&back[i]) // what does not fit is sent again by its owner
	}
}

// ordered gives the transactions for a block: senders by their best fee, each
// sender's in order of nonces.
func (p *pool) ordered() []types.Tx {
	list := make([]*types.Tx, 0, len(p.byID))
	best := map[types.Account]types.Amount{}
	for _, t := range p.byID {
		list = append(list, t)
		best[t.Sender] = max(best[t.Sender], t.Fee)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if a.Sender == b.Sender {
			return a.Nonce < b.Nonce
		}
		if best[a.Sender] != best[b.Sender] {
			return best[a.Sender] > best[b.Sender]
		}
		return bytes.Compare(a.Sender[:], b.Sender[:]) < 0
	})
	out := make([]types.Tx, len(list))
	for i, t := range list {
		out[i] = *t
	}
	return out
}

// expire drops what no block may include any more.
func (p *pool) expire(now types.Millis) {
	for id, t := range p.byID {
		if t.Expiry < now {
			p.drop(id)
		}
	}
}
