// Package chain follows and extends one community: it judges blocks that peers
// send, keeps the heaviest fork as its tip, holds the pool, mines when it is this
// account's turn, and signs the account's transactions in one queue.
//
// States are persistent: every block has its own root, so changing to another
// fork is writing another tip; nothing is rolled back. Nodes, block and tip go
// down in one batch. Followers pull updates with a cursor (height and root) that
// they store with their own data.
//
// One mutex guards the tip, the pool and the queue; consensus runs outside of it
// for blocks that come in, one at a time.
package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Store keeps state blocks and rows.
type Store interface {
	Node(c cid.Cid) ([]byte, error)
	Save(nodes []types.Node, rows []types.Row) error
	Get(table, key string) ([]byte, bool, error)
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
}

// Net asks connected peers and answers them.
type Net interface {
	Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error)
	Answer(protocol string, limit int, f func(ctx context.Context, from types.Account, request []byte) ([]byte, error))
	Connected() []types.Account
}

// Config is what a chain needs besides its store and its peers.
type Config struct {
	Signer keys.Signer         // of the account that mines and sends here
	Clock  func() types.Millis // wall clock
	Mine   bool
	Anchor types.Cursor                     // a fork without this block is not followed (C7); without root: none
	Report func(format string, args ...any) // one line an event that a person could act on; nil: silent
}

// Chain is one community on this node. All methods may be called at once.
type Chain struct {
	store Store
	net   Net
	cfg   Config
	id    types.ChainID
	rules types.Rules
	gen   types.Genesis

	busy atomic.Int64   // blocks that Run judges now: it does not mine meanwhile
	in   chan heard     // for Run; full: dropped
	wake chan struct{}  // for Run; one waiting is enough
	over chan struct{}  // closed when Run ended
	talk sync.WaitGroup // requests on their way
	seen types.Cursor   // of Run: blocks whose wishes are ended

	judging sync.Mutex // one block at a time goes through consensus

	mu      sync.Mutex
	tip     *types.Block
	events  *recent // events of the newest blocks
	pool    *pool
	queue   *queue
	held    []heard                        // blocks ahead of the clock (T3)
	aside   *aside                         // of lesser forks, not judged
	deaf    map[types.Account]types.Millis // peers that did not answer, not asked again before
	watch   []chan struct{}
	banned  map[types.Account]types.Millis
	trouble error // of the store: the chain stands still
}

const (
	table     = "chain"
	rowTip    = "tip"
	rowGen    = "genesis"
	rowSeen   = "seen"
	keyBlock  = "b/"
	keyHeight = "h/"
	keyMined  = "m/"
)

// Create stores the genesis of a new community. It does nothing when the same
// one is there; another one is an error.
func Create(s Store, g *types.Genesis) (types.ChainID, error) {
	if err := g.NotYet(); err != nil {
		return types.ChainID{}, err
	}
	id := g.Chain()
	old, ok, err := s.Get(table, rowGen)
	if err != nil {
		return id, fmt.Errorf("read genesis: %w", err)
	}
	if ok {
		var have types.Genesis
		if err := types.Unmarshal(old, &have); err != nil {
			return id, fmt.Errorf("stored genesis: %w", err)
		}
		if have.Chain() != id {
			return id, fmt.Errorf("this store follows community %s already", have.Name)
		}
		return id, nil
	}
	out, err := consensus.Start(g)
	if err != nil {
		return id, fmt.Errorf("genesis of %s: %w", g.Name, err)
	}
	rows := append(blockRows(&out.Block), types.Row{Table: table, Key: rowGen, Value: types.Marshal(g)})
	return id, s.Save(out.Nodes, rows)
}

func blockRows(b *types.Block) []types.Row {
	return []types.Row{
		{Table: table, Key: keyBlock + b.Name.KeyString(), Value: types.Marshal(b)},
		{Table: table, Key: heightKey(b.Header.Height), Value: b.Name.Bytes()},
		{Table: table, Key: rowTip, Value: b.Name.Bytes()},
	}
}

func heightKey(h types.Height) string { return keyHeight + string(types.Be64(uint64(h))) }

// ErrNoCommunity is the error of Open on a store without a genesis.
var ErrNoCommunity = errors.New("no community here yet")

// Open continues a community from the store.
func Open(s Store, net Net, cfg Config) (*Chain, error) {
	raw, ok, err := s.Get(table, rowGen)
	if err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	if !ok {
		return nil, ErrNoCommunity
	}
	c := &Chain{
		store: s, net: net, cfg: cfg, banned: map[types.Account]types.Millis{}, deaf: map[types.Account]types.Millis{}, events: newRecent(), aside: newAside(),
		in: make(chan heard, inboxSize), wake: make(chan struct{}, 1), over: make(chan struct{}),
	}
	if err := types.Unmarshal(raw, &c.gen); err != nil {
		return nil, fmt.Errorf("stored genesis: %w", err)
	}
	c.id, c.rules = c.gen.Chain(), c.gen.Rules
	name, err := c.storedTip()
	if err != nil {
		return nil, err
	}
	if c.tip, err = c.Block(name); err != nil {
		return nil, fmt.Errorf("open tip: %w", err)
	}
	c.pool = newPool()
	if err := c.openSeen(); err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	if c.queue, err = openQueue(s); err != nil {
		return nil, err
	}
	if c.cfg.Report == nil {
		c.cfg.Report = func(string, ...any) {}
	}
	c.net.Answer(Protocol, maxRequest, c.answer)
	return c, nil
}

// openSeen continues where wishes were looked for last. With none waiting, the
// newest block will do.
func (c *Chain) openSeen() error {
	raw, ok, err := c.store.Get(table, rowSeen)
	if err != nil {
		return err
	}
	if ok {
		return types.Unmarshal(raw, &c.seen)
	}
	c.seen = types.Cursor{Height: c.tip.Header.Height, Root: c.tip.Name}
	return nil
}

func (c *Chain) storedTip() (cid.Cid, error) {
	raw, ok, err := c.store.Get(table, rowTip)
	if err != nil || !ok {
		return cid.Undef, fmt.Errorf("read tip (there: %t): %w", ok, err)
	}
	return types.ParseCIDBytes(raw)
}

// ID is the community's id.
func (c *Chain) ID() types.ChainID { return c.id }

// Genesis is how the community began.
func (c *Chain) Genesis() *types.Genesis { return &c.gen }

// Tip is the newest block.
func (c *Chain) Tip() *types.Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tip
}

// View opens the newest state. A View belongs to one goroutine.
func (c *Chain) View() (*consensus.View, error) { return consensus.Open(c.store, c.Tip().Name) }

// ViewAt opens the state of a block.
func (c *Chain) ViewAt(name cid.Cid) (*consensus.View, error) { return consensus.Open(c.store, name) }

// ErrUnknownBlock is the error of a block that is not here.
var ErrUnknownBlock = errors.New("block is not known here")

// Block reads a block by name.
func (c *Chain) Block(name cid.Cid) (*types.Block, error) {
	raw, ok, err := c.store.Get(table, keyBlock+name.KeyString())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownBlock, name)
	}
	b := new(types.Block)
	return b, types.Unmarshal(raw, b)
}

// NameAt is the name of the block at a height of the present fork.
func (c *Chain) NameAt(h types.Height) (cid.Cid, error) {
	raw, ok, err := c.store.Get(table, heightKey(h))
	if err != nil {
		return cid.Undef, err
	}
	if !ok || h > c.Tip().Header.Height {
		return cid.Undef, fmt.Errorf("%w: height %d", ErrUnknownBlock, h)
	}
	return types.ParseCIDBytes(raw)
}

// Watch gives a channel that gets a value after the tip changed; values that
// nobody took yet are merged. stop ends it.
func (c *Chain) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	c.watch = append(c.watch, ch)
	c.mu.Unlock()
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, w := range c.watch {
			if w == ch {
				c.watch = append(c.watch[:i:i], c.watch[i+1:]...)
				return
			}
		}
	}
}

// notify tells the watchers; the mutex is held.
func (c *Chain) notify() {
	for _, w := range c.watch {
		select {
		case w <- struct{}{}:
		default: // it has one waiting: merged
		}
	}
}
