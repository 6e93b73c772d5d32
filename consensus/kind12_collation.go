package consensus

import (
	"fmt"
	"math/big"

	"github.com/staddle/staddle/types"
)

// lastCollation is after how many epochs without a result an epoch is given up:
// collation until E+4, transfer at E+5 or later (ST1).
const (
	transferAfter = 5
	lastCollation = 8
)

// collate is the rule of kind 12: the result of an epoch, signed by more than
// 2/3 of the deposits, within the bounds of ST9.1. It comes after the last block
// for disputes of the epoch (ST1), so that none is won against what is credited.
func (s *state) collate(b *types.Collation) (effect, error) {
	rec, err := s.Epoch(b.Epoch)
	if err != nil {
		return nil, err
	}
	switch {
	case rec.Collation != nil:
		return s.collateLate(b, rec)
	case rec.Beacon.IsZero() || s.head.Height <= s.Rules.DisputesDue(b.Epoch):
		return nil, refuse("result of epoch %d in block %d: wanted after block %d, when disputes are over", b.Epoch, s.head.Height, s.Rules.DisputesDue(b.Epoch))
	case b.Epoch < s.g.Transfer:
		return nil, refuse("epoch %d was given up or paid; the next is %d", b.Epoch, s.g.Transfer)
	}
	signed, err := s.checkSigners(b, b.Digest(s.Chain))
	if err != nil {
		return nil, err
	}
	debts, err := s.debts(b, rec)
	if err != nil {
		return nil, err
	}
	return func() error {
		for _, d := range debts {
			if err := s.change(d.account, func(a *types.AccountRecord) { a.Reserved += d.amount }); err != nil {
				return err
			}
		}
		short := *b
		short.Signers = nil
		rec.Collation, rec.Signed = &short, signed
		s.emit(types.Collated{Epoch: b.Epoch, Result: b.Result})
		if err := s.noteSigners(listSigners(b.Epoch), b); err != nil {
			return err
		}
		return s.put(keyEpoch(b.Epoch), rec)
	}, nil
}

// checkSigners adds up the deposits behind a result: more than 2/3 of all.
func (s *state) checkSigners(b *types.Collation, digest types.Hash) (types.Amount, error) {
	var sum types.Amount
	for _, sig := range b.Signers {
		a, err := s.Account(sig.By)
		if err != nil {
			return 0, err
		}
		if a.Deposit < s.Rules.MinDeposit {
			return 0, refuse("signer %s has no deposit", sig.By.Short())
		}
		if !verified(sig, digest) {
			return 0, refuse("signer %s has a wrong signature", sig.By.Short())
		}
		sum += a.Deposit
	}
	if sum*3 <= s.g.Deposits*2 {
		return 0, refuse("deposits of %s signed, want more than 2/3 of %s", sum, s.g.Deposits)
	}
	return sum, nil
}

// debt is what an accepted result will take from an account's plans.
type debt struct {
	account types.Account
	amount  types.Amount
}

// debts holds an epoch's result to the bounds of ST9.1 and gives what it takes
// from plans, in address order.
func (s *state) debts(b *types.Collation, rec *types.EpochRecord) ([]debt, error) {
	frozen, err := s.Frozen(b.Epoch)
	if err != nil {
		return nil, err
	}
	var debts []debt
	err = s.checkResult(b, rec, func(a types.Account, l *types.ResultLine) error {
		if l.S > 0 {
			if err := s.checkProven(frozen, b.Epoch, a, uint64(l.S)); err != nil {
				return err
			}
		}
		d, err := s.checkDebt(b.Epoch, a, l)
		if d.amount > 0 {
			debts = append(debts, d)
		}
		return err
	})
	return debts, err
}

// checkResult reads a result whose sums must be zero, and checks each line by
// the epoch's prices and by check.
func (s *state) checkResult(b *types.Collation, rec *types.EpochRecord, check func(types.Account, *types.ResultLine) error) error {
	var res types.Result
	raw, err := s.src.Node(b.Result)
	if err != nil {
		return err
	}
	if err := types.Unmarshal(raw, &res); err != nil {
		return refuse("result: %w", err)
	}
	net, _, err := res.Totals()
	if err != nil {
		return refuse("result: %w", err)
	}
	if !net.IsZero() || res.Lines() != b.Rows {
		return refuse("result of %d rows with sums %d, %d, %s: want %d rows and zero sums", res.Lines(), net.S, net.B, net.T, b.Rows)
	}
	for k := range res.Entries {
		if !res.Entries[k].Bucket.Defined() {
			continue
		}
		bucket, err := s.bucket(&res, k)
		if err != nil {
			return err
		}
		for i := range bucket.Lines {
			a, err := s.checkLine(rec, &bucket.Lines[i])
			if err != nil {
				return err
			}
			if err := check(a, &bucket.Lines[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *View) bucket(res *types.Result, k int) (*types.ResultBucket, error) {
	raw, err := v.src.Node(res.Entries[k].Bucket)
	if err != nil {
		return nil, err
	}
	var b types.ResultBucket
	if err := types.Unmarshal(raw, &b); err != nil {
		return nil, refuse("bucket %d: %w", k, err)
	}
	if err := res.Check(k, &b); err != nil {
		return nil, refuse("%w", err)
	}
	return &b, nil
}

// checkLine finds the account of a line, whose price is the epoch's (ST9.1).
func (s *state) checkLine(rec *types.EpochRecord, l *types.ResultLine) (types.Account, error) {
	a, ok, err := s.ByAddress(l.Address)
	if err != nil {
		return a, err
	}
	if !ok {
		return a, refuse("address %s is not registered", l.Address)
	}
	want := new(big.Int).Mul(big.NewInt(l.S), rec.Storage)
	want.Add(want, new(big.Int).Mul(big.NewInt(l.B), rec.Bandwidth))
	if want.Cmp(l.T) != 0 {
		return a, refuse("t of %s is %s, want %s", l.Address, l.T, want)
	}
	return a, nil
}

// checkProven bounds storage credits by the pieces of a host that showed a
// bundle for the epoch.
func (s *state) checkProven(frozen *View, e types.Epoch, a types.Account, pieces uint64) error {
	h, err := frozen.Host(a)
	if err != nil {
		return err
	}
	claim, err := s.Claim(e, a)
	if err != nil {
		return err
	}
	if claim == nil || claim.Bundle == nil || claim.Lost {
		return refuse("credit of %d pieces to %s, which proved nothing in epoch %d", pieces, a.Short(), e)
	}
	if pieces > h.Pieces {
		return refuse("credit of %d pieces to %s, which proved %d", pieces, a.Short(), h.Pieces)
	}
	return nil
}

// checkDebt bounds a debit by what backs it, and gives what plans pay of it.
func (s *state) checkDebt(e types.Epoch, a types.Account, l *types.ResultLine) (debt, error) {
	if l.T.Sign() >= 0 {
		return debt{}, nil
	}
	lock, plans, err := s.Backing(e, a, l)
	if err != nil {
		return debt{}, err
	}
	need := types.BaseCeil(new(big.Int).Neg(l.T))
	if have := lock + plans; !need.IsUint64() || need.Uint64() > uint64(have) {
		return debt{}, refuse("debit of %s base units from %s, whose locks hold %d", need, a.Short(), have)
	}
	n := types.Amount(need.Uint64())
	return debt{a, n - min(n, lock)}, nil
}

// Backing is what a line of the next result of epoch e may take from an account
// (ST9.1): of the epoch's download lock, and of what no other result will take of
// the plans. The lock pays first, but for downloads alone, so that what it has
// left stays good for receipts that come late; those have nothing else (ST1).
func (v *View) Backing(e types.Epoch, a types.Account, l *types.ResultLine) (lock, plans types.Amount, err error) {
	rec, err := v.Epoch(e)
	if err != nil {
		return 0, 0, err
	}
	if rec.Collation != nil {
		lock, err = v.lateRest(e, a, rec)
		return lock, 0, err
	}
	if lock, err = v.lockShare(e, a, rec, l); err != nil {
		return 0, 0, err
	}
	plans, err = v.unreserved(a)
	return lock, plans, err
}

// ResultRows reads all lines of a result, in order of addresses.
func (v *View) ResultRows(c *types.Collation) ([]types.ResultLine, error) {
	var res types.Result
	if err := v.block(c.Result, &res); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	var rows []types.ResultLine
	for k := range res.Entries {
		if !res.Entries[k].Bucket.Defined() {
			continue
		}
		var b types.ResultBucket
		if err := v.block(res.Entries[k].Bucket, &b); err != nil {
			return nil, fmt.Errorf("read bucket %d: %w", k, err)
		}
		rows = append(rows, b.Lines...)
	}
	return rows, nil
}
