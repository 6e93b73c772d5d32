package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/staddle/staddle/api"
)

const (
	patience    = 3 // times the usual, for everything that is waited for
	longestRest = 5 * time.Second
)

// chaos kills daemons at moments drawn from a seed and starts them again on the
// same homes. It only does so within steps of the story that name whom to hit,
// and a step ends when all that were hit answer again.
type chaos struct {
	*simNetwork
	work sync.WaitGroup

	mu       sync.Mutex
	rand     *rand.Rand
	busy     map[*simNode]bool // hit and not back yet
	hits     map[string]int    // by node
	repeated int               // calls that broke
	failed   []error
}

// target is a node that a step lets be hit, at a moment between two times after
// the step's beginning.
type target struct {
	node     *simNode
	from, to time.Duration
}

// newChaos makes the chaos of a seed; 0 takes one from the clock.
func newChaos(s *simNetwork, seed uint64) *chaos {
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	s.say("chaos with seed %d: daemons are killed with kill -9 and started again after 0 to %.0f s", seed, longestRest.Seconds())
	return &chaos{
		simNetwork: s, rand: rand.New(rand.NewPCG(seed, 0)),
		busy: map[*simNode]bool{}, hits: map[string]int{},
	}
}

// between draws a time.
func (c *chaos) between(from, to time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return from + time.Duration(c.rand.Int64N(int64(to-from)+1))
}

// pick draws one of several nodes.
func (c *chaos) pick(list []*simNode) *simNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return list[c.rand.IntN(len(list))]
}

// later hits a node after a time.
func (c *chaos) later(n *simNode, after time.Duration) {
	rest := c.between(0, longestRest)
	c.work.Go(func() {
		select {
		case <-c.ctx.Done():
		case <-time.After(after):
			c.note(c.hit(n, rest))
		}
	})
}

// hit kills a node and starts it again after a rest. A node that is down already
// is left alone.
func (c *chaos) hit(n *simNode, rest time.Duration) error {
	if !c.take(n) {
		return nil
	}
	defer c.release(n)
	c.say("chaos: kill -9 %s, back in %.1f s", n.name, rest.Seconds())
	if err := c.kill(n); err != nil {
		return fmt.Errorf("kill %s: %w", n.name, err)
	}
	select {
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-time.After(rest):
	}
	if err := c.launch(n); err != nil {
		return fmt.Errorf("start %s again: %w", n.name, err)
	}
	return c.answers(n)
}

func (c *chaos) take(n *simNode) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[n] {
		return false
	}
	c.busy[n] = true
	c.hits[n.name]++
	return true
}

func (c *chaos) release(n *simNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, n)
}

func (c *chaos) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed = append(c.failed, err)
	}
}

// again waits until a node whose daemon died during a call answers.
func (c *chaos) again(n *simNode, call string) error {
	if err := c.answers(n); err != nil {
		return err
	}
	c.mu.Lock()
	c.repeated++
	c.mu.Unlock()
	switch call {
	case api.CallPut, api.CallGet, api.CallProve:
		c.say("the %s broke when the daemon of %s died: the same command again", call, n.name)
	}
	return nil
}

// broken reports whether a call ended because its daemon died; an answer that
// says what failed is no such end.
func broken(err error) bool {
	if said := new(api.Error); errors.As(err, &said) {
		return false
	}
	for _, end := range []error{
		api.ErrNotRunning, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// during runs a step of the story, and hits its targets meanwhile.
func (d *demo) during(step func() error, at func() []target) error {
	if d.chaos == nil {
		return step()
	}
	if at != nil {
		for _, t := range at() {
			d.chaos.later(t.node, d.chaos.between(t.from, t.to))
		}
	}
	err := step()
	d.chaos.work.Wait()
	return errors.Join(append([]error{err}, d.chaos.failed...)...)
}

// patiently does what a person would do again when it fails amid chaos, such as
// getting while hosts come back. In peace it has to work at once.
func (d *demo) patiently(what string, do func() error) error {
	if d.chaos == nil {
		return do()
	}
	var last error
	err := d.await(what, 30*time.Second, func() (bool, error) {
		if last = do(); last != nil {
			d.say("%s: %v; once more", what, last)
		}
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// epochs is how long the plan runs; chaos takes its time.
func (d *demo) epochs() uint32 {
	if d.chaos != nil {
		return patience * demoEpochs
	}
	return demoEpochs
}

// hitAt hits a node once, when a drawn share of the call's pieces has come.
func (d *demo) hitAt(n *simNode) func(api.Progress) {
	if d.chaos == nil {
		return nil
	}
	percent := uint64(d.chaos.between(5, 95))
	var once sync.Once
	return func(p api.Progress) {
		if p.Phase == "fetching" && p.Total > 0 && p.Done*100 >= p.Total*percent {
			once.Do(func() { d.chaos.later(n, 0) })
		}
	}
}

// atPublish hits the sponsor while it reads and while it waits, encoders, which
// are hosts too, while they encode, and a validator that attests.
func (d *demo) atPublish() []target {
	return []target{
		{d.sponsor, 0, 3 * time.Second},
		{d.sponsor, 8 * time.Second, 30 * time.Second},
		{d.chaos.pick(d.hosts), 4 * time.Second, 15 * time.Second},
		{d.chaos.pick(d.hosts), 15 * time.Second, 35 * time.Second},
		{d.chaos.pick(d.validators), 5 * time.Second, 30 * time.Second},
	}
}

// atAudit hits validators that check, and the sponsor that asks.
func (d *demo) atAudit() []target {
	return []target{
		{d.sponsor, 0, time.Second},
		{d.chaos.pick(d.validators), 0, 6 * time.Second},
		{d.chaos.pick(d.validators), 6 * time.Second, 14 * time.Second},
	}
}

// atRepair hits a host that lives, and a validator.
func (d *demo) atRepair() []target {
	living := slices.DeleteFunc(slices.Clone(d.hosts), func(n *simNode) bool { return n.gone })
	return []target{
		{d.chaos.pick(living), 2 * time.Second, 25 * time.Second},
		{d.chaos.pick(d.validators), 0, 25 * time.Second},
	}
}

// atSettlement hits validators that settle, and the sponsor whose logs they want.
func (d *demo) atSettlement() []target {
	return []target{
		{d.chaos.pick(d.validators), 0, 6 * time.Second},
		{d.chaos.pick(d.validators), 4 * time.Second, 15 * time.Second},
		{d.sponsor, 0, 12 * time.Second},
	}
}

// told sums up what was done to whom.
func (c *chaos) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	all := 0
	for _, n := range c.nodes {
		if k := c.hits[n.name]; k > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", n.name, k))
			all += k
		}
	}
	return fmt.Sprintf("chaos: %d kills (%s), %d calls made again", all, strings.Join(parts, ", "), c.repeated)
}
