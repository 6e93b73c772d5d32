package market

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/types"
)

// Errors of a receipt that a payee does not take.
var (
	// ErrStale marks a receipt that says no more than one taken before.
	ErrStale = errors.New("receipt does not rise")
	// ErrContradiction marks a receipt that makes Evidence with one taken before.
	ErrContradiction = errors.New("receipt contradicts an earlier one")
)

// Till is what a payee's device knows of one payer, over all epochs.
type Till struct {
	Owed     uint64 // units served for pay and not paid
	Honoured uint64 // receipts since the window was one piece, at most 6
	Free     uint64 // bytes given for nothing, ever, to an account with matured power
}

// Terms are what a payee holds a receipt of one epoch against.
type Terms struct {
	Chain  types.ChainID
	Payer  types.Account // who speaks on this stream
	Payee  types.Account
	Device types.Device // the payee's own
	Epoch  types.Epoch
	Cost   *big.Int     // wei a unit in that epoch; above 0
	Lock   types.Amount // of the payer for that epoch
}

// Window is how many pieces the payee serves on credit: one, doubled with each
// honoured receipt, at most 16 MiB (F1).
func (t *Till) Window() uint64 { return 1 << min(t.Honoured, doublings) }

// Room is how many units may still be served on credit, when a piece is units.
func (t *Till) Room(units uint64) uint64 {
	limit := t.Window() * units
	return limit - min(t.Owed, limit)
}

// Serve counts units that go out on credit. It reports false, and counts
// nothing, when the window has no room for them (F1).
func (t *Till) Serve(units, perPiece uint64) bool {
	if units > t.Room(perPiece) {
		return false
	}
	t.Owed += units
	return true
}

// Back takes units off that were counted and did not go out.
func (t *Till) Back(units uint64) { t.Owed -= min(units, t.Owed) }

// Distrust begins the window again at one piece, after a payer did not pay in
// time.
func (t *Till) Distrust() { t.Honoured = 0 }

// Accept takes a receipt whose signature was checked (ST8.1). last is the
// newest one taken from this payer for the same epoch, or nil. It gives the
// units that are newly paid; above what was owed they buy nothing. The window
// doubles when something was owed and at least half of it is paid.
//
// Errors wrap ErrReceipt (of other parties, or a total that does not pay its
// own units), ErrStale, ErrContradiction, ErrLock (void beyond the lock); then
// nothing changed.
func (t *Till) Accept(r, last *Receipt, terms Terms) (uint64, error) {
	if err := terms.check(r); err != nil {
		return 0, err
	}
	before := uint64(0)
	if last != nil {
		if Contradict(terms.Cost, *last, *r) {
			return 0, fmt.Errorf("%w: %d units and %s wei after %d and %s",
				ErrContradiction, r.Units, r.Total, last.Units, last.Total)
		}
		if r.Units <= last.Units {
			return 0, fmt.Errorf("%w: %d units, had %d", ErrStale, r.Units, last.Units)
		}
		before = last.Units
	}
	if lock := LockWei(terms.Lock); r.Total.Cmp(lock) > 0 {
		return 0, fmt.Errorf("%w: total of %s wei above the lock of %s", ErrLock, r.Total, lock)
	}
	added := r.Units - before
	if t.Owed > 0 && added >= t.Owed-t.Owed/2 {
		t.Honoured = min(t.Honoured+1, doublings)
	}
	t.Owed -= min(added, t.Owed)
	return added, nil
}

func (t Terms) check(r *Receipt) error {
	switch {
	case r.Chain != t.Chain:
		return fmt.Errorf("%w: of another chain", ErrReceipt)
	case r.Payer != t.Payer:
		return fmt.Errorf("%w: payer is %s, the peer is %s", ErrReceipt, r.Payer.Short(), t.Payer.Short())
	case r.Payee != t.Payee || r.Device != t.Device:
		return fmt.Errorf("%w: for payee %s", ErrReceipt, r.Payee.Short())
	case r.Epoch != t.Epoch:
		return fmt.Errorf("%w: of epoch %d, want %d", ErrReceipt, r.Epoch, t.Epoch)
	case t.Cost.Sign() <= 0:
		return fmt.Errorf("%w: a unit costs %s wei in epoch %d", ErrReceipt, t.Cost, t.Epoch)
	case !r.covers(t.Cost):
		return fmt.Errorf("%w: total of %s wei does not pay %d units", ErrReceipt, r.Total, r.Units)
	case new(big.Int).Rem(r.Total, t.Cost).Sign() != 0:
		return fmt.Errorf("%w: total of %s wei is no multiple of the price %s", ErrReceipt, r.Total, t.Cost)
	}
	return nil
}

// EncodeTo appends [owed, honoured, free].
func (t *Till) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(t.Owed)
	e.Uint(t.Honoured)
	e.Uint(t.Free)
}

// DecodeFrom reads the tuple.
func (t *Till) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	t.Owed = d.Limit(MaxUnits)
	t.Honoured = d.Limit(doublings)
	t.Free = d.Uint()
}
