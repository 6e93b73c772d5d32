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
		err = r.flush.wait()
	}
	if err != nil || !r.r.full() {
		return err
	}
	_, err = r.Flush()
	return err
}

// Flush begins to make durable all that was put before, and does not wait. While
// an earlier one runs it begins none, and says so. An error is that of an earlier
// one; the last is waited for by Commit and Release.
func (r *Reservation) Flush() (begun bool, err error) { return r.flush.begin(r.Sync) }

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

// underway is the sync that a reservation has begun and not waited for.
type underway struct {
	mu   sync.Mutex
	done chan error // holds one; nil when there is none
}

// begin starts a sync, unless one is under way, and gives the error of the one
// before.
func (u *underway) begin(sync func() error) (begun bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done != nil {
		select {
		case err := <-u.done:
			u.done = nil
			if err != nil {
				return false, err
			}
		default:
			return false, nil
		}
	}
	done := make(chan error, 1)
	u.done = done
	go func() { done <- sync() }()
	return true, nil
}

// wait ends what begin has started.
func (u *underway) wait() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done == nil {
		return nil
	}
	err := <-u.done
	u.done = nil
	return err
}

// Commit makes what was put durable and gives the unused bytes back. What was put
// belongs to the owner also without Commit, after a crash for example.
func (r *Reservation) Commit() error { return errors.Join(r.flush.wait(), r.grant.Commit()) }

// Release gives the unused bytes back and takes away what was put through this
// reservation; what the owner had before stays.
func (r *Reservation) Release() error { return errors.Join(r.flush.wait(), r.grant.Release()) }

// unsynced is how many bytes wait for a sync.
func (r *records) unsynced() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lazy
}
