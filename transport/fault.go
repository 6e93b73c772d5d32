package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/staddle/staddle/keys"
)

// Errors of this package, wrapped with what was being done. Certificates also
// give keys.ErrExpired and keys.ErrSignature.
var (
	ErrWrongDevice  = errors.New("certificate of another device")
	ErrWrongAccount = errors.New("certificate of another account")
	ErrCertificate  = errors.New("malformed certificate")
	ErrBanned       = errors.New("account is banned")
	ErrUnknown      = errors.New("no known address")
	ErrProtocol     = errors.New("peer does not speak the protocol")
	ErrTooLong      = errors.New("frame too long")
	ErrTimeout      = errors.New("peer took too long")
	ErrLost         = errors.New("connection lost")
	ErrClosed       = errors.New("host is closed")
	ErrAddress      = errors.New("bad address")
)

// Reasons of a reset that this package gives itself. They cross the wire, so
// numbers are never reused. Protocols take theirs from ReasonFirst on.
const (
	ReasonNone        uint32 = 0 // not said
	ReasonCertificate uint32 = 1 // malformed, wrong device, account or signature
	ReasonExpired     uint32 = 2 // certificate expired
	ReasonBanned      uint32 = 3
	ReasonBusy        uint32 = 4 // a limit is full; try later
	ReasonTooLong     uint32 = 5 // frame above the limit of its protocol
	ReasonTimeout     uint32 = 6
	ReasonCancelled   uint32 = 7 // nobody waits for the answer any more
	ReasonFailed      uint32 = 8 // the other side could not answer

	ReasonFirst uint32 = 64
	ReasonLast  uint32 = 0xffff
)

// codeBase lifts reasons above the codes that libp2p and its transports use.
const codeBase = 0x10000

// ResetError says that a stream was given up, by whom, and for which reason.
type ResetError struct {
	Number uint32 // reason; ReasonNone when the other side gave none
	Remote bool   // the peer did it
}

// Error names the side and the number.
func (e *ResetError) Error() string {
	side := "this side"
	if e.Remote {
		side = "the peer"
	}
	return fmt.Sprintf("stream reset by %s, reason %d", side, e.Number)
}

// Reason is the number. Who must not import this package asks an error for
// interface{ Reason() uint32 }.
func (e *ResetError) Reason() uint32 { return e.Number }

// Is compares by value.
func (e *ResetError) Is(target error) bool {
	other, ok := target.(*ResetError)
	return ok && *other == *e
}

func codeOf(reason uint32) network.StreamErrorCode {
	if reason > ReasonLast {
		reason = ReasonNone
	}
	return network.StreamErrorCode(codeBase + reason)
}

func reasonOf(code network.StreamErrorCode) uint32 {
	switch {
	case code >= codeBase && uint32(code)-codeBase <= ReasonLast:
		return uint32(code) - codeBase
	case code == network.StreamResourceLimitExceeded, code == network.StreamRateLimited:
		return ReasonBusy
	}
	return ReasonNone
}

// reasonFor is what the peer is told about an error of ours.
func reasonFor(err error) uint32 {
	var own interface{ Reason() uint32 }
	switch {
	case errors.Is(err, keys.ErrExpired):
		return ReasonExpired
	case errors.Is(err, ErrBanned):
		return ReasonBanned
	case errors.Is(err, ErrTooLong):
		return ReasonTooLong
	case errors.Is(err, ErrTimeout):
		return ReasonTimeout
	case errors.Is(err, keys.ErrSignature), errors.Is(err, ErrWrongDevice),
		errors.Is(err, ErrWrongAccount), errors.Is(err, ErrCertificate):
		return ReasonCertificate
	case errors.As(err, &own):
		return own.Reason()
	}
	return ReasonFailed
}

// fault translates what libp2p reports into the errors of this package.
func fault(err error) error {
	var reset *network.StreamError
	var foreign multistream.ErrNotSupported[protocol.ID]
	var timeout net.Error
	switch {
	case err == nil, ended(err), errors.Is(err, context.Canceled):
		return err
	case err == io.ErrUnexpectedEOF: //nolint:errorlint // as in ended
		return err
	case errors.As(err, &reset):
		return &ResetError{Number: reasonOf(reset.ErrorCode), Remote: reset.Remote}
	case errors.As(err, &foreign):
		return fmt.Errorf("%w: %s", ErrProtocol, err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %s", ErrTimeout, err.Error())
	}
	return fmt.Errorf("%w: %s", ErrLost, err.Error())
}

// ended is the proper end of a stream: io.EOF itself. A connection that breaks
// may wrap the io.EOF of its socket; that is no end but a loss, which is also
// why ErrLost does not wrap what libp2p said.
func ended(err error) bool {
	return err == io.EOF //nolint:errorlint // the difference is the point
}
