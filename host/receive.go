package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/staddle/staddle/types"
)

// Stream is a flow of frames to a proven account and device. Without a Deadline
// in time, Send and Receive end with an error.
type Stream interface {
	Remote() (types.Account, types.Device)
	Send(frame []byte) error
	Receive(limit int) ([]byte, error)
	Deadline(t time.Time) error
	Reset(reason uint32) error
	Close() error
}

// maxStreams is how many replica streams are served at once; more are told to
// come later.
const maxStreams = 64

// serve is the host's side of one stream of an encoder.
func (h *Host) serve(s Stream) {
	if !h.enlist() {
		_ = s.Reset(ReasonLater)
		return
	}
	defer h.streams.Done()
	select {
	case h.served <- struct{}{}:
		defer func() { <-h.served }()
	default:
		_ = s.Reset(ReasonLater)
		return
	}
	if err := h.receive(s); err != nil {
		by, _ := s.Remote()
		h.cfg.Report("host: stream of encoder %s: %v", by.Short(), err)
		_ = s.Reset(reasonOf(err))
		return
	}
	_ = s.Close()
}

// reasonOf is the number that the peer is told.
func reasonOf(err error) uint32 {
	var f interface{ Reason() uint32 }
	if errors.As(err, &f) {
		return f.Reason()
	}
	return ReasonForm
}

func (h *Host) receive(s Stream) error {
	var b begin
	if err := h.read(s, maxBegin, &b); err != nil {
		return err
	}
	by, _ := s.Remote()
	in, err := h.admit(by, &b)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(in.ctx, func() { _ = s.Reset(ReasonOther) })
	defer stop()
	x := in.ranges[b.Range]
	leave, err := in.enter(x, s)
	if err != nil {
		return err
	}
	defer leave()
	if in.isWhole(b.Range) {
		return h.write(s, &standing{Record: x.code.Record})
	}
	if err := in.adopt(x, b.Modulus); err != nil {
		return err
	}
	if err := h.write(s, &standing{Held: x.bitmap(in.terms.ranges[b.Range].Count)}); err != nil {
		return err
	}
	return in.gather(x, s)
}

// admit finds the running attempt that a stream is for, and refuses everybody but
// its drawn encoder.
func (h *Host) admit(by types.Account, b *begin) (*intake, error) {
	h.mu.Lock()
	in := h.open[b.Attempt]
	h.mu.Unlock()
	switch {
	case in == nil || in.terms.lot != b.Lot:
		return nil, &fault{ReasonLater, fmt.Errorf("attempt %s of lot %s does not run here", b.Attempt.Short(), b.Lot.Short())}
	case int(b.Range) >= len(in.by) || in.by[b.Range] != by:
		return nil, &fault{ReasonNotYou, fmt.Errorf("account %s is not the encoder of range %d", by.Short(), b.Range)}
	}
	return in, nil
}

// gather takes pieces, in any order, until the record.
func (in *intake) gather(x *incoming, s Stream) error {
	for {
		var f frame
		if err := in.h.read(s, maxFrame, &f); err != nil {
			return err
		}
		if f.Piece != nil {
			if err := in.take(x, f.Piece); err != nil {
				return err
			}
			continue
		}
		if err := in.seal(x, f.Record); err != nil {
			return err
		}
		return in.h.write(s, &standing{Record: f.Record})
	}
}

// read takes one frame, in time.
func (h *Host) read(s Stream, limit int, v types.Decodable) error {
	if err := s.Deadline(time.Now().Add(h.cfg.Idle)); err != nil {
		return err
	}
	b, err := s.Receive(limit)
	if err != nil {
		return err
	}
	if err := types.Unmarshal(b, v); err != nil {
		return &fault{ReasonForm, err}
	}
	return nil
}

// write sends one frame, in time.
func (h *Host) write(s Stream, v types.Encodable) error {
	if err := s.Deadline(time.Now().Add(h.cfg.Idle)); err != nil {
		return err
	}
	return s.Send(types.Marshal(v))
}

// fetchRange is how a host fills a range without encoders: it gets the plain
// pieces itself.
func (h *Host) fetchRange(in *intake, r uint32) error {
	x := in.ranges[r]
	leave, err := in.enter(x, nil)
	if err != nil {
		return err
	}
	defer leave()
	if in.isWhole(r) {
		return nil
	}
	if len(x.code.Digests) == 0 {
		digests, err := h.digests(in.ctx, in.terms, r)
		if err != nil {
			return err
		}
		if err := in.restart(x, keptCode{Digests: digests}); err != nil {
			return err
		}
	}
	missing := x.slots.Encoded.Missing()
	err = h.fetch(in.ctx, in.terms, pick(x.code.Digests, missing), func(i int, piece []byte) error {
		n := uint32(missing[i])
		encoded, err := in.scheme.Encode(in.terms.tag(h.me, r, n), nil, piece)
		if err != nil {
			return err
		}
		return in.keep(x, n, encoded, piece)
	})
	if err != nil {
		return err
	}
	rec, err := in.roots(x)
	if err != nil {
		return err
	}
	return in.complete(x, &rec)
}

func pick(digests []types.Hash, at []int) []types.Hash {
	out := make([]types.Hash, len(at))
	for i, n := range at {
		out[i] = digests[n]
	}
	return out
}
