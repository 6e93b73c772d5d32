package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/staddle/staddle/dht"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Meeting without addresses: an account's endpoint item says where its devices
// are, its tips item names the community's newest block and other members. Both
// are signed by the account key and kept by the DHT, so one DHT node to begin
// with and the account of one member are enough.

// dhtNetwork is the private network of all Staddle nodes.
const dhtNetwork = "staddle"

func (n *Node) openDHT() error {
	if n.cfg.DHT == "" {
		return nil
	}
	conn, err := net.ListenPacket("udp4", n.cfg.DHT)
	if err != nil {
		return fmt.Errorf("open DHT socket: %w", err)
	}
	var seeds []netip.AddrPort
	for _, s := range n.cfg.Seeds {
		at, err := netip.ParseAddrPort(s)
		if err != nil {
			return errors.Join(fmt.Errorf("DHT seed %q: want address:port: %w", s, err), conn.Close())
		}
		seeds = append(seeds, at)
	}
	if n.dht, err = dht.New(conn, dht.Config{Network: dht.NetworkTag([]byte(dhtNetwork)), Bootstrap: seeds}); err != nil {
		return fmt.Errorf("open DHT: %w", err)
	}
	return nil
}

const (
	meetEvery   = 5 * time.Second // looks whether its items should be renewed
	enoughAcks  = 4               // nodes that keep an item; with fewer it is published again soon
	itemLife    = time.Hour       // an unchanged endpoint is published again
	meetTimeout = 10 * time.Second
	maxTipPeers = 24
)

// meetLoop publishes this account's items until ctx ends.
func (n *Node) meetLoop(ctx context.Context) {
	if n.dht == nil {
		return
	}
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	var last []string
	var at time.Time
	for {
		if addrs := n.Addrs(); !slices.Equal(addrs, last) || time.Since(at) > itemLife {
			switch stored, err := n.publishEndpoint(ctx, addrs); {
			case err != nil && ctx.Err() == nil:
				n.report("dht: publish endpoint: %v", err)
			case stored >= enoughAcks:
				last, at = addrs, time.Now()
			}
		}
		if t := n.current(); t != nil {
			if err := n.publishTips(ctx, t); err != nil {
				n.report("dht: publish tips: %v", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// publishEndpoint writes where this device is, beside the account's others.
func (n *Node) publishEndpoint(ctx context.Context, addrs []string) (stored int, err error) {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	mine := dht.Device{ID: n.dht.ID(), Addresses: endpointAddrs(addrs), Certificate: types.Marshal(n.id.certificate(clock()))}
	if len(mine.Addresses) == 0 {
		return enoughAcks, nil // nothing to publish
	}
	e := dht.Endpoint{Minute: uint32(clock() / 60_000), Devices: []dht.Device{mine}}
	old, err := n.dht.GetMutable(ctx, n.Account(), dht.EndpointSalt(), 0)
	var cas *int64
	if err == nil {
		cas = &old.Seq
		if content, err := old.Content(); err == nil {
			e.Devices = append(e.Devices, n.others(content)...)
		}
	}
	slices.SortFunc(e.Devices, func(a, b dht.Device) int { return slices.Compare(a.ID[:], b.ID[:]) })
	content, err := dht.EncodeEndpoint(e)
	if err != nil {
		return 0, err
	}
	return n.putItem(ctx, dht.EndpointSalt(), content, cas)
}

// others are the account's other devices of an endpoint item, at most three.
func (n *Node) others(content []byte) []dht.Device {
	e, err := dht.DecodeEndpoint(content)
	if err != nil {
		return nil
	}
	var out []dht.Device
	for _, d := range e.Devices {
		c, ok := certified(d.Certificate, n.Account())
		if ok && c.Device != n.id.Device.ID() && len(out) < 3 && d.ID != n.dht.ID() {
			out = append(out, d)
		}
	}
	return out
}

func (n *Node) putItem(ctx context.Context, salt, content []byte, cas *int64) (stored int, err error) {
	res, err := n.dht.PutMutable(ctx, dht.MutablePut{
		Sign: n.id.Signer.Sign, Key: n.Account(), Salt: salt, Seq: int64(clock()), Content: content, CAS: cas,
	})
	return res.Stored, err
}

// publishTips writes the newest block and members that this node is connected to.
func (n *Node) publishTips(ctx context.Context, t *town) error {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	tip := t.chain.Tip()
	peers := limit(append(n.net.Connected(), n.Account()), maxTipPeers)
	slices.SortFunc(peers, func(a, b types.Account) int { return slices.Compare(a[:], b[:]) })
	content, err := dht.EncodeTips(dht.Tips{Height: tip.Header.Height, Root: types.Digest(tip.Name), Time: clock(), Peers: slices.Compact(peers)})
	if err != nil {
		return err
	}
	_, err = n.putItem(ctx, dht.TipsSalt(t.chain.ID()), content, nil)
	return err
}

// find learns an account's addresses from its endpoint item. Every device needs
// the account's own certificate.
func (n *Node) find(ctx context.Context, a types.Account) error {
	if n.dht == nil {
		return fmt.Errorf("account %s: no address is known and there is no DHT; give --dht and --dht-seed", a.Short())
	}
	if len(n.dht.Nodes()) == 0 {
		if _, err := n.dht.Bootstrap(ctx); err != nil {
			return fmt.Errorf("enter the DHT: %w", err)
		}
	}
	item, err := n.dht.GetMutable(ctx, a, dht.EndpointSalt(), 0)
	if err != nil {
		return fmt.Errorf("look for account %s: %w", a.Short(), err)
	}
	content, err := item.Content()
	if err != nil {
		return err
	}
	e, err := dht.DecodeEndpoint(content)
	if err != nil {
		return err
	}
	found := false
	for _, d := range e.Devices {
		c, ok := certified(d.Certificate, a)
		if !ok {
			continue
		}
		if err := n.host.Add(a, c.Device, multiaddrs(d.Addresses)...); err == nil {
			found = true
		}
	}
	if !found {
		return fmt.Errorf("account %s: its endpoint item names no certified device", a.Short())
	}
	return nil
}

// meet asks the tips of a member for more members.
func (n *Node) meet(ctx context.Context, a types.Account, chain types.ChainID) ([]types.Account, error) {
	item, err := n.dht.GetMutable(ctx, a, dht.TipsSalt(chain), 0)
	if err != nil {
		return nil, err
	}
	content, err := item.Content()
	if err != nil {
		return nil, err
	}
	t, err := dht.DecodeTips(content)
	return t.Peers, err
}

func certified(raw []byte, a types.Account) (keys.Certificate, bool) {
	var c keys.Certificate
	if err := types.Unmarshal(raw, &c); err != nil || c.Account != a || c.Verify(clock()) != nil {
		return c, false
	}
	return c, true
}

// endpointAddrs turns multiaddrs, with or without the device at their end, into
// what an endpoint item holds.
func endpointAddrs(list []string) []dht.Address {
	var out []dht.Address
	for _, s := range list {
		s, _, _ = strings.Cut(s, "/p2p/")
		part := strings.Split(strings.TrimPrefix(s, "/"), "/")
		if len(part) < 4 {
			continue
		}
		ip, errIP := netip.ParseAddr(part[1])
		port, errPort := strconv.ParseUint(part[3], 10, 16)
		if errIP != nil || errPort != nil || port == 0 || len(out) == 4 {
			continue
		}
		a := dht.Address{At: netip.AddrPortFrom(ip.Unmap(), uint16(port))}
		switch {
		case part[2] == "tcp" && len(part) == 4:
			a.Protocol = dht.ProtocolTCP
		case part[2] == "udp" && len(part) == 5 && part[4] == "quic-v1":
			a.Protocol = dht.ProtocolQUIC
		default:
			continue
		}
		out = append(out, a)
	}
	return out
}

func multiaddrs(list []dht.Address) []string {
	var out []string
	for _, a := range list {
		ip := "ip4"
		if a.At.Addr().Is6() {
			ip = "ip6"
		}
		switch a.Protocol {
		case dht.ProtocolTCP:
			out = append(out, fmt.Sprintf("/%s/%s/tcp/%d", ip, a.At.Addr(), a.At.Port()))
		case dht.ProtocolQUIC:
			out = append(out, fmt.Sprintf("/%s/%s/udp/%d/quic-v1", ip, a.At.Addr(), a.At.Port()))
		}
	}
	return out
}
