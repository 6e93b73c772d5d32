package host

import "github.com/staddle/staddle/types"

// HasPiece reports whether a replica that is kept here decodes to the piece, by
// the table of places alone.
func (h *Host) HasPiece(digest types.Hash) bool {
	places, err := h.places(digest)
	return err == nil && len(places) > 0
}
