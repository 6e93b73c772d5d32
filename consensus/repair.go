package consensus

import (
	"bytes"
	"slices"

	"github.com/staddle/staddle/types"
)

// Repair clocks (H4): a lot whose host misses is opened for a new attempt, the
// fewest live replicas first.

// mayMiss is how many epochs running a lot may miss before it is repaired, by
// its live replicas without the missing one (H4.1).
func mayMiss(live int) uint32 {
	switch {
	case live <= 1:
		return 1
	case live == 2:
		return 2
	}
	return 4
}

// live counts the other replicas of a lot that are active and miss nothing.
func (s *state) live(l *types.LotRecord, copies uint32) (int, error) {
	n := 0
	for c := range copies {
		if c == l.Copy {
			continue
		}
		other, err := s.Lot(types.LotOf(l.Plan, c, l.Index))
		if err != nil {
			return 0, err
		}
		if other != nil && other.Status == types.LotActive && other.Missed == 0 {
			n++
		}
	}
	return n, nil
}

// wound is a lot that is to be repaired.
type wound struct {
	id   types.LotID
	live int
}

// wounds are those of the missing lots whose time is up (H4.1). It comes after
// all of an epoch's misses are counted: replicas that missed together are not
// live for each other.
func (s *state) wounds(missing []types.LotID) (out []wound, err error) {
	for _, id := range missing {
		l, err := s.Lot(id)
		if err != nil {
			return nil, err
		}
		p, err := s.Plan(l.Plan)
		if err != nil || p == nil {
			return nil, orMalformed(err, "lot %s has no plan", id.Short())
		}
		live, err := s.live(l, p.Plan.Copies)
		if err != nil {
			return nil, err
		}
		if l.Missed >= mayMiss(live) {
			out = append(out, wound{id, live})
		}
	}
	return out, nil
}

// repairAll reopens lots, fewest live replicas first, within the epoch's cap:
// the larger of one lot and a 112th of the community's live ranges (H4.2). What
// does not fit waits for the next epoch's misses.
func (s *state) repairAll(list []wound) error {
	slices.SortFunc(list, func(a, b wound) int {
		if a.live != b.live {
			return a.live - b.live
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	if s.g.RepairEpoch != s.epoch {
		s.g.RepairEpoch, s.g.Repaired = s.epoch, 0
	}
	limit := max(uint64(s.Rules.LotRanges), ceil(s.g.LiveRanges, 112))
	for _, w := range list {
		l, err := s.Lot(w.id)
		if err != nil {
			return err
		}
		if s.g.Repaired > 0 && s.g.Repaired+uint64(l.Count) > limit {
			return nil
		}
		s.g.Repaired += uint64(l.Count)
		if err := s.reopen(w.id, l); err != nil {
			return err
		}
	}
	return nil
}

// reopen starts a new attempt for an active lot. Its host is remembered: a good
// bundle of it before the new one is active cancels the attempt (H4.3).
func (s *state) reopen(id types.LotID, l *types.LotRecord) error {
	s.g.LiveRanges -= uint64(l.Count)
	if err := s.release(id, l); err != nil {
		return err
	}
	l.Old, l.OldRoot, l.OldSince = l.Host, l.Root, l.Since
	if l.Host.IsZero() {
		l.OldRoot, l.OldSince = types.Hash{}, 0
	}
	l.Number++
	l.Host, l.Attempt, l.Root = types.Account{}, types.AttemptID{}, types.Hash{}
	if err := s.await(id, l, s.head.Height+types.Height(s.Rules.DrawDelay)); err != nil {
		return err
	}
	s.emit(types.Moved{Lot: id, Now: *l})
	return nil
}

// restore makes the old host's replica the lot's contract again and cancels the
// attempt that was to replace it (H4.3). Of the rule's two ways this is the one:
// no spare replica is kept, so that a lot has one keeper, who alone claims, shows
// and is paid for it.
func (s *state) restore(id types.LotID, l *types.LotRecord) error {
	if err := s.dismiss(id, l); err != nil {
		return err
	}
	l.Number++
	l.Attempt = types.AttemptOf(id, l.Number, s.g.R)
	l.Host, l.Root, l.Since = l.Old, l.OldRoot, l.OldSince
	l.SinceEpoch = s.epoch
	l.Old, l.OldRoot, l.OldSince = types.Account{}, types.Hash{}, 0
	l.Status, l.Deadline, l.Missed = types.LotActive, 0, 0
	s.g.LiveRanges += uint64(l.Count)
	if err := s.put(keyLot(id), l); err != nil {
		return err
	}
	s.emit(types.Moved{Lot: id, Now: *l})
	return nil
}
