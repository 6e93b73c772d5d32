package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/chain"
	"github.com/staddle/staddle/host"
	"github.com/staddle/staddle/logbook"
	"github.com/staddle/staddle/sponsor"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
	"github.com/staddle/staddle/validate"
)

// town is a community with its engines.
type town struct {
	node      *Node
	chain     *chain.Chain
	peers     []types.InvitePeer // of the invite
	sponsor   *sponsor.Sponsor
	swarm     *swarm.Swarm
	usual     swarm.Terms // of downloads
	server    *swarm.Server
	host      *host.Host
	logs      *logbook.Logbook
	validator *validate.Validator
	gateway   net.Listener
	epochs    string // folder with a folder of logs for each epoch
	answers   answers
	locking   sync.Mutex // one wish for a lock at a time
	parts     []part
	closers   []func()
	closed    sync.Once
}

// part is an engine that runs.
type part struct {
	name string
	run  func(context.Context) error
}

// openTown opens the chain of the store and the engines over it.
func (n *Node) openTown(inv *types.Invite) (*town, error) {
	c, err := chain.Open(n.store, n.net, chain.Config{
		Signer: n.id.Signer, Clock: clock, Mine: n.cfg.Mine, Anchor: inv.Checkpoint, Report: n.report,
	})
	if err != nil {
		return nil, err
	}
	t := &town{
		node: n, chain: c, peers: inv.Peers, answers: answers{net: n.net},
		sponsor: sponsor.New(c, n.net, n.Account()),
	}
	t.parts = []part{{"chain", c.Run}, {"registry", t.registrar}}
	for _, open := range []func() error{t.openSwarm, t.openHost, t.openLogs, t.openValidator, t.openGateway} {
		if err := open(); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// close closes what the engines opened; a second time does nothing.
func (t *town) close() {
	t.closed.Do(func() {
		for i := len(t.closers) - 1; i >= 0; i-- {
			t.closers[i]()
		}
	})
}

// run runs all engines until ctx ends or one fails.
func (t *town) run(ctx context.Context) error {
	defer t.close()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range t.parts {
		g.Go(func() error {
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// govern runs the engines until ctx ends or one fails. A full disk ends none of
// the daemon's duty to read and serve: the engines are opened anew from what is
// on disk, as after a crash, once there is room again.
func (n *Node) govern(ctx context.Context) error {
	for {
		err := n.current().run(ctx)
		if ctx.Err() != nil || !errors.Is(err, store.ErrDiskFull) {
			return err
		}
		n.report("%v; the community goes on once there is room", err)
		if err := n.reopen(ctx); err != nil {
			return err
		}
	}
}

// roomEvery is how often a full disk is looked at again.
const roomEvery = time.Second

// reopen waits for room on the disk and opens the engines from the store.
func (n *Node) reopen(ctx context.Context) error {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		t, err := n.again()
		if errors.Is(err, store.ErrDiskFull) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open community again: %w", err)
		}
		n.mu.Lock()
		n.town = t
		n.mu.Unlock()
		n.report("there is room on the disk again: the community goes on")
		return nil
	}
}

func (n *Node) again() (*town, error) {
	if err := n.store.Save(nil, []types.Row{{Table: table, Key: rowRoom, Value: []byte{1}}}); err != nil {
		return nil, err
	}
	inv, err := n.invite()
	if err != nil {
		return nil, err
	}
	return n.openTown(inv)
}
