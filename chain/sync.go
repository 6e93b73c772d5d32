package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// Protocol is asked and answered by connected peers: one request, one answer,
// each a dag-cbor tuple that begins with a number.
const Protocol = "/staddle/chain/1"

// Requests.
const (
	askTip       = iota // [0, chain] -> [tip block without transactions]
	askAncestors        // [1, chain, name, count] -> [block, ..] from name backwards
	askNodes            // [2, chain, [cid, ..]] -> [bytes, ..], empty where not held
	tellBlock           // [3, chain, block] -> []
	tellTx              // [4, chain, transaction] -> []
	askGenesis          // [5, chain] -> genesis
)

// Limits of the protocol.
const (
	maxRequest   = types.MaxBlockBytes + 64<<10
	maxAnswer    = 4 << 20
	maxAncestors = 64
	maxNodes     = 64
	pushBytes    = 256 << 10 // larger blocks are pulled
)

func (c *Chain) request(op int, fields int) *types.Encoder {
	e := new(types.Encoder)
	e.Array(fields + 2)
	e.Uint(uint64(op))
	e.Bytes(c.id[:])
	return e
}

// answer serves one request of a peer.
func (c *Chain) answer(ctx context.Context, from types.Account, raw []byte) ([]byte, error) {
	d := types.NewDecoder(raw)
	fields := d.Array(8)
	op := int(d.Limit(askGenesis))
	if chain := d.Hash(); d.Err() == nil && chain != c.id {
		return nil, fmt.Errorf("request for chain %s, this is %s", chain.Short(), c.id.Short())
	}
	want := [...]int{askTip: 2, askAncestors: 4, askNodes: 3, tellBlock: 3, tellTx: 3, askGenesis: 2}
	if d.Err() == nil && fields != want[op] {
		d.Fail("request %d with %d fields, want %d", op, fields, want[op])
	}
	serve := [...]func(context.Context, types.Account, *types.Decoder) ([]byte, error){
		askTip: c.giveTip, askAncestors: c.giveAncestors, askNodes: c.giveNodes, tellBlock: c.hearBlock, tellTx: c.hearTx, askGenesis: c.giveGenesis,
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return serve[op](ctx, from, d)
}

func (c *Chain) giveTip(_ context.Context, _ types.Account, d *types.Decoder) ([]byte, error) {
	if err := d.End(); err != nil {
		return nil, err
	}
	tip := *c.Tip()
	tip.Txs = nil
	return types.Marshal(&tip), nil
}

func (c *Chain) giveGenesis(_ context.Context, _ types.Account, d *types.Decoder) ([]byte, error) {
	if err := d.End(); err != nil {
		return nil, err
	}
	return types.Marshal(&c.gen), nil
}

// FetchGenesis asks a peer how a community began; the answer must have the id.
func FetchGenesis(ctx context.Context, net Net, from types.Account, id types.ChainID) (*types.Genesis, error) {
	var e types.Encoder
	e.Array(2)
	e.Uint(askGenesis)
	e.Bytes(id[:])
	raw, err := net.Request(ctx, from, Protocol, e.Data(), maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("ask %s for the genesis: %w", from.Short(), err)
	}
	g := new(types.Genesis)
	if err := types.Unmarshal(raw, g); err != nil {
		return nil, fmt.Errorf("genesis from %s: %w", from.Short(), err)
	}
	if have := g.Chain(); have != id {
		return nil, fmt.Errorf("genesis from %s has chain id %s, want %s", from.Short(), have.Short(), id.Short())
	}
	return g, nil
}

func (c *Chain) giveAncestors(_ context.Context, _ types.Account, d *types.Decoder) ([]byte, error) {
	name := d.Link()
	count := int(d.Limit(maxAncestors))
	if err := d.End(); err != nil {
		return nil, err
	}
	var parts [][]byte
	size := 0
	for len(parts) < count && name.Defined() {
		raw, ok, err := c.store.Get(table, keyBlock+name.KeyString())
		if err != nil {
			return nil, err
		}
		if size += len(raw); !ok || size > maxAnswer-1024 {
			break
		}
		var b types.Block
		if err := types.Unmarshal(raw, &b); err != nil {
			return nil, err
		}
		parts, name = append(parts, raw), b.Header.Previous
	}
	var e types.Encoder
	e.Array(len(parts))
	for _, p := range parts {
		e.Raw(p)
	}
	return e.Data(), nil
}

func (c *Chain) giveNodes(_ context.Context, _ types.Account, d *types.Decoder) ([]byte, error) {
	names := make([]cid.Cid, d.Array(maxNodes))
	for i := range names {
		names[i] = d.Link()
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	var e types.Encoder
	e.Array(len(names))
	size := 0
	for _, n := range names {
		b, err := c.store.Node(n)
		var missing *types.Missing
		if err != nil && !errors.As(err, &missing) {
			return nil, err
		}
		if size += len(b); size > maxAnswer-1024 {
			b = nil
		}
		e.Bytes(b)
	}
	return e.Data(), nil
}

// fetchNodes asks a peer for blocks of state; each is checked against its name.
func (c *Chain) fetchNodes(ctx context.Context, from types.Account, want []cid.Cid) ([]types.Node, error) {
	e := c.request(askNodes, 1)
	e.Array(len(want))
	for _, w := range want {
		e.Link(w)
	}
	raw, err := c.net.Request(ctx, from, Protocol, e.Data(), maxAnswer)
	if err != nil {
		return nil, err
	}
	d := types.NewDecoder(raw)
	d.Tuple(len(want))
	out := make([]types.Node, 0, len(want))
	for _, w := range want {
		b := d.Bytes(maxAnswer)
		if d.Err() == nil && (len(b) == 0 || types.Digest(types.RawCID(b)) != types.Digest(w)) {
			return nil, fmt.Errorf("peer %s does not have %s", from.Short(), w)
		}
		out = append(out, types.Node{CID: w, Bytes: b})
	}
	return out, d.End()
}

// hearBlock takes a pushed block. A block whose parent is unknown makes this
// node ask the peer for the way to it.
func (c *Chain) hearBlock(_ context.Context, from types.Account, d *types.Decoder) ([]byte, error) {
	b := new(types.Block)
	b.DecodeFrom(d)
	if err := d.End(); err != nil {
		c.ban(from)
		return nil, err
	}
	if !c.isBanned(from) {
		c.inbox(heard{block: b, from: from})
	}
	return []byte{0x80}, nil
}

func (c *Chain) hearTx(ctx context.Context, from types.Account, d *types.Decoder) ([]byte, error) {
	t := new(types.Tx)
	t.DecodeFrom(d)
	if err := d.End(); err != nil {
		c.ban(from)
		return nil, err
	}
	if c.isBanned(from) {
		return []byte{0x80}, nil
	}
	err := c.learnTx(ctx, t, from)
	var inv *consensus.Invalid
	if err == nil || errors.As(err, &inv) || errors.Is(err, errKnown) {
		return []byte{0x80}, nil
	}
	return nil, err
}

var errKnown = errors.New("transaction is known")

// AddTx checks a transaction and takes it into the pool; a new one is passed on.
func (c *Chain) AddTx(t *types.Tx) error {
	id := t.ID()
	c.mu.Lock()
	has := c.pool.has(id)
	c.mu.Unlock()
	if has {
		return errKnown
	}
	if err := consensus.CheckSignature(t); err != nil {
		return err
	}
	v, err := c.View()
	if err != nil {
		return err
	}
	if err := v.Check(t, c.cfg.Clock()); err != nil {
		return err
	}
	c.mu.Lock()
	err = c.pool.add(t)
	c.mu.Unlock()
	if err != nil {
		return &consensus.Invalid{Why: err}
	}
	c.inbox(heard{tx: t})
	return nil
}

// maxNeeds bounds the blocks of state that a peer's transaction may bring along.
const maxNeeds = 64

// learnTx is AddTx for a peer's transaction: what it names and is not held here,
// such as a range list, is asked for first.
func (c *Chain) learnTx(ctx context.Context, t *types.Tx, from types.Account) error {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for range maxNeeds {
		err := c.AddTx(t)
		var missing *types.Missing
		if !errors.As(err, &missing) {
			return err
		}
		nodes, err := c.fetchNodes(ask, from, []cid.Cid{missing.CID})
		if err != nil {
			return err
		}
		if err := c.store.Save(nodes, nil); err != nil {
			return err
		}
	}
	return fmt.Errorf("transaction needs more than %d blocks of state", maxNeeds)
}

const banMillis = 10 * 60 * 1000

func (c *Chain) ban(a types.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.banned[a] = c.cfg.Clock() + banMillis
}

func (c *Chain) isBanned(a types.Account) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.banned[a]
	if ok && until < c.cfg.Clock() {
		delete(c.banned, a)
		return false
	}
	return ok
}

// ancestors asks for blocks from name backwards, at least one.
func (c *Chain) ancestors(ctx context.Context, from types.Account, name cid.Cid) ([]*types.Block, error) {
	e := c.request(askAncestors, 2)
	e.Link(name)
	e.Uint(maxAncestors)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	raw, err := c.net.Request(ctx, from, Protocol, e.Data(), maxAnswer)
	if err != nil {
		return nil, err
	}
	d := types.NewDecoder(raw)
	var out []*types.Block
	for range d.Array(maxAncestors) {
		b := new(types.Block)
		b.DecodeFrom(d)
		if d.Err() == nil && b.Name != name {
			return nil, fmt.Errorf("peer %s gave block %s, asked for %s", from.Short(), b.Name, name)
		}
		out, name = append(out, b), b.Header.Previous
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("peer %s does not have block %s", from.Short(), name)
	}
	return out, nil
}

// askTipOf learns a peer's newest block.
func (c *Chain) askTipOf(ctx context.Context, from types.Account) (*types.Block, error) {
	raw, err := c.net.Request(ctx, from, Protocol, c.request(askTip, 0).Data(), maxAnswer)
	if err != nil {
		return nil, err
	}
	b := new(types.Block)
	return b, types.Unmarshal(raw, b)
}
