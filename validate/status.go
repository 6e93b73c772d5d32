package validate

import (
	"github.com/staddle/staddle/types"
)

// Status is what the validator did since it was started.
type Status struct {
	Account   types.Account
	Active    bool // its deposit counts
	Deposit   types.Amount
	Attested  uint64        // lots
	Checked   uint64        // bundles signed
	Disputed  uint64        // false bundles taken to the chain
	Tested    uint64        // hosts
	Settled   uint64        // results submitted
	Height    types.Height  // of the newest state for which all duties were done; 0: none yet
	Unsettled []types.Epoch // whose bundles and disputes are in and that have no result
}

// Status tells how the validator stands.
func (v *Validator) Status() (*Status, error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	s := &Status{
		Account: v.me, Attested: v.attested.Load(), Checked: v.checked.Load(), Disputed: v.disputed.Load(),
		Tested: v.tested.Load(), Settled: v.settled.Load(),
	}
	s.Height = types.Height(v.worked[0].Load())
	for i := range v.worked {
		s.Height = min(s.Height, types.Height(v.worked[i].Load()))
	}
	if s.Active, err = v.deposited(now); err != nil {
		return nil, err
	}
	acc, err := now.Account(v.me)
	if err != nil {
		return nil, err
	}
	s.Deposit = acc.Deposit
	first, last, err := recent(now)
	if err != nil {
		return nil, err
	}
	for e := first; e <= last; e++ {
		rec, err := now.Epoch(e)
		if err != nil {
			return nil, err
		}
		if rec.Collation == nil && now.Height() >= now.Rules.DisputesDue(e) {
			s.Unsettled = append(s.Unsettled, e)
		}
	}
	return s, nil
}
