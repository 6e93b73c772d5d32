package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/staddle/staddle/dht"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/play"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// Node is one running daemon.
type Node struct {
	cfg     Config
	id      *Identity
	store   *store.Store
	host    *transport.Host
	net     network
	lib     *library.Library
	deny    *Denials
	dht     *dht.Node     // nil without one
	players net.Listener  // nil when playing is off
	nudge   chan struct{} // the duties changed
	lines   reporter
	face    face

	mu    sync.Mutex
	town  *town         // nil until there is a community
	ready chan struct{} // closed when town is set
}

// Open opens store, keys, network and the community of the store, if there is
// one; nothing runs yet. Errors are those of the parts, store.ErrLocked when
// another process has the home.
func Open(cfg Config) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	id, err := LoadIdentity(cfg.Home)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, id: id, ready: make(chan struct{}), nudge: make(chan struct{}, 1),
		lines: reporter{out: cfg.Report, last: map[string]time.Time{}},
	}
	if n.deny, err = OpenDenials(cfg.Home, func(w string) { n.report("deny: %s", w) }); err != nil {
		return nil, err
	}
	if n.store, err = OpenStore(cfg.Home, cfg.Quota); err != nil {
		return nil, err
	}
	if err := n.openNetwork(); err != nil {
		return nil, errors.Join(err, n.store.Close())
	}
	if err := n.openLibrary(); err != nil {
		return nil, errors.Join(err, n.host.Close(), n.store.Close())
	}
	for _, open := range []func() error{n.openPlay, n.openDHT, n.openFace, n.resume} {
		if err := open(); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// OpenStore opens the store of a home; a quota of 0 leaves it to the store.
func OpenStore(home string, quota int64) (*store.Store, error) {
	s, err := store.Open(filepath.Join(home, "store"), store.Options{Quota: quota})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (n *Node) openNetwork() (err error) {
	listen := n.cfg.Listen
	if len(listen) == 0 {
		listen = []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}
	}
	n.host, err = transport.Open(transport.Config{
		Device: n.id.Device, Certificate: n.id.certificate(clock()), Listen: listen,
		MDNS: n.cfg.MDNS, PortMap: n.cfg.PortMap,
	})
	if err != nil {
		return fmt.Errorf("open network: %w", err)
	}
	n.net = network{n.host}
	return nil
}

func (n *Node) openLibrary() (err error) {
	n.lib, err = library.New(library.Config{
		State: n.store, Pieces: n.store.Pieces(), Reserve: library.Rooms(n.store.Pieces().Reserve),
		Source: remote{n}, Now: clock, Seed: n.id.seed,
	})
	if err != nil {
		return fmt.Errorf("open library: %w", err)
	}
	return nil
}

// Run serves until ctx ends, or a part fails.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { n.dialLoop(ctx) })
	work.Go(func() { n.meetLoop(ctx) })
	if n.players != nil {
		work.Go(func() {
			if err := play.New(screen{n.lib}, play.Limits{}).Serve(ctx, n.players); err != nil {
				cancel(err)
			}
		})
	}
	work.Go(func() {
		if err := n.face.serve(ctx); err != nil {
			cancel(err)
		}
	})
	work.Go(func() {
		select {
		case <-ctx.Done():
		case <-n.ready:
			cancel(n.govern(ctx))
		}
	})
	<-ctx.Done()
	work.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close closes network and store.
func (n *Node) Close() error {
	var err error
	if t := n.current(); t != nil {
		t.close()
	}
	if n.dht != nil {
		err = n.dht.Close()
	}
	if n.players != nil {
		_ = n.players.Close() // it is closed already when Run has ended
	}
	return errors.Join(err, n.face.close(), n.host.Close(), n.store.Close())
}

func (n *Node) report(format string, args ...any) { n.lines.report(format, args...) }

// current is the community, nil when there is none.
func (n *Node) current() *town {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.town
}

// ErrNoCommunity is the error of what needs a community where there is none.
var ErrNoCommunity = errors.New("this node is in no community yet")

// member gives the community or ErrNoCommunity.
func (n *Node) member() (*town, error) {
	if t := n.current(); t != nil {
		return t, nil
	}
	return nil, ErrNoCommunity
}

// Account is who this node acts for.
func (n *Node) Account() types.Account { return n.id.Signer.Account() }

// Identity is the node's identity.
func (n *Node) Identity() *Identity { return n.id }

// Addrs are the multiaddrs at which peers reach this node.
func (n *Node) Addrs() []string { return n.host.Addrs() }
