package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/types"
)

func TestBulk(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		const size = 8 << 20
		sums := make(chan [32]byte, 1)
		b.Handle(echo, func(s *Stream) {
			sum := sha256.New()
			if n, err := io.Copy(sum, s); n != size || err != nil {
				t.Errorf("received %d bytes, want %d, error %v", n, size, err)
			}
			sums <- [32]byte(sum.Sum(nil))
		})
		join(t, a, b)
		s, err := a.Open(soon(t), b.Account(), echo)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		source := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
		if _, err := io.Copy(s, io.TeeReader(source, sum)); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if next(t, sums) != [32]byte(sum.Sum(nil)) {
			t.Fatal("other bytes came than went")
		}
		if sent := a.Stats().Sent; sent != size+frames(a, 2) {
			t.Errorf("counted %d bytes, want %d", sent, size+frames(a, 2))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestResetReasons: a number given on one side arrives on the other.
func TestResetReasons(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		join(t, a, b)
		for given, want := range map[uint32]uint32{
			ReasonNone: ReasonNone, ReasonFirst: ReasonFirst, 77: 77, ReasonLast: ReasonLast,
			ReasonLast + 1: ReasonNone, 1<<32 - 1: ReasonNone,
		} {
			heard := seen(b, echo, func(s *Stream) error {
				if err := s.Send([]byte{9}); err != nil {
					return err
				}
				if _, err := s.Receive(1); err != nil {
					return err
				}
				if err := s.Reset(given); err != nil {
					t.Error(err)
				}
				return nil
			})
			s, err := a.Open(soon(t), b.Account(), echo)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Receive(1); err != nil {
				t.Fatal(err)
			}
			if err := s.Send([]byte{1}); err != nil {
				t.Fatal(err)
			}
			_, err = s.Receive(1)
			var reset *ResetError
			if !errors.As(err, &reset) || *reset != (ResetError{want, true}) || reset.Reason() != want {
				t.Errorf("reason %d arrives as %v", given, err)
			}
			_ = next(t, heard)

			if s, err = a.Open(soon(t), b.Account(), echo); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Receive(1); err != nil { // the handler is there
				t.Fatal(err)
			}
			if err := s.Reset(given); err != nil {
				t.Fatal(err)
			}
			if err := next(t, heard); !errors.Is(err, &ResetError{want, true}) {
				t.Errorf("reason %d reaches the handler as %v", given, err)
			}
		}
	})
}

// TestFramesTooLong: refused on the length, on both sides, with the reason.
func TestFramesTooLong(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		heard := seen(b, echo, func(s *Stream) error {
			_, err := s.Receive(100)
			return err
		})
		join(t, a, b)
		s, err := a.Open(soon(t), b.Account(), echo)
		if err != nil {
			t.Fatal(err)
		}
		// Only the length: that it is refused shows that nobody waits for bytes.
		if _, err := s.Write(binary.BigEndian.AppendUint32(nil, 101)); err != nil {
			t.Fatal(err)
		}
		if err := next(t, heard); !errors.Is(err, ErrTooLong) {
			t.Errorf("error %v, want %v", err, ErrTooLong)
		}
		if _, err := s.Receive(1); !errors.Is(err, &ResetError{ReasonTooLong, true}) {
			t.Errorf("the sender is told %v, want reason %d", err, ReasonTooLong)
		}
		if err := s.Send(make([]byte, MaxFrame+1)); !errors.Is(err, ErrTooLong) {
			t.Errorf("sending: error %v, want %v", err, ErrTooLong)
		}
	})
}

// TestEndlessFrame: a frame that drips never ends, but the receiver does.
func TestEndlessFrame(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		short := func(c *Config) { c.Limits.Idle = 400 * time.Millisecond }
		a, b := open(t, 1, listen), open(t, 2, listen, short)
		heard := seen(b, echo, func(s *Stream) error {
			_, err := s.Receive(MaxFrame)
			return err
		})
		join(t, a, b)
		s, err := a.Open(soon(t), b.Account(), echo)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Write(binary.BigEndian.AppendUint32(nil, MaxFrame))
		for begin := time.Now(); err == nil && time.Since(begin) < 20*time.Second; {
			_, err = s.Write([]byte{0})
			<-time.After(5 * time.Millisecond) // drip
		}
		if !errors.Is(err, &ResetError{ReasonTimeout, true}) {
			t.Errorf("the dripping peer is told %v, want reason %d", err, ReasonTimeout)
		}
		if err := next(t, heard); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want %v", err, ErrTimeout)
		}
	})
}

// TestSlowPeer: who does not read blocks a sender until its deadline, and who
// does not write a receiver.
func TestSlowPeer(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		done := make(chan struct{})
		defer close(done)
		b.Handle(echo, func(*Stream) { <-done })
		join(t, a, b)
		tests := map[string]func(s *Stream) error{
			"send": func(s *Stream) (err error) {
				for range 64 << 20 / MaxFrame {
					if err = s.Send(make([]byte, MaxFrame)); err != nil {
						break
					}
				}
				return err
			},
			"receive": func(s *Stream) error { _, err := s.Receive(1); return err },
			"read":    func(s *Stream) error { _, err := s.Read(make([]byte, 1)); return err },
		}
		for name, do := range tests {
			s, err := a.Open(soon(t), b.Account(), echo)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Deadline(time.Now().Add(150 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if err := do(s); !errors.Is(err, ErrTimeout) {
				t.Errorf("%s: error %v, want %v", name, err, ErrTimeout)
			}
		}
	})
}

// TestCutFrame: the end of a stream inside a frame is not its end between two.
func TestCutFrame(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		heard := seen(b, echo, func(s *Stream) error {
			_, err := s.Receive(100)
			return err
		})
		join(t, a, b)
		for _, tt := range []struct {
			sent []byte
			want error
		}{
			{nil, io.EOF},
			{[]byte{0, 0}, io.ErrUnexpectedEOF},
			{[]byte{0, 0, 0, 3}, io.ErrUnexpectedEOF},
			{[]byte{0, 0, 0, 3, 1, 2}, io.ErrUnexpectedEOF},
		} {
			s, err := a.Open(soon(t), b.Account(), echo)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(tt.sent); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := next(t, heard); !errors.Is(err, tt.want) {
				t.Errorf("after %v: error %v, want %v", tt.sent, err, tt.want)
			}
		}
	})
}

// TestStreamLimits: what is above a limit is refused at once, and told so.
func TestStreamLimits(t *testing.T) {
	limits := map[string]func(*Config){
		"of a peer":     func(c *Config) { c.Limits.StreamsPerPeer = 2 },
		"of a protocol": func(c *Config) { c.Limits.StreamsPerProtocol = 2 },
	}
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"], limit)
			inside := make(chan struct{}, 8)
			done := make(chan struct{})
			b.Handle(echo, func(*Stream) { inside <- struct{}{}; <-done })
			join(t, a, b)
			for range 2 {
				if _, err := a.Open(soon(t), b.Account(), echo); err != nil {
					t.Fatal(err)
				}
				next(t, inside)
			}
			s, err := a.Open(soon(t), b.Account(), echo)
			if err == nil {
				_, err = s.Receive(1)
			}
			if !errors.Is(err, &ResetError{ReasonBusy, true}) {
				t.Errorf("the third stream ends with %v, want reason %d", err, ReasonBusy)
			}
			if refused := b.Stats().Refused; refused != 1 {
				t.Errorf("refused %d, want 1", refused)
			}
			close(done)
		})
	}
}

type numbered struct{ number uint32 }

func (n numbered) Error() string  { return fmt.Sprintf("refusal %d", n.number) }
func (n numbered) Reason() uint32 { return n.number }

func TestRequest(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		b.Answer(echo, 4, func(ctx context.Context, _ types.Account, request []byte) ([]byte, error) {
			switch string(request) {
			case "no":
				return nil, numbered{99}
			case "oops":
				return nil, io.ErrNoProgress
			case "wait":
				<-ctx.Done()
			}
			return bytes.Repeat(request, 2), nil
		})
		join(t, a, b)
		tests := []struct {
			request string
			answer  string
			want    error
		}{
			{"ab", "abab", nil},
			{"", "", nil},
			{"no", "", &ResetError{99, true}},
			{"oops", "", &ResetError{ReasonFailed, true}},
			{"abcd", "", ErrTooLong},                        // the answer is
			{"abcde", "", &ResetError{ReasonTooLong, true}}, // the request is
		}
		for _, tt := range tests {
			have, err := a.Request(soon(t), b.Account(), echo, []byte(tt.request), 6)
			if !errors.Is(err, tt.want) || string(have) != tt.answer {
				t.Errorf("%q: have %q, error %v; want %q, error %v", tt.request, have, err, tt.answer, tt.want)
			}
		}
		ctx, cancel := context.WithCancel(soon(t))
		go func() { <-time.After(100 * time.Millisecond); cancel() }()
		if _, err := a.Request(ctx, b.Account(), echo, []byte("wait"), 6); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := a.Request(ctx, b.Account(), echo, []byte("wait"), 6)
		if !errors.Is(err, ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want a time-out", err)
		}
	})
}

// TestManyRequests keeps many streams of several goroutines apart.
func TestManyRequests(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		b.Answer(echo, 8, func(_ context.Context, _ types.Account, request []byte) ([]byte, error) { return request, nil })
		join(t, a, b)
		errs := make(chan error, 8)
		for worker := range 8 {
			go func() {
				var err error
				for i := 0; i < 20 && err == nil; i++ {
					want := types.Be64(uint64(worker*1000 + i))
					var have []byte
					have, err = a.Request(context.Background(), b.Account(), echo, want, 8)
					if err == nil && !bytes.Equal(have, want) {
						err = fmt.Errorf("have %x, want %x", have, want)
					}
				}
				errs <- err
			}()
		}
		for range 8 {
			if err := next(t, errs); err != nil {
				t.Error(err)
			}
		}
	})
}

// proxy passes one TCP connection on to a host, until it is cut.
func proxy(t *testing.T, to *Host) (addr string, cut func()) {
	t.Helper()
	at, device, err := SplitAddress(to.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inside := make(chan net.Conn, 2)
	var work sync.WaitGroup
	work.Go(func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", "127.0.0.1:"+at[strings.LastIndex(at, "/")+1:])
		if err != nil {
			t.Error(err)
			return
		}
		inside <- near
		inside <- far
		work.Go(func() { _, _ = io.Copy(far, near) })
		_, _ = io.Copy(near, far)
	})
	addr, err = Address(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port), device)
	if err != nil {
		t.Fatal(err)
	}
	return addr, func() {
		_ = l.Close()
		for range 2 {
			_ = next(t, inside).Close()
		}
		work.Wait()
	}
}

// TestLostConnection: a peer that is killed between two frames has not ended
// its stream.
func TestLostConnection(t *testing.T) {
	a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"])
	inside := make(chan error, 1)
	heard := seen(b, echo, func(s *Stream) error {
		_, err := s.Receive(1)
		inside <- err
		_, err = s.Receive(1)
		return err
	})
	addr, cut := proxy(t, b)
	if _, err := a.Dial(soon(t), addr); err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(soon(t), b.Account(), echo)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := next(t, inside); err != nil {
		t.Fatal(err)
	}
	cut()
	_, err = s.Receive(1)
	for side, err := range map[string]error{"opener": err, "server": next(t, heard)} {
		if !errors.Is(err, ErrLost) || errors.Is(err, io.EOF) {
			t.Errorf("%s: error %v, want %v", side, err, ErrLost)
		}
	}
}
