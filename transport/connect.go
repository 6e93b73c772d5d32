package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// helloProtocol has no messages but the certificates with which every stream
// begins; it ends when both hold.
const helloProtocol = "/staddle/hello/1"

// connected is called by libp2p for each new connection. The peer has
// twice Limits.Meet to open or answer a stream with its certificate, so that a
// stream that fails can still say why.
func (h *Host) connected(_ network.Network, c network.Conn) {
	device, err := deviceOf(c.RemotePeer())
	if err != nil {
		return
	}
	h.link(device)
	if c.Stat().Direction == network.DirInbound {
		h.start(func() { h.retire(c) })
	}
}

// retire ends the older connections of a device that has opened a new one: it
// would have used them if it still had them, so it was restarted, and the news
// of the end got lost. Those of the same moment stay: a dial tries several
// addresses at once.
func (h *Host) retire(fresh network.Conn) {
	before := fresh.Stat().Opened.Add(-2 * h.config.Limits.Meet)
	for _, old := range h.p2p.Network().ConnsToPeer(fresh.RemotePeer()) {
		if old.Stat().Opened.Before(before) {
			_ = old.CloseWithError(network.ConnSupplanted)
		}
	}
}

func (h *Host) disconnected(_ network.Network, c network.Conn) {
	if device, err := deviceOf(c.RemotePeer()); err == nil {
		h.peers.unlink(device, func() bool { return h.connections(c.RemotePeer()) > 0 })
	}
}

func (h *Host) connections(id peer.ID) int { return len(h.p2p.Network().ConnsToPeer(id)) }

// link is the entry of a device; a new one gets its alarm.
func (h *Host) link(device types.Device) *link {
	id, err := peerOf(device)
	if err != nil {
		return &link{device: device} // a key that nobody can prove
	}
	l, made := h.peers.link(device, func() bool { return h.connections(id) > 0 })
	if made {
		h.peers.arm(l, 2*h.config.Limits.Meet, func() { h.part(device) })
	}
	return l
}

// Dial connects to a device by its multiaddr, which ends in /p2p/<device>, and
// learns its account. On success the address goes into the book.
func (h *Host) Dial(ctx context.Context, addr string) (Peer, error) {
	info, device, err := splitAddress(addr)
	if err != nil {
		return Peer{}, fmt.Errorf("dial: %w", err)
	}
	p, err := h.reach(ctx, device, info.Addrs)
	if err != nil {
		return Peer{}, fmt.Errorf("dial %s: %w", addr, err)
	}
	h.book.add(p.Account, device, info.Addrs)
	return p, nil
}

// Connect reaches one device of the account: one that is connected, else one
// of the book, the newest first. The error wraps ErrUnknown when the book has
// none, ErrBanned, or what the last device failed with; a device that proves
// another account gives ErrWrongAccount and leaves the book.
func (h *Host) Connect(ctx context.Context, to types.Account) (Peer, error) {
	if err := h.allowed(to); err != nil {
		return Peer{}, fmt.Errorf("connect to %s: %w", to.Short(), err)
	}
	if l := h.connectedTo(to); l != nil {
		return h.peer(l), nil
	}
	err := ErrUnknown
	for _, p := range h.book.find(to) {
		var found Peer
		if found, err = h.reachAs(ctx, to, p); err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Peer{}, fmt.Errorf("connect to %s: %w", to.Short(), err)
}

func (h *Host) allowed(account types.Account) error {
	if until, banned := h.peers.banned(account, h.config.Now()); banned {
		return fmt.Errorf("%w: %s until %d", ErrBanned, account, until)
	}
	return nil
}

func (h *Host) connectedTo(account types.Account) *link {
	all := h.peers.list(h.config.Now(), func(c keys.Certificate) bool { return c.Account == account })
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func (h *Host) reachAs(ctx context.Context, to types.Account, p place) (Peer, error) {
	found, err := h.reach(ctx, p.device, p.at)
	if err != nil {
		return Peer{}, err
	}
	if found.Account != to {
		h.book.drop(to, p.device)
		return Peer{}, fmt.Errorf("%w: device %s is of %s", ErrWrongAccount, p.device, found.Account)
	}
	return found, nil
}

// reach connects to a device and exchanges certificates. A new connection on
// which that fails is ended.
func (h *Host) reach(ctx context.Context, device types.Device, at []multiaddr.Multiaddr) (Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.config.Limits.Idle)
	defer cancel()
	if device == h.Device() {
		return Peer{}, fmt.Errorf("%w: that is this device", ErrAddress)
	}
	id, err := peerOf(device)
	if err != nil {
		return Peer{}, err
	}
	if h.connections(id) > 0 {
		err := h.hello(ctx, device)
		if err == nil {
			return h.peer(h.link(device)), nil
		}
		if !errors.Is(err, ErrLost) && !errors.Is(err, ErrUnknown) {
			return Peer{}, err
		}
		h.part(device) // it was dead, and nobody had noticed
	}
	info := peer.AddrInfo{ID: id, Addrs: at}
	p, err := h.reachAnew(ctx, device, info)
	if errors.Is(err, ErrUnknown) { // one was there still, and ended before it was used
		p, err = h.reachAnew(ctx, device, info)
	}
	return p, err
}

func (h *Host) reachAnew(ctx context.Context, device types.Device, info peer.AddrInfo) (Peer, error) {
	h.forgive(info.ID)
	if err := h.p2p.Connect(ctx, info); err != nil {
		return Peer{}, fault(err)
	}
	if err := h.hello(ctx, device); err != nil {
		h.part(device)
		return Peer{}, err
	}
	return h.peer(h.link(device)), nil
}

// forgive forgets earlier failures: who asks for a connection decides himself
// how often he asks.
func (h *Host) forgive(id peer.ID) {
	if s, ok := h.p2p.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
}

// hello shows both certificates and waits until the peer, too, is content.
func (h *Host) hello(ctx context.Context, device types.Device) error {
	s, err := h.OpenDevice(ctx, device, helloProtocol)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ReasonCancelled) })
	defer stop()
	_ = s.CloseWrite() // what is wrong shows when reading
	if _, err = s.Receive(0); ended(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: hello carries no frames", ErrProtocol)
	}
	return err
}

// Open opens a stream of a protocol to a device of the account, connecting as
// Connect does if need be. What it returns is proven: the account is to.
// A peer that refuses this host's certificate says so at the first Receive.
func (h *Host) Open(ctx context.Context, to types.Account, protocol string) (*Stream, error) {
	if err := h.allowed(to); err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", protocol, to.Short(), err)
	}
	l := h.connectedTo(to)
	if l == nil {
		p, err := h.Connect(ctx, to)
		if err != nil {
			return nil, err
		}
		l = h.link(p.Device)
	}
	s, err := h.OpenDevice(ctx, l.device, protocol)
	if err != nil {
		return nil, err
	}
	if s.account != to {
		_ = s.Reset(ReasonCertificate)
		return nil, fmt.Errorf("open %s to %s: %w: %s", protocol, to.Short(), ErrWrongAccount, s.account)
	}
	return s, nil
}

// OpenDevice opens a stream to this very device, connected or in the book.
func (h *Host) OpenDevice(ctx context.Context, device types.Device, name string) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, h.config.Limits.Idle)
	defer cancel()
	s, err := h.openRaw(ctx, device, name)
	if err == nil {
		err = h.begun(ctx, s)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s to %.8s: %w", name, device, err)
	}
	return s, nil
}

func (h *Host) openRaw(ctx context.Context, device types.Device, name string) (*Stream, error) {
	if !h.begin() {
		return nil, ErrClosed
	}
	defer h.work.Done()
	id, err := peerOf(device)
	if err != nil {
		return nil, err
	}
	if h.connections(id) == 0 {
		at := h.book.device(device)
		if len(at) == 0 {
			return nil, ErrUnknown
		}
		h.forgive(id)
		h.p2p.Peerstore().AddAddrs(id, at, peerstore.TempAddrTTL)
	}
	raw, err := h.p2p.NewStream(ctx, id, protocol.ID(name))
	if err != nil {
		return nil, fault(err)
	}
	l := h.link(device)
	l.count(&h.total, func(t *tally) { t.opened.Add(1) })
	return h.stream(raw, l), nil
}

// begun sends our certificate. The peer's is awaited only when the device has
// not proved its account on this connection; else it is read, and checked,
// before the first bytes that the peer sends.
func (h *Host) begun(ctx context.Context, s *Stream) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ReasonCancelled) })
	err := s.introduce()
	if c, ok := h.peers.proven(s.link, h.config.Now()); ok {
		s.account, s.roles, s.known = c.Account, c.Roles, true
	} else if err == nil || isReset(err) {
		err = s.meet() // it knows better why the peer gave up
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	_ = s.Reset(reasonFor(err))
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", fault(ctx.Err()), err)
	}
	return err
}

func isReset(err error) bool {
	var reset *ResetError
	return errors.As(err, &reset)
}

// peer describes a link.
func (h *Host) peer(l *link) Peer {
	c, _ := h.peers.proven(l, 0)
	p := Peer{Account: c.Account, Device: l.device, Roles: c.Roles, Since: h.peers.sinceOf(l), Stats: l.stats()}
	if id, err := peerOf(l.device); err == nil {
		for _, conn := range h.p2p.Network().ConnsToPeer(id) {
			p.Addrs = append(p.Addrs, conn.RemoteMultiaddr().String())
		}
	}
	return p
}

// Peers lists the connected devices whose certificate holds, the longest
// connected first.
func (h *Host) Peers() []Peer {
	var all []Peer
	for _, l := range h.peers.list(h.config.Now(), func(keys.Certificate) bool { return true }) {
		all = append(all, h.peer(l))
	}
	return all
}

// Stats sum up all peers, those of the past included.
func (h *Host) Stats() Stats { return h.total.stats() }

// OnPeer calls f, on its own goroutine, for each peer that is connected and
// for each that comes later, once a connection, when its certificate holds.
// f must return when calls to this host fail, for Close waits for it.
func (h *Host) OnPeer(f func(Peer)) {
	for _, l := range h.peers.observe(f) {
		h.start(func() { f(h.peer(l)) })
	}
}

// Disconnect ends the connections to all devices of the account.
func (h *Host) Disconnect(account types.Account) {
	for _, l := range h.peers.list(0, func(c keys.Certificate) bool { return c.Account == account }) {
		h.part(l.device)
	}
}

// part ends the connections to a device; its entry goes at once, before
// libp2p reports the end.
func (h *Host) part(device types.Device) {
	if id, err := peerOf(device); err == nil {
		_ = h.p2p.Network().ClosePeer(id)
		h.peers.unlink(device, func() bool { return h.connections(id) > 0 })
	}
}

// Ban disconnects the account and refuses it until that moment, in both
// directions. A moment that is past lifts the ban. 4,096 bans are kept.
func (h *Host) Ban(account types.Account, until types.Millis) {
	now := h.config.Now()
	h.peers.ban(account, until, now)
	if until > now {
		h.Disconnect(account)
	}
}
