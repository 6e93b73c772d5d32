package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/staddle/staddle/types"
)

// PutKnown is PutLazy for a piece whose digest the caller has just computed from
// the same bytes: it is not hashed once more. A wrong digest would store a piece
// under a false name, which whoever reads it would notice. When much is waiting it
// begins a sync, and waits for it only when much more has come meanwhile.
func (r *Reservation) PutKnown(digest types.Hash, piece []byte) error {
	if len(piece) > types.PieceSize {
		return fmt.Errorf("piece of %d bytes above limit %d", len(piece), types.PieceSize)
	}
	if err := r.enter(); err != nil {
		return err
	}
	err := r.r.put(r.grant, id{r.owner.kind, digest}, piece)
	r.leave()
	if err != nil {
		return err
	}
	n := r.r.unsynced()
	if n >= mostAhead {
		err = r.ahead.wait()
	}
	if err != nil || !r.r.full() {
		return err
	}
	return r.ahead.begin(r.Sync)
}

// Adopt makes the owner of the reservation an owner of a piece that is held, and
// reports whether it is. The piece is not read; it uses no bytes of the
// reservation.
func (r *Reservation) Adopt(digest types.Hash) (bool, error) {
	if err := r.enter(); err != nil {
		return false, err
	}
	defer r.leave()
	s, i := r.r, id{r.owner.kind, digest}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return false, err
	}
	if _, ok, err := s.held(i); err != nil || !ok {
		return false, err
	}
	owned, err := s.index.get(r.owner.row(digest))
	if err != nil || owned != nil {
		return err == nil, err
	}
	return true, s.refer(r.grant, i)
}

// mostAhead is how many bytes PutKnown writes while a sync is under way.
const mostAhead = 64 << 20

// ahead is the sync that a reservation has begun and not waited for.
type ahead struct {
	mu   sync.Mutex
	done chan error // holds one; nil when there is none
}

// begin starts a sync, unless one is under way, and gives the error of the one
// before.
func (a *ahead) begin(sync func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done != nil {
		select {
		case err := <-a.done:
			a.done = nil
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	done := make(chan error, 1)
	a.done = done
	go func() { done <- sync() }()
	return nil
}

// wait ends what begin has started.
func (a *ahead) wait() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		return nil
	}
	err := <-a.done
	a.done = nil
	return err
}

// Commit makes what was put durable and gives the unused bytes back. What was put
// belongs to the owner also without Commit, after a crash for example.
func (r *Reservation) Commit() error { return errors.Join(r.ahead.wait(), r.grant.Commit()) }

// Release gives the unused bytes back and takes away what was put through this
// reservation; what the owner had before stays.
func (r *Reservation) Release() error { return errors.Join(r.ahead.wait(), r.grant.Release()) }

// unsynced is how many bytes wait for a sync.
func (r *records) unsynced() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lazy
}
