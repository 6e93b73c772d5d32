package host

import (
	"context"
	"fmt"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// step gives an event to a lot's machine and does what it asks for.
func (h *Host) step(ctx context.Context, v *consensus.View, l *lot, e Event) error {
	for _, f := range l.machine.Step(v.Head.Height, e) {
		if err := h.act(ctx, v, l, f); err != nil {
			return fmt.Errorf("lot %s: %w", l.id.Short(), err)
		}
	}
	return nil
}

// act does one effect. Errors are those of the store or the state.
func (h *Host) act(ctx context.Context, v *consensus.View, l *lot, f Effect) error {
	switch f := f.(type) {
	case Prepare:
		h.prepare(ctx, v, l, f)
	case Accept:
		h.duty(l, types.DutyAccept, 0)
	case Refuse:
		h.cfg.Report("host: refuse lot %s: %s", l.id.Short(), f.Policy)
		h.duty(l, types.DutyRefuse, f.Policy)
	case Listen:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.open[l.attempt] = l.in
	case Fetch:
		h.start(l, f.Range, func(ctx context.Context) error { return h.fetchRange(l.in, f.Range) })
	case Encode:
		h.startEncode(l, f.Range)
	case Commit:
		h.commit(l, f)
	case End:
		return h.end(l)
	case Drop:
		return h.drop(ctx, v, l)
	case Forget:
		return h.lose(l)
	}
	return nil
}

// prepare asks whether to take part.
func (h *Host) prepare(ctx context.Context, v *consensus.View, l *lot, f Prepare) {
	l.attempt = f.Attempt
	l.ctx, l.cancel = context.WithCancel(ctx)
	in, why := h.judge(v, l, f.Part)
	if in != nil {
		h.mu.Lock()
		l.in, l.dataset = in, in.kept.Dataset
		h.mu.Unlock()
		h.readers.clear()
	}
	h.later(l, Prepared{f.Attempt, why})
	if in != nil {
		for _, c := range in.whole() {
			h.later(l, Stored{c})
		}
	}
}

// judge asks policy and, for a host, the disk.
func (h *Host) judge(v *consensus.View, l *lot, part Part) (*intake, Reason) {
	if l.terms == nil {
		t, err := readTerms(v, l.id, l.rec)
		if err != nil {
			h.cfg.Report("host: %v", err)
			return nil, Unreadable
		}
		l.terms = t
	}
	if part == AsEncoder {
		return nil, h.cfg.Policy.judge(l.terms)
	}
	in, why, err := h.openIntake(l.ctx, l.terms, l.rec)
	if err != nil {
		h.cfg.Report("host: prepare lot %s: %v", l.id.Short(), err)
		return nil, NoRoom
	}
	return in, why
}

// later gives an event to the machine once the present step is over.
func (h *Host) later(l *lot, e Event) {
	ctx, id := l.ctx, l.id
	h.jobs.Go(func() { h.tell(ctx, id, e) })
}

// readTerms reads a lot's contract from the state.
func readTerms(v *consensus.View, id types.LotID, l *types.LotRecord) (*terms, error) {
	p, err := v.Plan(l.Plan)
	if err != nil || p == nil {
		return nil, fmt.Errorf("plan of lot %s (there: %t): %w", id.Short(), p != nil, err)
	}
	d, err := v.Dataset(p.Plan.Dataset)
	if err != nil || d == nil {
		return nil, fmt.Errorf("dataset of lot %s (there: %t): %w", id.Short(), d != nil, err)
	}
	ranges, err := v.Ranges(&d.Attachment, l.First, l.Count)
	if err != nil {
		return nil, err
	}
	return &terms{lot: id, plan: p, dataset: d, ranges: ranges, leaves: l.Leaves, copy: l.Copy}, nil
}

// duty sends a kind 10 about the lot's running attempt.
func (h *Host) duty(l *lot, action types.DutyAction, why Reason) {
	body := &types.Duty{Action: action, Policy: uint8(why), Lots: []types.LotAttempt{{Lot: l.id, Attempt: l.rec.Attempt}}}
	h.submit(types.KindDuty, body, fmt.Sprintf("%s/%s/%s", action, l.id, l.rec.Attempt))
}

// submit sends a transaction; what the rules refuse at this tip is looked at
// again with the next.
func (h *Host) submit(kind types.Kind, body types.Body, name string) {
	if err := h.cfg.Queue.Submit(kind, body, name); err != nil && !refused(err) {
		h.cfg.Report("host: send %s: %v", name, err)
	}
}

// commit sends what is done and not on chain. The name changes only with what is
// on chain, so that one wish at a time waits, and a later one holds the rest.
func (h *Host) commit(l *lot, c Commit) {
	h.submit(c.Kind, &types.Commitments{List: c.List}, fmt.Sprintf("%s/%s/%s/%x", c.Kind, l.id, l.attempt, c.Done))
}

// start works on a range in a goroutine of its own, a few at once.
func (h *Host) start(l *lot, r uint32, work func(ctx context.Context) error) {
	ctx, id, attempt := l.ctx, l.id, l.attempt
	h.jobs.Go(func() {
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-ctx.Done():
			return
		}
		if err := work(ctx); err != nil && ctx.Err() == nil {
			h.cfg.Report("host: range %d of lot %s: %v", r, id.Short(), err)
			h.tell(ctx, id, Lost{attempt, r})
		}
	})
}

func (h *Host) startEncode(l *lot, r uint32) {
	t, rec, id := l.terms, l.rec, l.id
	h.start(l, r, func(ctx context.Context) error {
		c, err := h.encodeRange(ctx, t, rec, r)
		if err == nil {
			h.tell(ctx, id, Arrived{c})
		}
		return err
	})
}

// end stops the work of an attempt; what came stays.
func (h *Host) end(l *lot) error {
	if l.cancel != nil {
		l.cancel()
	}
	h.mu.Lock()
	delete(h.open, l.attempt)
	in := l.in
	l.in, l.cancel = nil, nil
	h.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.settle()
}

// drop deletes the bytes of a lot that nobody wants from this host any more.
func (h *Host) drop(ctx context.Context, v *consensus.View, l *lot) error {
	h.cfg.Report("host: delete lot %s", l.id.Short())
	if err := h.dropBytes(l.id); err != nil {
		return err
	}
	h.mu.Lock()
	l.dataset = types.DatasetID{}
	h.mu.Unlock()
	return h.step(ctx, v, l, Found{Bytes: false})
}

// lose forgets a lot.
func (h *Host) lose(l *lot) error {
	h.mu.Lock()
	delete(h.lots, l.id)
	h.mu.Unlock()
	return h.cfg.Table.Save(nil, []types.Row{{Table: table, Key: keyLot + string(l.id[:])}})
}
