package market

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/staddle/staddle/types"
)

// MaxEvidence is the largest number of receipts in one Evidence.
const MaxEvidence = 16

// Evidence is a set of receipts of one payer and epoch that cannot all be
// honest (ST8.3): half of the payer's lock is burned for it.
type Evidence struct {
	Receipts []Receipt // 1 to MaxEvidence
}

// ErrEvidence marks receipts that prove nothing.
var ErrEvidence = errors.New("no contradiction")

// Check tells why e proves nothing: receipts of different payers, epochs or
// chains, a wrong signature, or totals that agree. cost is the price of a unit
// in that epoch, in wei. The error wraps ErrEvidence or ErrReceipt.
func (e *Evidence) Check(cost *big.Int, verify Verify) error {
	if n := len(e.Receipts); n == 0 || n > MaxEvidence {
		return fmt.Errorf("%w: %d receipts, want 1 to %d", ErrEvidence, n, MaxEvidence)
	}
	first := &e.Receipts[0]
	for i := range e.Receipts {
		r := &e.Receipts[i]
		if r.Chain != first.Chain || r.Payer != first.Payer || r.Epoch != first.Epoch {
			return fmt.Errorf("%w: receipt %d is of another chain, payer or epoch", ErrEvidence, i)
		}
		if err := r.Check(verify); err != nil {
			return err
		}
	}
	if !Contradict(cost, e.Receipts...) {
		return fmt.Errorf("%w: running totals of %d receipts agree", ErrEvidence, len(e.Receipts))
	}
	return nil
}

// Contradict reports whether receipts of one payer and epoch cannot come from
// one running total that pays cost wei a unit and rises with each receipt. An
// honest payer's receipts never do, in whatever order and selection.
//
// In the order of their totals: equal totals are one receipt; a payee's units
// rise, and the total by at least their price; each total covers the units of
// all receipts up to it.
func Contradict(cost *big.Int, receipts ...Receipt) bool {
	sorted := slices.Clone(receipts)
	slices.SortStableFunc(sorted, func(a, b Receipt) int { return a.Total.Cmp(b.Total) })
	sum := new(big.Int) // wei that the receipts so far must have cost
	for i := range sorted {
		r := &sorted[i]
		if i > 0 && r.Total.Cmp(sorted[i-1].Total) == 0 {
			if r.equal(&sorted[i-1]) {
				continue
			}
			return true
		}
		had := new(big.Int) // total of the payee's receipt before
		units := r.Units
		if last := previous(sorted[:i], r); last != nil {
			if r.Units <= last.Units {
				return true
			}
			units, had = r.Units-last.Units, last.Total
		}
		price := Wei(units, cost)
		sum.Add(sum, price)
		if r.Total.Cmp(sum) < 0 || new(big.Int).Sub(r.Total, had).Cmp(price) < 0 {
			return true
		}
	}
	return false
}

// previous is the last receipt before r to the same payee and device.
func previous(before []Receipt, r *Receipt) *Receipt {
	for i := len(before) - 1; i >= 0; i-- {
		if before[i].Payee == r.Payee && before[i].Device == r.Device {
			return &before[i]
		}
	}
	return nil
}

// EncodeTo appends [[receipt, ...]].
func (e *Evidence) EncodeTo(enc *types.Encoder) {
	enc.Array(1)
	enc.Array(len(e.Receipts))
	for i := range e.Receipts {
		e.Receipts[i].EncodeTo(enc)
	}
}

// DecodeFrom reads the tuple.
func (e *Evidence) DecodeFrom(d *types.Decoder) {
	d.Tuple(1)
	e.Receipts = make([]Receipt, d.Array(MaxEvidence))
	for i := range e.Receipts {
		e.Receipts[i].DecodeFrom(d)
	}
	if d.Err() == nil && len(e.Receipts) == 0 {
		d.Fail("evidence without receipts")
	}
}
