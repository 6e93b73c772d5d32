package swarm

import (
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// fill asks for as much as the plan, the peer's free bytes and the money allow.
// When it may ask for nothing more it sets stop, and why.
func (c *session) fill() error {
	for c.stop == nil && !c.over() && len(c.asked) < maxPending/2 {
		limit, pays, err := c.may()
		if err != nil || limit == 0 {
			return err
		}
		s, ok := c.plan(limit)
		if !ok {
			return nil
		}
		a := &asked{span: s, pays: pays}
		if pays {
			if err := c.reserve(a); err != nil {
				return c.later(err)
			}
		} else {
			c.free -= min(c.free, uint64(s.Count)*types.PieceSize)
		}
		if err := c.ask(a); err != nil {
			return err
		}
	}
	return nil
}

// may says how many items may be asked for now, and whether they are charged.
func (c *session) may() (limit int, pays bool, err error) {
	if n := c.free / types.PieceSize; n > 0 || c.price.Sign() == 0 {
		return int(min(max(n, 1), maxSpan)), false, nil
	}
	if !c.j.terms.Pays() {
		c.stop = fmt.Errorf("%w: nothing is free any more", errTerms)
		return 0, false, nil
	}
	if err := c.j.terms.Accept(c.quote.Quote, c.price); err != nil {
		c.stop = fmt.Errorf("%w: %w", errTerms, err)
		return 0, false, nil
	}
	if !c.agreed() {
		return 0, false, c.j.ctx.Err()
	}
	w := c.j.s.wallet
	window := min(c.window, w.window(c.dealing)) * c.quote.Units
	limit = int(w.credit(c.dealing, window) / c.quote.Units)
	if limit == 0 && len(c.asked) == 0 && c.waiting == nil {
		if err := c.pay(); err != nil {
			return 0, false, c.later(err)
		}
		limit = int(w.credit(c.dealing, window) / c.quote.Units)
	}
	return min(limit, maxSpan), true, nil
}

// stalled reports whether only the peer's word about a receipt can help: there
// is something to ask for, and the window is used up.
func (c *session) stalled() bool { return c.waiting != nil && c.stop == nil && !c.over() }

// agreed waits for the job's price and consent, unless answers are under way.
func (c *session) agreed() bool {
	decided, err := c.j.decision()
	if !decided {
		if len(c.asked) > 0 || c.waiting != nil {
			return false
		}
		select {
		case <-c.j.met:
		case <-c.j.done.Done():
			return false
		}
		err = c.j.consent(&c.quote)
	}
	if err != nil {
		c.stop = fmt.Errorf("%w: %w", errTerms, err)
		return false
	}
	return true
}

// later decides about money that is not there. While something is under way it
// may come back; else a fuller lock may help, or there is nothing more to be had
// here.
func (c *session) later(err error) error {
	if !errors.Is(err, errTerms) {
		return err
	}
	if len(c.asked) > 0 || c.j.flying() {
		return nil
	}
	if errors.Is(err, market.ErrLock) {
		again := c.j.again()
		if again == nil {
			return nil
		}
		err = fmt.Errorf("%w: %w", err, again)
	}
	c.stop = err
	return nil
}

func (c *session) plan(limit int) (Span, bool) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	now := c.j.s.c.Now()
	return c.j.plan.Next(c.peer, limit, Pace{c.rate.bytesPerSecond(now), c.delay}, types.Millis(now.UnixMilli()))
}

func (c *session) unplan(s Span) {
	if s.Count == 0 {
		return
	}
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	for i := s.First; i < s.end(); i++ {
		c.j.plan.Back(c.peer, i)
	}
	c.j.stir()
}

// reserve takes the price of a request out of job, lock and budget. When they
// do not cover all, the request becomes shorter; the error says why there is
// nothing left of it.
func (c *session) reserve(a *asked) error {
	a.price = c.quote.Piece(c.price)
	whole := a.span
	n := c.j.charge(whole.Count, a.price)
	err := fmt.Errorf("%w: the job may cost %s wei", market.ErrPrice, c.j.whole)
	if n > 0 {
		var covered int
		covered, err = c.j.s.wallet.reserve(c.dealing, n, c.quote.Units)
		c.j.refund(new(big.Int).Mul(big.NewInt(int64(n-covered)), a.price))
		n = covered
	}
	if a.span.Count = n; n > 0 {
		c.j.covered()
	}
	c.unplan(Span{First: whole.First + n, Count: whole.Count - n})
	if n > 0 {
		return nil
	}
	return moneyError(err)
}

// moneyError tells errors of the wallet apart: errTerms for what a fuller purse
// would mend, errOwn for a ledger or chain that failed.
func moneyError(err error) error {
	if err == nil {
		return nil
	}
	for _, money := range []error{market.ErrLock, market.ErrBudget, market.ErrPrice, market.ErrPayees} {
		if errors.Is(err, money) {
			return fmt.Errorf("%w: %w", errTerms, err)
		}
	}
	return fmt.Errorf("%w: %w", errOwn, err)
}

func (c *session) ask(a *asked) error {
	if err := c.arm(); err != nil {
		return err
	}
	c.ids++
	m := &ask{ID: c.ids, Pays: a.pays}
	if c.j.nodes != nil {
		m.Nodes = c.j.nodes[a.span.First:a.span.end()]
	} else {
		m.Pieces = c.j.want[a.span.First:a.span.end()]
	}
	a.left, a.at = a.span.Count, c.j.s.c.Now()
	c.asked[c.ids] = a
	c.rate.start(c.j.s.c.Now())
	return c.send(m)
}

// payWhenDue signs when enough has come.
func (c *session) payWhenDue() error {
	w := c.j.s.wallet
	window := min(c.window, w.window(c.dealing))
	if w.unpaid(c.dealing) < market.PayAt(window, c.j.terms.PayAt)*c.quote.Units {
		return nil
	}
	if err := c.pay(); !errors.Is(err, errTerms) {
		return err
	}
	return nil // it was reserved, but the chain has changed; the debt stays
}

// pay signs for all that came and sends the receipt.
func (c *session) pay() error {
	r, err := c.j.s.wallet.sign(c.dealing, c.quote.Units)
	if err != nil || r == nil {
		return moneyError(err)
	}
	if err := c.arm(); err != nil {
		return err
	}
	return c.submit(r)
}

func (c *session) submit(r *market.Receipt) error {
	c.waiting = r
	c.unheard++
	return c.send(&payment{*r})
}

// meter measures what a peer sends, in bytes a second, over the last seconds
// in which something was asked of it.
type meter struct {
	rate   uint64
	bytes  uint64
	since  time.Time
	active bool
}

const meterSpan = 200 * time.Millisecond

func (m *meter) start(now time.Time) {
	if !m.active {
		m.active, m.since, m.bytes = true, now, 0
	}
}

func (m *meter) rest() { m.active = false }

func (m *meter) add(n int, now time.Time) {
	m.bytes += uint64(n)
	took := now.Sub(m.since)
	if took < meterSpan {
		return
	}
	fresh := m.bytes * 1000 / uint64(took.Milliseconds())
	if m.rate == 0 {
		m.rate = fresh
	}
	m.rate = (m.rate + fresh) / 2
	m.since, m.bytes = now, 0
}

// bytesPerSecond is the rate; before the first span is over, what has come so
// far stands for it.
func (m *meter) bytesPerSecond(now time.Time) uint64 {
	if m.rate > 0 || !m.active {
		return m.rate
	}
	return m.bytes * 1000 / uint64(max(now.Sub(m.since).Milliseconds(), 1))
}
