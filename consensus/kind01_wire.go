package consensus

import "github.com/staddle/staddle/types"

// wire is the rule of kind 1: coins from the sender to an account.
func (s *state) wire(r *request, b *types.Wire) (effect, error) {
	if b.Amount == 0 {
		return nil, refuse("a wire of 0 coins")
	}
	if have := r.spendable(); b.Amount > have {
		return nil, refuse("wire of %s, balance after the fee is %s", b.Amount, have)
	}
	return func() error {
		if err := s.change(r.Sender, func(a *types.AccountRecord) { a.Balance -= b.Amount }); err != nil {
			return err
		}
		return s.change(b.To, func(a *types.AccountRecord) { a.Balance += b.Amount })
	}, nil
}
