package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// queue is the one writer of this account: whoever wants a transaction says what
// it should do under a name of its own, the queue gives nonces and signs. When
// the account mines or the fork changes, nonces move; the queue then signs anew.
//
// A wish is executed once, whatever forks win: each version is bound to the block
// on which it was signed, all are remembered, and while one may still be included
// on the present fork a new one has the same nonce (send.go). A wish that is
// included stays in the store until its block is beyond every change of forks,
// and waits again when that block is lost.
type queue struct {
	store  Store
	mu     sync.Mutex
	wishes map[string]*wish     // that wait, by name
	ended  map[types.TxID]*wish // that a block included
	serial uint64
	looked bool // at the ended ones since the start
}

// wish is a transaction that is wanted.
type wish struct {
	name   string
	serial uint64
	kind   types.Kind
	body   []byte
	tx     *types.Tx    // newest signed version; nil: none yet
	sent   []version    // all that may still be included somewhere
	in     types.Cursor // block that included it; without root: it waits
	tries  int          // tips at which the rules refused it
	done   chan struct{}
	result result
}

// version is a signed transaction of a wish.
type version struct {
	id     types.TxID
	nonce  uint64
	expiry types.Millis
	recent types.Cursor
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
	maxVersions = 64 // of one wish
	maxWishName = 255
)

// EncodeTo appends [name, kind, body, [transaction]?, [[id, nonce, expiry,
// recent], ..], in]; the serial is the row's key.
func (w *wish) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Text(w.name)
	e.Uint(uint64(w.kind))
	e.Bytes(w.body)
	if w.tx == nil {
		e.Array(0)
	} else {
		e.Array(1)
		w.tx.EncodeTo(e)
	}
	e.Array(len(w.sent))
	for i := range w.sent {
		x := &w.sent[i]
		e.Array(4)
		e.Bytes(x.id[:])
		e.Uint(x.nonce)
		e.Uint(uint64(x.expiry))
		x.recent.EncodeTo(e)
	}
	w.in.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (w *wish) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	w.name = d.Text(maxWishName)
	w.kind = types.Kind(d.Uint8())
	w.body = d.Bytes(types.MaxBody)
	w.tx = nil
	if d.Array(1) == 1 {
		w.tx = new(types.Tx)
		w.tx.DecodeFrom(d)
	}
	w.sent = make([]version, d.Array(maxVersions))
	for i := range w.sent {
		x := &w.sent[i]
		d.Tuple(4)
		x.id = d.Hash()
		x.nonce = d.Uint()
		x.expiry = d.Millis()
		x.recent.DecodeFrom(d)
	}
	w.in.DecodeFrom(d)
}

func (w *wish) key() string { return keyWish + string(types.Be64(w.serial)) }

func (w *wish) row() types.Row { return types.Row{Table: table, Key: w.key(), Value: types.Marshal(w)} }

func openQueue(s Store) (*queue, error) {
	q := &queue{store: s, wishes: map[string]*wish{}, ended: map[types.TxID]*wish{}}
	err := s.Scan(table, keyWish, "", func(key string, value []byte) error {
		w := &wish{done: make(chan struct{})}
		d := types.NewDecoder(value)
		w.DecodeFrom(d)
		if err := d.End(); err != nil || len(key) != len(keyWish)+8 {
			return fmt.Errorf("stored wish %x: %w", key[len(keyWish):], err)
		}
		w.serial = binary.BigEndian.Uint64([]byte(key[len(keyWish):]))
		q.serial = max(q.serial, w.serial)
		if w.in.Root.Defined() {
			for i := range w.sent {
				q.ended[w.sent[i].id] = w
			}
			return nil
		}
		q.wishes[w.name] = w
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
	if len(name) > maxWishName {
		return fmt.Errorf("name of %d bytes for a transaction, at most %d", len(name), maxWishName)
	}
	if len(c.queue.wishes) >= maxWishes {
		return fmt.Errorf("%d transactions wait already", len(c.queue.wishes))
	}
	v, err := c.View()
	if err != nil {
		return err
	}
	if err := c.tryOut(v, w); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	c.queue.serial++
	w.serial = c.queue.serial
	rows := []types.Row{w.row()}
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
	case <-c.over:
		return types.TxID{}, 0, ErrStopped
	case <-w.done:
		return w.result.tx, w.result.height, w.result.err
	}
}

// ErrNoWish is the error of Await on a name that does not wait.
var ErrNoWish = errors.New("no such transaction is waiting")

// ErrStopped is the error of Await when the chain is not run any more.
var ErrStopped = errors.New("the node stopped following the chain; the transaction waits in its store")

// Waiting reports whether a wish with that name is under way.
func (c *Chain) Waiting(name string) bool {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.queue.wishes[name] != nil
}

// sorted gives the waiting wishes, oldest first; the mutex is held.
func (q *queue) sorted() []*wish {
	list := make([]*wish, 0, len(q.wishes))
	for _, w := range q.wishes {
		list = append(list, w)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].serial < list[j].serial })
	return list
}

// giveUp ends a wish that the rules refuse; the mutex is held.
func (q *queue) giveUp(w *wish, why error) error {
	if err := q.store.Save(nil, []types.Row{{Table: table, Key: w.key()}}); err != nil {
		return err
	}
	delete(q.wishes, w.name)
	w.result = result{err: why}
	close(w.done)
	return nil
}

// included ends the wishes whose transactions are in a block of the present
// fork, and notes that the block was looked at, so that after a crash no wish is
// sent a second time.
func (c *Chain) included(b *types.Block) error {
	me := c.cfg.Signer.Account()
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	c.seen = types.Cursor{Height: b.Header.Height, Root: b.Name}
	var rows []types.Row
	var over []*wish
	for i := range b.Txs {
		if b.Txs[i].Sender != me {
			continue
		}
		id := b.Txs[i].ID()
		if w := q.byVersion(id); w != nil {
			w.in, w.result = c.seen, result{tx: id, height: b.Header.Height}
			over, rows = append(over, w), append(rows, w.row())
		}
	}
	if len(rows) > 0 || len(q.wishes) > 0 {
		if err := q.store.Save(nil, append(rows, c.seenRow())); err != nil {
			return err
		}
	}
	for _, w := range over {
		delete(q.wishes, w.name)
		for i := range w.sent {
			q.ended[w.sent[i].id] = w
		}
		close(w.done)
	}
	return nil
}

func (q *queue) byVersion(id types.TxID) *wish {
	for _, w := range q.wishes {
		for i := range w.sent {
			if w.sent[i].id == id {
				return w
			}
		}
	}
	return nil
}

// revive lets wishes wait again whose block is not on the present fork any more,
// and forgets those whose block is beyond every change of forks.
func (c *Chain) revive() error {
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	height := c.Tip().Header.Height
	for _, w := range q.endedList() {
		name, err := c.NameAt(w.in.Height)
		if err != nil && !errors.Is(err, ErrUnknownBlock) {
			return err
		}
		lost := err != nil || name != w.in.Root
		if !lost && height <= w.in.Height+types.Height(c.rules.MutableRange) {
			continue
		}
		row := types.Row{Table: table, Key: w.key()}
		if lost {
			w.in, w.tries, w.done, w.result = types.Cursor{Root: cid.Undef}, 0, make(chan struct{}), result{}
			if q.wishes[w.name] != nil { // another took the name in the meantime
				w.name = fmt.Sprintf("%.200s/%d", w.name, w.serial)
			}
			row = w.row()
		}
		if err := q.store.Save(nil, []types.Row{row}); err != nil {
			return err
		}
		for i := range w.sent {
			delete(q.ended, w.sent[i].id)
		}
		if lost {
			q.wishes[w.name] = w
		}
	}
	q.looked = true
	return nil
}

// endedList gives each ended wish once, oldest first; the mutex is held.
func (q *queue) endedList() (list []*wish) {
	for id, w := range q.ended {
		if w.sent[0].id == id {
			list = append(list, w)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].serial < list[j].serial })
	return list
}

// seenRow is the row with the newest block whose wishes are ended; the queue's
// mutex is held.
func (c *Chain) seenRow() types.Row {
	return types.Row{Table: table, Key: rowSeen, Value: types.Marshal(&c.seen)}
}

// Signer is the account that acts here.
func (c *Chain) Signer() keys.Signer { return c.cfg.Signer }
