package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/chain"
	"github.com/staddle/staddle/host"
	"github.com/staddle/staddle/logbook"
	"github.com/staddle/staddle/sponsor"
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
