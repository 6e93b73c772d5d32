package consensus

import (
	"github.com/staddle/staddle/types"
)

// Powers in milli-units (C1.3, C1.4).
const (
	unitMilli   = 1000
	quotaUnits  = 16         // units granted in an epoch, at most
	endowment   = 23_360_000 // shared by the genesis members: 16,000 x 1,460
	floorMilli  = 1000       // of genesis members and active deposits
	maturity    = 2          // epochs until a grant counts
	monthsAYear = 12
)

// month is the month of an epoch (T2).
func month(r *types.Rules, e types.Epoch) uint64 {
	return monthsAYear * uint64(e) / uint64(r.YearEpochs)
}

// units is what n of the total transactions that burned a base fee in an epoch
// give their sender (C1.3).
func units(n, total uint64) uint64 {
	if total <= quotaUnits {
		return unitMilli * n
	}
	return quotaUnits * unitMilli * n / total
}

// share is a genesis member's part of the endowment in an epoch (C1.4).
func share(r *types.Rules, members uint32, e types.Epoch) uint64 {
	if members == 0 {
		return 0
	}
	year := uint64(r.YearEpochs)
	if uint64(e) >= year {
		return floorMilli
	}
	return max(floorMilli, endowment/uint64(members)*(year-uint64(e))/year)
}

// Power is what an account's voice weighs in mining during an epoch, in
// milli-units. It is a function of what happened up to the epoch's start: counts
// younger than two epochs do not enter, and moving a matured count into its month
// does not change the sum (C1.3, C1.4).
func (v *View) Power(a types.Account, e types.Epoch) (uint64, error) {
	r, err := v.Account(a)
	if err != nil {
		return 0, err
	}
	g, err := v.Globals()
	if err != nil {
		return 0, err
	}
	return v.power(r, g, e)
}

func (v *View) power(r *types.AccountRecord, g *types.Globals, e types.Epoch) (uint64, error) {
	now := month(v.Rules, e)
	var sum uint64
	for i, p := range r.Power {
		if m := r.Month - uint64(i); r.Month >= uint64(i) && m <= now && now-m < types.Months {
			sum += p
		}
	}
	for _, c := range r.Counts {
		if c.Epoch+maturity > e || now-month(v.Rules, c.Epoch+maturity) >= types.Months {
			continue
		}
		rec, err := v.Epoch(c.Epoch)
		if err != nil {
			return 0, err
		}
		sum += units(c.Count, rec.Burning)
	}
	if r.Member {
		sum += share(v.Rules, g.Members, e)
	}
	if r.Deposit >= v.Rules.MinDeposit && r.DepositFrom <= e {
		sum = max(sum, floorMilli)
	}
	return sum, nil
}

// touch moves matured counts into their months and counts a transaction that
// burned a base fee in the running epoch.
func (s *state) touch(r *types.AccountRecord) error {
	keep := r.Counts[:0:0]
	for _, c := range r.Counts {
		if c.Epoch+maturity > s.epoch {
			keep = append(keep, c)
			continue
		}
		rec, err := s.Epoch(c.Epoch)
		if err != nil {
			return err
		}
		r.Grant(month(s.Rules, c.Epoch+maturity), units(c.Count, rec.Burning))
	}
	if n := len(keep); n > 0 && keep[n-1].Epoch == s.epoch {
		keep[n-1].Count++
	} else {
		keep = append(keep, types.EpochCount{Epoch: s.epoch, Count: 1})
	}
	r.Counts = keep
	rec, err := s.Epoch(s.epoch)
	if err != nil {
		return err
	}
	rec.Burning++
	return s.put(keyEpoch(s.epoch), rec)
}
