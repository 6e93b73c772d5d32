package library

import (
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// fetch gets from the source those pieces of spans that are not held, after
// setting room for all of them aside, and gives the bytes that came. What has
// come stays when it fails, and is not fetched again.
func (d *dataset) fetch(spans []span) (fetched int64, err error) {
	want, err := d.lacking(spans)
	if err != nil || want == 0 {
		return 0, err
	}
	f := &fetching{d: d, total: want}
	if err := d.own(); err != nil {
		return 0, err
	}
	if f.room, err = openRoom(d.l.Reserve, d.owner(), want); err != nil {
		return 0, err
	}
	err = d.each(spans, f.window)
	return f.done, errors.Join(err, f.room.close())
}

// lacking adds up the bytes of pieces that are not held.
func (d *dataset) lacking(spans []span) (sum int64, err error) {
	err = d.each(spans, func(first uint32, digests []types.Hash) error {
		for i, digest := range digests {
			n, err := d.l.Pieces.Size(digest)
			if err != nil {
				return err
			}
			if n == 0 {
				sum += d.length(first + uint32(i))
			}
		}
		return nil
	})
	return sum, err
}

func (d *dataset) length(number uint32) int64 { return int64(archive.PieceLength(number, d.size())) }

// owner is who fetched pieces belong to.
func (d *dataset) owner() string { return "get/" + d.id.String() }

// own makes sure that a row names the owner before it owns anything.
func (d *dataset) own() error {
	return d.l.change(d.held, nil, func(h *Held) (rows []types.Row) {
		if h.addOwner(d.owner()) {
			rows = []types.Row{h.row()}
		}
		d.held.owners = h.owners
		return rows
	})
}

// fetching is a fetch at work.
type fetching struct {
	d     *dataset
	room  *room
	done  int64 // bytes
	total int64

	want    []types.Hash // of the window
	lengths []int64
	got     []bool
}

// window gets one run of pieces.
func (f *fetching) window(first uint32, digests []types.Hash) error {
	f.want, f.lengths = nil, nil
	for i, digest := range digests {
		n, err := f.d.l.Pieces.Size(digest)
		if err != nil {
			return err
		}
		if n == 0 && !slices.Contains(f.want, digest) {
			f.want = append(f.want, digest)
			f.lengths = append(f.lengths, f.d.length(first+uint32(i)))
		}
	}
	return f.ask()
}

// ask gets what is wanted, all of it or an error.
func (f *fetching) ask() error {
	if len(f.want) == 0 {
		return nil
	}
	f.got = make([]bool, len(f.want))
	if err := f.d.from().Pieces(f.d.ctx, f.d.id, f.want, f.take); err != nil {
		return fmt.Errorf("fetch pieces: %w", err)
	}
	if i := slices.Index(f.got, false); i >= 0 {
		return fmt.Errorf("fetch pieces: %w", &NotHeld{"piece " + f.want[i].Short()})
	}
	return nil
}

// take checks a piece and stores it.
func (f *fetching) take(i int, piece []byte) error {
	if i < 0 || i >= len(f.want) || f.got[i] {
		return fmt.Errorf("piece %d of %d was not asked for", i, len(f.want))
	}
	if got := archive.PieceDigest(piece); got != f.want[i] {
		return &BadError{"piece " + f.want[i].Short(), fmt.Errorf("the source gave bytes that hash to %s", got.Short())}
	}
	if int64(len(piece)) != f.lengths[i] {
		return &BadError{"piece " + f.want[i].Short(), fmt.Errorf("%d bytes, want %d", len(piece), f.lengths[i])}
	}
	if _, err := f.room.put(piece); err != nil {
		return err
	}
	f.got[i] = true
	f.done += int64(len(piece))
	f.d.watch.progress(Progress{Phase: Fetching, Done: uint64(f.done), Total: uint64(max(f.total, f.done))})
	return nil
}

// heal gets a piece that is held but damaged once more; putting it heals it.
func (d *dataset) heal(number uint32, digest types.Hash) error {
	if err := d.own(); err != nil {
		return err
	}
	room, err := openRoom(d.l.Reserve, d.owner(), d.length(number))
	if err != nil {
		return err
	}
	f := &fetching{d: d, room: room, want: []types.Hash{digest}, lengths: []int64{d.length(number)}}
	return errors.Join(f.ask(), room.close())
}
