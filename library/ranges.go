package library

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// rangeCheck holds the range list of a dataset against its pieces (G8, G10),
// which come in order. One block of the list is in memory at a time.
type rangeCheck struct {
	node    func(cid.Cid) ([]byte, error)
	next    cid.Cid
	list    []types.Range
	digests []types.Hash // of the range that is open
	pieces  uint32       // before that range
	count   uint32       // ranges so far
}

// add takes the next piece.
func (r *rangeCheck) add(digest types.Hash) error {
	if len(r.list) == 0 {
		if err := r.load(); err != nil {
			return err
		}
	}
	r.digests = append(r.digests, digest)
	open := r.list[0]
	if open.First != r.pieces+1 {
		return fmt.Errorf("range %d begins at piece %d, want %d", r.count, open.First, r.pieces+1)
	}
	if len(r.digests) < int(open.Count) {
		return nil
	}
	if err := archive.CheckRange(open, r.digests); err != nil {
		return err
	}
	r.list, r.digests = r.list[1:], r.digests[:0]
	r.pieces, r.count = r.pieces+open.Count, r.count+1
	return nil
}

func (r *rangeCheck) load() error {
	if !r.next.Defined() {
		return fmt.Errorf("the list ends after %d ranges and %d pieces", r.count, r.pieces)
	}
	b, err := r.node(r.next)
	if err != nil {
		return err
	}
	var l types.RangeList
	if err := types.Unmarshal(b, &l); err != nil {
		return fmt.Errorf("block %s: %w", r.next, err)
	}
	if len(l.Ranges) == 0 {
		return fmt.Errorf("block %s of the list is empty", r.next)
	}
	r.list, r.next = l.Ranges, l.Next
	return nil
}

// end says why the list does not end with the last piece.
func (r *rangeCheck) end(want uint32) error {
	switch {
	case len(r.digests) > 0 || len(r.list) > 0 || r.next.Defined():
		return fmt.Errorf("the list goes on after %d pieces", r.pieces)
	case r.count != want:
		return fmt.Errorf("%d ranges, want %d", r.count, want)
	}
	return nil
}
