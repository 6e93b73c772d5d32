package consensus

import (
	"bytes"
	"slices"

	"github.com/staddle/staddle/types"
)

// Logs that come late (ST1): who was away when the logs of an epoch were due may
// commit its receipts in the four epochs that follow. They have a result of their
// own, signed and bounded like the epoch's, at the epoch's prices, and paid behind
// it out of what is left of the epoch's download locks. These return afterwards.

// LateEpochs is for how many epochs after its own an epoch's logs may come late.
const LateEpochs = 4

// LateLogsDue is the last block that may commit logs of epoch e late: the due
// block of epoch e + 4.
func LateLogsDue(r *types.Rules, e types.Epoch) types.Height { return r.LogsDue(e + LateEpochs) }

// Late reports whether logs were committed late: then their receipts count, and
// nothing else.
func Late(r *types.Rules, c *types.ClaimRecord) bool { return c.At > r.LogsDue(c.Log.Epoch) }

// LateDigest is what validators sign of the result of an epoch's late logs:
// H("staddle/collation/late/1", digest of the same kind 12 for the epoch). So
// neither result can be taken for the other.
func LateDigest(chain types.ChainID, b *types.Collation) types.Hash {
	d := b.Digest(chain)
	return types.H("staddle/collation/late/1", d[:])
}

// LateRecord is how far the late logs of an epoch are; nil when nobody committed
// one. Of the record Collation, Signed, Due and Buckets are used, for the result
// of the late logs.
func (v *View) LateRecord(e types.Epoch) (*types.EpochRecord, error) {
	return load[types.EpochRecord](v, keyLate(e))
}

// checkLate: a late log holds exceptions, of which receipts count, and no claim,
// since what was not claimed in time stays missed (H6.3).
func (s *state) checkLate(_ types.Account, b *types.LogCommitment) error {
	if b.Lots != 0 || b.Leaves != 0 || !b.SumRoot.IsZero() || b.Headers == 0 || !b.Exceptions.Defined() {
		return refuse("late logs of epoch %d in block %d, after %d: wanted are headers, receipts and no claim, not %d headers and %d lots",
			b.Epoch, s.head.Height, s.Rules.LogsDue(b.Epoch), b.Headers, b.Lots)
	}
	return nil
}

// noteLate makes the record of an epoch's late logs with the first of them.
func (s *state) noteLate(c *types.ClaimRecord) error {
	if !Late(s.Rules, c) {
		return nil
	}
	rec, err := s.LateRecord(c.Log.Epoch)
	if err != nil || rec != nil {
		return err
	}
	return s.put(keyLate(c.Log.Epoch), new(types.EpochRecord))
}

// collateLate is the rule of kind 12 for an epoch that has a result: that of its
// late logs, once their time is over, with no other debits than what the
// downloads that were settled before leave of the lock (ST8.2).
func (s *state) collateLate(b *types.Collation, rec *types.EpochRecord) (effect, error) {
	late, err := s.LateRecord(b.Epoch)
	if err != nil {
		return nil, err
	}
	switch due := LateLogsDue(s.Rules, b.Epoch); {
	case late == nil || late.Collation != nil:
		return nil, refuse("epoch %d has a result", b.Epoch)
	case b.Epoch < s.g.Transfer:
		return nil, refuse("epoch %d was paid; the next is %d", b.Epoch, s.g.Transfer)
	case s.head.Height <= due:
		return nil, refuse("result of late logs of epoch %d in block %d: wanted after block %d", b.Epoch, s.head.Height, due)
	}
	signed, err := s.checkSigners(b, LateDigest(s.Chain, b))
	if err != nil {
		return nil, err
	}
	err = s.checkResult(b, rec, func(a types.Account, l *types.ResultLine) error {
		if l.S != 0 {
			return refuse("%d pieces of %s in a result of late logs, which count downloads alone", l.S, a.Short())
		}
		_, err := s.checkDebt(b.Epoch, a, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		short := *b
		short.Signers = nil
		late.Collation, late.Signed = &short, signed
		s.emit(types.Collated{Epoch: b.Epoch, Result: b.Result})
		if err := s.noteSigners(listLateSigners(b.Epoch), b); err != nil {
			return err
		}
		return s.put(keyLate(b.Epoch), late)
	}, nil
}

// lateRest is what the epoch's result leaves of a download lock, paid or not yet.
func (v *View) lateRest(e types.Epoch, a types.Account, rec *types.EpochRecord) (types.Amount, error) {
	lock, err := v.Lock(a, e)
	if err != nil || lock == nil {
		return 0, err
	}
	before, err := v.resultLine(rec.Collation, a.Address())
	if err != nil {
		return 0, err
	}
	used, err := v.lockShare(e, a, rec, before)
	return lock.Amount - used, err
}

// resultLine finds the line of an address in a result; nil when it has none.
func (v *View) resultLine(c *types.Collation, addr types.Address) (*types.ResultLine, error) {
	var res types.Result
	if err := v.block(c.Result, &res); err != nil {
		return nil, err
	}
	k := int(addr[0])
	if !res.Entries[k].Bucket.Defined() {
		return nil, nil
	}
	b, err := v.bucket(&res, k)
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearchFunc(b.Lines, addr, func(l types.ResultLine, a types.Address) int { return bytes.Compare(l.Address[:], a[:]) })
	if !found {
		return nil, nil
	}
	return &b.Lines[i], nil
}

// transferLate pays this block's buckets of the result of an epoch's late logs,
// behind the epoch's own. It reports whether the epoch is done with. A result that
// is wanted still is waited for until the epoch would be given up.
func (s *state) transferLate(e types.Epoch, prices *types.EpochRecord) (done bool, err error) {
	late, err := s.LateRecord(e)
	switch {
	case err != nil || late == nil:
		return true, err
	case late.Collation == nil:
		return s.head.Height >= s.Rules.Checkpoint(e+lastCollation), nil
	case late.Due == 0:
		late.Due = s.head.Height
		return false, s.put(keyLate(e), late)
	}
	if err := s.payBuckets(&payment{epoch: e, prices: prices, signers: listLateSigners(e), late: true}, late); err != nil {
		return false, err
	}
	return late.Buckets == types.ResultBuckets, s.put(keyLate(e), late)
}
