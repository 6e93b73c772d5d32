package consensus

import (
	"slices"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Question is what a host has to show for an epoch (H6.1, H6.2), read from the
// state at the epoch's checkpoint: call it on the Frozen view. claim is what the
// host committed since.
func (v *View) Question(host types.Account, claim *types.LogCommitment, beacon types.Hash) (*replica.Question, error) {
	lots, err := v.Lots(host)
	if err != nil {
		return nil, err
	}
	q := &replica.Question{
		Claims:  replica.Sum{Leaves: claim.Leaves, Hash: claim.SumRoot},
		Lots:    uint64(claim.Lots),
		Samples: draw.Samples(v.Chain, beacon, host, int(v.Rules.AuditSamples), claim.Leaves),
	}
	for _, id := range lots {
		if !draw.RotationDue(id, claim.Epoch) {
			continue
		}
		l, err := v.Lot(id)
		if err != nil {
			return nil, err
		}
		q.Turns = append(q.Turns, replica.Turn{Lot: id, Leaf: draw.RotationLeaf(beacon, id, l.Leaves)})
	}
	return q, nil
}

// terms looks up the lots that a host keeps, for the check of proofs.
type terms struct {
	v    *View
	host types.Account
	err  error // of the source, first one
}

// Terms gives the lots that a host has to keep, by the Frozen view. Err tells
// after a check whether the source failed meanwhile.
func (v *View) Terms(host types.Account) *terms { return &terms{v: v, host: host} }

// Lot implements replica.Terms.
func (t *terms) Lot(id types.LotID) (replica.LotTerms, bool) {
	l, err := t.v.Lot(id)
	if err != nil && t.err == nil {
		t.err = err
	}
	if l == nil || l.Keeper() != t.host {
		return replica.LotTerms{}, false
	}
	root := l.Root
	if l.Status != types.LotActive {
		root = l.OldRoot
	}
	return replica.LotTerms{Root: root, Leaves: l.Leaves, Ranges: l.Count}, true
}

// Err is the first error of the source.
func (t *terms) Err() error { return t.err }

// bundle is the rule of kind 8: in time, with the question's number of proofs,
// signed by most of the drawn checkers (H6.4). Nobody opens the bundle here; a
// false one is what disputes are for.
func (s *state) bundle(r *request, b *types.BundlePost) (effect, error) {
	claim, err := s.Claim(b.Epoch, r.Sender)
	switch {
	case err != nil:
		return nil, err
	case claim == nil || claim.Log.Leaves == 0:
		return nil, refuse("account %s claimed nothing in epoch %d", r.Sender.Short(), b.Epoch)
	case claim.Bundle != nil:
		return nil, refuse("epoch %d has a bundle of %s", b.Epoch, r.Sender.Short())
	}
	rec, err := s.Epoch(b.Epoch)
	if err != nil {
		return nil, err
	}
	if last := s.Rules.BundlesDue(b.Epoch); rec.Beacon.IsZero() || s.head.Height > last {
		return nil, refuse("bundle of epoch %d in block %d: wanted after its beacon, until block %d", b.Epoch, s.head.Height, last)
	}
	frozen, err := s.Frozen(b.Epoch)
	if err != nil {
		return nil, err
	}
	q, err := frozen.Question(r.Sender, &claim.Log, rec.Beacon)
	if err != nil {
		return nil, err
	}
	if int(b.Proofs) != q.Places() {
		return nil, refuse("bundle of %d proofs, %d were drawn", b.Proofs, q.Places())
	}
	if n := len(b.Missed); n > 0 && int(b.Missed[n-1]) >= q.Places() {
		return nil, refuse("bundle misses proof %d of %d", b.Missed[n-1], q.Places())
	}
	if err := s.checkCheckers(frozen, r.Sender, b, rec.Beacon); err != nil {
		return nil, err
	}
	return func() error {
		claim.Bundle = b
		return s.put(keyClaim(b.Epoch, r.Sender), claim)
	}, nil
}

// checkCheckers wants more than half of the drawn checkers, each once.
func (s *state) checkCheckers(frozen *View, host types.Account, b *types.BundlePost, beacon types.Hash) error {
	drawn, err := frozen.Checkers(host, beacon)
	if err != nil {
		return err
	}
	digest := b.Digest(s.Chain, host, beacon)
	for i, c := range b.Checkers {
		if !slices.Contains(drawn, c.By) {
			return refuse("account %s was not drawn to check this bundle", c.By.Short())
		}
		for _, before := range b.Checkers[:i] {
			if before.By == c.By {
				return refuse("checker %s signed twice", c.By.Short())
			}
		}
		if !verified(c, digest) {
			return refuse("checker %s has a wrong signature", c.By.Short())
		}
	}
	if need := len(drawn)/2 + 1; len(b.Checkers) < need {
		return refuse("bundle signed by %d checkers, want %d of %d", len(b.Checkers), need, len(drawn))
	}
	return nil
}

// judgeBundles ends the time for the bundles of an epoch: who posted a good one
// is back or stays, who did not has missed (H6.5), and what misses for too long
// is repaired (H4.1).
func (s *state) judgeBundles(e types.Epoch) error {
	hosts, err := s.Role(types.RoleHost)
	if err != nil {
		return err
	}
	frozen, err := s.Frozen(e)
	if err != nil {
		return err
	}
	var missing []types.LotID
	for _, a := range hosts {
		more, err := s.judgeHost(frozen, e, a)
		if err != nil {
			return err
		}
		missing = append(missing, more...)
	}
	wounds, err := s.wounds(missing)
	if err != nil {
		return err
	}
	return s.repairAll(wounds)
}

// judgeHost gives the lots that the host missed and keeps still.
func (s *state) judgeHost(frozen *View, e types.Epoch, a types.Account) ([]types.LotID, error) {
	lots, err := frozen.Lots(a)
	if err != nil || len(lots) == 0 {
		return nil, err
	}
	h, err := s.Host(a)
	if err != nil || h.State == types.HostLeft || h.State == types.HostPaused {
		return nil, err
	}
	claim, err := s.Claim(e, a)
	if err != nil {
		return nil, err
	}
	if claim == nil || claim.Bundle == nil || claim.Lost {
		err := s.changeHost(a, func(h *types.HostRecord) {
			h.Missed++
			h.State = types.HostSuspended
		})
		if err != nil {
			return nil, err
		}
		return s.judgeLots(a, lots, lots)
	}
	missed, err := s.missedLots(frozen, a, claim)
	if err != nil {
		return nil, err
	}
	err = s.changeHost(a, func(h *types.HostRecord) {
		h.Missed, h.State = 0, types.HostOnline
		h.Good++
		h.Bundles = e + 1
	})
	if err != nil {
		return nil, err
	}
	return s.judgeLots(a, lots, missed)
}

// missedLots are the lots of the samples that a posted bundle leaves out.
func (s *state) missedLots(frozen *View, a types.Account, claim *types.ClaimRecord) ([]types.LotID, error) {
	if len(claim.Bundle.Missed) == 0 {
		return nil, nil
	}
	rec, err := s.Epoch(claim.Log.Epoch)
	if err != nil {
		return nil, err
	}
	return frozen.MissedLots(a, &claim.Log, claim.Bundle, rec.Beacon)
}

// MissedLots maps the missed samples and turns of a bundle to the lots that they
// fall on, sorted, by the Frozen view.
func (v *View) MissedLots(host types.Account, claim *types.LogCommitment, b *types.BundlePost, beacon types.Hash) ([]types.LotID, error) {
	q, err := v.Question(host, claim, beacon)
	if err != nil {
		return nil, err
	}
	claims, err := v.Claims(host)
	if err != nil {
		return nil, err
	}
	var out []types.LotID
	for _, m := range b.Missed {
		if int(m) >= len(q.Samples) {
			out = append(out, q.Turns[int(m)-len(q.Samples)].Lot)
			continue
		}
		out = append(out, lotAt(claims, q.Samples[m]))
	}
	return slices.Compact(sorted(out)), nil
}

func lotAt(claims []replica.Claim, leaf uint64) types.LotID {
	for _, c := range claims {
		if leaf < c.Leaves {
			return c.Lot
		}
		leaf -= c.Leaves
	}
	return types.LotID{}
}

// Claims are the leaves of the sum tree that a host has to commit: its lots in
// order, from the Frozen view.
func (v *View) Claims(host types.Account) ([]replica.Claim, error) {
	lots, err := v.Lots(host)
	if err != nil {
		return nil, err
	}
	out := make([]replica.Claim, len(lots))
	for i, id := range lots {
		l, err := v.Lot(id)
		if err != nil {
			return nil, err
		}
		out[i] = replica.Claim{Lot: id, Leaves: l.Leaves}
	}
	return out, nil
}

// judgeLots counts the misses of a host's lots and gives those that missed. A lot
// that is being replaced comes back when its old host showed it (H4.3).
func (s *state) judgeLots(a types.Account, lots, missed []types.LotID) ([]types.LotID, error) {
	var missing []types.LotID
	for _, id := range lots {
		l, err := s.Lot(id)
		if err != nil {
			return nil, err
		}
		if l.Keeper() != a {
			continue // it changed hands since the checkpoint
		}
		shown := !slices.Contains(missed, id)
		if err := s.judgeLot(id, l, shown); err != nil {
			return nil, err
		}
		if !shown && l.Status == types.LotActive {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

func (s *state) judgeLot(id types.LotID, l *types.LotRecord, shown bool) error {
	switch {
	case l.Status != types.LotActive && shown:
		return s.restore(id, l)
	case l.Status != types.LotActive, shown && l.Missed == 0:
		return nil
	case shown:
		l.Missed = 0
	default:
		l.Missed++
	}
	return s.put(keyLot(id), l)
}
