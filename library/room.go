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

// putKnown stores a piece of which the digest was just computed.
func (r *room) putKnown(digest types.Hash, piece []byte) error {
	err := r.try(digest, piece)
	if err == nil || r.now.Left() >= int64(len(piece)) {
		return err
	}
	if err := r.grow(int64(len(piece))); err != nil {
		return err
	}
	return r.try(digest, piece)
}

func (r *room) try(digest types.Hash, piece []byte) error {
	before := r.now.Left()
	err := r.now.PutKnown(digest, piece)
	r.stored += before - r.now.Left()
	return err
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
