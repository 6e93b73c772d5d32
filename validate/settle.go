package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// DomPropose is the domain of the draw of proposers.
const DomPropose = "staddle/propose/1"

// rankBlocks is how many blocks a proposer has before the next one may propose.
const rankBlocks = 2

// Proposers is the order in which the validators propose an epoch's result, by
// the committee of the last block for its disputes, weighed by deposits. Number k
// may propose into block DisputesDue+1+2k or later, as long as there is no
// result. now is a state of block DisputesDue or later. Once there is a result, it is
// the order for that of the late logs, by the last block for these.
func Proposers(now *consensus.View, e types.Epoch) ([]types.Account, error) {
	rec, err := now.Epoch(e)
	if err != nil {
		return nil, err
	}
	h := roundAt(rec, e).due(now.Rules)
	if rec.Beacon.IsZero() || now.Height() < h {
		return nil, fmt.Errorf("%w: epoch %d in block %d", ErrTooEarly, e, now.Height())
	}
	cut := now
	if now.Height() > h {
		if cut, err = now.At(h); err != nil {
			return nil, err
		}
	}
	list, _, err := cut.Committee()
	if err != nil {
		return nil, err
	}
	cands := make([]draw.Candidate, len(list))
	for i, c := range list {
		cands[i] = draw.Candidate{Account: c.Account, Weight: uint64(c.Amount)}
	}
	about := types.H("staddle/propose/about/1", types.Be64(uint64(e)))
	return draw.PickN(DomPropose, rec.Beacon, about, len(cands), cands), nil
}

// mayPropose reports whether an account's turn has come in the block after now.
func mayPropose(now *consensus.View, e types.Epoch, a types.Account) (bool, error) {
	list, err := Proposers(now, e)
	if err != nil {
		return false, err
	}
	r, err := roundOf(now, e)
	rank := slices.Index(list, a)
	return rank >= 0 && now.Height() >= r.due(now.Rules)+types.Height(rankBlocks*rank), err
}

// inTurn reports whether an epoch's result may be decided: it has none, its
// bundles and disputes are in, and no earlier epoch still waits inside its own time (ST1), so
// that nobody's locks are counted twice.
func inTurn(now *consensus.View, e types.Epoch) (bool, error) {
	g, err := now.Globals()
	if err != nil || e < g.Transfer || now.Height() < now.Rules.DisputesDue(e) {
		return false, err
	}
	if r, err := roundOf(now, e); err != nil || r.late {
		late, errLate := lateWanted(now, e)
		return late && now.Height() >= r.due(now.Rules), errors.Join(err, errLate)
	}
	for x := g.Transfer; x <= e; x++ {
		rec, err := now.Epoch(x)
		if err != nil {
			return false, err
		}
		if x == e {
			return rec.Collation == nil && !rec.Beacon.IsZero(), nil
		}
		if rec.Collation == nil && now.Epochal() <= x+collateUntil {
			return false, nil
		}
	}
	return false, nil
}

// collateUntil is how many epochs after its own an epoch's result holds up those
// of later ones.
const collateUntil = 4

// settle proposes results when it is this account's turn, and puts the files of
// those that are on chain in their place.
func (v *Validator) settle(ctx context.Context, now *consensus.View) error {
	first, last, err := recent(now)
	if err != nil {
		return err
	}
	var errs []error
	for e := first - min(first, 2); e <= last; e++ {
		if err := v.settleEpoch(ctx, now, e); err != nil {
			errs = append(errs, fmt.Errorf("epoch %d: %w", e, err))
		}
	}
	return errors.Join(errs...)
}

func (v *Validator) settleEpoch(ctx context.Context, now *consensus.View, e types.Epoch) error {
	rec, err := now.Epoch(e)
	if err != nil {
		return err
	}
	if rec.Collation != nil {
		if err := v.keepBoth(now, e, rec); err != nil {
			return err
		}
	}
	ready, err := inTurn(now, e)
	if err != nil || !ready {
		return err
	}
	mine, err := mayPropose(now, e, v.me)
	if err != nil || !mine {
		return err
	}
	return v.propose(ctx, now, e)
}
