package host

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/staddle/staddle/types"
)

// Source is where plain pieces come from: the sponsor, or an active holder.
type Source interface {
	// Digests gives the SHA-256 of the pieces of a range, in order.
	Digests(ctx context.Context, d *types.DatasetRecord, r types.Range) ([]types.Hash, error)
	// Fetch calls to with the piece of each digest, in any order, each once. The
	// piece may be overwritten after to returned. An error of to ends it.
	Fetch(ctx context.Context, d *types.DatasetRecord, digests []types.Hash, to func(i int, piece []byte) error) error
}

// digests asks for the pieces of a range of a lot and checks that they make the
// range (G10).
func (h *Host) digests(ctx context.Context, t *terms, r uint32) ([]types.Hash, error) {
	rng := t.ranges[r]
	list, err := h.cfg.Source.Digests(ctx, t.dataset, rng)
	if err != nil {
		return nil, fmt.Errorf("pieces of range %s: %w", rng.ID.Short(), err)
	}
	if uint32(len(list)) != rng.Count || types.RangeOf(list) != rng.ID {
		return nil, fmt.Errorf("the %d pieces named for range %s do not hash to it, want %d", len(list), rng.ID.Short(), rng.Count)
	}
	return list, nil
}

// fetch gets pieces one after the other, each once and checked.
func (h *Host) fetch(ctx context.Context, t *terms, digests []types.Hash, to func(i int, piece []byte) error) error {
	if len(digests) == 0 {
		return nil
	}
	var mu sync.Mutex
	came, count := make([]bool, len(digests)), 0
	err := h.cfg.Source.Fetch(ctx, t.dataset, digests, func(i int, piece []byte) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case i < 0 || i >= len(digests):
			return fmt.Errorf("piece %d of %d", i, len(digests))
		case types.Hash(sha256.Sum256(piece)) != digests[i]:
			return fmt.Errorf("piece %d is not %s", i, digests[i].Short())
		case came[i]:
			return nil
		}
		came[i] = true
		count++
		return to(i, piece)
	})
	if err == nil && count < len(digests) {
		err = fmt.Errorf("%d of %d pieces came", count, len(digests))
	}
	if err != nil {
		return fmt.Errorf("fetch pieces of lot %s: %w", t.lot.Short(), err)
	}
	return nil
}
