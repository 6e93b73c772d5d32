package consensus

import (
	"math/big"
	"slices"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// dispute is the rule of kind 9 (H6.6): a proof of a posted bundle, or a claim
// of a host's sum tree, is shown to be false. The chain decides at once. What
// does not lead to the committed root is refused at the door; what does and is
// true loses.
func (s *state) dispute(r *request, b *types.Dispute) (effect, error) {
	claim, err := s.Claim(b.Epoch, b.Host)
	switch {
	case err != nil:
		return nil, err
	case claim == nil:
		return nil, refuse("host %s claimed nothing in epoch %d", b.Host.Short(), b.Epoch)
	case claim.Lost:
		return nil, refuse("host %s lost a dispute of epoch %d before", b.Host.Short(), b.Epoch)
	case s.head.Height > s.Rules.DisputesDue(b.Epoch):
		return nil, refuse("dispute of epoch %d in block %d, wanted until %d", b.Epoch, s.head.Height, s.Rules.DisputesDue(b.Epoch))
	case r.spendable() < s.Rules.DisputeLock:
		return nil, refuse("a dispute locks %s, balance after the fee is %s", s.Rules.DisputeLock, r.spendable())
	}
	frozen, err := s.Frozen(b.Epoch)
	if err != nil {
		return nil, err
	}
	lot, won, err := s.judgeDispute(frozen, b, claim)
	if err != nil {
		return nil, err
	}
	return func() error {
		s.emit(types.Disputed{Host: b.Host, Epoch: b.Epoch, Won: won})
		if !won {
			return s.loseDispute(r.Sender, b.Host)
		}
		return s.winDispute(r.Sender, b, claim, lot)
	}, nil
}

// judgeDispute names the lot in question and whether the host is wrong.
func (s *state) judgeDispute(frozen *View, b *types.Dispute, claim *types.ClaimRecord) (*types.LotRecord, bool, error) {
	if b.Kind == types.DisputeSum {
		return judgeSum(frozen, b, claim)
	}
	if claim.Bundle == nil {
		return nil, false, refuse("host %s posted no bundle for epoch %d", b.Host.Short(), b.Epoch)
	}
	if err := replica.CheckMember(claim.Bundle.Root, claim.Bundle.Proofs, b.Index, b.Evidence, b.Path); err != nil {
		return nil, false, refuse("evidence is not proof %d of the bundle: %w", b.Index, err)
	}
	rec, err := s.Epoch(b.Epoch)
	if err != nil {
		return nil, false, err
	}
	q, err := frozen.Question(b.Host, &claim.Log, rec.Beacon)
	if err != nil {
		return nil, false, err
	}
	t := frozen.Terms(b.Host)
	verdict, _ := q.CheckProof(int(b.Index), b.Evidence, t)
	if t.Err() != nil {
		return nil, false, t.Err()
	}
	lot, err := s.disputedLot(frozen, b, q)
	return lot, verdict != replica.Shown && !(verdict == replica.Missed && slices.Contains(claim.Bundle.Missed, b.Index)), err
}

// disputedLot is the lot that the disputed place asked for.
func (s *state) disputedLot(frozen *View, b *types.Dispute, q *replica.Question) (*types.LotRecord, error) {
	if int(b.Index) >= len(q.Samples) {
		return frozen.Lot(q.Turns[int(b.Index)-len(q.Samples)].Lot)
	}
	claims, err := frozen.Claims(b.Host)
	if err != nil {
		return nil, err
	}
	return frozen.Lot(lotAt(claims, q.Samples[b.Index]))
}

// judgeSum compares a claim that leads to the committed sum with the chain's
// record of that lot (H6.3).
func judgeSum(frozen *View, b *types.Dispute, claim *types.ClaimRecord) (*types.LotRecord, bool, error) {
	var c replica.Claim
	var p replica.SumPath
	d := types.NewDecoder(b.Evidence)
	d.Tuple(2)
	c.DecodeFrom(d)
	p.DecodeFrom(d)
	if err := d.End(); err != nil {
		return nil, false, refuse("evidence: %w", err)
	}
	root, _, err := p.Fold(c.Sum(), uint64(claim.Log.Lots))
	if want := (replica.Sum{Leaves: claim.Log.Leaves, Hash: claim.Log.SumRoot}); err != nil || root != want {
		return nil, false, refuse("evidence is not a claim of the host's sum tree")
	}
	l, err := frozen.Lot(c.Lot)
	if err != nil {
		return nil, false, err
	}
	return l, l == nil || l.Keeper() != b.Host || l.Leaves != c.Leaves, nil
}

// loseDispute: half of the lock to the host, half burned.
func (s *state) loseDispute(by, host types.Account) error {
	lock := s.Rules.DisputeLock
	if err := s.change(by, func(a *types.AccountRecord) { a.Balance -= lock }); err != nil {
		return err
	}
	s.burn(lock - lock/2)
	return s.credit(host, lock/2)
}

// winDispute: the host loses the smaller of its bond and 64 epochs of the lot's
// pay, each checker that signed 1/32 of its deposit; a tenth goes to the
// disputer, the rest is burned; the epoch's bundle counts for nothing, and the lot
// is repaired.
func (s *state) winDispute(by types.Account, b *types.Dispute, claim *types.ClaimRecord, lot *types.LotRecord) error {
	var taken types.Amount
	pay := types.Amount(0)
	if lot != nil {
		pay = s.rent(uint64(lot.Pieces) * uint64(s.Rules.HostBondEpochs))
	}
	err := s.change(b.Host, func(a *types.AccountRecord) {
		taken = min(a.HostBond, pay)
		a.HostBond -= taken
	})
	if err != nil {
		return err
	}
	if claim.Bundle != nil && b.Kind == types.DisputeProof {
		for _, c := range claim.Bundle.Checkers {
			err := s.change(c.By, func(a *types.AccountRecord) {
				cut := a.Deposit / 32
				s.stake(a, a.Deposit-cut)
				taken += cut
			})
			if err != nil {
				return err
			}
		}
	}
	s.burn(taken - taken/10)
	claim.Lost = true
	if err := s.put(keyClaim(b.Epoch, b.Host), claim); err != nil {
		return err
	}
	if err := s.credit(by, taken/10); err != nil {
		return err
	}
	if lot == nil || b.Kind != types.DisputeProof {
		return nil
	}
	return s.repairDisputed(lot)
}

// repairDisputed reopens the lot of a failed audit at once (H4.1), if the attempt
// that failed is still its contract.
func (s *state) repairDisputed(failed *types.LotRecord) error {
	id := types.LotOf(failed.Plan, failed.Copy, failed.Index)
	l, err := s.Lot(id)
	if err != nil || l == nil || l.Status != types.LotActive || l.Attempt != failed.Attempt {
		return err
	}
	return s.reopen(id, l)
}

// rent is what so many pieces cost in one epoch, rounded up, in base units.
func (s *state) rent(pieces uint64) types.Amount {
	wei := new(big.Int).SetUint64(pieces)
	n := types.BaseCeil(wei.Mul(wei, s.g.Storage))
	if !n.IsUint64() || n.Uint64() > types.MaxSupply {
		return types.MaxSupply
	}
	return types.Amount(n.Uint64())
}
