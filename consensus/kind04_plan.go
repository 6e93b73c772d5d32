package consensus

import (
	"math/big"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// leavesPerPiece is the number of 1,024-byte leaves of a whole piece.
const leavesPerPiece = types.PieceSize / 1024

// settleTail is how many epochs after its end a plan's lock is given back: by
// then its last epoch is paid or given up.
const settleTail = lastCollation + 1

// plan is the rule of kind 4: the dataset is known, the price bearable, the
// prepayment there for the whole term at the highest price (ST6). It cannot be
// cancelled before its draw (H1.4): no kind does so.
func (s *state) plan(r *request, b *types.Plan) (effect, error) {
	d, err := s.Dataset(b.Dataset)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, refuse("plan for dataset %s, which was not published here", b.Dataset.Short())
	}
	if err := s.checkPlan(r, b, d); err != nil {
		return nil, err
	}
	ranges, err := s.Ranges(&d.Attachment, b.First, b.Count)
	if err != nil {
		return nil, err
	}
	lots := s.cut(b, ranges, &d.Attachment)
	pieces := uint32(0)
	for _, l := range lots {
		pieces += l.Pieces
	}
	if need := s.prepay(b, ranges); b.Lock < need {
		return nil, refuse("lock of %s below %s: set-up and %d epochs of %d copies of %d pieces at the highest price",
			b.Lock, need, b.Until-s.epoch, b.Copies, pieces)
	}
	rec := &types.PlanRecord{
		Plan: *b, Sponsor: r.Sender, Time: s.head.Time, Height: s.head.Height,
		Left: b.Lock, Lots: uint32(len(lots)), Pieces: pieces,
	}
	return func() error { return s.openPlan(r.id, rec, lots) }, nil
}

func (s *state) checkPlan(r *request, b *types.Plan, d *types.DatasetRecord) error {
	switch {
	case uint64(b.First)+uint64(b.Count) > uint64(d.Attachment.RangeCount):
		return refuse("plan for ranges %d+%d of %d", b.First, b.Count, d.Attachment.RangeCount)
	case b.Until <= s.epoch:
		return refuse("plan until epoch %d in epoch %d", b.Until, s.epoch)
	case b.Until-s.epoch > types.Epoch(2*s.Rules.YearEpochs):
		return refuse("plan for %d epochs, at most %d", b.Until-s.epoch, 2*s.Rules.YearEpochs)
	case b.MaxPrice.Cmp(s.g.Storage) < 0:
		return refuse("highest price %s wei below the price %s", b.MaxPrice, s.g.Storage)
	case b.Lock > r.spendable():
		return refuse("plan locks %s, balance after the fee is %s", b.Lock, r.spendable())
	}
	if _, err := replica.Lookup(b.Encoding); err != nil {
		return refuse("encoding %d: %w", b.Encoding, err)
	}
	return nil
}

// cut makes the lots of one copy: runs of at most LotRanges ranges (G11).
func (s *state) cut(b *types.Plan, ranges []types.Range, a *types.Attachment) []types.LotRecord {
	var lots []types.LotRecord
	for i := 0; i < len(ranges); i += int(s.Rules.LotRanges) {
		part := ranges[i:min(i+int(s.Rules.LotRanges), len(ranges))]
		l := types.LotRecord{Index: uint32(len(lots)), First: b.First + uint32(i), Count: uint32(len(part))}
		for _, r := range part {
			l.Pieces += r.Count
			l.Leaves += RangeLeaves(a, r)
		}
		lots = append(lots, l)
	}
	return lots
}

// RangeLeaves is the number of 1,024-byte leaves of an encoded range: the last
// piece of a dataset is padded to whole leaves.
func RangeLeaves(a *types.Attachment, r types.Range) uint64 {
	n := uint64(r.Count) * leavesPerPiece
	if r.First+r.Count-1 == a.Pieces {
		last := a.Size - uint64(a.Pieces-1)*types.PieceSize
		n -= leavesPerPiece - (last+1023)/1024
	}
	return n
}

// setup is what one range costs its plan at the start: for encoding it, and for
// each validator an eighth of that (H1.4), in base units.
func (s *state) setup(r types.Range) (encoder, validator types.Amount) {
	n := new(big.Int).SetUint64(uint64(max(r.Count, s.Rules.SetupPieces)))
	n.Mul(n, s.g.Encode)
	encoder = types.Amount(n.Quo(n, big.NewInt(types.WeiPerBase)).Uint64())
	return encoder, encoder / 8
}

// prepay is the least lock of a plan: one set-up of every copy and the whole
// term at the highest price, rounded up (U2).
func (s *state) prepay(b *types.Plan, ranges []types.Range) types.Amount {
	var once types.Amount
	var pieces uint64
	for _, r := range ranges {
		e, v := s.setup(r)
		if b.Encoding != 0 {
			once += e
		}
		once += v * types.Amount(s.Rules.Attestors)
		pieces += uint64(r.Count)
	}
	wei := new(big.Int).SetUint64(pieces * uint64(b.Copies))
	wei.Mul(wei, new(big.Int).SetUint64(uint64(b.Until-s.epoch)))
	wei.Mul(wei, b.MaxPrice)
	rent := types.BaseCeil(wei)
	if !rent.IsUint64() || rent.Uint64() > types.MaxSupply {
		return types.MaxSupply
	}
	return types.Amount(rent.Uint64()) + once*types.Amount(b.Copies)
}

// PlanCost is the least lock that a plan needs in the block after v.
func (v *View) PlanCost(b *types.Plan, ranges []types.Range) (types.Amount, error) {
	s, err := follow(v)
	if err != nil {
		return 0, err
	}
	return s.prepay(b, ranges), nil
}

func (s *state) openPlan(id types.PlanID, rec *types.PlanRecord, lots []types.LotRecord) error {
	err := s.change(rec.Sponsor, func(a *types.AccountRecord) {
		a.Balance -= rec.Left
		a.Locked += rec.Left
	})
	if err != nil {
		return err
	}
	if err := s.put(keyPlan(id), rec); err != nil {
		return err
	}
	if err := s.listAdd(listPlans(rec.Sponsor), id); err != nil {
		return err
	}
	for c := range rec.Plan.Copies {
		for _, l := range lots {
			l.Plan, l.Copy = id, c
			lot := types.LotOf(id, c, l.Index)
			if err := s.await(lot, &l, s.head.Height+types.Height(s.Rules.DrawDelay)); err != nil {
				return err
			}
		}
	}
	// One block after the last checkpoint: the state there still shows the lots,
	// and the last epoch is billed from it.
	end := s.Rules.Checkpoint(rec.Plan.Until-1) + 1
	if err := s.listAdd(listDue(end, duePlanEnd), id); err != nil {
		return err
	}
	return s.listAdd(listDue(s.Rules.Checkpoint(rec.Plan.Until-1+settleTail), duePlanRefund), id)
}

// await puts a lot into the queue of draws. The height stands in its record: an
// entry of an earlier wait draws nothing.
func (s *state) await(id types.LotID, l *types.LotRecord, at types.Height) error {
	l.Status, l.Deadline = types.LotWaiting, at
	if err := s.put(keyLot(id), l); err != nil {
		return err
	}
	return s.listAdd(listDue(at, dueDraw), id)
}

// endPlan lets go of a plan's lots; nothing is billed from the next epoch on.
func (s *state) endPlan(id types.PlanID) error {
	p, err := s.Plan(id)
	if err != nil || p == nil || p.Ended {
		return err
	}
	for c := range p.Plan.Copies {
		for i := range p.Lots {
			if err := s.endLot(types.LotOf(id, c, i)); err != nil {
				return err
			}
		}
	}
	p.Ended = true
	return s.put(keyPlan(id), p)
}

func (s *state) endLot(id types.LotID) error {
	l, err := s.Lot(id)
	if err != nil || l == nil || l.Status == types.LotEnded {
		return orMalformed(err, "lot %s of an ending plan is not there or ended", id.Short())
	}
	if err := s.dismiss(id, l); err != nil {
		return err
	}
	if keeper := l.Keeper(); !keeper.IsZero() {
		if err := s.unkeep(keeper, id, l); err != nil {
			return err
		}
	}
	if l.Status == types.LotActive {
		s.g.LiveRanges -= uint64(l.Count)
	}
	l.Status, l.Deadline, l.Old = types.LotEnded, 0, types.Account{}
	s.emit(types.Moved{Lot: id, Now: *l})
	return s.put(keyLot(id), l)
}

// refund gives back what is left of an ended plan, when its epochs are paid. What
// is reserved for results stays; another epoch later it is looked at again.
func (s *state) refund(id types.PlanID) error {
	p, err := s.Plan(id)
	if err != nil || p == nil {
		return err
	}
	next := listDue(s.Rules.Checkpoint(s.epoch+1), duePlanRefund)
	if s.g.Transfer < p.Plan.Until {
		return s.listAdd(next, id)
	}
	room, err := s.unreserved(p.Sponsor)
	if err != nil {
		return err
	}
	give := min(p.Left, room)
	err = s.change(p.Sponsor, func(a *types.AccountRecord) {
		a.Locked -= give
		a.Balance += give
	})
	if err != nil {
		return err
	}
	if p.Left -= give; p.Left > 0 {
		err = s.listAdd(next, id)
	} else {
		err = s.listRemove(listPlans(p.Sponsor), id)
	}
	if err != nil {
		return err
	}
	return s.put(keyPlan(id), p)
}
