package market

import "github.com/staddle/staddle/types"

// Dealing is what a payer remembers of one device of a payee, over all epochs.
//
// The payer pays for what has come. What a payee may claim beyond that, after a
// connection broke or the payer lost its memory, is bounded by Mark, which is
// durable before pieces are asked for; and whoever claims more than came falls
// back to a window of one piece.
type Dealing struct {
	Received uint64 // units that came and are not yet signed for
	Mark     uint64 // units that the payee may claim at most; at least Received
	Honoured uint64 // receipts since the window was one piece, at most 6
}

// Window is how many pieces the payer has under way and unpaid at most.
func (d *Dealing) Window() uint64 { return 1 << min(d.Honoured, doublings) }

// Ask says that outstanding units are under way besides those received, when a
// piece is perPiece. When it returns true the dealing must be durable before the
// request leaves; it raises the mark by a whole window, so that this happens
// once a window.
func (d *Dealing) Ask(outstanding, perPiece uint64) (changed bool) {
	need := d.Received + outstanding
	if need <= d.Mark {
		return false
	}
	d.Mark = need + d.Window()*perPiece
	return true
}

// Got counts units that came; more than the mark covers never count.
func (d *Dealing) Got(units uint64) { d.Received = min(d.Received+units, d.Mark) }

// Signed takes units off after a receipt for them.
func (d *Dealing) Signed(units uint64) {
	d.Received -= min(units, d.Received)
	d.Mark -= min(units, d.Mark)
}

// Answered counts a receipt that the payee has taken: the payer dares more.
func (d *Dealing) Answered() { d.Honoured = min(d.Honoured+1, doublings) }

// Settle says what the payee claims when nothing is under way, and leaves in
// Received what is to be paid: the claim, but never more than was asked for. A
// claim above what came makes trust begin again.
func (d *Dealing) Settle(claim uint64) {
	if claim > d.Received {
		d.Honoured = 0
	}
	d.Received = min(claim, d.Mark)
	d.Mark = d.Received
}

// EncodeTo appends [received, mark, honoured].
func (d *Dealing) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(d.Received)
	e.Uint(d.Mark)
	e.Uint(d.Honoured)
}

// DecodeFrom reads the tuple.
func (d *Dealing) DecodeFrom(dec *types.Decoder) {
	dec.Tuple(3)
	d.Received = dec.Limit(MaxUnits)
	d.Mark = dec.Limit(MaxUnits)
	d.Honoured = dec.Limit(doublings)
	if dec.Err() == nil && d.Received > d.Mark {
		dec.Fail("dealing with %d units received above its mark %d", d.Received, d.Mark)
	}
}
