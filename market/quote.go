package market

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/types"
)

// Units that a payee may ask for one piece (ST6).
const (
	MinPieceUnits = 1
	MaxPieceUnits = 4
)

// MaxWindow is the most that a payee serves on credit, in pieces: 16 MiB (F1).
const MaxWindow = 16 << 20 / types.PieceSize

// doublings lead from a window of one piece to MaxWindow.
const doublings = 6

// Errors of what a payer is not willing to pay.
var (
	ErrPrice  = errors.New("price above the highest")
	ErrBudget = errors.New("budget of the day is used up")
)

// Quote is what a payee asks, said before the first piece (ST6).
type Quote struct {
	Units  uint64 // a piece, 1 to 4
	Free   uint64 // bytes that it still gives to this peer for nothing
	Window uint64 // pieces that it serves on credit, 1 to MaxWindow
	Owed   uint64 // units that it says it has served and not been paid
}

// Check tells why q cannot be a quote.
func (q Quote) Check() error {
	if q.Units < MinPieceUnits || q.Units > MaxPieceUnits {
		return fmt.Errorf("quote of %d units a piece, want %d to %d", q.Units, MinPieceUnits, MaxPieceUnits)
	}
	if q.Window == 0 || q.Window > MaxWindow {
		return fmt.Errorf("quote with a window of %d pieces, want 1 to %d", q.Window, MaxWindow)
	}
	return nil
}

// Piece is the price of one piece in wei, when a unit costs cost wei.
func (q Quote) Piece(cost *big.Int) *big.Int { return Wei(q.Units, cost) }

// Whole is the highest price of so many pieces in wei: what is free is
// subtracted in whole pieces.
func (q Quote) Whole(pieces uint64, cost *big.Int) *big.Int {
	free := min(q.Free/types.PieceSize, pieces)
	return new(big.Int).Mul(types.Wei(pieces-free), q.Piece(cost))
}

// Ceiling is the most that a payer is willing to pay. A nil Piece means that
// nothing but free pieces is wanted; a nil Whole sets no bound on the sum.
type Ceiling struct {
	Piece *big.Int // wei a piece
	Whole *big.Int // wei for the whole job
}

// Pays reports whether anything may be paid at all.
func (c Ceiling) Pays() bool { return c.Piece != nil }

// Accept tells why a quote is too dear: the error wraps ErrPrice.
func (c Ceiling) Accept(q Quote, cost *big.Int) error {
	price := q.Piece(cost)
	switch {
	case c.Piece == nil:
		return fmt.Errorf("%w: %s wei a piece, only free pieces are wanted", ErrPrice, price)
	case price.Cmp(c.Piece) > 0:
		return fmt.Errorf("%w: %s wei a piece above %s", ErrPrice, price, c.Piece)
	}
	return nil
}

// Allows tells why a sum is too dear for the whole job: the error wraps ErrPrice.
func (c Ceiling) Allows(sum *big.Int) error {
	if c.Whole != nil && sum.Cmp(c.Whole) > 0 {
		return fmt.Errorf("%w: %s wei for the whole above %s", ErrPrice, sum, c.Whole)
	}
	return nil
}

// PayAt is how many pieces a payer lets add up before it signs: at most payAt
// (0: no wish of its own), and at most half of the window, so that the payee
// never stands still.
func PayAt(window, payAt uint64) uint64 {
	half := max(window/2, 1)
	if payAt == 0 {
		return half
	}
	return min(half, payAt)
}

// dayMillis is a day of Unix time.
const dayMillis = 86_400_000

func dayOf(now types.Millis) uint64 { return uint64(max(now, 0)) / dayMillis }

// Budget bounds what a payer signs in one day of Unix time. The zero value has
// spent nothing.
type Budget struct {
	Day   uint64 // days since 1970
	Spent *big.Int
}

// Left is what may still be spent today of perDay wei; nil stands for no bound.
func (b *Budget) Left(perDay *big.Int, now types.Millis) *big.Int {
	if perDay == nil {
		return nil
	}
	left := new(big.Int).Set(perDay)
	if b.Day == dayOf(now) && b.Spent != nil {
		left.Sub(left, b.Spent)
	}
	if left.Sign() < 0 {
		left.SetInt64(0)
	}
	return left
}

// Spend adds wei to what was spent today. The error wraps ErrBudget, and then
// nothing changed.
func (b *Budget) Spend(wei, perDay *big.Int, now types.Millis) error {
	if left := b.Left(perDay, now); left != nil && wei.Cmp(left) > 0 {
		return fmt.Errorf("%w: %s wei above the %s that are left of %s", ErrBudget, wei, left, perDay)
	}
	if day := dayOf(now); b.Day != day || b.Spent == nil {
		b.Day, b.Spent = day, new(big.Int)
	}
	b.Spent.Add(b.Spent, wei)
	return nil
}

// EncodeTo appends [day, spent].
func (b *Budget) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(b.Day)
	e.Big(b.Spent)
}

// DecodeFrom reads the tuple.
func (b *Budget) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	b.Day = d.Uint()
	b.Spent = d.Big()
}
