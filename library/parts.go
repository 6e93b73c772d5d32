package library

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// EachPart calls fn with the names by which a dataset or a part of it can be
// asked for: the roots first, then every piece. Nothing is opened, so it needs no
// key. Blocks of the index that are not here are asked of the source; the error
// wraps ErrNotHeld when nobody has them, after the roots were given.
func (l *Library) EachPart(ctx context.Context, ref Ref, fn func(cid.Cid) error) error {
	d, err := l.describe(ctx, ref, Watch{})
	if err != nil {
		return err
	}
	for _, root := range []cid.Cid{d.held.Attachment.Index, d.held.Attachment.UnixFS} {
		if err := fn(root); err != nil {
			return err
		}
	}
	if err := d.openIndex(); err != nil {
		return err
	}
	return d.each(d.whole(), func(_ uint32, digests []types.Hash) error {
		for _, h := range digests {
			if err := fn(types.RawCIDOf(h)); err != nil {
				return err
			}
		}
		return nil
	})
}
