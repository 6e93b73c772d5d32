package types

import (
	"fmt"
	"math/big"
)

// Pay turns t, wei that an account earns (positive) or owes (negative), into
// base units (U2): x = carry + t, paid = floor(x / 10^9), rest = x mod 10^9.
// carry and rest are wei below 10^9 that stay in the account's record, so that
// rounding neither makes nor loses money. It fails when carry is 10^9 or more,
// or when paid exceeds what a community may hold.
func Pay(carry uint64, t *big.Int) (paid int64, rest uint64, err error) {
	if carry >= WeiPerBase {
		return 0, 0, fmt.Errorf("carry %d is not below %d wei", carry, uint64(WeiPerBase))
	}
	x := new(big.Int).SetUint64(carry)
	x.Add(x, t)
	// DivMod is Euclidean; for a positive divisor that is the floor.
	q, r := new(big.Int).DivMod(x, big.NewInt(WeiPerBase), new(big.Int))
	if q.CmpAbs(big.NewInt(MaxSupply)) > 0 {
		return 0, 0, fmt.Errorf("payment of %s base units is above the largest supply %d", q, uint64(MaxSupply))
	}
	return q.Int64(), r.Uint64(), nil
}
