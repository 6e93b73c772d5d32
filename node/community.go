package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/staddle/staddle/chain"
	"github.com/staddle/staddle/types"
)

// Rows of the node itself.
const (
	table     = "node"
	rowInvite = "invite" // that this node came by
	rowRoom   = "room"   // written to see whether the disk takes anything
)

// resume starts the engines of the community in the store, if there is one.
func (n *Node) resume() error {
	inv, err := n.invite()
	if err != nil {
		return err
	}
	t, err := n.openTown(inv)
	if errors.Is(err, chain.ErrNoCommunity) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open community: %w", err)
	}
	n.settle(t)
	return nil
}

func (n *Node) settle(t *town) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.town = t
	close(n.ready)
}

// invite reads the invite that this node came by; an empty one when it created
// its community.
func (n *Node) invite() (*types.Invite, error) {
	raw, ok, err := n.store.Get(table, rowInvite)
	if err != nil {
		return nil, fmt.Errorf("read invite: %w", err)
	}
	inv := new(types.Invite)
	if !ok {
		return inv, nil
	}
	return inv, types.Unmarshal(raw, inv)
}

// Create starts a community of which this account is a member.
func (n *Node) Create(g *types.Genesis) (types.ChainID, error) {
	if n.current() != nil {
		return types.ChainID{}, fmt.Errorf("this node follows community %s already", n.current().chain.Genesis().Name)
	}
	if err := g.Check(); err != nil {
		return types.ChainID{}, err
	}
	id, err := chain.Create(n.store, g)
	if err != nil {
		return id, err
	}
	t, err := n.openTown(&types.Invite{})
	if err != nil {
		return id, err
	}
	n.settle(t)
	return id, nil
}

const (
	joinTimeout = 15 * time.Second // for one peer
	joinRounds  = 5                // a DHT that was just entered may not know everybody at once
)

// Join follows the community of an invite: its genesis comes from one of the
// peers that the invite names, and must have the id that it names.
func (n *Node) Join(ctx context.Context, inv *types.Invite) error {
	if t := n.current(); t != nil {
		if t.chain.ID() == inv.Chain {
			return nil
		}
		return fmt.Errorf("this node follows community %s already", t.chain.Genesis().Name)
	}
	if len(inv.Peers) == 0 {
		return errors.New("the invite names no peer; ask for a new one")
	}
	var last error
	for range joinRounds {
		for _, p := range inv.Peers {
			g, err := n.genesisFrom(ctx, p, inv.Chain)
			if err == nil {
				return n.joinWith(inv, g)
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no peer of the invite gave the community's genesis: %w", errors.Join(last, ctx.Err()))
		case <-time.After(dialEvery):
		}
	}
	return fmt.Errorf("no peer of the invite gave the community's genesis: %w", last)
}

func (n *Node) genesisFrom(ctx context.Context, p types.InvitePeer, id types.ChainID) (*types.Genesis, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := n.reach(ctx, p); err != nil {
		return nil, err
	}
	return chain.FetchGenesis(ctx, n.net, p.Account, id)
}

func (n *Node) joinWith(inv *types.Invite, g *types.Genesis) error {
	if _, err := chain.Create(n.store, g); err != nil {
		return err
	}
	row := types.Row{Table: table, Key: rowInvite, Value: types.Marshal(inv)}
	if err := n.store.Save(nil, []types.Row{row}); err != nil {
		return err
	}
	t, err := n.openTown(inv)
	if err != nil {
		return err
	}
	n.settle(t)
	return nil
}

// Invite makes an invite to this node's community with this node first among
// the peers.
func (n *Node) Invite() (*types.Invite, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	tip := t.chain.Tip()
	inv := &types.Invite{
		Chain: t.chain.ID(), Name: t.chain.Genesis().Name, Time: tip.Header.Time,
		Checkpoint: types.Cursor{Height: tip.Header.Height, Root: tip.Name},
		Peers:      []types.InvitePeer{{Account: n.Account(), Device: n.id.Device.ID(), Addrs: limit(n.Addrs(), types.MaxPeerAddrs)}},
	}
	others, err := n.contacts(t)
	if err != nil {
		return nil, err
	}
	for _, p := range others {
		if len(inv.Peers) < types.MaxInvitePeers && !names(inv.Peers, p.Account) {
			p.Addrs = limit(p.Addrs, types.MaxPeerAddrs)
			inv.Peers = append(inv.Peers, p)
		}
	}
	// The newest blocks may still change: name one that a few others rest on.
	const settled = 10
	if h := tip.Header.Height; h > settled {
		return inv, n.anchor(inv, t, h-settled)
	}
	return inv, n.anchor(inv, t, 0)
}

func (n *Node) anchor(inv *types.Invite, t *town, h types.Height) error {
	name, err := t.chain.NameAt(h)
	if err != nil {
		return err
	}
	b, err := t.chain.Block(name)
	if err != nil {
		return err
	}
	inv.Checkpoint, inv.Time = types.Cursor{Height: h, Root: name}, b.Header.Time
	return nil
}

func limit[T any](list []T, n int) []T { return slices.Clone(list[:min(len(list), n)]) }
