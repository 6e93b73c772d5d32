package consensus

import (
	"math/big"

	"github.com/staddle/staddle/types"
)

// Numbers of rule C1.2: f is 32.32 fixed point.
const (
	factorOne   = 1 << 32
	factorMax   = factorOne << 20
	targetBytes = types.MaxBlockBytes / 2
	feeBase     = 1_000_000
	feePerByte  = 1_000
)

// NextFactor is the fee factor after a block with so many bytes of
// transactions: f + floor(f x (bytes - 524,288) / (8 x 524,288)), the quotient
// towards zero, kept from 1.0 to 2^20 (C1.2).
func NextFactor(f, bytes uint64) uint64 {
	diff := new(big.Int).SetInt64(int64(bytes) - targetBytes)
	diff.Mul(diff, new(big.Int).SetUint64(f))
	diff.Quo(diff, big.NewInt(8*targetBytes))
	next := diff.Add(diff, new(big.Int).SetUint64(f))
	switch {
	case next.Cmp(big.NewInt(factorOne)) < 0:
		return factorOne
	case next.Cmp(big.NewInt(factorMax)) > 0:
		return factorMax
	}
	return next.Uint64()
}

// BaseFee is what a signed transaction of so many bytes burns:
// ((10^6 + 1,000 x bytes) x f) >> 32 base units, in 128 bits (C1.2).
func BaseFee(f, bytes uint64) types.Amount {
	n := new(big.Int).SetUint64(feeBase + feePerByte*bytes)
	n.Mul(n, new(big.Int).SetUint64(f))
	return types.Amount(n.Rsh(n, 32).Uint64())
}

// free reports whether a kind is free of fee and gives no power (C1.5). Kinds 8
// and 11 are refused a second time in an epoch by their own rules. The first kind
// 3 of an invited account would be free too: an account is invited when a member
// record (`i/`) says so, and a market has none, so that every kind 3 pays here. A
// newcomer pays it from the gift of its invite (C7).
func free(k types.Kind) bool {
	return k == types.KindBundle || k == types.KindLog || k == types.KindVote
}

// checkFee is rule C1.1 at the door: the fee covers the base fee, the balance
// covers the fee.
func (s *state) checkFee(t *types.Tx, size uint64, balance types.Amount) error {
	if free(t.Kind) {
		if t.Fee != 0 {
			return refuse("a %s is free of fee, it names %s", t.Kind, t.Fee)
		}
		return nil
	}
	if base := BaseFee(s.g.FeeFactor, size); t.Fee < base {
		return refuse("fee %d below the base fee %d", t.Fee, base)
	}
	if balance < t.Fee {
		return refuse("balance %s below the fee %s", balance, t.Fee)
	}
	return nil
}
