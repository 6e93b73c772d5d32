package transport

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Stream is a two-way flow of bytes to a proven account and device. One
// goroutine may read while another writes. Close or Reset it.
//
// Without a Deadline each Read, Write, Send and Receive has Limits.Idle. A call
// that ran out of time has reset the stream.
type Stream struct {
	raw     network.Stream
	host    *Host
	link    *link
	device  types.Device
	account types.Account
	roles   keys.Roles
	known   bool        // account was proven on this connection before the stream
	timed   atomic.Bool // a Deadline is set

	meeting   sync.Once
	meetError error
}

func (h *Host) stream(raw network.Stream, l *link) *Stream {
	return &Stream{raw: raw, host: h, link: l, device: l.device}
}

// Remote is the proven account and device at the other end.
func (s *Stream) Remote() (types.Account, types.Device) { return s.account, s.device }

// Roles are the flags of the peer's certificate.
func (s *Stream) Roles() keys.Roles { return s.roles }

// Deadline is the moment at which reads and writes, those under way included,
// give up. The zero time brings back Limits.Idle for each call.
func (s *Stream) Deadline(t time.Time) error {
	s.timed.Store(!t.IsZero())
	return fault(s.raw.SetDeadline(t))
}

// Send writes one frame of at most MaxFrame bytes.
func (s *Stream) Send(b []byte) error {
	s.armWrite(s.host.config.Limits.Idle)
	return s.fail("send frame", writeFrame(tallied{s}, b))
}

// Receive reads one frame. A frame above limit is refused on its length and
// resets the stream. io.EOF means that the peer sends no more frames,
// io.ErrUnexpectedEOF that it stopped inside one. Other errors wrap
// *ResetError, ErrTooLong, ErrTimeout, ErrProtocol, ErrLost or a fault of the
// peer's certificate.
func (s *Stream) Receive(limit int) ([]byte, error) {
	if err := s.meet(); err != nil {
		return nil, err
	}
	s.armRead(s.host.config.Limits.Idle)
	b, err := readFrame(tallied{s}, limit)
	return b, s.fail("receive frame", err)
}

// Read reads plain bytes, for bulk.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.meet(); err != nil {
		return 0, err
	}
	s.armRead(s.host.config.Limits.Idle)
	n, err := tallied{s}.Read(p)
	return n, s.fail("read", err)
}

// Write writes plain bytes, for bulk.
func (s *Stream) Write(p []byte) (int, error) {
	s.armWrite(s.host.config.Limits.Idle)
	n, err := tallied{s}.Write(p)
	return n, s.fail("write", err)
}

// CloseWrite tells the peer that no more bytes come; reading goes on. An error
// may only mean that the peer has stopped reading; reading shows the rest.
func (s *Stream) CloseWrite() error { return fault(s.raw.CloseWrite()) }

// Close ends the stream after what was written; it does not wait for the peer
// to read it.
func (s *Stream) Close() error { return fault(s.raw.Close()) }

// Reset gives the stream up in both directions and tells the peer why. Numbers
// above ReasonLast arrive as ReasonNone.
func (s *Stream) Reset(reason uint32) error { return fault(s.raw.ResetWithError(codeOf(reason))) }

func (s *Stream) armRead(d time.Duration) {
	if !s.timed.Load() {
		_ = s.raw.SetReadDeadline(time.Now().Add(d))
	}
}

func (s *Stream) armWrite(d time.Duration) {
	if !s.timed.Load() {
		_ = s.raw.SetWriteDeadline(time.Now().Add(d))
	}
}

// fail names what was being done, and resets a stream that cannot go on.
func (s *Stream) fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	if ended(err) {
		return err // bare, as readers expect
	}
	err = fmt.Errorf("%s %.8s: %w", doing, s.device, translated(err))
	if errors.Is(err, ErrTimeout) || errors.Is(err, ErrTooLong) {
		_ = s.Reset(reasonFor(err))
	}
	return err
}

// translated leaves our own errors as they are.
func translated(err error) error {
	for _, own := range []error{
		ErrTooLong, ErrCertificate, ErrWrongDevice, ErrWrongAccount,
		ErrBanned, keys.ErrExpired, keys.ErrSignature,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fault(err)
}

// tallied counts the bytes of a stream.
type tallied struct{ s *Stream }

// Read counts what came.
func (t tallied) Read(p []byte) (int, error) {
	n, err := t.s.raw.Read(p)
	t.s.link.count(&t.s.host.total, func(t *tally) { t.received.Add(uint64(n)) })
	return n, err
}

// Write counts what went.
func (t tallied) Write(p []byte) (int, error) {
	n, err := t.s.raw.Write(p)
	t.s.link.count(&t.s.host.total, func(t *tally) { t.sent.Add(uint64(n)) })
	return n, err
}
