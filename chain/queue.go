package chain

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// queue is the one writer of this account: whoever wants a transaction says what
// it should do under a name of its own, the queue gives nonces and signs. When
// the account mines or the fork changes, nonces move; the queue then signs anew.
// Each version is bound to the newest block, so two versions of one wish can
// never both be valid on one fork.
type queue struct {
	store  Store
	mu     sync.Mutex
	wishes map[string]*wish
	serial uint64
}

// wish is a transaction that is wanted.
type wish struct {
	name   string
	serial uint64
	kind   types.Kind
	body   []byte
	tx     *types.Tx // newest signed version; nil: none yet
	tries  int       // tips at which the rules refused it
	done   chan struct{}
	result result
}

// result is what became of a wish.
type result struct {
	tx     types.TxID
	height types.Height // of the block that included it
	err    error        // why it was given up
}

const (
	keyWish     = "w/"
	wishPatient = 30 // tips that a refused wish is tried again at
	maxWishes   = 4096
)

// EncodeTo appends [serial, kind, body, [transaction]?].
func (w *wish) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(w.serial)
	e.Uint(uint64(w.kind))
	e.Bytes(w.body)
	if w.tx == nil {
		e.Array(0)
		return
	}
	e.Array(1)
	w.tx.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (w *wish) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	w.serial = d.Uint()
	w.kind = types.Kind(d.Uint8())
	w.body = d.Bytes(types.MaxBody)
	if d.Array(1) == 1 {
		w.tx = new(types.Tx)
		w.tx.DecodeFrom(d)
	}
}

func openQueue(s Store) (*queue, error) {
	q := &queue{store: s, wishes: map[string]*wish{}}
	err := s.Scan(table, keyWish, "", func(key string, value []byte) error {
		w := &wish{name: key[len(keyWish):], done: make(chan struct{})}
		if err := types.Unmarshal(value, w); err != nil {
			return fmt.Errorf("stored wish %q: %w", w.name, err)
		}
		q.wishes[w.name], q.serial = w, max(q.serial, w.serial)
		return nil
	})
	return q, err
}

// Submit wishes for a transaction of this account. name is chosen by the caller;
// while a wish with that name waits, a second one is ignored. The wish survives a
// restart. An error means that the rules refuse it now, or the store failed.
func (c *Chain) Submit(kind types.Kind, body types.Body, name string) error {
	w := &wish{name: name, kind: kind, body: types.Marshal(body), done: make(chan struct{})}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if c.queue.wishes[name] != nil {
		return nil
	}
	if len(c.queue.wishes) >= maxWishes {
		return fmt.Errorf("%d transactions wait already", len(c.queue.wishes))
	}
	if err := c.tryOut(w); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	c.queue.serial++
	w.serial = c.queue.serial
	rows := []types.Row{{Table: table, Key: keyWish + name, Value: types.Marshal(w)}}
	if len(c.queue.wishes) == 0 {
		rows = append(rows, c.seenRow())
	}
	if err := c.store.Save(nil, rows); err != nil {
		return err
	}
	c.queue.wishes[name] = w
	c.nudge()
	return nil
}

// Await waits for the end of a wish: the transaction and the height of the block
// that included it, or why it was given up. A name that is not waiting ends at
// once with ErrNoWish.
func (c *Chain) Await(ctx context.Context, name string) (types.TxID, types.Height, error) {
	c.queue.mu.Lock()
	w := c.queue.wishes[name]
	c.queue.mu.Unlock()
	if w == nil {
		return types.TxID{}, 0, ErrNoWish
	}
	select {
	case <-ctx.Done():
		return types.TxID{}, 0, ctx.Err()
	case <-w.done:
		return w.result.tx, w.result.height, w.result.err
	}
}

// ErrNoWish is the error of Await on a name that does not wait.
var ErrNoWish = errors.New("no such transaction is waiting")

// Waiting reports whether a wish with that name is under way.
func (c *Chain) Waiting(name string) bool {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.queue.wishes[name] != nil
}

// tryOut judges a wish against the newest state as if it were next.
func (c *Chain) tryOut(w *wish) error {
	v, err := c.View()
	if err != nil {
		return err
	}
	t, err := c.draft(v, w, 0)
	if err != nil {
		return err
	}
	return v.Check(t, c.cfg.Clock())
}

// draft makes and signs the transaction of a wish, ahead places after the
// account's next nonce.
func (c *Chain) draft(v *consensus.View, w *wish, ahead uint64) (*types.Tx, error) {
	acc, err := v.Account(c.cfg.Signer.Account())
	if err != nil {
		return nil, err
	}
	name := c.tipName(v)
	now := c.cfg.Clock()
	t := &types.Tx{
		Version: types.TxVersion, Chain: c.id, Kind: w.kind, Sender: c.cfg.Signer.Account(),
		Nonce: acc.Nonce + 1 + ahead, Time: now, Expiry: now + types.Millis(c.rules.ExpiryMillis), Recent: name, Body: w.body,
	}
	if err := c.price(v, t); err != nil {
		return nil, err
	}
	id := t.ID()
	t.Signature = c.cfg.Signer.Sign(id[:])
	return t, nil
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

// refresh looks at every wish after the tip changed: what is included is done,
// what has another nonce than its place is signed anew, in the order of the
// wishes. It gives the transactions to announce.
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
	var out []*types.Tx
	ahead := uint64(0)
	for _, w := range c.queue.sorted() {
		if ahead >= poolPerAccount {
			break
		}
		t, err := c.renew(v, w, acc.Nonce, ahead)
		if err != nil {
			return nil, err
		}
		if t != nil {
			ahead++
			out = append(out, t)
		}
	}
	return out, nil
}

func (q *queue) sorted() []*wish {
	list := make([]*wish, 0, len(q.wishes))
	for _, w := range q.wishes {
		list = append(list, w)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].serial < list[j].serial })
	return list
}

// renew gives the transaction that should be on its way for a wish; nil when the
// wish is refused at this tip. Versions keep their nonce as long as it fits.
func (c *Chain) renew(v *consensus.View, w *wish, nonce, ahead uint64) (*types.Tx, error) {
	want := nonce + 1 + ahead
	now := c.cfg.Clock()
	if w.tx == nil || w.tx.Nonce != want || w.tx.Expiry-now < types.Millis(c.rules.ExpiryMillis)/2 {
		t, err := c.draft(v, w, ahead)
		if err != nil {
			return nil, err
		}
		w.tx = t
		row := types.Row{Table: table, Key: keyWish + w.name, Value: types.Marshal(w)}
		if err := c.store.Save(nil, []types.Row{row}); err != nil {
			return nil, err
		}
	}
	err := v.Check(w.tx, now)
	var inv *consensus.Invalid
	switch {
	case err == nil:
		w.tries = 0
		return w.tx, nil
	case !errors.As(err, &inv):
		return nil, err
	}
	w.tx = nil
	if w.tries++; w.tries > wishPatient {
		return nil, c.queue.end(w, result{err: err})
	}
	return nil, nil
}

// end forgets a wish and tells who waits; the queue's mutex is held.
func (q *queue) end(w *wish, r result, more ...types.Row) error {
	rows := append(more, types.Row{Table: table, Key: keyWish + w.name})
	if err := q.store.Save(nil, rows); err != nil {
		return err
	}
	delete(q.wishes, w.name)
	w.result = r
	close(w.done)
	return nil
}

// included ends the wishes whose transactions are in a block of the present
// fork, and notes that the block was looked at, so that after a crash no wish is
// sent a second time.
func (c *Chain) included(b *types.Block) error {
	me := c.cfg.Signer.Account()
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	c.seen = types.Cursor{Height: b.Header.Height, Root: b.Name}
	for i := range b.Txs {
		if b.Txs[i].Sender != me {
			continue
		}
		for _, w := range c.queue.sorted() {
			if w.kind == b.Txs[i].Kind && string(w.body) == string(b.Txs[i].Body) {
				if err := c.queue.end(w, result{tx: b.Txs[i].ID(), height: b.Header.Height}); err != nil {
					return err
				}
				break
			}
		}
	}
	if len(c.queue.wishes) == 0 {
		return nil
	}
	return c.store.Save(nil, []types.Row{c.seenRow()})
}

// seenRow is the row with the newest block whose wishes are ended; the queue's
// mutex is held.
func (c *Chain) seenRow() types.Row {
	return types.Row{Table: table, Key: rowSeen, Value: types.Marshal(&c.seen)}
}

// Signer is the account that acts here.
func (c *Chain) Signer() keys.Signer { return c.cfg.Signer }
