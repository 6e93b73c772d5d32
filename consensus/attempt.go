package consensus

import (
	"slices"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// The life of an attempt: drawn, accepted, committed by both sides, attested,
// active; or failed, and drawn again. Only the last attempt counts: reports of
// another one are refused.

// keep enters a lot into what a host answers for.
func (s *state) keep(host types.Account, id types.LotID, l *types.LotRecord) error {
	err := s.changeHost(host, func(h *types.HostRecord) {
		h.Lots++
		h.Ranges += uint64(l.Count)
		h.Pieces += uint64(l.Pieces)
		h.Leaves += l.Leaves
	})
	if err != nil {
		return err
	}
	return s.listAdd(listLots(host), id)
}

// unkeep takes it out.
func (s *state) unkeep(host types.Account, id types.LotID, l *types.LotRecord) error {
	err := s.changeHost(host, func(h *types.HostRecord) {
		h.Lots--
		h.Ranges -= uint64(l.Count)
		h.Pieces -= uint64(l.Pieces)
		h.Leaves -= l.Leaves
	})
	if err != nil {
		return err
	}
	return s.listRemove(listLots(host), id)
}

// attemptParties lists everybody who was drawn for an attempt, once each.
func attemptParties(l *types.LotRecord) []types.Account {
	return onceEach(append(mayRefuse(l), l.Attestors...))
}

// mayRefuse lists who may refuse the draw of an attempt, once each: its host and
// its encoders. No action of validators refuses.
func mayRefuse(l *types.LotRecord) []types.Account {
	return onceEach(append([]types.Account{l.Host}, l.Encoders...))
}

func onceEach(list []types.Account) []types.Account {
	slices.SortFunc(list, compareAccounts)
	return slices.Compact(list)
}

func compareAccounts(a, b types.Account) int { return slices.Compare(a[:], b[:]) }

// dismiss ends a running attempt without blame: encoders owe nothing any more,
// what was committed is forgotten.
func (s *state) dismiss(id types.LotID, l *types.LotRecord) error {
	if l.Status == types.LotDrawn {
		if err := s.owe(l, -1); err != nil {
			return err
		}
	}
	return s.release(id, l)
}

// release frees the encoders' bond for the ranges they delivered and deletes
// the commitments.
func (s *state) release(id types.LotID, l *types.LotRecord) error {
	ranges, err := s.lotRanges(l)
	if err != nil {
		return err
	}
	for i, a := range l.Encoders {
		if l.Encoded>>i&1 == 1 {
			pieces := uint64(ranges[i].Count)
			if err := s.changeHost(a, func(h *types.HostRecord) { h.Bonded -= pieces }); err != nil {
				return err
			}
		}
		if err := s.drop(keyRange(id, uint32(i))); err != nil {
			return err
		}
	}
	for i := len(l.Encoders); i < int(l.Count); i++ {
		if err := s.drop(keyRange(id, uint32(i))); err != nil {
			return err
		}
	}
	l.Encoders, l.Attestors = nil, nil
	l.HostIn, l.Accepted, l.Encoded, l.Hosted, l.Attested = false, 0, 0, 0, 0
	return nil
}

// fail ends an attempt that did not come to its end: every party of it has a
// failed attempt in its record (H1.3), and the lot is drawn anew after the draw
// delay (H1.2).
func (s *state) fail(id types.LotID, l *types.LotRecord) error {
	for _, a := range attemptParties(l) {
		if err := s.changeHost(a, func(h *types.HostRecord) { h.Failed++ }); err != nil {
			return err
		}
	}
	return s.again(id, l)
}

// again ends an attempt without blame and puts the lot into the queue of draws.
func (s *state) again(id types.LotID, l *types.LotRecord) error {
	if err := s.dismiss(id, l); err != nil {
		return err
	}
	l.Number++
	l.Host, l.Attempt, l.Root = types.Account{}, types.AttemptID{}, types.Hash{}
	if err := s.await(id, l, s.head.Height+types.Height(s.Rules.DrawDelay)); err != nil {
		return err
	}
	s.emit(types.Moved{Lot: id, Now: *l})
	return nil
}

// expire judges a lot whose time is up.
func (s *state) expire(id types.LotID) error {
	l, err := s.Lot(id)
	if err != nil || l == nil || l.Deadline != s.head.Height {
		return err // it moved on, or got more time
	}
	switch l.Status {
	case types.LotDrawn:
		return s.fail(id, l)
	case types.LotCommitted:
		return s.redrawAttestors(id, l)
	}
	return nil
}

// redrawAttestors replaces the validators that did not attest in time (H1.6):
// the others' word stays. Without a candidate the attempt gets its time again.
func (s *state) redrawAttestors(id types.LotID, l *types.LotRecord) error {
	p, err := s.Plan(l.Plan)
	if err != nil || p == nil {
		return orMalformed(err, "lot %s has no plan", id.Short())
	}
	busy := append(attemptParties(l), p.Sponsor)
	for i, a := range l.Attestors {
		if l.Attested>>i&1 == 1 {
			continue
		}
		if err := s.changeHost(a, func(h *types.HostRecord) { h.Failed++ }); err != nil {
			return err
		}
		cands, err := s.validators(func(a types.Account) bool { return slices.Contains(busy, a) })
		if err != nil {
			return err
		}
		next, ok := draw.Pick("staddle/attest/1", s.g.R, id, uint32(i), cands)
		if !ok {
			continue
		}
		l.Attestors[i] = next
		busy = append(busy, next)
	}
	s.emit(types.Drawn{Lot: id, Now: *l})
	return s.until(id, l, types.Height(s.Rules.AttestBlocks))
}

// workTime is how many blocks the encoders and the stream to the host get once
// everybody accepted (H1.5). The slowest encoder decides: it has all that it
// accepted and did not deliver before it.
func (s *state) workTime(l *types.LotRecord) (types.Height, error) {
	stream := uint64(s.Rules.StreamBlocks) + ceil(l.Leaves*1024, s.Rules.StreamUnit)
	var slowest uint64
	for _, a := range l.Encoders {
		h, err := s.Host(a)
		if err != nil {
			return 0, err
		}
		units := ceil(h.OpenPieces*types.PieceSize, s.Rules.EncodeUnit)
		slowest = max(slowest, uint64(s.Rules.EncodeBlocks)+units*uint64(s.Rules.EncodePer))
	}
	return types.Height(stream + slowest), nil
}

func ceil(n, unit uint64) uint64 { return (n + unit - 1) / unit }

// activate makes the attempt the lot's contract: the host keeps it from now on,
// the old one is let go, everybody's record has a good attempt, and the set-up
// is paid (H1.4).
func (s *state) activate(id types.LotID, l *types.LotRecord) error {
	if !l.Old.IsZero() {
		if err := s.unkeep(l.Old, id, l); err != nil {
			return err
		}
	}
	for _, a := range attemptParties(l) {
		if err := s.changeHost(a, func(h *types.HostRecord) { h.Good++ }); err != nil {
			return err
		}
	}
	if err := s.paySetup(l); err != nil {
		return err
	}
	for i := range l.Count {
		if err := s.drop(keyRange(id, i)); err != nil {
			return err
		}
	}
	l.Status, l.Deadline, l.Missed = types.LotActive, 0, 0
	l.Since, l.SinceEpoch = s.head.Time, s.epoch
	l.Old, l.OldRoot, l.OldSince = types.Account{}, types.Hash{}, 0
	s.g.LiveRanges += uint64(l.Count)
	if err := s.keep(l.Host, id, l); err != nil {
		return err
	}
	if err := s.put(keyLot(id), l); err != nil {
		return err
	}
	s.emit(types.Moved{Lot: id, Now: *l})
	return nil
}

// paySetup pays encoders and validators out of the plan's lock, as far as it
// reaches and is not reserved for results (H1.4).
func (s *state) paySetup(l *types.LotRecord) error {
	p, err := s.Plan(l.Plan)
	if err != nil || p == nil {
		return orMalformed(err, "lot without a plan")
	}
	ranges, err := s.lotRanges(l)
	if err != nil {
		return err
	}
	room, err := s.unreserved(p.Sponsor)
	if err != nil {
		return err
	}
	room = min(room, p.Left)
	pay := func(to types.Account, n types.Amount) error {
		n = min(n, room)
		room -= n
		p.Left -= n
		if err := s.change(p.Sponsor, func(a *types.AccountRecord) { a.Locked -= n }); err != nil {
			return err
		}
		return s.credit(to, n)
	}
	for i, r := range ranges {
		encoder, validator := s.setup(r)
		if len(l.Encoders) > 0 {
			if err := pay(l.Encoders[i], encoder); err != nil {
				return err
			}
		}
		for _, a := range l.Attestors {
			if err := pay(a, validator); err != nil {
				return err
			}
		}
	}
	return s.put(keyPlan(l.Plan), p)
}

// credit pays an account, or whom it named to be paid instead (K3).
func (s *state) credit(to types.Account, n types.Amount) error {
	a, err := s.Account(to)
	if err != nil {
		return err
	}
	if !a.Payout.IsZero() && a.Payout != to {
		to = a.Payout
	}
	return s.change(to, func(r *types.AccountRecord) { r.Balance += n })
}
