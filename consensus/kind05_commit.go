package consensus

import (
	"slices"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// commit is the rule of kinds 5 (the encoder's commitments) and 6 (the host's):
// both name the same roots for a range, or the attempt fails. Every entry must
// belong to the running attempt of its lot.
func (s *state) commit(r *request, b *types.Commitments) (effect, error) {
	byHost := r.Kind == types.KindHosted
	for i := range b.List {
		if err := s.checkCommitment(r.Sender, &b.List[i], byHost); err != nil {
			return nil, err
		}
		for j := range i {
			if b.List[j].Lot == b.List[i].Lot && b.List[j].Range == b.List[i].Range {
				return nil, refuse("commitments %d and %d name the same range", j, i)
			}
		}
	}
	return func() error {
		for i := range b.List {
			c := &b.List[i]
			said := types.RangeRecord{Attempt: c.Attempt, ByHost: byHost, Encoded: c.Encoded, Plain: c.Plain, Modulus: c.Modulus}
			if err := s.noteCommitment(c, &said); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s *state) checkCommitment(by types.Account, c *types.Commitment, byHost bool) error {
	l, err := s.current(c.Lot, c.Attempt, types.LotDrawn)
	if err != nil {
		return err
	}
	if c.Range >= l.Count {
		return refuse("range %d of a lot of %d", c.Range, l.Count)
	}
	switch {
	case byHost && l.Host != by:
		return refuse("account %s is not the host of lot %s", by.Short(), c.Lot.Short())
	case byHost && l.Hosted>>c.Range&1 == 1:
		return refuse("the host committed range %d before", c.Range)
	case !byHost && (int(c.Range) >= len(l.Encoders) || l.Encoders[c.Range] != by):
		return refuse("account %s is not the encoder of range %d", by.Short(), c.Range)
	case !byHost && l.Encoded>>c.Range&1 == 1:
		return refuse("the encoder committed range %d before", c.Range)
	case (len(l.Encoders) == 0) != c.Modulus.IsZero():
		return refuse("modulus %s does not fit the encoding", c.Modulus.Short())
	case !l.HostIn || int(c.Range) < len(l.Encoders) && l.Accepted>>c.Range&1 == 0:
		return refuse("range %d was not accepted by both sides", c.Range)
	}
	return nil
}

// current reads a lot and refuses any attempt but its running one.
func (s *state) current(id types.LotID, attempt types.AttemptID, want types.LotStatus) (*types.LotRecord, error) {
	l, err := s.Lot(id)
	switch {
	case err != nil:
		return nil, err
	case l == nil:
		return nil, refuse("lot %s is not known", id.Short())
	case l.Attempt != attempt:
		return nil, refuse("attempt %s of lot %s is not the running one", attempt.Short(), id.Short())
	case l.Status != want:
		return nil, refuse("lot %s is %s, not %s", id.Short(), l.Status, want)
	}
	return l, nil
}

// noteCommitment stores the first word on a range and compares the second with
// it. An earlier entry of the same transaction may have failed the attempt.
func (s *state) noteCommitment(c *types.Commitment, said *types.RangeRecord) error {
	l, err := s.Lot(c.Lot)
	if err != nil || l == nil || l.Attempt != c.Attempt || l.Status != types.LotDrawn {
		return err
	}
	if said.ByHost {
		l.Hosted |= 1 << c.Range
	} else if err := s.deliver(l, c.Range); err != nil {
		return err
	}
	other, err := s.RangeOf(c.Lot, c.Range)
	if err != nil {
		return err
	}
	if other != nil && other.Attempt == c.Attempt && !sameRoots(other, said) {
		return s.fail(c.Lot, l)
	}
	if err := s.put(keyRange(c.Lot, c.Range), said); err != nil {
		return err
	}
	if err := s.put(keyLot(c.Lot), l); err != nil {
		return err
	}
	return s.complete(c.Lot, l)
}

func sameRoots(a, b *types.RangeRecord) bool {
	return a.Encoded == b.Encoded && a.Plain == b.Plain && a.Modulus == b.Modulus
}

// deliver notes that an encoder committed a range: it owes it no more.
func (s *state) deliver(l *types.LotRecord, r uint32) error {
	ranges, err := s.lotRanges(l)
	if err != nil {
		return err
	}
	l.Encoded |= 1 << r
	return s.changeHost(l.Encoders[r], func(h *types.HostRecord) {
		h.Open--
		h.OpenPieces -= uint64(ranges[r].Count)
	})
}

// complete asks the validators once both sides committed every range.
func (s *state) complete(id types.LotID, l *types.LotRecord) error {
	all := uint64(1)<<l.Count - 1 // 64 ranges: the shift gives 0, minus 1 all bits
	if l.Hosted != all || len(l.Encoders) > 0 && l.Encoded != all {
		return nil
	}
	entries, err := s.LotEntries(id, l)
	if err != nil {
		return err
	}
	tree, err := replica.LotTree(entries)
	if err != nil {
		return err
	}
	l.Root = tree.Root().Hash
	l.Status = types.LotCommitted
	s.emit(types.Moved{Lot: id, Now: *l})
	return s.until(id, l, types.Height(s.Rules.AttestBlocks))
}

// LotEntries are the ranges of a lot as they were committed, the leaves of its
// root (G11). They stand in the state from the commitments until the lot is
// active.
func (v *View) LotEntries(id types.LotID, l *types.LotRecord) ([]replica.Entry, error) {
	p, err := v.Plan(l.Plan)
	if err != nil || p == nil {
		return nil, orMalformed(err, "lot %s has no plan", id.Short())
	}
	d, err := v.Dataset(p.Plan.Dataset)
	if err != nil || d == nil {
		return nil, orMalformed(err, "plan without a dataset")
	}
	ranges, err := v.Ranges(&d.Attachment, l.First, l.Count)
	if err != nil {
		return nil, err
	}
	out := make([]replica.Entry, len(ranges))
	for i, r := range ranges {
		c, err := v.RangeOf(id, uint32(i))
		if err != nil || c == nil {
			return nil, orMalformed(err, "range %d of lot %s is not committed", i, id.Short())
		}
		out[i] = replica.Entry{Range: r.ID, Encoded: c.Encoded, Plain: c.Plain, Modulus: c.Modulus, Leaves: RangeLeaves(&d.Attachment, r)}
	}
	return out, nil
}

// attest is the rule of kind 7: a drawn validator read random leaves. When all
// have, the lot is active (H1.6).
func (s *state) attest(r *request, b *types.Attestations) (effect, error) {
	for i, a := range b.List {
		l, err := s.current(a.Lot, a.Attempt, types.LotCommitted)
		if err != nil {
			return nil, err
		}
		v := slices.Index(l.Attestors, r.Sender)
		switch {
		case v < 0:
			return nil, refuse("account %s is not a validator of lot %s", r.Sender.Short(), a.Lot.Short())
		case l.Attested>>v&1 == 1:
			return nil, refuse("lot %s was attested by %s before", a.Lot.Short(), r.Sender.Short())
		case a.Root != l.Root:
			return nil, refuse("attestation of root %s, the lot has %s", a.Root.Short(), l.Root.Short())
		}
		for _, before := range b.List[:i] {
			if before.Lot == a.Lot {
				return nil, refuse("lot %s is named twice", a.Lot.Short())
			}
		}
	}
	return func() error {
		for _, a := range b.List {
			if err := s.noteAttestation(r.Sender, a.Lot); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s *state) noteAttestation(by types.Account, id types.LotID) error {
	l, err := s.Lot(id)
	if err != nil {
		return err
	}
	l.Attested |= 1 << slices.Index(l.Attestors, by)
	if l.Attested == 1<<len(l.Attestors)-1 {
		return s.activate(id, l)
	}
	return s.put(keyLot(id), l)
}
