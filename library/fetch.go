package library

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

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
	if err = d.each(spans, f.window); err == nil {
		err = f.ask()
	}
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
func (d *dataset) own() error { return d.ownAs(d.owner()) }

func (d *dataset) ownAs(owner string) error {
	return d.l.change(d.held, nil, func(h *Held) (rows []types.Row) {
		if h.addOwner(owner) {
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

	want    []types.Hash // of the job
	lengths []int64
	taken   []bool
	kept    []bool
	came    func(types.Hash) // told of each piece that is here; may be nil

	queue  chan arrival  // full: the source waits
	failed chan struct{} // closed when nothing can be kept any more
	fault  error         // and why

	loose int64 // bytes put since the last sync began
}

// arrival is a piece that came and is to be kept.
type arrival struct {
	i     int
	piece []byte
}

const (
	jobPieces = 65_536  // that a source is asked for at once: 16 GiB
	syncEvery = 2 << 20 // bytes, so that a crash costs little
	arrivals  = 4       // pieces between the network and the disk: 1 MiB, which is what a crash costs
)

// window adds what a run of pieces lacks to the job, and does the job when it is
// large enough.
func (f *fetching) window(first uint32, digests []types.Hash) error {
	for i, digest := range digests {
		n, err := f.d.l.Pieces.Size(digest)
		if err != nil {
			return err
		}
		if n == 0 {
			f.want = append(f.want, digest)
			f.lengths = append(f.lengths, f.d.length(first+uint32(i)))
		}
	}
	if len(f.want) < jobPieces {
		return nil
	}
	return f.ask()
}

// ask gets what is wanted, all of it or an error. The source goes on while a
// piece is on its way to the disk.
func (f *fetching) ask() error {
	if len(f.want) == 0 {
		return nil
	}
	f.taken, f.kept = make([]bool, len(f.want)), make([]bool, len(f.want))
	f.queue, f.failed, f.fault = make(chan arrival, arrivals), make(chan struct{}), nil
	var keeping sync.WaitGroup
	keeping.Go(f.keep)
	err := f.d.from().Pieces(f.d.ctx, f.d.id, f.want, f.take)
	close(f.queue)
	keeping.Wait()
	if err = cmp.Or(f.fault, err); err != nil {
		return fmt.Errorf("fetch pieces: %w", f.d.l.why(f.want[0], err))
	}
	if i := slices.Index(f.kept, false); i >= 0 {
		return fmt.Errorf("fetch pieces: %w", &NotHeld{"piece " + f.want[i].Short()})
	}
	f.want, f.lengths = f.want[:0], f.lengths[:0]
	return nil
}

// take hands a piece on to be kept.
func (f *fetching) take(i int, piece []byte) error {
	if i < 0 || i >= len(f.want) || f.taken[i] {
		return fmt.Errorf("piece %d of %d was not asked for", i, len(f.want))
	}
	if int64(len(piece)) != f.lengths[i] {
		return &BadError{"piece " + f.want[i].Short(), fmt.Errorf("%d bytes, want %d", len(piece), f.lengths[i])}
	}
	f.taken[i] = true
	select {
	case f.queue <- arrival{i, piece}:
		return nil
	case <-f.failed:
		return f.fault
	}
}

// keep stores what arrives until the queue is closed.
func (f *fetching) keep() {
	for a := range f.queue {
		if f.fault != nil {
			continue
		}
		if f.fault = cmp.Or(f.store(a), f.sync(int64(len(a.piece)))); f.fault != nil {
			close(f.failed)
		}
	}
}

// sync begins to make what was kept durable now and then, while more is put.
func (f *fetching) sync(n int64) error {
	if f.loose += n; f.loose < syncEvery {
		return nil
	}
	begun, err := f.room.now.Flush()
	if begun {
		f.loose = 0
	}
	return err
}

// store checks a piece and stores it.
func (f *fetching) store(a arrival) error {
	got := archive.PieceDigest(a.piece)
	if got != f.want[a.i] {
		return &BadError{"piece " + f.want[a.i].Short(), fmt.Errorf("the source gave bytes that hash to %s", got.Short())}
	}
	if err := f.room.putKnown(got, a.piece); err != nil {
		return err
	}
	f.kept[a.i] = true
	f.done += int64(len(a.piece))
	if f.came != nil {
		f.came(got)
	}
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
