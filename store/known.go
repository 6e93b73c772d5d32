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
