package swarm

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// grace is what peers get to finish when all has come.
const grace = time.Second

// maxUnpaid is how often a peer is tried that does not see the lock. It may be a
// block behind, or on another fork for a moment.
const maxUnpaid = 10

// job is one fetch. Its mutex guards the plan and the sums.
type job struct {
	s     *Swarm
	terms Terms
	want  []types.Hash
	nodes []cid.Cid // when blocks are wanted; as long as want
	only  *types.Device
	to    func(i int, b []byte) error
	twins map[int][]int // further places of the same digest

	ctx    context.Context // ends with the job, or with an error of to
	cancel context.CancelCauseFunc
	done   context.Context // ends when all has come
	finish context.CancelFunc

	writing sync.Mutex // one call of to at a time
	asking  sync.Mutex // one call of Agree at a time

	mu      sync.Mutex
	plan    *Plan
	changed chan struct{} // closed when items went back
	faults  []error
	broken  error // of to
	next    int   // peer that no worker has taken

	meeting int           // first peers that have not quoted yet
	quotes  []*quote      // of the others
	met     chan struct{} // closed when meeting is over
	whole   *big.Int      // wei that the job may cost at most; nil: no bound
	spent   *big.Int      // wei asked for and not given back
	decided bool          // consent was given or refused
	refusal error         // of Agree
	vain    int           // times that Agree was asked again since money was there
}

func newJob(s *Swarm, terms Terms, want []types.Hash, to func(int, []byte) error) *job {
	j := &job{
		s: s, terms: terms, want: want, to: to, twins: map[int][]int{}, plan: NewPlan(len(want)),
		changed: make(chan struct{}), met: make(chan struct{}), whole: terms.Whole, spent: new(big.Int),
	}
	first := make(map[types.Hash]int, len(want))
	for i, h := range want {
		if k, twice := first[h]; twice {
			j.twins[k] = append(j.twins[k], i)
			j.plan.Got(-1, i)
			continue
		}
		first[h] = i
	}
	return j
}

// run asks peers until all has come or nobody is left.
func (s *Swarm) run(ctx context.Context, j *job, peers []Peer) error {
	if j.plan.Left() == 0 {
		return nil
	}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	defer j.cancel(nil)
	j.done, j.finish = context.WithCancel(j.ctx)
	defer j.finish()
	peers = s.order(peers)
	workers := min(s.c.Limits.Peers, len(peers))
	j.meeting = workers
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { j.work(peers) })
	}
	all.Wait()
	if j.terms.Cost != nil {
		j.terms.Cost(j.spent)
	}
	switch {
	case j.broken != nil:
		return fmt.Errorf("fetch: %w", j.broken)
	case j.plan.Left() == 0:
		return nil
	case j.ctx.Err() != nil:
		return fmt.Errorf("fetch: %w", context.Cause(j.ctx))
	case j.refusal != nil:
		return fmt.Errorf("fetch: %w", j.refusal)
	}
	return fmt.Errorf("fetch: %w: %d of %d are missing; asked %d peers: %w",
		ErrIncomplete, j.plan.Left(), len(j.want), len(peers), errors.Join(j.faults...))
}

// work takes one peer after the other. A peer that is lost on the way is tried
// again, as often as the plan allows. The job's price is known when the first
// peer of each worker has quoted, or failed.
func (j *job) work(peers []Peer) {
	var once sync.Once
	met := func(q *quote) { once.Do(func() { j.quoted(q) }) }
	defer met(nil)
	for {
		peer, ok := j.pick(len(peers))
		if !ok {
			return
		}
		for try, again := 0, true; again; try++ {
			err := j.visit(peer, peers[peer], met)
			met(nil)
			again = j.judge(peer, peers[peer], err) && (try < maxUnpaid || !errors.Is(err, ErrUnpaid)) && j.pause()
		}
	}
}

func (j *job) pick(n int) (int, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next >= n || j.plan.Left() == 0 || j.ctx.Err() != nil {
		return 0, false
	}
	j.next++
	return j.next - 1, true
}

// judge says whether a peer is to be tried again after err.
func (j *job) judge(peer int, p Peer, err error) bool {
	if err == nil {
		j.lost(peer, Vanished)
		return false
	}
	why := Vanished
	if errors.Is(err, ErrWrongBytes) {
		why = Lied
		j.s.lied(p, err)
	}
	j.lost(peer, why)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, fmt.Errorf("%s: %w", p.Account.Short(), err))
	var word *Refusal
	final := errors.As(err, &word) && word.Reason != ReasonBusy && word.Reason != ReasonUnpaid
	if final || errors.Is(err, errTerms) || errors.Is(err, errOwn) {
		return false
	}
	return j.ctx.Err() == nil && j.plan.Left() > 0 && j.plan.Useful(peer)
}

// pause waits before a peer is tried again; false when the job is over.
func (j *job) pause() bool {
	timer := time.NewTimer(min(time.Second, j.s.c.Limits.Patience/8))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-j.done.Done():
		return false
	}
}

func (j *job) lost(peer int, why Loss) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.plan.Lost(peer, why)
	j.stir()
}

// stir wakes who waits for items. It is called with the mutex.
func (j *job) stir() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// deliver hands out an item that is right, to all its places, unless another
// peer was first.
func (j *job) deliver(peer, i int, b []byte) {
	j.mu.Lock()
	first := j.plan.Got(peer, i)
	j.mu.Unlock()
	if !first {
		return
	}
	err := j.write(i, b)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.broken = err
		j.cancel(err)
	} else if j.plan.Left() == 0 {
		j.finish()
	}
}

func (j *job) write(i int, b []byte) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	for _, at := range append([]int{i}, j.twins[i]...) {
		if err := j.to(at, b); err != nil {
			return fmt.Errorf("item %d: %w", at, err)
		}
	}
	return nil
}
