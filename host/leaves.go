package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// stack is the tree over a lot's ranges as they are kept here.
type stack struct {
	lot  types.LotID
	kept *keptLot
	tree *replica.SumTree
}

// openLot reads a whole lot; ErrNotHere when it is not whole or has another root.
func (h *Host) openLot(id types.LotID, root types.Hash) (*stack, error) {
	kept, err := h.shelf.lot(id)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, fmt.Errorf("lot %s: %w", id.Short(), ErrNotHere)
	}
	entries, ok := kept.entries()
	if !ok {
		return nil, fmt.Errorf("ranges of lot %s: %w", id.Short(), ErrNotHere)
	}
	tree, err := replica.LotTree(entries)
	if err != nil {
		return nil, err
	}
	if got := tree.Root().Hash; got != root {
		return nil, fmt.Errorf("lot %s with root %s, here it has %s: %w", id.Short(), root.Short(), got.Short(), ErrNotHere)
	}
	return &stack{id, kept, tree}, nil
}

// prove shows a leaf of a lot, without claim.
func (h *Host) prove(s *stack, leaf uint64) (*replica.Proof, error) {
	item, inside, err := s.tree.Find(leaf)
	if err != nil {
		return nil, err
	}
	r, err := h.openRange(rangeKey{s.lot, uint32(item)})
	if err != nil {
		return nil, err
	}
	padded, err := h.get(s.lot, uint32(item), uint32(inside/replica.PieceLeaves))
	if err != nil {
		return nil, err
	}
	data, path, err := r.slots.Path(inside, padded)
	if err != nil {
		if errors.Is(err, replica.ErrPiece) {
			h.wound(s.lot)
		}
		return nil, fmt.Errorf("leaf %d of lot %s: %w", leaf, s.lot.Short(), err)
	}
	at, err := s.tree.Path(item)
	if err != nil {
		return nil, err
	}
	return &replica.Proof{Lot: s.lot, Leaf: data, Path: path, Range: *s.kept.Ranges[item].Entry, Place: at}, nil
}

// answerLeaves shows leaves of a lot to those whose duty or right it is to ask.
func (h *Host) answerLeaves(_ context.Context, from types.Account, request []byte) ([]byte, error) {
	var q replica.LeafRequest
	if err := types.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	v, err := h.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	root, err := h.mayAsk(v, from, &q)
	if err != nil {
		return nil, err
	}
	s, err := h.openLot(q.Lot, root)
	if err != nil {
		return nil, err
	}
	a := replica.LeafAnswer{Proofs: make([][]byte, len(q.Leaves))}
	for i, leaf := range q.Leaves {
		if p, err := h.prove(s, leaf); err == nil {
			a.Proofs[i] = types.Marshal(p)
		} else {
			h.cfg.Report("host: asked for leaf %d of lot %s: %v", leaf, q.Lot.Short(), err)
		}
	}
	return types.Marshal(&a), nil
}

// mayAsk gives the root to prove against: the one of the running attempt, or of
// the replica that is being replaced.
func (h *Host) mayAsk(v *consensus.View, from types.Account, q *replica.LeafRequest) (types.Hash, error) {
	l, err := v.Lot(q.Lot)
	if err != nil {
		return types.Hash{}, err
	}
	if l == nil || l.Attempt != q.Attempt {
		return types.Hash{}, fmt.Errorf("attempt %s of lot %s does not run", q.Attempt.Short(), q.Lot.Short())
	}
	ok, err := h.entitled(v, from, l)
	switch {
	case err != nil:
		return types.Hash{}, err
	case !ok:
		return types.Hash{}, fmt.Errorf("account %s has no part in lot %s", from.Short(), q.Lot.Short())
	case l.Host == h.me && !l.Root.IsZero():
		return l.Root, nil
	case l.Keeper() == h.me:
		return l.OldRoot, nil
	}
	return types.Hash{}, fmt.Errorf("lot %s: %w", q.Lot.Short(), ErrNotHere)
}

// entitled are the attempt's validators, the sponsor and the guardian, and who
// was drawn to check or test this host in the newest audited epochs.
func (h *Host) entitled(v *consensus.View, from types.Account, l *types.LotRecord) (bool, error) {
	if slices.Contains(l.Attestors, from) {
		return true, nil
	}
	p, err := v.Plan(l.Plan)
	if err != nil {
		return false, err
	}
	if p != nil && (p.Sponsor == from || p.Plan.Guardian == from) {
		return true, nil
	}
	now := v.Rules.EpochOf(v.Head.Height)
	for e := now; e+auditedEpochs > now && e > 0; e-- {
		if ok, err := h.drawn(v, from, e-1); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// drawn reports whether an account was drawn to check or test this host.
func (h *Host) drawn(v *consensus.View, from types.Account, e types.Epoch) (bool, error) {
	rec, err := v.Epoch(e)
	if err != nil || rec.Beacon.IsZero() {
		return false, err
	}
	frozen, err := v.Frozen(e)
	if err != nil {
		return false, err
	}
	for _, draw := range []func(types.Account, types.Hash) ([]types.Account, error){frozen.Checkers, frozen.Testers} {
		list, err := draw(h.me, rec.Beacon)
		if err != nil || slices.Contains(list, from) {
			return err == nil, err
		}
	}
	return false, nil
}
