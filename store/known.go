package store

import (
	"fmt"

	"github.com/staddle/staddle/types"
)

// PutKnown is PutLazy for a piece whose digest the caller has just computed from
// the same bytes: it is not hashed once more. A wrong digest would store a piece
// under a false name, which whoever reads it by its hash would notice.
func (r *Reservation) PutKnown(digest types.Hash, piece []byte) error {
	if len(piece) > types.PieceSize {
		return fmt.Errorf("piece of %d bytes above limit %d", len(piece), types.PieceSize)
	}
	return r.putLazy(digest, piece)
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
