package types

import (
	"fmt"
	"math/big"
	"strings"
)

// Units of money (U1): balances are base units, prices are wei.
const (
	BaseUnit    = 1                 // the smallest amount that an account can hold
	Coin        = 1_000_000_000     // base units in a coin
	WeiPerBase  = 1_000_000_000     // wei in a base unit
	MaxSupply   = 10_000_000 * Coin // base units in a community, at most
	maxWeiBytes = 32                // length of a price or a result in bytes, at most
)

// Amount is a sum of money in base units, at most MaxSupply.
type Amount uint64

// String gives coins as a decimal number without trailing zeros.
func (a Amount) String() string {
	whole, part := uint64(a)/Coin, uint64(a)%Coin
	if part == 0 {
		return fmt.Sprint(whole)
	}
	return fmt.Sprintf("%d.%s", whole, strings.TrimRight(fmt.Sprintf("%09d", part), "0"))
}

// ParseCoins reads a decimal number of coins with at most nine places.
func ParseCoins(s string) (Amount, error) {
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 9 || len(whole) > 8 || len(whole)+len(part) == 0 {
		return 0, fmt.Errorf("amount %q: want coins with at most 9 decimal places", clip(s, 40))
	}
	var n uint64
	for _, c := range whole + part + strings.Repeat("0", 9-len(part)) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("amount %q: %q is not a digit", s, c)
		}
		n = n*10 + uint64(c-'0')
	}
	if n > MaxSupply {
		return 0, fmt.Errorf("amount %s is above the largest supply %s", Amount(n), Amount(MaxSupply))
	}
	return Amount(n), nil
}

// Wei makes a price from a small number.
func Wei(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

// BaseCeil is the number of base units that covers wei: locks round up (U2).
func BaseCeil(wei *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(wei, big.NewInt(WeiPerBase), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

// Big appends a non-negative integer as a byte string, big-endian without
// leading zeros; nil counts as zero.
func (e *Encoder) Big(n *big.Int) {
	if n == nil {
		e.Bytes(nil)
		return
	}
	e.Bytes(n.Bytes())
}

// Big reads what Encoder.Big wrote: at most 256 bits.
func (d *Decoder) Big() *big.Int {
	b := d.Bytes(maxWeiBytes)
	if len(b) > 0 && b[0] == 0 {
		d.Fail("integer with a leading zero byte")
	}
	return new(big.Int).SetBytes(b)
}
