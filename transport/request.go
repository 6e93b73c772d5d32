package transport

import (
	"context"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Request sends one frame to a device of the account and gives the one frame
// of its answer, of at most limit bytes. It ends with ctx. The errors are those
// of Open and Receive; a peer that could not answer gives a *ResetError.
func (h *Host) Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error) {
	s, err := h.Open(ctx, to, protocol)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ReasonCancelled) })
	answer, err := s.ask(ctx, request, limit)
	if !stop() {
		return nil, fmt.Errorf("request %s: %w", protocol, ctx.Err())
	}
	if err != nil {
		_ = s.Reset(reasonFor(err))
		return nil, fmt.Errorf("request %s: %w", protocol, err)
	}
	_ = s.Close() // the answer is whole
	return answer, nil
}

func (s *Stream) ask(ctx context.Context, request []byte, limit int) ([]byte, error) {
	if end, ok := ctx.Deadline(); ok {
		if err := s.Deadline(end); err != nil {
			return nil, err
		}
	}
	// A peer that has given up may refuse the bytes before it says why; the
	// reason stands on the reading side.
	if err := s.Send(request); err != nil && !isReset(err) {
		return nil, err
	}
	_ = s.CloseWrite()
	return s.Receive(limit)
}

// Answer serves a protocol of one frame there and one frame back. A request
// above limit bytes is refused. An error of f resets the stream, with its
// number when it has a method Reason() uint32, else with ReasonFailed. The
// context of f ends with the host.
func (h *Host) Answer(protocol string, limit int, f func(ctx context.Context, from types.Account, request []byte) ([]byte, error)) {
	h.Handle(protocol, func(s *Stream) {
		request, err := s.Receive(limit)
		if err != nil {
			_ = s.Reset(reasonFor(err))
			return
		}
		answer, err := f(h.ctx, s.account, request)
		if err == nil {
			err = s.Send(answer)
		}
		if err != nil {
			_ = s.Reset(reasonFor(err))
		}
	})
}
