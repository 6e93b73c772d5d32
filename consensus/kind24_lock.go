package consensus

import "github.com/staddle/staddle/types"

// lock is the rule of kind 24: coins that back the sender's downloads of one
// epoch, the running one or the next (ST8.1). A second one adds to the first.
func (s *state) lock(r *request, b *types.Lock) (effect, error) {
	if b.Epoch != s.epoch && b.Epoch != s.epoch+1 {
		return nil, refuse("lock for epoch %d in epoch %d: want this one or the next", b.Epoch, s.epoch)
	}
	if have := r.spendable(); b.Amount == 0 || b.Amount > have {
		return nil, refuse("lock of %s, balance after the fee is %s", b.Amount, have)
	}
	rec, err := loadOr[types.LockRecord](&s.View, keyLock(r.Sender, b.Epoch))
	if err != nil {
		return nil, err
	}
	first := rec.Amount == 0
	rec.Amount += b.Amount
	return func() error {
		if first {
			if err := s.listAdd(listLocks(b.Epoch), types.Hash(r.Sender)); err != nil {
				return err
			}
		}
		if err := s.put(keyLock(r.Sender, b.Epoch), rec); err != nil {
			return err
		}
		return s.change(r.Sender, func(a *types.AccountRecord) {
			a.Balance -= b.Amount
			a.Locked += b.Amount
		})
	}, nil
}

// unlock gives back what is left of an epoch's download locks, once its result
// was paid or given up.
func (s *state) unlock(e types.Epoch) error {
	payers, err := s.listTake(listLocks(e))
	if err != nil {
		return err
	}
	for _, id := range payers {
		a := types.Account(id)
		rec, err := s.Lock(a, e)
		if err != nil || rec == nil {
			return orMalformed(err, "lock of %s in epoch %d is listed and not there", a.Short(), e)
		}
		left := rec.Amount - rec.Spent
		err = s.change(a, func(r *types.AccountRecord) {
			r.Locked -= left
			r.Balance += left
		})
		if err != nil {
			return err
		}
		if err := s.drop(keyLock(a, e)); err != nil {
			return err
		}
	}
	return nil
}
