package host

import (
	"context"
	"errors"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// scrub reads the lots whose turn it is in this epoch, one in 28, so that what
// is lost is found and given up before it is claimed. Like encoding it makes way
// for everything else.
func (h *Host) scrub(ctx context.Context, e types.Epoch) {
	if !h.scrubbing.CompareAndSwap(false, true) {
		return // the last one is not over
	}
	var due []types.LotID
	for id, l := range h.lots {
		if l.rec != nil && l.rec.Keeper() == h.me && draw.RotationDue(id, e) {
			due = append(due, id)
		}
	}
	h.jobs.Go(func() {
		defer h.scrubbing.Store(false)
		for _, id := range due {
			if err := h.verify(ctx, id); err != nil && ctx.Err() == nil {
				h.cfg.Report("host: verify lot %s: %v", id.Short(), err)
			}
		}
	})
}

// verify reads a whole lot and compares it with its roots. Lost bytes wound the
// lot.
func (h *Host) verify(ctx context.Context, id types.LotID) error {
	kept, err := h.shelf.lot(id)
	if err != nil {
		return err
	}
	if kept == nil {
		h.wound(id)
		return ErrNotHere
	}
	for r := range kept.Ranges {
		at := rangeKey{id, uint32(r)}
		for p := range kept.Ranges[r].Range.Count {
			var bad error
			if err := h.cfg.Pool.Do(ctx, func() { bad = h.verifyPiece(at, p) }); err != nil {
				return err
			}
			if bad != nil {
				return bad
			}
		}
	}
	return nil
}

func (h *Host) verifyPiece(at rangeKey, piece uint32) error {
	r, err := h.openRange(at)
	if err != nil {
		return err
	}
	padded, err := h.get(at.lot, at.rng, piece)
	if err != nil {
		return err
	}
	_, _, err = r.slots.Path(uint64(piece)*replica.PieceLeaves, padded)
	if errors.Is(err, replica.ErrPiece) {
		h.wound(at.lot)
	}
	return err
}
