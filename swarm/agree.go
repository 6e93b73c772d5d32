package swarm

import (
	"math/big"
	"slices"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// maxVain is how often a job asks for its lock again without getting any further.
const maxVain = 16

// quoted counts a peer of the first round that has quoted, or failed to (nil).
// When the last has, consent is asked for, unless all seems to be free.
func (j *job) quoted(q *quote) {
	if !j.lastToQuote(q) {
		return
	}
	defer close(j.met)
	price, err := j.s.wallet.price()
	if err != nil {
		_ = j.decide(err) // who is about to pay learns of it
	} else if e := j.estimate(price); e.Low.Sign() > 0 {
		_ = j.consent(nil) // who is about to pay learns of a refusal
	}
}

func (j *job) lastToQuote(q *quote) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if q != nil {
		j.quotes = append(j.quotes, q)
	}
	j.meeting--
	return j.meeting == 0
}

// consent is asked for once a job, at the latest when its first piece is about
// to be paid: what peers offer for nothing may be used up by then. q is the quote
// of who is about to be paid, which need not be of the first round.
func (j *job) consent(q *quote) error {
	j.asking.Lock()
	defer j.asking.Unlock()
	if decided, err := j.decision(); decided {
		return err
	}
	return j.decide(j.agree(q))
}

func (j *job) decision() (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.decided, j.refusal
}

func (j *job) decide(refusal error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decided, j.refusal = true, refusal
	return refusal
}

// agree makes the estimate and asks. Free pieces flow meanwhile.
func (j *job) agree(q *quote) error {
	price, err := j.s.wallet.price()
	if err != nil {
		return err
	}
	j.mu.Lock()
	if q != nil && !slices.Contains(j.quotes, q) {
		j.quotes = append(j.quotes, q)
	}
	j.mu.Unlock()
	e := j.estimate(price)
	if j.terms.Tell != nil {
		if err := j.terms.Tell(e); err != nil {
			return err
		}
	}
	if err := j.terms.Allows(e.Likely()); err != nil {
		return err
	}
	if j.terms.Agree == nil {
		return nil
	}
	if err := j.terms.Agree(e); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.whole = e.High; j.terms.Whole != nil {
		j.whole = smaller(j.whole, j.terms.Whole)
	}
	return nil
}

// estimate is the price of what is missing, by the quotes that are known.
func (j *job) estimate(price *big.Int) Estimate {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := Estimate{Pieces: uint64(j.plan.Left()), Low: new(big.Int), High: new(big.Int)}
	var low, high *big.Int
	for _, q := range j.quotes {
		e.Free += min(q.Free/types.PieceSize, e.Pieces-e.Free)
		if !j.terms.Pays() || j.terms.Accept(q.Quote, price) != nil {
			continue
		}
		if p := q.Piece(price); low == nil {
			low, high = p, p
		} else {
			low, high = smaller(low, p), larger(high, p)
		}
	}
	if low != nil {
		e.Low.Mul(types.Wei(e.Pieces-e.Free), low)
		e.High.Mul(types.Wei(e.Pieces), high)
	}
	e.Lock = new(big.Int).Add(e.High, j.s.wallet.unsigned())
	return e
}

// Likely is the price in wei when the dearest sends all that is not free.
func (e *Estimate) Likely() *big.Int {
	sum := new(big.Int).Mul(e.High, types.Wei(e.Pieces-e.Free))
	return sum.Quo(sum, types.Wei(max(e.Pieces, 1)))
}

// again asks for the lock behind the job once more, when it does not cover what
// is missing: its block was replaced, the epoch is another, or other downloads
// were quicker.
func (j *job) again() error {
	j.asking.Lock()
	defer j.asking.Unlock()
	j.mu.Lock()
	j.vain++
	tired := j.vain > maxVain
	j.mu.Unlock()
	if j.terms.Agree == nil || tired {
		return market.ErrLock
	}
	price, err := j.s.wallet.price()
	if err != nil {
		return err
	}
	return j.terms.Agree(j.estimate(price))
}

// charge takes the price of up to n items out of what the job may cost, and
// says how many it covers.
func (j *job) charge(n int, price *big.Int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.whole != nil {
		left := new(big.Int).Sub(j.whole, j.spent)
		n = atMost(left.Quo(left, price), n)
	}
	j.spent.Add(j.spent, new(big.Int).Mul(big.NewInt(int64(n)), price))
	return n
}

// refund gives back what was charged and did not come.
func (j *job) refund(wei *big.Int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spent.Sub(j.spent, wei)
}

// covered notes that lock and budget had room.
func (j *job) covered() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.vain = 0
}

// flying reports whether anything of the job is under way.
func (j *job) flying() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.plan.flights) > 0
}

// atMost is the smaller of b and n, and not below 0.
func atMost(b *big.Int, n int) int {
	if b.IsInt64() {
		return int(max(min(b.Int64(), int64(n)), 0))
	}
	return n
}

func smaller(a, b *big.Int) *big.Int {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

func larger(a, b *big.Int) *big.Int {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}
