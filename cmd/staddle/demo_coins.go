package main

import "github.com/staddle/staddle/types"

// difference is what a balance gained, with its sign; "" without a beginning.
func difference(before, after string) string {
	a, errA := types.ParseCoins(before)
	b, errB := types.ParseCoins(after)
	switch {
	case errA != nil || errB != nil || before == "":
		return ""
	case b < a:
		return "-" + (a - b).String()
	}
	return "+" + (b - a).String()
}
