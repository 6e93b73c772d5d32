package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Version is one dataset that was put from a folder under a name.
type Version struct {
	Dataset types.DatasetID
	Folder  string // absolute; hostile bytes
	Name    string
	Added   types.Millis
}

// EncodeTo appends [1, dataset, folder, name, added].
func (v *Version) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(rowVersion)
	e.Bytes(v.Dataset[:])
	e.Bytes([]byte(v.Folder))
	e.Text(v.Name)
	e.Int(int64(v.Added))
}

// DecodeFrom reads the tuple.
func (v *Version) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	version(d)
	v.Dataset = d.Hash()
	v.Folder = string(d.Bytes(maxFolder))
	v.Name = d.Text(types.MaxName)
	v.Added = d.Millis()
}

// versionsOf is how the keys of the versions of a folder and name begin.
func versionsOf(folder, name string) string {
	return types.H("staddle/library/version/1", []byte(folder), []byte(name)).String() + "/"
}

func (v *Version) key() string {
	return fmt.Sprintf("%s%016x", versionsOf(v.Folder, v.Name), uint64(v.Added))
}

// Versions lists what was put from a folder under a name, the oldest first; also
// what is no longer held.
func (l *Library) Versions(folder, name string) (out []Version, err error) {
	err = l.State.Scan(tableVersions, versionsOf(folder, name), "", func(key string, value []byte) error {
		var v Version
		if err := types.Unmarshal(value, &v); err != nil {
			return &BadError{fmt.Sprintf("row %q of %s", key, tableVersions), err}
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

// previous is the version that a put of a folder is compared with: the newest of
// that folder and name, else the newest of that name, that is whole here; nil
// when there is none. at is when it was put.
func (l *Library) previous(folder, name string) (h *Held, at types.Millis, err error) {
	list, err := l.Versions(folder, name)
	if err != nil {
		return nil, 0, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		h, err := l.Held(list[i].Dataset)
		if err == nil && h.Whole {
			return &h, list[i].Added, nil
		}
		if err != nil && !errors.Is(err, ErrNotHeld) {
			return nil, 0, err
		}
	}
	all, err := l.Datasets()
	for i := range all {
		if all[i].Name == name && all[i].Whole {
			return &all[i], all[i].Added, nil
		}
	}
	return nil, 0, err
}

// newest is the row that makes a dataset the newest version of a folder and name,
// none when it is.
func (l *Library) newest(folder string, p *Published, now types.Millis) ([]types.Row, error) {
	name, id := p.Manifest.Name, p.Attachment.Dataset()
	list, err := l.Versions(folder, name)
	if err != nil {
		return nil, err
	}
	if n := len(list); n > 0 {
		if list[n-1].Dataset == id {
			return nil, nil
		}
		now = max(now, list[n-1].Added+1)
	}
	v := Version{Dataset: id, Folder: folder, Name: name, Added: now}
	return []types.Row{{Table: tableVersions, Key: v.key(), Value: types.Marshal(&v)}}, nil
}

// Since says what a dataset shares with the version before it.
type Since struct {
	Dataset      types.DatasetID // that version
	Added        types.Millis    // when it was put
	Pieces       uint32          // of the new dataset
	Shared       uint32          // of them, held by that version, too
	Ranges       uint32          // of the new dataset
	SharedRanges uint32
}

// Percent is the share of pieces, rounded down.
func (s *Since) Percent() int {
	if s.Pieces == 0 {
		return 0
	}
	return int(uint64(s.Shared) * 100 / uint64(s.Pieces))
}

// sharing compares a dataset with an older one. Whole ranges are compared by
// their ids; only what lies in other ranges piece by piece.
func (l *Library) sharing(ctx context.Context, old *Held, at types.Millis, p *Published) (*Since, error) {
	s := &Since{Dataset: old.Attachment.Dataset(), Added: at, Pieces: p.Manifest.Pieces, Ranges: uint32(len(p.Manifest.Ranges))}
	fresh := make(map[types.RangeID]bool, len(p.Manifest.Ranges))
	for _, r := range p.Manifest.Ranges {
		fresh[r.ID] = true
	}
	both := map[types.RangeID]bool{}
	var gone, come []span
	lost := uint32(0)
	err := l.eachRange(&old.Attachment, func(r types.Range) {
		if fresh[r.ID] {
			both[r.ID] = true
			return
		}
		gone, lost = appendSpan(gone, span{r.First, r.Count}), lost+r.Count
	})
	if err != nil {
		return nil, err
	}
	for _, r := range p.Manifest.Ranges {
		if both[r.ID] {
			s.Shared, s.SharedRanges = s.Shared+r.Count, s.SharedRanges+1
			continue
		}
		come = appendSpan(come, span{r.First, r.Count})
	}
	n, err := l.common(ctx, stretch{old, gone}, lost, stretch{&Held{Attachment: p.Attachment}, come})
	s.Shared += n
	return s, err
}

// sampled is how many pieces of a version are remembered at most while it is
// compared; of more, a part stands for all.
const sampled = 1 << 20

// stretch is spans of a dataset.
type stretch struct {
	of    *Held
	spans []span
}

// common counts pieces of b that occur in a, which has count.
func (l *Library) common(ctx context.Context, a stretch, count uint32, b stretch) (uint32, error) {
	step := uint64(count/sampled) + 1
	seen := map[uint64]bool{}
	err := l.pieces(ctx, a, func(h types.Hash) {
		if h.U64()%step == 0 {
			seen[h.U64()] = true
		}
	})
	if err != nil {
		return 0, err
	}
	all, asked, found := uint64(0), uint64(0), uint64(0)
	err = l.pieces(ctx, b, func(h types.Hash) {
		if all++; h.U64()%step != 0 {
			return
		}
		if asked++; seen[h.U64()] {
			found++
		}
	})
	return uint32(found * all / max(asked, 1)), err
}

// pieces calls fn with the digests of a part of a dataset that is whole here.
func (l *Library) pieces(ctx context.Context, s stretch, fn func(types.Hash)) error {
	d, err := l.here(ctx, s.of)
	if err != nil {
		return err
	}
	return d.each(s.spans, func(_ uint32, digests []types.Hash) error {
		for _, h := range digests {
			fn(h)
		}
		return nil
	})
}

// here opens a dataset of which nothing is fetched.
func (l *Library) here(ctx context.Context, h *Held) (*dataset, error) {
	c := l.Config
	c.Source = Offline{}
	d := &dataset{l: &Library{Config: c, placed: l.placed, active: map[string]bool{}}, ctx: ctx, id: h.Attachment.Dataset(), held: *h}
	return d, d.openIndex()
}

// eachRange calls fn with the ranges of a dataset of which the blocks are here.
func (l *Library) eachRange(a *types.Attachment, fn func(types.Range)) error {
	for next := a.Ranges; next.Defined(); {
		b, err := l.State.Node(next)
		if err != nil {
			return err
		}
		var list types.RangeList
		if err := types.Unmarshal(b, &list); err != nil {
			return fmt.Errorf("block %s: %w", next, err)
		}
		for _, r := range list.Ranges {
			fn(r)
		}
		next = list.Next
	}
	return nil
}
