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

// dialLoop keeps this node connected to members, until there are enough.
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

// dialMembers writes into the address book what is known, so that whoever needs
// a member finds it at once, and then connects: last to those that only the DHT
// can find, which takes time.
func (n *Node) dialMembers(ctx context.Context, t *town) {
	known, err := n.contacts(t)
	if err != nil {
		n.report("network: %v", err)
		return
	}
	have := n.net.Connected()
	for _, p := range known {
		if len(p.Addrs) > 0 && !p.Device.IsZero() && !slices.Contains(have, p.Account) {
			_ = n.host.Add(p.Account, p.Device, p.Addrs...) // a registered address that is none helps nobody
		}
	}
	slices.SortStableFunc(known, func(a, b types.InvitePeer) int { return min(len(b.Addrs), 1) - min(len(a.Addrs), 1) })
	n.dialAll(ctx, known)
	n.dialAll(ctx, n.metBy(t))
}

// dialAll connects to members until there are enough.
func (n *Node) dialAll(ctx context.Context, list []types.InvitePeer) {
	for _, p := range list {
		have := n.net.Connected()
		if len(have) >= enoughPeers || ctx.Err() != nil {
			return
		}
		if p.Account == n.Account() || slices.Contains(have, p.Account) {
			continue
		}
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		_ = n.reach(dial, p) // who does not answer is tried again soon
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

// contacts lists whom to dial: the members that registered addresses, in order of
// their accounts, then the peers of the invite. Both may name one account, since
// either may be the newer.
func (n *Node) contacts(t *town) ([]types.InvitePeer, error) {
	var out []types.InvitePeer
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
			if names(out, a) {
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
	return append(out, t.peers...), nil
}

// names reports whether a list has an account.
func names(list []types.InvitePeer, a types.Account) bool {
	return slices.ContainsFunc(list, func(p types.InvitePeer) bool { return p.Account == a })
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
