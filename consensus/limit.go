package consensus

import "github.com/staddle/staddle/types"

// The limit of spending that an account sets itself by kind 3 (K3): what leaves
// it by its own transactions in one epoch. Results, set-up payments, slashes and
// what a refund brings back follow from earlier promises and are not limited.

const (
	raiseBlocks = 288        // until a looser limit holds
	leastLimit  = types.Coin // a smaller one could not pay the fee of the kind 3 that raises it
)

// outlay is what a kind takes off its sender's balance besides the fee. Locks and
// bonds count although they may come back, a dispute whether it is won or lost.
// The other kinds take the fee alone.
func (s *state) outlay(body types.Body) types.Amount {
	switch b := body.(type) {
	case *types.Wire:
		return b.Amount
	case *types.Plan:
		return b.Lock
	case *types.Dispute:
		return s.Rules.DisputeLock
	case *types.Deposit:
		return b.Amount
	case *types.Lock:
		return b.Amount
	}
	return 0
}

// checkLimit holds a transaction to its sender's limit. What costs nothing
// passes, also when a limit was set below what is spent already.
func (s *state) checkLimit(r *request) error {
	limit, spent := r.acc.LimitAt(s.head.Height), r.acc.SpentIn(s.epoch)
	if limit == 0 || r.out == 0 || spent <= limit && r.out <= limit-spent {
		return nil
	}
	e, ok := s.roomFrom(r)
	if !ok {
		return refuse("transaction spends %s, the account's limit is %s an epoch: raise it first", r.out, limit)
	}
	return refuse("transaction spends %s after %s in epoch %d, the account's limit is %s an epoch: possible from epoch %d",
		r.out, spent, s.epoch, limit, e)
}

// roomFrom is the first epoch whose limit leaves room for a transaction that is
// too much now; false when no limit that was registered does.
func (s *state) roomFrom(r *request) (types.Epoch, bool) {
	a, next := r.acc, s.epoch+1
	fits := func(limit, spent types.Amount) bool { return limit == 0 || spent <= limit && r.out <= limit-spent }
	raised := s.Rules.EpochOf(a.LimitFrom)
	switch {
	case a.LimitFrom > s.head.Height && raised == s.epoch && fits(a.SpendLimit, a.SpentIn(s.epoch)):
		return s.epoch, true
	case fits(a.LimitAt(s.Rules.Checkpoint(s.epoch)+1), 0):
		return next, true
	case fits(a.SpendLimit, 0):
		return raised, true
	}
	return 0, false
}

// countSpent adds what left an account to the running epoch. It stops at the
// largest amount there is, above every limit: coins may leave and come back
// within one epoch.
func (s *state) countSpent(a *types.AccountRecord, n types.Amount) {
	if n > 0 {
		a.Spent, a.SpentEpoch = min(a.SpentIn(s.epoch)+n, types.MaxSupply), s.epoch
	}
}

// setLimit takes a limit from a registration: a tighter one holds at once, a
// looser one raiseBlocks later. Registering the same one again leaves its time as
// it is.
func (s *state) setLimit(a *types.AccountRecord, limit types.Amount) {
	if limit == a.SpendLimit {
		return
	}
	now := a.LimitAt(s.head.Height)
	a.SpendLimit, a.LimitBefore, a.LimitFrom = limit, 0, 0
	if now > 0 && (limit == 0 || limit > now) {
		a.LimitBefore, a.LimitFrom = now, s.head.Height+raiseBlocks
	}
}
