package types

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestU2(t *testing.T) {
	limit := new(big.Int).Mul(big.NewInt(MaxSupply), big.NewInt(WeiPerBase))
	over := new(big.Int).Add(limit, big.NewInt(WeiPerBase))
	cases := []struct {
		name  string
		carry uint64
		t     *big.Int
		paid  int64
		rest  uint64
		fails bool
	}{
		{name: "nothing", t: big.NewInt(0)},
		{name: "nothing keeps the carry", carry: 7, t: big.NewInt(0), rest: 7},
		{name: "below one unit", t: big.NewInt(999_999_999), rest: 999_999_999},
		{name: "carry completes a unit", carry: 1, t: big.NewInt(999_999_999), paid: 1},
		{name: "one wei owed rounds down", t: big.NewInt(-1), paid: -1, rest: 999_999_999},
		{name: "carry covers one wei", carry: 1, t: big.NewInt(-1)},
		{name: "exactly one unit owed", t: big.NewInt(-1_000_000_000), paid: -1},
		{name: "a little more than one unit owed", t: big.NewInt(-1_000_000_001), paid: -2, rest: 999_999_999},
		{name: "first storage price", t: big.NewInt(2_184_533_333), paid: 2, rest: 184_533_333},
		{name: "whole supply", t: limit, paid: MaxSupply},
		{name: "more than the supply", t: over, fails: true},
		{name: "carry too large", carry: WeiPerBase, t: big.NewInt(0), fails: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			paid, rest, err := Pay(c.carry, c.t)
			if paid != c.paid || rest != c.rest || (err != nil) != c.fails {
				t.Fatalf("Pay(%d, %s) = %d, %d, %v; want %d, %d, failure %t", c.carry, c.t, paid, rest, err, c.paid, c.rest, c.fails)
			}
		})
	}
}

// What goes in comes out: carry + t = paid x 10^9 + rest.
func TestPayConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		carry := rapid.Uint64Range(0, WeiPerBase-1).Draw(t, "carry")
		wei := rapid.Int64().Draw(t, "t")
		paid, rest, err := Pay(carry, big.NewInt(wei))
		if err != nil {
			t.Fatal(err)
		}
		sum := new(big.Int).Mul(big.NewInt(paid), big.NewInt(WeiPerBase))
		sum.Add(sum, new(big.Int).SetUint64(rest))
		want := new(big.Int).Add(big.NewInt(wei), new(big.Int).SetUint64(carry))
		if sum.Cmp(want) != 0 || rest >= WeiPerBase {
			t.Fatalf("Pay(%d, %d) = %d, %d: %s wei out, %s in", carry, wei, paid, rest, sum, want)
		}
	})
}
