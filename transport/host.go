package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Host is one device on the network. Close it.
type Host struct {
	config Config
	p2p    host.Host
	own    atomic.Pointer[card]
	cards  *cards
	book   *book
	peers  *peers
	total  tally
	mdns   *neighbours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // everything that runs for this host
}

// Open starts a host. The error wraps ErrWrongDevice, keys.ErrExpired or
// keys.ErrSignature when the configuration's certificate does not hold.
func Open(c Config) (*Host, error) {
	if c.Now == nil {
		c.Now = systemNow
	}
	c.Limits = c.Limits.filled()
	if err := c.check(c.Now()); err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	options, err := c.options(&gate{})
	if err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	p2p, err := libp2p.New(options...)
	if err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	h := &Host{config: c, p2p: p2p, cards: newCards(), book: newBook(), peers: newPeers()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.own.Store(newCard(c.Certificate))
	p2p.Network().Notify(&network.NotifyBundle{ConnectedF: h.connected, DisconnectedF: h.disconnected})
	h.Handle(helloProtocol, func(*Stream) {}) // the certificates are all of it
	if c.MDNS {
		if h.mdns, err = h.findNeighbours(); err != nil {
			return nil, errors.Join(fmt.Errorf("open host: local network: %w", err), h.Close())
		}
	}
	return h, nil
}

// Close ends all streams and waits for all that runs for the host: handlers
// must return when their stream fails. A second Close does nothing.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()

	h.cancel()
	var err error
	if h.mdns != nil {
		err = h.mdns.close()
	}
	err = errors.Join(err, h.p2p.Close())
	h.peers.stop()
	h.work.Wait()
	return err
}

// begin counts a piece of work that Close waits for; false after Close.
// Who gets true calls h.work.Done.
func (h *Host) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.work.Add(1)
	}
	return !h.closed
}

// start runs f on its own, unless the host is closed.
func (h *Host) start(f func()) {
	if h.begin() {
		go func() {
			defer h.work.Done()
			f()
		}()
	}
}

// Device is this host's own key.
func (h *Host) Device() types.Device { return h.config.Device.ID() }

// Account is the account that this host speaks for.
func (h *Host) Account() types.Account { return h.own.Load().Account }

// Renew replaces the certificate that new streams begin with, before the old
// one expires. The errors are those of Open.
func (h *Host) Renew(c keys.Certificate) error {
	next := h.config
	next.Certificate = c
	if err := next.check(h.config.Now()); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if c.Account != h.Account() {
		return fmt.Errorf("renew certificate: %w: %s, have %s", ErrWrongAccount, c.Account, h.Account())
	}
	h.own.Store(newCard(c))
	return nil
}

// Addrs lists the multiaddrs under which the host may be reached, each ending
// in /p2p/<device>.
func (h *Host) Addrs() []string {
	var all []string
	for _, a := range h.p2p.Addrs() {
		all = append(all, a.String()+"/p2p/"+h.p2p.ID().String())
	}
	return all
}

// Handle serves a protocol: serve is called, on its own goroutine, for each
// stream that a peer opens, once its certificate holds. The stream is closed
// when serve returns. Streams above Limits are refused with ReasonBusy. A
// later Handle of the same protocol replaces the earlier.
func (h *Host) Handle(name string, serve func(*Stream)) {
	h.p2p.SetStreamHandler(protocol.ID(name), func(raw network.Stream) {
		if !h.begin() {
			_ = raw.Reset()
			return
		}
		defer h.work.Done()
		h.accept(raw, name, serve)
	})
}

func (h *Host) accept(raw network.Stream, name string, serve func(*Stream)) {
	device, err := deviceOf(raw.Conn().RemotePeer())
	if err != nil {
		_ = raw.Reset() // the gate lets none through
		return
	}
	l := h.link(device)
	s := h.stream(raw, l)
	if !h.peers.enter(l, h.config.Limits.StreamsPerPeer) {
		s.refuse()
		return
	}
	defer h.peers.leave(l)
	// An answer that cannot be written shows when the stream is used; a peer
	// that only pushes need not read it.
	_ = s.introduce()
	if s.meet() != nil {
		return // and the stream is reset with the reason
	}
	if !h.peers.enterProtocol(name, h.config.Limits.StreamsPerProtocol) {
		s.refuse()
		return
	}
	defer h.peers.leaveProtocol(name)
	l.count(&h.total, func(t *tally) { t.accepted.Add(1) })
	serve(s)
	_ = s.Close()
}

// refuse answers a stream above a limit.
func (s *Stream) refuse() {
	s.link.count(&s.host.total, func(t *tally) { t.refused.Add(1) })
	_ = s.Reset(ReasonBusy)
}
