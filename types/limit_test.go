package types

import "testing"

// K3: the limit that holds in a block, what counts in an epoch, and the one
// spelling of both.
func TestK3(t *testing.T) {
	a := AccountRecord{SpendLimit: 100, LimitBefore: 10, LimitFrom: 388, SpentEpoch: 3, Spent: 6}
	for h, want := range map[Height]Amount{0: 10, 387: 10, 388: 100, 389: 100} {
		if have := a.LimitAt(h); have != want {
			t.Errorf("limit in block %d is %d, want %d", h, have, want)
		}
	}
	for e, want := range map[Epoch]Amount{0: 0, 2: 0, 3: 6, 4: 0} {
		if have := a.SpentIn(e); have != want {
			t.Errorf("spent in epoch %d: %d, want %d", e, have, want)
		}
	}
	for name, x := range map[string]struct {
		change func(*AccountRecord)
		ok     bool
	}{
		"full":               {func(*AccountRecord) {}, true},
		"raised to none":     {func(a *AccountRecord) { a.SpendLimit = 0 }, true},
		"spent in epoch 0":   {func(a *AccountRecord) { a.SpentEpoch = 0 }, true},
		"nothing":            {func(a *AccountRecord) { *a = AccountRecord{} }, true},
		"before without end": {func(a *AccountRecord) { a.LimitFrom = 0 }, false},
		"end without before": {func(a *AccountRecord) { a.LimitBefore = 0 }, false},
		"epoch of nothing":   {func(a *AccountRecord) { a.Spent = 0 }, false},
		"above the supply":   {func(a *AccountRecord) { a.Spent = MaxSupply + 1 }, false},
	} {
		b := a
		x.change(&b)
		var again AccountRecord
		if err := Unmarshal(Marshal(&b), &again); (err == nil) != x.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
