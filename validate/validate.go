package validate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Validator does one account's duties. Make it with New.
type Validator struct {
	cfg  Config
	me   types.Account
	runs *runs

	waiting map[types.AttemptID]types.Height // attestations on their way; of the loop that attests

	signing sync.Mutex // one decision about a signature at a time

	mu    sync.Mutex
	tests map[testKey]*test // service tests under way
	word  reserved
	told  map[types.Account]*toldOf              // what a proposer was told last
	held  map[types.Epoch]map[types.Account]Used // logs that are held, checked

	worked [dutyCount]atomic.Uint64 // height of the state that each duty was done for last

	attested, checked, disputed, tested, settled atomic.Uint64
}

// New joins a validator with its ports and begins to answer requests. The
// directory is made if need be.
func New(cfg Config) (*Validator, error) {
	cfg.defaults()
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open epochs: %w", err)
	}
	v := &Validator{
		cfg: cfg, me: cfg.Signer.Account(), runs: newRuns(),
		waiting: map[types.AttemptID]types.Height{}, tests: map[testKey]*test{}, told: map[types.Account]*toldOf{}, held: map[types.Epoch]map[types.Account]Used{},
	}
	cfg.Net.Answer(replica.BundleProtocol, replica.MaxBundleRequest, v.answerBundle)
	cfg.Net.Answer(Protocol, maxRequest, v.answerSettle)
	return v, nil
}

// duty is one loop of Run. A step does what a state, the newest one, asks for;
// it is called again when the tip or the time moved on.
type duty struct {
	name string
	step func(ctx context.Context, now *consensus.View) error
}

// duties are those of Run, in no order.
func (v *Validator) duties() [dutyCount]duty {
	return [dutyCount]duty{
		{"attest", v.attest},
		{"dispute", v.dispute},
		{"serve", v.serve},
		{"logs", v.collect},
		{"settle", v.settle},
		{"feedback", v.feedback},
	}
}

const dutyCount = 6

// Run does the duties until ctx ends. Errors of a step are reported and the
// step is repeated later.
func (v *Validator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, d := range v.duties() {
		g.Go(func() error { return v.loop(ctx, d, &v.worked[i]) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// loop repeats a duty and notes the height of the newest state that it was done
// for.
func (v *Validator) loop(ctx context.Context, d duty, worked *atomic.Uint64) error {
	changed, stop := v.cfg.Chain.Watch()
	defer stop()
	tick := time.NewTicker(v.cfg.Retry)
	defer tick.Stop()
	for {
		now, err := v.cfg.Chain.View()
		if err == nil {
			err = d.step(ctx, now)
			worked.Store(uint64(now.Height()))
		}
		if err != nil && ctx.Err() == nil {
			v.cfg.Report("%s: %v", d.name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}

// ask sends a request with a time limit and gives the answer.
func (v *Validator) ask(ctx context.Context, limit time.Duration, to types.Account, q call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return v.cfg.Net.Request(ctx, to, q.protocol, types.Marshal(q.body), q.limit)
}

// call is a request to a peer.
type call struct {
	protocol string
	body     types.Encodable
	limit    int // bytes of the answer
}

// deposited reports whether the account is a validator whose deposit counts.
func (v *Validator) deposited(now *consensus.View) (bool, error) {
	list, _, err := now.Committee()
	if err != nil {
		return false, err
	}
	for _, c := range list {
		if c.Account == v.me {
			return true, nil
		}
	}
	return false, nil
}

// recent lists the epochs that may still need work: from the oldest that is not
// paid up to the running one.
func recent(now *consensus.View) (first, last types.Epoch, err error) {
	g, err := now.Globals()
	if err != nil {
		return 0, 0, err
	}
	return g.Transfer, now.Epochal(), nil
}
