package library

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// hidden knows the blocks and pieces of private datasets by the first 8 bytes of
// their digests: about 16 bytes of memory each. A digest that is hidden by chance
// is not served to strangers, which harms nobody.
type hidden struct {
	mu   sync.RWMutex
	full bool // what was held at the start is in
	set  map[uint64]struct{}
}

func (h *hidden) add(digests ...types.Hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set == nil {
		h.set = map[uint64]struct{}{}
	}
	for i := range digests {
		h.set[digests[i].U64()] = struct{}{}
	}
}

func (h *hidden) roots(a *types.Attachment) {
	h.add(types.Digest(a.Index), types.Digest(a.UnixFS), types.Digest(a.Ranges))
}

// Public reports whether a block may reach anybody at all (P2): it is no part of a
// private dataset that is held here, as far as that is known. When it cannot be
// known, it is not.
func (l *Library) Public(c cid.Cid) bool {
	digest, err := sha256Of(c)
	if err != nil || l.fill() != nil {
		return false
	}
	l.hidden.mu.RLock()
	defer l.hidden.mu.RUnlock()
	_, private := l.hidden.set[digest.U64()]
	return !private
}

// fill walks the indexes of private datasets, once; what comes later is added as it
// comes.
func (l *Library) fill() error {
	l.hidden.mu.RLock()
	full := l.hidden.full
	l.hidden.mu.RUnlock()
	if full {
		return nil
	}
	all, err := l.Datasets()
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Attachment.Visibility != types.VisibilityPublic {
			l.hideHeld(&all[i])
		}
	}
	l.hidden.mu.Lock()
	l.hidden.full = true
	l.hidden.mu.Unlock()
	return nil
}

// hideHeld hides what the blocks that are here name. What they do not name yet is
// hidden when it comes.
func (l *Library) hideHeld(h *Held) {
	a := &h.Attachment
	l.hidden.roots(a)
	d := &dataset{l: l, ctx: context.Background(), id: a.Dataset(), held: *h, source: Offline{}}
	x, err := archive.OpenIndex(hiding{l}, a.Index, a.Pieces)
	if err != nil {
		return // not even the root is here: nothing was fetched
	}
	d.index = x
	for number := uint64(1); number <= uint64(a.Pieces); number++ {
		if digest, err := x.Piece(uint32(number)); err == nil {
			l.hidden.add(digest)
		}
	}
	if h.Whole {
		// The blocks of the UnixFS file follow from the pieces. An error says that
		// something is gone, and what is gone is served to nobody.
		_ = d.checkRoots(hiding{l}.Node, func(n types.Node) error {
			l.hidden.add(types.Digest(n.CID))
			return nil
		})
	}
}

// hiding hides every block that is read through it.
type hiding struct{ l *Library }

// Node gives a block.
func (h hiding) Node(c cid.Cid) ([]byte, error) {
	h.l.hidden.add(types.Digest(c))
	return h.l.State.Node(c)
}
