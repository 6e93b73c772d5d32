package validate

import (
	"context"
	"errors"
	"fmt"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// round is one result that is agreed on: an epoch's own, or after it that of the
// logs that came late (ST1). Which of the two it is follows from the state.
type round struct {
	epoch types.Epoch
	late  bool
}

// roundAt is the round of an epoch with that record.
func roundAt(rec *types.EpochRecord, e types.Epoch) round { return round{e, rec.Collation != nil} }

// roundOf is the round that an epoch is in at a state.
func roundOf(now *consensus.View, e types.Epoch) (round, error) {
	rec, err := now.Epoch(e)
	if err != nil {
		return round{}, err
	}
	return roundAt(rec, e), nil
}

// String is the name of the round's folders.
func (r round) String() string {
	if r.late {
		return fmt.Sprintf("%d-late", r.epoch)
	}
	return fmt.Sprint(uint64(r.epoch))
}

// key is the row of what was signed.
func (r round) key() string {
	if r.late {
		return epochKey(keyLate, r.epoch)
	}
	return epochKey(keyResult, r.epoch)
}

// inputsOp asks for the round's inputs.
func (r round) inputsOp() op {
	if r.late {
		return opLateInputs
	}
	return opInputs
}

// due is the last block in which something may come that counts: its state is what
// the result is computed from.
func (r round) due(rules *types.Rules) types.Height {
	if r.late {
		return consensus.LateLogsDue(rules, r.epoch)
	}
	return rules.DisputesDue(r.epoch)
}

// digest is what is signed of a proposal.
func (r round) digest(chain types.ChainID, p *Proposal) types.Hash {
	if r.late {
		return consensus.LateDigest(chain, p.Collation())
	}
	return p.Collation().Digest(chain)
}

// takes tells whether a log counts in the round.
func (r round) takes(now *consensus.View, c *types.ClaimRecord) bool {
	return consensus.Late(now.Rules, c) == r.late
}

// cut is the state that the round's result is computed from. For late logs it is
// that of the last block for them, or the newest one when the epoch got its
// own result after that.
func (r round) cut(now *consensus.View) (*consensus.View, error) {
	if !r.late {
		return cutOf(now, r.epoch)
	}
	h := r.due(now.Rules)
	if now.Height() == h {
		return now, nil
	}
	cut, err := now.At(h)
	if err != nil {
		return nil, err
	}
	then, err := roundOf(cut, r.epoch)
	if err != nil || !then.late {
		return now, err
	}
	return cut, nil
}

// lateWanted tells whether an epoch has late logs and no result of them, while it
// is not paid.
func lateWanted(now *consensus.View, e types.Epoch) (bool, error) {
	g, err := now.Globals()
	if err != nil || e < g.Transfer {
		return false, err
	}
	late, err := now.LateRecord(e)
	return late != nil && late.Collation == nil, err
}

// keepBoth puts the files of an epoch's results in their place.
func (v *Validator) keepBoth(now *consensus.View, e types.Epoch, rec *types.EpochRecord) error {
	late, err := now.LateRecord(e)
	if err != nil {
		return err
	}
	err = v.keep(round{epoch: e}, rec.Collation)
	if late != nil && late.Collation != nil {
		err = errors.Join(err, v.keep(round{e, true}, late.Collation))
	}
	return err
}

// counted is the traffic of all logs that an epoch's own result read: what late
// logs repeat of it is paid already.
func (v *Validator) counted(ctx context.Context, now *consensus.View, c *types.Collation) (all []lines.Traffic, err error) {
	in, err := v.inputsOf(ctx, now, round{epoch: c.Epoch}, c)
	if err != nil {
		return nil, err
	}
	if err := v.logsOf(ctx, now, in); err != nil {
		return nil, err
	}
	for _, u := range in.Logs {
		ev, err := v.evidenceOf(now, in.Epoch, u)
		if err != nil {
			return nil, err
		}
		all = append(all, ev.traffic...)
	}
	return all, nil
}
