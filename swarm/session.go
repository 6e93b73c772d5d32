package swarm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// Ends that no other try with the peer can change.
var (
	errTerms = errors.New("not on these terms")
	errOwn   = errors.New("this node failed")
)

// session is one stream of a job to one peer. It runs on one goroutine.
type session struct {
	j       *job
	peer    int
	stream  Stream
	met     func(*quote)
	dealing *dealing
	quote   quote
	price   *big.Int // wei a unit
	free    uint64   // bytes that the peer still gives for nothing
	window  uint64   // pieces on credit, by the peer's last word

	asked   map[uint32]*asked
	ids     uint32
	waiting *market.Receipt // the newest that was sent and is not confirmed
	unheard int             // receipts sent and not answered
	nodes   uint64          // bytes of blocks that count towards the next paid one
	stop    error           // nothing more is to be asked, and why
	rate    meter
	delay   types.Millis // least time from a request to its first item
	heard   bool         // an item has come, so delay is known
	until   time.Time    // end of the stream, when the job is done
}

// asked is a request under way.
type asked struct {
	span  Span
	pays  bool
	here  uint64 // bit i: item i was answered
	left  int
	at    time.Time
	price *big.Int // wei charged for each item; nil when free
}

// visit runs one stream from hello to the last receipt.
// met is told the quote once it is known.
func (j *job) visit(peer int, p Peer, met func(*quote)) error {
	whole := j.ctx
	if j.done != nil { // nobody is met any more once all has come
		whole = j.done
	}
	wait, stop := context.WithTimeout(whole, j.s.c.Limits.Patience)
	leave, err := j.s.lanes.enter(wait, p.Account)
	stop()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(whole, j.s.c.Limits.Meet)
	defer cancel()
	stream, err := j.s.c.Dial(ctx, p.Account)
	if err != nil {
		return err
	}
	defer context.AfterFunc(j.ctx, func() { _ = stream.Reset(resetBase) })()
	c := &session{j: j, peer: peer, stream: stream, met: met, asked: map[uint32]*asked{}}
	err = c.run(ctx, p)
	if c.dealing != nil {
		c.giveBack()
		err = errors.Join(err, j.s.wallet.leave(c.dealing))
	}
	if err != nil {
		_ = stream.Reset(resetBase)
		return err
	}
	return stream.Close()
}

func (c *session) run(meet context.Context, p Peer) error {
	if err := c.meet(meet, p); err != nil {
		return err
	}
	if c.j.done != nil { // all has come: what is late is not worth waiting for
		defer context.AfterFunc(c.j.done, func() { _ = c.stream.Deadline(c.j.s.c.Now().Add(grace)) })()
	}
	for {
		err := c.fill()
		switch {
		case err != nil:
			return err
		case c.over():
			return c.end()
		case len(c.asked) > 0 || c.stalled():
			err = c.receive()
		case c.stop != nil || !c.wanted():
			return c.end()
		default:
			err = c.idle()
		}
		if err != nil {
			return err
		}
	}
}

// meet says hello, takes the quote and settles what was left open before.
func (c *session) meet(ctx context.Context, p Peer) error {
	account, device := c.stream.Remote()
	if account != p.Account || c.j.only != nil && device != *c.j.only {
		return fmt.Errorf("reached device %.8s of %s instead", device, account.Short())
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = c.j.s.c.Now().Add(c.j.s.c.Limits.Meet)
	}
	if err := c.stream.Deadline(end); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	w := c.j.s.wallet
	var err error
	if c.price, err = w.price(); err != nil {
		return moneyError(err)
	}
	if c.dealing, err = w.join(party{account, device}); err != nil {
		return moneyError(err)
	}
	again, err := w.settle(c.dealing, &c.quote)
	if err != nil {
		return moneyError(err)
	}
	for i := range again {
		if err := c.submit(&again[i]); err != nil {
			return err
		}
	}
	if err := c.pay(); err != nil && !errors.Is(err, errTerms) {
		return err // an old debt that cannot be paid leaves what is free
	}
	c.met(&c.quote)
	return nil
}

// hello asks for a quote and learns which of the first items the peer has.
func (c *session) hello() error {
	h := &hello{Chain: c.j.s.c.Chain, Pays: c.j.terms.Pays()}
	if c.j.nodes == nil {
		h.Have = c.j.want[:min(len(c.j.want), maxHave)]
	}
	if err := c.send(h); err != nil {
		return err
	}
	frame, err := c.stream.Receive(maxAnswer)
	if err != nil {
		return err
	}
	m, err := parseAnswer(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrongBytes, err)
	}
	switch m := m.(type) {
	case *quote:
		c.quote, c.free, c.window = *m, m.Free, m.Window
		if len(m.Have) != (len(h.Have)+7)/8 {
			return fmt.Errorf("%w: %d bytes tell of %d pieces", ErrWrongBytes, len(m.Have), len(h.Have))
		}
		c.learn(len(h.Have))
		return nil
	case *refused:
		return &m.Refusal
	}
	return fmt.Errorf("%w: no answer to a hello", ErrWrongBytes)
}

// learn tells the plan which of the first n items the peer does not have.
func (c *session) learn(n int) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	for i := range n {
		if c.quote.Have[i/8]>>(i%8)&1 == 0 {
			c.j.plan.Refused(c.peer, i)
		}
	}
}

func (c *session) send(m types.Encodable) error { return c.stream.Send(types.Marshal(m)) }

// arm gives the peer time for one answer, and a moment for all when the job is
// done.
func (c *session) arm() error {
	now := c.j.s.c.Now()
	if !c.over() {
		if err := c.stream.Deadline(now.Add(c.j.s.c.Limits.Patience)); err != nil || !c.over() {
			return err
		}
	}
	if c.until.IsZero() {
		c.until = now.Add(grace)
	}
	return c.stream.Deadline(c.until)
}

func (c *session) over() bool { return c.j.done == nil || c.j.done.Err() != nil }

// wanted reports whether the peer may still have something for the job.
func (c *session) wanted() bool {
	if c.over() {
		return false
	}
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	return c.j.plan.Useful(c.peer)
}

// idle waits until items come back, or some may be late.
func (c *session) idle() error {
	c.j.mu.Lock()
	changed := c.j.changed
	c.j.mu.Unlock()
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	c.rate.rest()
	select {
	case <-changed:
	case <-timer.C:
	case <-c.j.done.Done():
	}
	return c.j.ctx.Err()
}

// end pays what came and waits until the peer has the receipt, and until what is
// under way has come, so that both sides agree about what was served.
func (c *session) end() error {
	payAt := max(c.j.terms.PayAt, 1) * max(c.quote.Units, 1)
	if c.j.only != nil {
		payAt = 1
	}
	for {
		if c.j.s.wallet.unpaid(c.dealing) >= payAt {
			if err := c.pay(); err != nil {
				return errors.Join(c.stop, err)
			}
		}
		if c.waiting == nil && len(c.asked) == 0 {
			return c.stop
		}
		if err := c.receive(); err != nil {
			return errors.Join(c.stop, err)
		}
	}
}

// giveBack returns what was reserved for items that did not come.
func (c *session) giveBack() {
	for _, a := range c.asked {
		for i := range a.span.Count {
			if a.here>>i&1 == 0 {
				c.undo(a)
			}
		}
	}
}

// undo returns what was reserved for one item.
func (c *session) undo(a *asked) {
	if a.pays {
		c.j.s.wallet.release(c.dealing, c.quote.Units)
		c.j.refund(a.price)
	}
}

// receive takes one frame.
func (c *session) receive() error {
	if err := c.arm(); err != nil {
		return err
	}
	frame, err := c.stream.Receive(maxAnswer)
	if err != nil {
		return err
	}
	if isBulk(frame) {
		return c.bulk(frame)
	}
	m, err := parseAnswer(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrongBytes, err)
	}
	switch m := m.(type) {
	case *taken:
		return c.taken(m)
	case *dispute:
		return &m.Refusal
	case *refused:
		return c.refused(m)
	}
	return fmt.Errorf("%w: a message that was not asked for", ErrWrongBytes)
}

// bulk checks the bytes of one item before anything else is done with them.
func (c *session) bulk(frame []byte) error {
	b, err := parseBulk(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrongBytes, err)
	}
	a, ok := c.asked[b.ID]
	if !ok || int(b.Item) >= a.span.Count || a.here>>b.Item&1 == 1 {
		return fmt.Errorf("%w: item %d of request %d was not asked for", ErrWrongBytes, b.Item, b.ID)
	}
	i := a.span.First + int(b.Item)
	if got := types.Hash(sha256.Sum256(b.Data)); got != c.j.want[i] {
		return fmt.Errorf("%w: %d bytes with digest %s, want %s", ErrWrongBytes, len(b.Data), got.Short(), c.j.want[i].Short())
	}
	if err := c.account(a, b); err != nil {
		return err
	}
	c.listen(a)
	c.close(b.ID, a, int(b.Item))
	c.rate.add(len(frame), c.j.s.c.Now())
	c.j.deliver(c.peer, i, b.Data)
	return c.payWhenDue()
}

// listen measures the delay of the peer: the least is that of a request that had
// to wait for nothing but the way.
func (c *session) listen(a *asked) {
	if a.here != 0 {
		return
	}
	took := types.Millis(c.j.s.c.Now().Sub(a.at).Milliseconds())
	if !c.heard || took < c.delay {
		c.heard, c.delay = true, took
	}
}

// account counts what the bytes cost.
func (c *session) account(a *asked, b bulk) error {
	if !b.Paid {
		if a.pays && c.j.nodes != nil {
			c.nodes += uint64(len(b.Data))
		}
		if !a.pays { // a whole piece was counted
			c.free += types.PieceSize - uint64(len(b.Data))
		}
		c.undo(a)
		return nil
	}
	if !a.pays {
		return fmt.Errorf("%w: charged for what was asked for nothing", ErrWrongBytes)
	}
	if c.j.nodes != nil {
		if c.nodes += uint64(len(b.Data)); c.nodes < types.PieceSize {
			return fmt.Errorf("%w: charged for %d bytes of blocks, want %d", ErrWrongBytes, c.nodes, types.PieceSize)
		}
		c.nodes -= types.PieceSize
	}
	c.j.s.wallet.came(c.dealing, c.quote.Units)
	return nil
}

// close marks an item of a request as answered.
func (c *session) close(id uint32, a *asked, item int) {
	a.here |= 1 << item
	if a.left--; a.left == 0 {
		delete(c.asked, id)
	}
}

// taken notes a receipt that the peer has. Its word comes once for each receipt;
// beside another stream to the same peer it may tell of a newer one.
func (c *session) taken(m *taken) error {
	if c.unheard == 0 {
		return fmt.Errorf("%w: thanks for a receipt that was not sent", ErrWrongBytes)
	}
	c.unheard--
	if m.Window > 0 {
		c.window = m.Window
	}
	if c.waiting != nil && m.Epoch == c.waiting.Epoch && m.Units >= c.waiting.Units {
		c.waiting = nil
		c.j.s.wallet.answered(c.dealing)
	}
	return nil
}

// refused returns items to the plan, or ends the stream.
func (c *session) refused(m *refused) error {
	if m.ID == 0 {
		return &m.Refusal
	}
	a, ok := c.asked[m.ID]
	if !ok || m.Count == 0 || int(m.First+m.Count) > a.span.Count {
		return fmt.Errorf("%w: refusal of what was not asked for", ErrWrongBytes)
	}
	for k := int(m.First); k < int(m.First+m.Count); k++ {
		if a.here>>k&1 == 1 {
			return fmt.Errorf("%w: refusal of what came", ErrWrongBytes)
		}
		c.undo(a)
		c.close(m.ID, a, k)
		c.back(a.span.First+k, m.Reason)
	}
	switch m.Reason {
	case ReasonNotHosted, ReasonDenied, ReasonFailed:
	case ReasonQuota:
		c.free = 0
	default:
		c.stop = &m.Refusal
	}
	return nil
}

func (c *session) back(i int, why Reason) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	switch why {
	case ReasonNotHosted, ReasonDenied, ReasonFailed:
		c.j.plan.Refused(c.peer, i)
	default:
		c.j.plan.Back(c.peer, i)
	}
	c.j.stir()
}
