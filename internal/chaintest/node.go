package chaintest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// source holds the blocks of all states.
type source struct {
	mu    sync.RWMutex
	nodes map[cid.Cid][]byte
}

// Node implements trie.Source.
func (s *source) Node(c cid.Cid) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.nodes[c]
	if !ok {
		return nil, &types.Missing{CID: c}
	}
	return b, nil
}

func (s *source) add(nodes []types.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range nodes {
		s.nodes[n.CID] = n.Bytes
	}
}

// Node is the chain as one account's engines see it.
type Node struct {
	w  *World
	by keys.Signer
}

// Node gives member number i its chain.
func (w *World) Node(i int) *Node { return &Node{w, Signer(i)} }

// As gives any account its chain.
func (w *World) As(by keys.Signer) *Node { return &Node{w, by} }

// Signer is the account that acts here.
func (n *Node) Signer() keys.Signer { return n.by }

// ID is the community's id.
func (n *Node) ID() types.ChainID { return n.w.gen.Chain() }

// Genesis is how the community began.
func (n *Node) Genesis() *types.Genesis { return n.w.gen }

// Tip is the newest block.
func (n *Node) Tip() *types.Block { return n.w.Tip() }

// View opens the newest state.
func (n *Node) View() (*consensus.View, error) { return consensus.Open(n.w.src, n.w.Tip().Name) }

// ViewAt opens the state of a block.
func (n *Node) ViewAt(name cid.Cid) (*consensus.View, error) { return consensus.Open(n.w.src, name) }

// NameAt is the name of the block at a height of the present fork.
func (n *Node) NameAt(h types.Height) (cid.Cid, error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if uint64(h) >= uint64(len(n.w.fork)) {
		return cid.Undef, fmt.Errorf("no block %d yet", h)
	}
	return n.w.fork[h], nil
}

// Updates gives the way from a cursor to the present fork, as *chain.Chain does.
func (n *Node) Updates(after types.Cursor, limit int) (undo, do []types.Update, err error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	at := after
	for at.Root.Defined() && !n.w.holds(at) {
		b := n.w.blocks[at.Root]
		if b == nil {
			return nil, nil, fmt.Errorf("undo: block %s is not known", at.Root)
		}
		undo = append(undo, types.Update{Block: b, Events: n.w.events[b.Name]})
		at = types.Cursor{Height: b.Header.Height - 1, Root: b.Header.Previous}
	}
	next := 0
	if at.Root.Defined() {
		next = int(at.Height) + 1
	}
	for ; next < len(n.w.fork) && len(do) < limit; next++ {
		b := n.w.blocks[n.w.fork[next]]
		do = append(do, types.Update{Block: b, Events: n.w.events[b.Name]})
	}
	return undo, do, nil
}

// holds tells whether a cursor stands on the present fork; the mutex is held.
func (w *World) holds(c types.Cursor) bool {
	return uint64(c.Height) < uint64(len(w.fork)) && w.fork[c.Height] == c.Root
}

// Watch gives a channel that gets a value after the tip changed; values that
// nobody took yet are merged. stop ends it.
func (n *Node) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.w.watch = append(n.w.watch, ch)
	return ch, func() {
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		for i, c := range n.w.watch {
			if c == ch {
				n.w.watch = append(n.w.watch[:i:i], n.w.watch[i+1:]...)
				return
			}
		}
	}
}

// Submit wishes for a transaction. While a wish with that name waits a second
// one is ignored; what the rules refuse now is an error.
func (n *Node) Submit(kind types.Kind, body types.Body, name string) error {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.find(name) != nil {
		return nil
	}
	x := &wish{by: n.by, name: name, kind: kind, body: body, done: make(chan struct{})}
	v, err := consensus.Open(n.w.src, n.w.fork[len(n.w.fork)-1])
	if err != nil {
		return err
	}
	t, err := n.w.draft(v, x, 0)
	if err != nil {
		return err
	}
	if err := v.Check(t, v.Head.Time); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	n.w.wishes = append(n.w.wishes, x)
	select {
	case n.w.asked <- struct{}{}:
	default: // one is waiting: merged
	}
	return nil
}

// find gives the account's waiting wish; the mutex is held.
func (n *Node) find(name string) *wish {
	for _, x := range n.w.wishes {
		if x.name == name && x.by.Account() == n.by.Account() {
			return x
		}
	}
	return nil
}

// ErrNoWish is the error of Await on a name that does not wait.
var ErrNoWish = errors.New("no such transaction is waiting")

// Await waits for the end of a wish.
func (n *Node) Await(ctx context.Context, name string) (types.TxID, types.Height, error) {
	n.w.mu.Lock()
	x := n.find(name)
	n.w.mu.Unlock()
	if x == nil {
		return types.TxID{}, 0, ErrNoWish
	}
	select {
	case <-ctx.Done():
		return types.TxID{}, 0, ctx.Err()
	case <-x.done:
		return x.tx, x.at, x.err
	}
}

// Waiting reports whether a wish with that name is under way.
func (n *Node) Waiting(name string) bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.find(name) != nil
}
