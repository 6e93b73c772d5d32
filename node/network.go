package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// network is the transport as the engines see it.
type network struct{ *transport.Host }

// Connected lists the accounts of the connected peers, in order.
func (n network) Connected() []types.Account {
	var out []types.Account
	for _, p := range n.Peers() {
		if p.Account != n.Account() {
			out = append(out, p.Account)
		}
	}
	slices.SortFunc(out, func(a, b types.Account) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

const (
	dialEvery   = 2 * time.Second
	dialTimeout = 5 * time.Second
	enoughPeers = 16
)

// dialLoop keeps this node connected to members: first to those of the invite,
// then to whom the registry names, until there are enough.
func (n *Node) dialLoop(ctx context.Context) {
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	for {
		if t := n.current(); t != nil {
			n.dialMembers(ctx, t)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Node) dialMembers(ctx context.Context, t *town) {
	known, err := n.contacts(t)
	if err != nil {
		n.report("network: %v", err)
		return
	}
	have := n.net.Connected()
	for _, p := range known {
		if len(have) >= enoughPeers || ctx.Err() != nil {
			return
		}
		if p.Account == n.Account() || slices.Contains(have, p.Account) {
			continue
		}
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		if err := n.reach(dial, p); err == nil {
			have = append(have, p.Account)
		}
		cancel()
	}
}

// reach connects to a member: at the addresses that are known, else where the
// DHT says.
func (n *Node) reach(ctx context.Context, p types.InvitePeer) error {
	var err error
	if len(p.Addrs) > 0 && !p.Device.IsZero() {
		if err = n.host.Add(p.Account, p.Device, p.Addrs...); err == nil {
			if _, err = n.host.Connect(ctx, p.Account); err == nil {
				return nil
			}
		}
	}
	if lost := n.find(ctx, p.Account); lost != nil {
		return fmt.Errorf("reach %s: %w", p.Account.Short(), errors.Join(err, lost))
	}
	if _, err := n.host.Connect(ctx, p.Account); err != nil {
		return fmt.Errorf("connect to %s: %w", p.Account.Short(), err)
	}
	return nil
}

// contacts lists whom to dial: the peers of the invite, then the members that
// registered addresses, in order of their accounts.
func (n *Node) contacts(t *town) ([]types.InvitePeer, error) {
	out := append(slices.Clone(t.peers), n.metBy(t)...)
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	for _, role := range []types.Roles{types.RoleValidator, types.RoleHost, types.RoleSponsor, types.RoleEncoder} {
		accounts, err := v.Role(role)
		if err != nil {
			return nil, err
		}
		for _, a := range accounts {
			if slices.ContainsFunc(out, func(p types.InvitePeer) bool { return p.Account == a && len(p.Addrs) > 0 }) {
				continue
			}
			reg, err := v.Registry(a)
			if err != nil {
				return nil, err
			}
			if reg != nil && len(reg.Register.Endpoints) > 0 {
				out = append(out, types.InvitePeer{Account: a, Device: reg.Register.Device, Addrs: reg.Register.Endpoints})
			}
		}
	}
	return out, nil
}

// metBy are members that the tips of the invite's peers name, without addresses:
// the DHT knows where they are.
func (n *Node) metBy(t *town) []types.InvitePeer {
	if n.dht == nil || len(n.net.Connected()) >= enoughPeers/2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var out []types.InvitePeer
	for _, p := range t.peers {
		accounts, err := n.meet(ctx, p.Account, t.chain.ID())
		if err != nil {
			continue // not published, or not found this time
		}
		for _, a := range accounts {
			out = append(out, types.InvitePeer{Account: a})
		}
	}
	return out
}
