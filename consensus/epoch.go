package consensus

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// runDue does what was fixed for this height: first the draws, oldest plan first
// (H1.5), then what ran out of time, then the epoch's bundles, then plans that
// end. Each other list is in the order in which it was filled.
func (s *state) runDue() error {
	steps := [dueEnd]func(types.Hash) error{
		dueDraw:       s.assign,
		dueDeadline:   s.expire,
		dueBundles:    func(id types.Hash) error { return s.judgeBundles(types.Epoch(binary.BigEndian.Uint64(id[:8]))) },
		duePlanEnd:    s.endPlan,
		duePlanRefund: s.refund,
	}
	for d, step := range steps {
		ids, err := s.listTake(listDue(s.head.Height, due(d)))
		if err != nil {
			return err
		}
		if due(d) == dueDraw {
			if ids, err = s.oldestFirst(ids); err != nil {
				return err
			}
		}
		for _, id := range ids {
			if err := step(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldestFirst orders waiting lots by the age of their plans; those of one block
// stay as they are.
func (s *state) oldestFirst(ids []types.LotID) ([]types.LotID, error) {
	planned := make(map[types.LotID]types.Height, len(ids))
	for _, id := range ids {
		l, err := s.Lot(id)
		if err != nil || l == nil {
			return nil, orMalformed(err, "waiting lot %s is not there", id.Short())
		}
		p, err := s.Plan(l.Plan)
		if err != nil || p == nil {
			return nil, orMalformed(err, "lot %s has no plan", id.Short())
		}
		planned[id] = p.Height
	}
	slices.SortStableFunc(ids, func(a, b types.LotID) int { return cmp.Compare(planned[a], planned[b]) })
	return ids, nil
}

// closeEpoch is the end of an epoch: its checkpoint fixes the prices it pays
// and its seconds, the beacon of the epoch before, and starts what is due.
func (s *state) closeEpoch() error {
	if s.head.Height != s.Rules.Checkpoint(s.epoch) {
		return nil
	}
	rec, err := s.Epoch(s.epoch)
	if err != nil {
		return err
	}
	rec.Seconds = uint64(s.head.Time) / 1000
	rec.Storage, rec.Bandwidth = s.g.Storage, s.g.Bandwidth
	if err := s.put(keyEpoch(s.epoch), rec); err != nil {
		return err
	}
	s.emit(types.Closed{Epoch: s.epoch})
	if s.epoch > 0 {
		if err := s.fixBeacon(s.epoch - 1); err != nil {
			return err
		}
	}
	return s.startTransfer()
}

// fixBeacon sets R_E of an epoch one checkpoint after its claims were frozen
// (ST1) and the time for its bundles.
func (s *state) fixBeacon(e types.Epoch) error {
	rec, err := s.Epoch(e)
	if err != nil {
		return err
	}
	rec.Beacon = draw.EpochBeacon(s.g.R)
	if err := s.put(keyEpoch(e), rec); err != nil {
		return err
	}
	s.emit(types.Beaconed{Epoch: e, Beacon: rec.Beacon})
	var id types.Hash
	copy(id[:], types.Be64(uint64(e)))
	return s.listAdd(listDue(s.Rules.BundlesDue(e)+1, dueBundles), id)
}
