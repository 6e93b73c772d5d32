package library

import (
	"cmp"
	"errors"

	"github.com/staddle/staddle/types"
)

// roomStep is how many bytes a room grows by when an estimate was too small.
const roomStep = 64 << 20

// room is room for pieces of one owner that grows when it must. It belongs to
// one goroutine.
type room struct {
	reserve func(owner string, bytes int64) (Room, error)
	owner   string
	step    int64 // bytes that it grows by; 0: roomStep
	now     Room
	stored  int64 // bytes of pieces that were new
}

// openRoom sets estimate bytes aside. When they are not to be had it begins with
// nothing and grows in steps: pieces that are held already may make the estimate
// far too large. What does not fit then fails where it happens.
func openRoom(reserve func(string, int64) (Room, error), owner string, estimate int64) (*room, error) {
	r := &room{reserve: reserve, owner: owner}
	var err error
	if r.now, err = reserve(owner, estimate); err != nil {
		r.now, err = reserve(owner, 0)
	}
	return r, err
}

// put stores a piece.
func (r *room) put(piece []byte) (types.Hash, error) {
	digest, err := r.try(piece)
	if err == nil || r.now.Left() >= int64(len(piece)) {
		return digest, err
	}
	if err := r.grow(int64(len(piece))); err != nil {
		return digest, err
	}
	return r.try(piece)
}

func (r *room) try(piece []byte) (types.Hash, error) {
	before := r.now.Left()
	digest, err := r.now.PutLazy(piece)
	r.stored += before - r.now.Left()
	return digest, err
}

// grow takes the next step, or at least what the next piece needs.
func (r *room) grow(least int64) error {
	next, err := r.reserve(r.owner, cmp.Or(r.step, roomStep))
	if err != nil {
		next, err = r.reserve(r.owner, least)
	}
	if err != nil {
		return err
	}
	err = r.now.Commit()
	r.now = next
	return err
}

// close makes everything durable and gives the rest of the room back.
func (r *room) close() error {
	if r.now == nil {
		return errors.New("room was closed before")
	}
	err := r.now.Commit()
	r.now = nil
	return err
}
