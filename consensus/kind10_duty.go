package consensus

import (
	"slices"

	"github.com/staddle/staddle/types"
)

// duty is the rule of kind 10: accept or refuse a draw, drop a lot, pause,
// resume, leave.
func (s *state) duty(r *request, b *types.Duty) (effect, error) {
	switch b.Action {
	case types.DutyAccept, types.DutyRefuse:
		return s.answerDraw(r, b)
	case types.DutyDrop:
		return s.dropLots(r, b)
	case types.DutyPause, types.DutyResume:
		return s.pause(r, b)
	}
	return s.leave(r)
}

// answerDraw takes the parties' word on an attempt. A refusal fails it at once.
func (s *state) answerDraw(r *request, b *types.Duty) (effect, error) {
	for i, x := range b.Lots {
		l, err := s.current(x.Lot, x.Attempt, types.LotDrawn)
		if err != nil {
			return nil, err
		}
		if l.Host != r.Sender && !slices.Contains(l.Encoders, r.Sender) {
			return nil, refuse("account %s has no part in lot %s", r.Sender.Short(), x.Lot.Short())
		}
		if accepted(l, r.Sender) {
			return nil, refuse("account %s accepted lot %s before", r.Sender.Short(), x.Lot.Short())
		}
		for _, before := range b.Lots[:i] {
			if before.Lot == x.Lot {
				return nil, refuse("lot %s is named twice", x.Lot.Short())
			}
		}
	}
	return func() error {
		for _, x := range b.Lots {
			if err := s.noteAnswer(r.Sender, x.Lot, b.Action); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func accepted(l *types.LotRecord, a types.Account) bool {
	if l.Host == a {
		return l.HostIn
	}
	i := slices.Index(l.Encoders, a)
	return i >= 0 && l.Accepted>>i&1 == 1
}

func (s *state) noteAnswer(by types.Account, id types.LotID, action types.DutyAction) error {
	l, err := s.Lot(id)
	if err != nil {
		return err
	}
	if action == types.DutyRefuse {
		return s.refuseDraw(by, id, l)
	}
	if l.Host == by {
		l.HostIn = true
	}
	for i, a := range l.Encoders {
		if a == by {
			l.Accepted |= 1 << i
		}
	}
	if l.HostIn && l.Accepted == 1<<len(l.Encoders)-1 {
		blocks, err := s.workTime(l)
		if err != nil {
			return err
		}
		return s.until(id, l, blocks)
	}
	return s.put(keyLot(id), l)
}

// freeRefusals is the part of its draws that an account may refuse free: one in
// so many (H7).
const freeRefusals = 8

// countDraw counts an attempt for those who may refuse it (H7).
func (s *state) countDraw(l *types.LotRecord) error {
	for _, a := range mayRefuse(l) {
		if err := s.changeHost(a, func(h *types.HostRecord) { h.Drawn++ }); err != nil {
			return err
		}
	}
	return nil
}

// refuseDraw ends an attempt that one of its parties does not want, before any
// transfer (H7). It costs that party nothing while its refusals, this one
// counted, are at most an eighth of its draws, this one counted; each one beyond
// stands in its record as a failed attempt. Who else was drawn is not to blame.
func (s *state) refuseDraw(by types.Account, id types.LotID, l *types.LotRecord) error {
	if l.Host == by {
		l.Refuse(by)
	}
	err := s.changeHost(by, func(h *types.HostRecord) {
		h.Refused++
		if h.Refused*freeRefusals > h.Drawn {
			h.Failed++
		}
	})
	if err != nil {
		return err
	}
	return s.again(id, l)
}

// dropLots lets a host give active lots up at any time, without penalty (H7):
// pay ends, the lot is repaired at once, the host is not drawn for it again.
func (s *state) dropLots(r *request, b *types.Duty) (effect, error) {
	for i, x := range b.Lots {
		l, err := s.current(x.Lot, x.Attempt, types.LotActive)
		if err != nil {
			return nil, err
		}
		if l.Host != r.Sender {
			return nil, refuse("account %s does not keep lot %s", r.Sender.Short(), x.Lot.Short())
		}
		for _, before := range b.Lots[:i] {
			if before.Lot == x.Lot {
				return nil, refuse("lot %s is named twice", x.Lot.Short())
			}
		}
	}
	return func() error {
		for _, x := range b.Lots {
			if err := s.giveUp(x.Lot); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// giveUp reopens a lot whose replica is gone for good.
func (s *state) giveUp(id types.LotID) error {
	l, err := s.Lot(id)
	if err != nil {
		return err
	}
	host := l.Host
	l.Refuse(host)
	if err := s.unkeep(host, id, l); err != nil {
		return err
	}
	l.Host = types.Account{} // nobody can come back with it
	return s.reopen(id, l)
}

// pause stops pay and penalties until resume; a suspended host resumes too.
func (s *state) pause(r *request, b *types.Duty) (effect, error) {
	h, err := s.Host(r.Sender)
	if err != nil {
		return nil, err
	}
	next := types.HostOnline
	if b.Action == types.DutyPause {
		next = types.HostPaused
	}
	if h.State == next || h.State == types.HostLeft || next == types.HostPaused && h.State != types.HostOnline {
		return nil, refuse("host is %s, it cannot %s", h.State, b.Action)
	}
	return func() error {
		return s.changeHost(r.Sender, func(h *types.HostRecord) { h.State, h.Paused = next, s.head.Height })
	}, nil
}

// leave gives every lot back without penalty; each is repaired at once.
func (s *state) leave(r *request) (effect, error) {
	h, err := s.Host(r.Sender)
	if err != nil {
		return nil, err
	}
	if h.State == types.HostLeft {
		return nil, refuse("host has left before")
	}
	lots, err := s.Lots(r.Sender)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := s.changeHost(r.Sender, func(h *types.HostRecord) { h.State = types.HostLeft }); err != nil {
			return err
		}
		for _, id := range lots {
			l, err := s.Lot(id)
			if err != nil {
				return err
			}
			if l.Status == types.LotActive {
				if err := s.giveUp(id); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}
