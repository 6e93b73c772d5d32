package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// Bounds of work on an index.
const (
	window   = 256     // pieces that are looked up, fetched or checked together
	reopenAt = 1 << 16 // look-ups after which the index is opened again, to free what it has cached
)

// dataset is one dataset in the hands of one job. It belongs to one goroutine.
type dataset struct {
	l      *Library
	ctx    context.Context
	watch  Watch
	id     types.DatasetID
	held   Held
	index  *archive.Index
	looked int
	source Source            // of what is not here; nil: the library's
	opener *archive.Unsealer // of a private dataset
	key    Key               // of that
}

// open finds a dataset, here or at the source, and opens it with a key if it
// needs one.
func (l *Library) open(ctx context.Context, ref Ref, w Watch) (*dataset, error) {
	d, err := l.describe(ctx, ref, w)
	if err != nil {
		return nil, err
	}
	if err := d.openIndex(); err != nil {
		return nil, err
	}
	return d, d.unseal(ref.Key)
}

// describe finds the description of a dataset, here or at the source.
func (l *Library) describe(ctx context.Context, ref Ref, w Watch) (*dataset, error) {
	ref, err := l.Resolve(ref)
	if err != nil {
		return nil, err
	}
	d := &dataset{l: l, ctx: ctx, watch: w, id: ref.Dataset}
	d.held, err = l.Held(d.id)
	if errors.Is(err, ErrNotHeld) {
		d.held, err = d.ask()
	}
	if err != nil {
		return nil, err
	}
	if d.private() {
		l.hidden.roots(&d.held.Attachment)
	}
	return d, nil
}

// ask lets the source describe the dataset. What it says beyond the index root
// is checked when the dataset is read.
func (d *dataset) ask() (Held, error) {
	a, err := d.l.Source.Attachment(d.ctx, d.id)
	if err == nil && a.Dataset() != d.id {
		err = &BadError{"description of " + Ref{Dataset: d.id}.String(), fmt.Errorf("it describes %s", a.Dataset().Short())}
	}
	if why := a.CheckVisibility(); err == nil && why != nil {
		err = &BadError{"description of " + Ref{Dataset: d.id}.String(), why}
	}
	return Held{Attachment: a, Name: a.Name, Added: d.l.Now()}, err
}

// size is the number of bytes of all pieces.
func (d *dataset) size() int64 { return int64(d.held.Attachment.Size) }

func (d *dataset) openIndex() (err error) {
	for {
		d.index, err = archive.OpenIndex(d.l.State, d.held.Attachment.Index, d.held.Attachment.Pieces)
		gap, missing := isMissing(err)
		if !missing {
			return err
		}
		if err := d.fetchNodes([]cid.Cid{gap}); err != nil {
			return err
		}
	}
}

func (d *dataset) from() Source {
	if d.source != nil {
		return d.source
	}
	return d.l.Source
}

// private reports whether not everybody may have it.
func (d *dataset) private() bool { return d.held.Attachment.Visibility != types.VisibilityPublic }

// fetchNodes gets blocks from the source and saves them.
func (d *dataset) fetchNodes(want []cid.Cid) error {
	got, err := d.from().Nodes(d.ctx, d.id, want)
	if err != nil {
		return err
	}
	byCID := make(map[cid.Cid]types.Node, len(got))
	for _, n := range got {
		byCID[n.CID] = n
	}
	nodes := make([]types.Node, len(want))
	for i, c := range want {
		n, ok := byCID[c]
		if !ok {
			return &NotHeld{"block " + c.String()}
		}
		if types.Digest(types.RawCID(n.Bytes)) != types.Digest(c) {
			return &BadError{"block " + c.String(), errors.New("the source gave other bytes")}
		}
		nodes[i] = n
		if d.private() {
			d.l.hidden.add(types.Digest(c))
		}
	}
	return d.l.State.Save(nodes, nil)
}

// digests gives the digests of count pieces from first, at most window.
func (d *dataset) digests(first, count uint32) ([]types.Hash, error) {
	if d.looked += int(count); d.looked > reopenAt {
		d.looked = 0
		if err := d.openIndex(); err != nil {
			return nil, err
		}
	}
	for {
		gaps, err := d.index.Missing(first, count)
		if err != nil {
			return nil, err
		}
		if len(gaps) == 0 {
			break
		}
		if err := d.fetchNodes(gaps); err != nil {
			return nil, err
		}
	}
	out := make([]types.Hash, count)
	for i := range out {
		var err error
		if out[i], err = d.index.Piece(first + uint32(i)); err != nil {
			return nil, err
		}
	}
	if d.private() {
		d.l.hidden.add(out...)
	}
	return out, nil
}

// span is a run of pieces.
type span struct{ first, count uint32 }

func (d *dataset) whole() []span { return []span{{1, d.held.Attachment.Pieces}} }

// each calls fn with the digests of runs of at most window pieces.
func (d *dataset) each(spans []span, fn func(first uint32, digests []types.Hash) error) error {
	for _, s := range spans {
		for s.count > 0 {
			if d.ctx.Err() != nil {
				return context.Cause(d.ctx)
			}
			n := min(s.count, window)
			digests, err := d.digests(s.first, n)
			if err != nil {
				return err
			}
			if err := fn(s.first, digests); err != nil {
				return err
			}
			s.first, s.count = s.first+n, s.count-n
		}
	}
	return nil
}
