package logbook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Chain is what the logbook needs of the community.
type Chain interface {
	// View opens the newest state.
	View() (*consensus.View, error)
	// Watch gives a channel that gets a value after the tip changed.
	Watch() (changed <-chan struct{}, stop func())
	// Submit wishes for a transaction under a name; a second one under the same
	// name is ignored while the first waits.
	Submit(kind types.Kind, body types.Body, name string) error
}

// Index gives the digests of a range's pieces, fetching the dataset's index if
// need be, or *types.Missing. It must end with ctx; what is held here it gives
// also when ctx has ended.
type Index interface {
	Digests(ctx context.Context, a *types.Attachment, r types.Range) ([]types.Hash, error)
}

// Evidence is a receipt that this account gave or took.
type Evidence struct {
	lines.Traffic
	Receipt []byte // canonical bytes
}

// Traffic gives the newest receipt of the epoch for each party, of those that
// this account signed as payer or holds as payee.
type Traffic interface {
	Traffic(e types.Epoch) ([]Evidence, error)
}

// Own gives what else differs from the derived lines: lost pieces of a host,
// SMASH proofs of a sponsor that kept its seeds.
type Own interface {
	Exceptions(e types.Epoch) ([]lines.Exception, error)
}

// Config says whose logs these are and where they lie.
type Config struct {
	Dir     string // of this account's logs in this community; made if need be
	Account types.Account
	Device  types.Device // the registered one (K2)
	Chain   Chain
	Index   Index
	Traffic Traffic                          // nil: no downloads
	Own     Own                              // nil: nothing
	Report  func(format string, args ...any) // what a person could act on; nil: silent
}

// Keep is for how many epochs after its own a log can be read (ST3).
const Keep = 8

// Logbook writes, commits and gives the logs of one account.
type Logbook struct {
	cfg    Config
	mu     sync.Mutex  // files: one writer or one remover at a time
	judged types.Epoch // the receipts of those before are committed or void; of Step alone
}

// Open prepares the directory and removes what a crash left half written. The
// error is one of the disk.
func Open(cfg Config) (*Logbook, error) {
	b := &Logbook{cfg: cfg}
	if b.cfg.Report == nil {
		b.cfg.Report = func(string, ...any) {}
	}
	if err := b.tidy(); err != nil {
		return nil, fmt.Errorf("open logbook: %w", err)
	}
	return b, nil
}

// Run follows the chain until ctx ends. One Run at a time.
func (b *Logbook) Run(ctx context.Context) error {
	changed, stop := b.cfg.Chain.Watch()
	defer stop()
	for {
		if err := b.Step(ctx); err != nil && ctx.Err() == nil {
			b.cfg.Report("logs: %v", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Step does what the newest state asks for: the logs of the epoch before, when
// one block stands on its checkpoint and the time for kind 11 is not over, and
// the receipts of the epochs before that one, as long as they may come late
// (ST1). It may be called again at any time, not at once from two goroutines.
func (b *Logbook) Step(ctx context.Context) error {
	v, err := b.cfg.Chain.View()
	if err != nil {
		return err
	}
	running := v.Epochal()
	if err := b.prune(running); err != nil {
		return err
	}
	var errs []error
	for e := running - min(running, consensus.LateEpochs+1); e < running; e++ {
		errs = append(errs, b.epoch(ctx, v, e))
	}
	return errors.Join(append(errs, b.void(v))...)
}

// epoch does what is due for the logs of one epoch.
func (b *Logbook) epoch(ctx context.Context, v *consensus.View, e types.Epoch) error {
	h := v.Height()
	if h <= v.Rules.Checkpoint(e) || h >= consensus.LateLogsDue(v.Rules, e) {
		return nil
	}
	if mine, err := b.mine(v, e); err != nil || !mine {
		return err
	}
	if h >= v.Rules.LogsDue(e) {
		return b.commitLate(e)
	}
	return b.commit(ctx, v, e)
}

// mine tells whether this device answers for the account's logs of the epoch
// and has not committed them yet.
func (b *Logbook) mine(v *consensus.View, e types.Epoch) (bool, error) {
	reg, err := v.Registry(b.cfg.Account)
	if err != nil || reg == nil || reg.Register.Roles == 0 || reg.Register.Device != b.cfg.Device {
		return false, err
	}
	claim, err := v.Claim(e, b.cfg.Account)
	return claim == nil, err
}

// commit makes the logs unless they are written, and wishes for their kind 11.
func (b *Logbook) commit(ctx context.Context, v *consensus.View, e types.Epoch) error {
	frozen, err := v.Frozen(e)
	if err != nil {
		return fmt.Errorf("state at the checkpoint of epoch %d: %w", e, err)
	}
	head, err := b.head(e)
	if errors.Is(err, ErrNoLog) {
		last := v.Height()+2 >= v.Rules.LogsDue(e)
		head, err = b.build(ctx, frozen, e, last)
	}
	if err != nil || head == nil {
		return err
	}
	body, err := b.body(frozen, head)
	if err != nil {
		return err
	}
	// The name holds the fork: on another one the same headers go with its sums.
	name := fmt.Sprintf("log/%d/%s", e, types.Digest(frozen.Root()).Short())
	if err := b.cfg.Chain.Submit(types.KindLog, body, name); err != nil {
		return fmt.Errorf("commit logs of epoch %d: %w", e, err)
	}
	return nil
}

// body is the kind 11 for headers that are on the disk.
func (b *Logbook) body(frozen *consensus.View, head *head) (*types.LogCommitment, error) {
	root, err := head.Headers.Root()
	if err != nil {
		return nil, fmt.Errorf("headers of epoch %d: %w", head.epoch(), err)
	}
	sums, lots, err := claims(frozen, b.cfg.Account)
	if err != nil {
		return nil, err
	}
	return &types.LogCommitment{
		Epoch: head.epoch(), Root: root, Headers: uint32(len(head.Headers)),
		SumRoot: sums.Hash, Leaves: sums.Leaves, Lots: lots, Exceptions: head.Exceptions,
	}, nil
}

// patience is how long the digests of one range may take on the way, and of all
// ranges of one try together, for blocks of that many milliseconds.
func patience(blockMillis uint32) (one, all time.Duration) {
	all = time.Duration(blockMillis) * time.Millisecond
	return all / 8, all
}
