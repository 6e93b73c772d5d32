package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Collected is what Collect gave back.
type Collected struct {
	Owners   int   // let go of, because nobody knew them
	Segments int   // files deleted
	Bytes    int64 // the files are shorter by this
}

// Keep says for Collect who still counts on things here. A nil function keeps
// all owners of its kind.
type Keep struct {
	Pieces func(owner string) (bool, error) // a dataset, a job, a chain
	Lots   func(lot types.LotID) (bool, error)
}

// Collect lets go of the owners that keep does not know and gives back the room
// of mostly dead segments. Owners with an open reservation stay. It is for a
// daemon to call at intervals; reads and writes go on meanwhile. When ctx ends
// it stops behind the segment in work and gives the cause; what it did stays
// done, also after a crash at any moment. A Reservation that is never committed
// or released keeps its owner for as long as the process lives.
func (s *Store) Collect(ctx context.Context, keep Keep) (Collected, error) {
	if err := s.gate.enter(); err != nil {
		return Collected{}, err
	}
	defer s.gate.leave()
	r := s.records()
	var out Collected
	before := r.extent()
	for _, kind := range []struct {
		kind byte
		keep func(name string) (bool, error)
	}{
		{kindPiece, keep.Pieces},
		{kindReplica, keep.lot},
	} {
		n, err := r.letGo(ctx, kind.kind, kind.keep)
		out.Owners += n
		if err != nil {
			return out, fmt.Errorf("collect owners of %ss: %w", kindName(kind.kind), err)
		}
	}
	err := r.clean.run(ctx, mostlyDead)
	if err == nil {
		err = r.clean.mergeSmall(ctx)
	}
	after := r.extent()
	out.Segments, out.Bytes = after.deleted-before.deleted, max(before.disk-after.disk, 0)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return out, fmt.Errorf("collect: %w", err)
	}
	return out, nil
}

func (k Keep) lot(name string) (bool, error) {
	if k.Lots == nil || len(name) != types.HashSize {
		return true, nil
	}
	return k.Lots(types.LotID([]byte(name)))
}

type extent struct {
	disk    int64
	deleted int
}

func (r *records) extent() extent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return extent{r.disk, r.deleted}
}

// letGo releases the owners of a kind that keep refuses.
func (r *records) letGo(ctx context.Context, kind byte, keep func(name string) (bool, error)) (n int, err error) {
	if keep == nil {
		return 0, nil
	}
	err = r.owners(kind, func(o owner) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if known, err := keep(o.name); err != nil || known || r.reserving(o) {
			return err
		}
		n++
		return r.releaseOwner(o)
	})
	return n, err
}

func (r *records) reserving(o owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grants[o] > 0
}

// owners calls fn with every owner that has a durable record of a kind.
func (r *records) owners(kind byte, fn func(owner) error) error {
	prefix := []byte{prefixOwned, kind}
	for from := prefix; from != nil; {
		var name string
		err := scan(r.index.db, prefix, from, func(k, _ []byte) error {
			if len(k) < 3 || len(k) < 3+int(k[2]) {
				return &CorruptError{What: "index", Reason: fmt.Sprintf("owner's key of %d bytes", len(k))}
			}
			name = string(k[3 : 3+int(k[2])])
			return errEnough
		})
		if !errors.Is(err, errEnough) {
			return err
		}
		o := owner{kind, name}
		if err := fn(o); err != nil {
			return err
		}
		from = after(o.prefix())
	}
	return nil
}

// Owners calls fn with the name of every owner of a durable piece: the shorter
// names first, those of one length sorted. An error of fn ends the walk and is
// given back.
func (p *Pieces) Owners(fn func(owner string) error) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	return p.s.records().owners(kindPiece, func(o owner) error { return fn(o.name) })
}
