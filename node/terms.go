package node

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
)

// Errors of downloads that money stops.
var (
	ErrTooDear = errors.New("the download would cost too much")
	ErrBudget  = errors.New("the budget of the day is used up")
)

// spending is what one call may cost, over all of its downloads. It says the
// price before the first piece that costs.
type spending struct {
	limit  *big.Int // wei; nil: no bound
	symbol string
	tell   func(string)

	mu    sync.Mutex
	spent *big.Int
}

type spendingKey struct{}

// spend gives a call its bound; maxPrice is in coins, "" for none.
func (n *Node) spend(ctx context.Context, maxPrice string, out *api.Out) (context.Context, error) {
	s := &spending{tell: func(string) {}, spent: new(big.Int)}
	if out != nil { // else the answer is bytes
		s.tell = out.Note
	}
	if t := n.current(); t != nil {
		s.symbol = t.chain.Genesis().Symbol
	}
	if maxPrice != "" {
		limit, err := weiOf(maxPrice)
		if err != nil {
			return ctx, fmt.Errorf("highest price: %w", err)
		}
		s.limit = limit
	}
	return context.WithValue(ctx, spendingKey{}, s), nil
}

// weiOf reads coins.
func weiOf(coins string) (*big.Int, error) {
	amount, err := types.ParseCoins(coins)
	if err != nil {
		return nil, err
	}
	return types.Wei(uint64(amount) * types.WeiPerBase), nil
}

// terms are those of this node, and of the call that ctx belongs to.
func (t *town) terms(ctx context.Context) swarm.Terms {
	terms := t.usual
	s, ok := ctx.Value(spendingKey{}).(*spending)
	if !ok {
		return terms
	}
	terms.Tell, terms.Cost = s.offer, s.paid
	if left := s.left(); left != nil {
		terms.Whole = left
	}
	return terms
}

// left is what the call may still cost; nil: no bound.
func (s *spending) left() *big.Int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == nil {
		return nil
	}
	left := new(big.Int).Sub(s.limit, s.spent)
	if left.Sign() < 0 {
		left.SetInt64(0)
	}
	return left
}

// paid counts what a download was charged.
func (s *spending) paid(wei *big.Int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent.Add(s.spent, wei)
}

// offer tells the price, or why it is too high.
func (s *spending) offer(e swarm.Estimate) error {
	likely := e.Likely()
	if left := s.left(); left != nil && likely.Cmp(left) > 0 {
		return fmt.Errorf("%w: likely %s %s, and %s are left of the highest price %s",
			ErrTooDear, coinsOf(likely), s.symbol, coinsOf(left), coinsOf(s.limit))
	}
	s.tell(fmt.Sprintf("costs between %s and %s %s, %d of %d pieces free", coinsOf(e.Low), coinsOf(likely), s.symbol, e.Free, e.Pieces))
	return nil
}

// moneyFault says in words of this package what stopped a download.
func (n *Node) moneyFault(err error) error {
	switch {
	case errors.Is(err, ErrTooDear):
		return err
	case errors.Is(err, market.ErrBudget):
		return fmt.Errorf("%w: %s coins: %w", ErrBudget, n.cfg.SpendPerDay, err)
	case errors.Is(err, market.ErrPrice):
		return fmt.Errorf("%w: %w", ErrTooDear, err)
	}
	return err
}
