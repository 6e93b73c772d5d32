package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/cluster"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
	"github.com/staddle/staddle/validate"
)

// openValidator joins the validator. It does nothing while the account has no
// deposit.
func (t *town) openValidator() (err error) {
	n := t.node
	run, err := cluster.New("local", cluster.Options{})
	if err != nil {
		return err
	}
	t.epochs = filepath.Join(n.cfg.Home, "epochs", t.chain.ID().Short())
	t.validator, err = validate.New(validate.Config{
		Signer: n.id.Signer, Chain: t.chain, Net: shared{n.net, &t.answers}, Store: n.store,
		Strangers: strangers{t}, Peers: doors{t}, Runner: runner{run}, Digests: t.digests,
		Dir: t.epochs, Chance: rand.Reader, Retry: 500 * time.Millisecond, Report: n.report,
	})
	if err != nil {
		return err
	}
	t.parts = append(t.parts, part{"validator", t.validator.Run})
	return nil
}

// logsDir is where an epoch's literal logs lie; "" where this node has none.
func (t *town) logsDir(e types.Epoch) string {
	dir := filepath.Join(t.epochs, fmt.Sprint(e))
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// runner runs a settlement on this machine.
type runner struct{ cluster.Runner }

// Run runs a plan.
func (r runner) Run(ctx context.Context, plan settle.Plan, dir string) (validate.Outcome, error) {
	res, err := r.Runner.Run(ctx, plan, dir, nil)
	if err != nil {
		return validate.Outcome{}, err
	}
	rows, err := res.Rows(settle.Grammar{})
	if err != nil {
		return validate.Outcome{}, err
	}
	out := validate.Outcome{Rows: rows}
	for _, step := range res.Steps {
		for _, p := range step.Parts {
			if p.Report != "" {
				out.Reports = append(out.Reports, p.Report)
			}
		}
	}
	return out, nil
}

// strangers opens connections that show nobody who asks (H5): a new account, a
// new device, no listening address.
type strangers struct{ t *town }

// FetchOnce gets one piece from a host under a key made for it.
func (s strangers) FetchOnce(ctx context.Context, host types.Account, digest types.Hash) (piece []byte, err error) {
	v, err := s.t.chain.View()
	if err != nil {
		return nil, err
	}
	reg, err := v.Registry(host)
	if err != nil {
		return nil, err
	}
	if reg == nil || len(reg.Register.Endpoints) == 0 {
		return nil, fmt.Errorf("host %s registered no address", host.Short())
	}
	var seed [32]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	signer := keys.SignerFromSeed(seed)
	device, err := keys.NewDevice(rand.Reader)
	if err != nil {
		return nil, err
	}
	id := Identity{Signer: signer, Device: device}
	h, err := transport.Open(transport.Config{Device: device, Certificate: id.certificate(clock())})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := h.Add(host, reg.Register.Device, reg.Register.Endpoints...); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, to types.Account) (swarm.Stream, error) {
		st, err := h.Open(ctx, to, swarm.Protocol)
		if err != nil {
			return nil, err
		}
		return st, nil
	}
	once := swarm.New(swarm.Config{Chain: s.t.chain.ID(), Signer: signer, Dial: dial, Facts: facts(s), Ledger: noLedger{}})
	err = once.Fetch(ctx, []types.Hash{digest}, []swarm.Peer{{Account: host}}, func(_ int, b []byte) error {
		piece = append([]byte(nil), b...)
		return nil
	})
	return piece, err
}

// noLedger is the ledger of who never pays.
type noLedger struct{}

// Get finds nothing.
func (noLedger) Get(string, string) ([]byte, bool, error) { return nil, false, nil }

// Scan finds nothing.
func (noLedger) Scan(string, string, string, func(string, []byte) error) error { return nil }

// Save keeps nothing.
func (noLedger) Save([]types.Node, []types.Row) error { return nil }

// verifyEpoch runs an epoch's settlement again and compares.
func (n *Node) verifyEpoch(ctx context.Context, q api.EpochRequest, _ *api.Out) (*api.EpochVerifyResult, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	e, err := pickEpoch(v, q.Epoch)
	if err != nil {
		return nil, err
	}
	r, err := t.validator.Verify(ctx, e)
	if err != nil {
		return nil, err
	}
	return &api.EpochVerifyResult{
		Epoch: uint64(e), Committed: r.Committed.String(), Computed: r.Computed.String(), Same: r.Same, Rows: r.Rows, Lines: r.Lines,
	}, nil
}
