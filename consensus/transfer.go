package consensus

import (
	"math/big"

	"github.com/staddle/staddle/types"
)

// Payment of results (ST1, ST9.2, ST7): bucket k of the epoch whose transfer is
// due since block c applies in block c + 1 + floor(k / BucketsPerBlock). The
// result of its late logs follows in the same way, behind the last bucket.

// transfer pays this block's buckets of the running transfer, if there is one.
func (s *state) transfer() error {
	e := s.g.Transfer
	rec, err := s.Epoch(e)
	if err != nil || rec.Due == 0 || s.head.Height <= rec.Due {
		return err
	}
	if rec.Buckets < types.ResultBuckets {
		if err := s.payBuckets(&payment{epoch: e, prices: rec, signers: listSigners(e)}, rec); err != nil {
			return err
		}
		if err := s.put(keyEpoch(e), rec); err != nil || rec.Buckets < types.ResultBuckets {
			return err
		}
	}
	if done, err := s.transferLate(e, rec); err != nil || !done {
		return err
	}
	if err := s.endTransfer(e); err != nil {
		return err
	}
	return s.startTransfer()
}

// payment is a result on its way: that of an epoch or of its late logs.
type payment struct {
	epoch   types.Epoch
	prices  *types.EpochRecord // of the epoch
	signers string             // list of those who share the levy
	late    bool
}

// payBuckets pays this block's buckets of a result and counts them in rec.
func (s *state) payBuckets(p *payment, rec *types.EpochRecord) error {
	var res types.Result
	if err := s.block(rec.Collation.Result, &res); err != nil {
		return err
	}
	last := min(rec.Buckets+s.Rules.BucketsPerBlock, types.ResultBuckets)
	for k := rec.Buckets; k < last; k++ {
		if err := s.payBucket(p, &res, int(k)); err != nil {
			return err
		}
	}
	rec.Buckets = last
	return nil
}

// endTransfer gives back the download locks of a paid or forgotten epoch and
// turns to the next one.
func (s *state) endTransfer(e types.Epoch) error {
	if err := s.unlock(e); err != nil {
		return err
	}
	for _, list := range []string{listSigners(e), listLateSigners(e)} {
		if _, err := s.listTake(list); err != nil {
			return err
		}
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

func (s *state) payBucket(p *payment, res *types.Result, k int) error {
	if !res.Entries[k].Bucket.Defined() {
		return nil
	}
	b, err := s.bucket(res, k)
	if err != nil {
		return err
	}
	for i := range b.Lines {
		if err := s.payLine(p, &b.Lines[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) payLine(p *payment, l *types.ResultLine) error {
	a, ok, err := s.ByAddress(l.Address)
	if err != nil || !ok {
		return orMalformed(err, "address %s of an accepted result is unknown", l.Address)
	}
	if l.T.Sign() < 0 {
		return s.collect(p, a, l)
	}
	return s.reward(p.signers, a, l.T)
}

// collect takes a debt out of the locks that were reserved for it: first the
// epoch's download lock, then the plans, oldest first.
func (s *state) collect(p *payment, a types.Account, l *types.ResultLine) error {
	acc, err := s.Account(a)
	if err != nil {
		return err
	}
	need := types.Amount(types.BaseCeil(new(big.Int).Neg(l.T)).Uint64()) // bounded when it was reserved
	lock := need
	if !p.late {
		if lock, err = s.lockShare(p.epoch, a, p.prices, l); err != nil {
			return err
		}
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
	if owed, err = s.drainLock(p.epoch, a, min(owed, lock), owed); err != nil {
		return err
	}
	return s.drainPlans(a, owed)
}

// lockShare is how much of the debt of a line of an epoch's result the download
// lock pays: no more than what the downloads cost. All of the lock is there until
// this result is paid.
func (v *View) lockShare(e types.Epoch, a types.Account, rec *types.EpochRecord, l *types.ResultLine) (types.Amount, error) {
	lock, err := v.Lock(a, e)
	if err != nil || lock == nil || l == nil || l.B >= 0 || l.T.Sign() >= 0 || rec.Bandwidth == nil {
		return 0, err
	}
	cost := new(big.Int).Mul(new(big.Int).Neg(big.NewInt(l.B)), rec.Bandwidth)
	if wei := new(big.Int).Neg(l.T); cost.Cmp(wei) > 0 {
		cost = wei
	}
	if n := types.BaseCeil(cost); n.IsUint64() {
		return min(lock.Amount, types.Amount(n.Uint64())), nil
	}
	return lock.Amount, nil
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

// drainLock books up to n of a debt against the download lock of an epoch and
// gives what is owed still.
func (s *state) drainLock(e types.Epoch, a types.Account, n, owed types.Amount) (types.Amount, error) {
	lock, err := s.Lock(a, e)
	if err != nil || lock == nil {
		return owed, err
	}
	n = min(n, lock.Amount-lock.Spent)
	lock.Spent += n
	return owed - n, s.put(keyLock(a, e), lock)
}

// drainPlans books a debt against an account's plans.
func (s *state) drainPlans(a types.Account, owed types.Amount) error {
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
func (s *state) reward(signers string, a types.Account, t *big.Int) error {
	levy := new(big.Int).Rsh(t, 5)
	if err := s.earn(a, new(big.Int).Sub(t, levy)); err != nil {
		return err
	}
	return s.payLevy(signers, levy)
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
func (s *state) payLevy(list string, levy *big.Int) error {
	signers, err := s.signers(list)
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
func (s *state) noteSigners(list string, b *types.Collation) error {
	for _, sig := range b.Signers {
		if err := s.listAdd(list, types.Hash(sig.By)); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) signers(of string) ([]types.Credit, error) {
	list, err := s.accounts(of)
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
