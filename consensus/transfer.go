package consensus

import (
	"math/big"

	"github.com/staddle/staddle/types"
)

// Payment of results (ST1, ST9.2, ST7): bucket k of the epoch whose transfer is
// due since block c applies in block c + 1 + floor(k / BucketsPerBlock).

// transfer pays this block's buckets of the running transfer, if there is one.
func (s *state) transfer() error {
	e := s.g.Transfer
	rec, err := s.Epoch(e)
	if err != nil || rec.Due == 0 || s.head.Height <= rec.Due {
		return err
	}
	var res types.Result
	if err := s.block(rec.Collation.Result, &res); err != nil {
		return err
	}
	last := min(rec.Buckets+s.Rules.BucketsPerBlock, types.ResultBuckets)
	for k := rec.Buckets; k < last; k++ {
		if err := s.payBucket(e, &res, int(k)); err != nil {
			return err
		}
	}
	rec.Buckets = last
	if err := s.put(keyEpoch(e), rec); err != nil {
		return err
	}
	if last < types.ResultBuckets {
		return nil
	}
	if err := s.endTransfer(e); err != nil {
		return err
	}
	return s.startTransfer()
}

// endTransfer gives back the download locks of a paid or forgotten epoch and
// turns to the next one.
func (s *state) endTransfer(e types.Epoch) error {
	if err := s.unlock(e); err != nil {
		return err
	}
	if _, err := s.listTake(listSigners(e)); err != nil {
		return err
	}
	s.g.Transfer = e + 1
	s.emit(types.Settled{Epoch: e})
	return nil
}

// startTransfer is called at each checkpoint and after each transfer: the oldest
// unpaid epoch is paid from the next block on when its time has come and its
// result is signed (ST9.2: in order, one behind the other); those that never got
// a result are given up.
func (s *state) startTransfer() error {
	for {
		e := s.g.Transfer
		if s.head.Height < s.Rules.Checkpoint(e+transferAfter) {
			return nil
		}
		rec, err := s.Epoch(e)
		if err != nil || rec.Due != 0 {
			return err
		}
		if rec.Collation != nil {
			rec.Due = s.head.Height
			return s.put(keyEpoch(e), rec)
		}
		if s.head.Height < s.Rules.Checkpoint(e+lastCollation) {
			return nil
		}
		if err := s.endTransfer(e); err != nil {
			return err
		}
	}
}

func (s *state) payBucket(e types.Epoch, res *types.Result, k int) error {
	if !res.Entries[k].Bucket.Defined() {
		return nil
	}
	b, err := s.bucket(res, k)
	if err != nil {
		return err
	}
	for i := range b.Lines {
		if err := s.payLine(e, &b.Lines[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) payLine(e types.Epoch, l *types.ResultLine) error {
	a, ok, err := s.ByAddress(l.Address)
	if err != nil || !ok {
		return orMalformed(err, "address %s of an accepted result is unknown", l.Address)
	}
	if l.T.Sign() < 0 {
		return s.collect(e, a, l)
	}
	return s.reward(e, a, l.T)
}

// collect takes a debt out of the locks that were reserved for it: first the
// epoch's download lock, then the plans, oldest first.
func (s *state) collect(e types.Epoch, a types.Account, l *types.ResultLine) error {
	acc, err := s.Account(a)
	if err != nil {
		return err
	}
	need := types.Amount(types.BaseCeil(new(big.Int).Neg(l.T)).Uint64()) // bounded when it was reserved
	lock, err := s.lockLeft(e, a)
	if err != nil {
		return err
	}
	paid, rest, err := types.Pay(acc.Carry, l.T)
	if err != nil {
		return err
	}
	acc.Carry = rest
	acc.Reserved -= need - min(need, lock)
	owed := types.Amount(max(-paid, 0)) // 0: the carry covered it
	acc.Locked -= owed
	if err := s.setAccount(a, acc); err != nil {
		return err
	}
	return s.drain(e, a, owed)
}

// lockLeft is what is not spent of a payer's download lock for an epoch.
func (v *View) lockLeft(e types.Epoch, a types.Account) (types.Amount, error) {
	l, err := v.Lock(a, e)
	if err != nil || l == nil {
		return 0, err
	}
	return l.Amount - l.Spent, nil
}

// plansLeft is what is not spent of the locks of an account's plans.
func (v *View) plansLeft(a types.Account) (sum types.Amount, err error) {
	plans, err := v.Plans(a)
	if err != nil {
		return 0, err
	}
	for _, id := range plans {
		p, err := v.Plan(id)
		if err != nil || p == nil {
			return 0, orMalformed(err, "plan %s is listed and not there", id.Short())
		}
		sum += p.Left
	}
	return sum, nil
}

// unreserved is what no accepted result will take of an account's plans.
func (v *View) unreserved(a types.Account) (types.Amount, error) {
	acc, err := v.Account(a)
	if err != nil {
		return 0, err
	}
	left, err := v.plansLeft(a)
	return left - min(left, acc.Reserved), err
}

// drain books a debt against the records behind an account's locks.
func (s *state) drain(e types.Epoch, a types.Account, owed types.Amount) error {
	lock, err := s.Lock(a, e)
	if err != nil {
		return err
	}
	if lock != nil {
		n := min(owed, lock.Amount-lock.Spent)
		lock.Spent += n
		owed -= n
		if err := s.put(keyLock(a, e), lock); err != nil {
			return err
		}
	}
	plans, err := s.Plans(a)
	if err != nil {
		return err
	}
	for _, id := range plans {
		if owed == 0 {
			return nil
		}
		p, err := s.Plan(id)
		if err != nil {
			return err
		}
		n := min(owed, p.Left)
		p.Left -= n
		owed -= n
		if err := s.put(keyPlan(id), p); err != nil {
			return err
		}
	}
	if owed > 0 {
		return orMalformed(nil, "locks of %s are %d base units short of what was reserved", a.Short(), owed)
	}
	return nil
}

// reward pays a credit. A 32nd part goes to the signers of the result by their
// stake, and what their shares' rounding leaves is burned (ST7). The signers'
// part is collected for the whole epoch's lines one by one, in integers.
func (s *state) reward(e types.Epoch, a types.Account, t *big.Int) error {
	levy := new(big.Int).Rsh(t, 5)
	if err := s.earn(a, new(big.Int).Sub(t, levy)); err != nil {
		return err
	}
	return s.payLevy(e, levy)
}

// earn credits wei: whole base units to the balance, the rest to the carry (U2).
// A host beyond its first ranges that lacks its bond earns the bond first (H3).
func (s *state) earn(a types.Account, wei *big.Int) error {
	acc, err := s.Account(a)
	if err != nil {
		return err
	}
	paid, rest, err := types.Pay(acc.Carry, wei)
	if err != nil {
		return err
	}
	acc.Carry = rest
	n := types.Amount(paid)
	h, err := s.Host(a)
	if err != nil {
		return err
	}
	if h.Ranges > uint64(s.Rules.FreeRanges) {
		need := s.rent(h.Pieces * uint64(s.Rules.HostBondEpochs))
		kept := min(n, need-min(need, acc.HostBond))
		acc.HostBond += kept
		n -= kept
		h.Retained += kept
		if kept > 0 {
			if err := s.put(keyHost(a), h); err != nil {
				return err
			}
		}
	}
	if err := s.setAccount(a, acc); err != nil {
		return err
	}
	return s.credit(a, n)
}

// payLevy splits the signers' part by stake. Wei below a base unit, and what
// rounding leaves, are burned: the whole levy leaves the payer's side as
// floor(levy / 10^9) base units here and its remainder in burnedWei.
func (s *state) payLevy(e types.Epoch, levy *big.Int) error {
	signers, err := s.signers(e)
	if err != nil {
		return err
	}
	var stake types.Amount
	for _, c := range signers {
		stake += c.Amount
	}
	left := new(big.Int).Set(levy)
	for _, c := range signers {
		part := new(big.Int).Mul(levy, new(big.Int).SetUint64(uint64(c.Amount)))
		part.Quo(part, new(big.Int).SetUint64(uint64(stake)))
		left.Sub(left, part)
		if err := s.earn(c.Account, part); err != nil {
			return err
		}
	}
	return s.burnWei(left)
}

// burnWei burns a sum in wei; the part below one base unit is carried.
func (s *state) burnWei(wei *big.Int) error {
	n, rest, err := types.Pay(s.g.BurnCarry, wei)
	if err != nil {
		return err
	}
	s.burn(types.Amount(n))
	s.g.BurnCarry = rest
	return nil
}

// noteSigners keeps who signed a result, with their stakes, until it is paid.
func (s *state) noteSigners(b *types.Collation) error {
	for _, sig := range b.Signers {
		if err := s.listAdd(listSigners(b.Epoch), types.Hash(sig.By)); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) signers(e types.Epoch) ([]types.Credit, error) {
	list, err := s.accounts(listSigners(e))
	if err != nil {
		return nil, err
	}
	out := make([]types.Credit, len(list))
	for i, a := range list {
		acc, err := s.Account(a)
		if err != nil {
			return nil, err
		}
		out[i] = types.Credit{Account: a, Amount: acc.Deposit}
	}
	return out, nil
}
