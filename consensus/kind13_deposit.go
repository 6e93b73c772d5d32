package consensus

import "github.com/staddle/staddle/types"

// maxValidators bounds the deposits that count (C4.1).
const maxValidators = types.MaxSigners

// deposit is the rule of kind 13: coins of the balance become a bond. Bonds are
// given back by kind 14, which is not active yet.
func (s *state) deposit(r *request, b *types.Deposit) (effect, error) {
	if b.Amount == 0 {
		return nil, refuse("a deposit of 0 coins")
	}
	if have := r.spendable(); b.Amount > have {
		return nil, refuse("deposit of %s, balance after the fee is %s", b.Amount, have)
	}
	if b.Role == types.RoleValidator {
		if err := s.checkValidator(r, b); err != nil {
			return nil, err
		}
	}
	return func() error {
		return s.change(r.Sender, func(a *types.AccountRecord) { s.bond(a, b) })
	}, nil
}

func (s *state) bond(a *types.AccountRecord, b *types.Deposit) {
	a.Balance -= b.Amount
	switch b.Role {
	case types.RoleHost:
		a.HostBond += b.Amount
	case types.RoleEncoder:
		a.EncodeBond += b.Amount
	default:
		if a.Deposit < s.Rules.MinDeposit {
			a.DepositFrom = s.epoch + maturity
		}
		s.stake(a, a.Deposit+b.Amount)
	}
}

// stake changes a validator's deposit, and the sum of those that count: one
// below the minimum has no voice until it is filled up.
func (s *state) stake(a *types.AccountRecord, n types.Amount) {
	counts := func(n types.Amount) types.Amount {
		if n < s.Rules.MinDeposit {
			return 0
		}
		return n
	}
	s.g.Deposits += counts(n) - counts(a.Deposit)
	a.Deposit = n
}

func (s *state) checkValidator(r *request, b *types.Deposit) error {
	if sum := r.acc.Deposit + b.Amount; sum < s.Rules.MinDeposit {
		return refuse("validator's deposit %s below minimum %s", sum, s.Rules.MinDeposit)
	}
	list, err := s.Role(types.RoleValidator)
	if err != nil {
		return err
	}
	if r.acc.Deposit == 0 && len(list) >= maxValidators {
		return refuse("%d validators, at most %d", len(list), maxValidators)
	}
	return nil
}
