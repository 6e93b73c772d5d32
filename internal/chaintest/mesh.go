package chaintest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/staddle/staddle/types"
)

// Errors of a Mesh.
var (
	ErrUnknown = errors.New("no such peer")
	ErrLost    = errors.New("connection lost")
	ErrTimeout = errors.New("peer took too long")
)

// Mesh is a network in memory.
type Mesh struct {
	mu    sync.Mutex
	ports map[types.Account]*Port
	cut   func(from, to types.Account, protocol string) int
	work  sync.WaitGroup
}

// NewMesh is a network without peers.
func NewMesh() *Mesh { return &Mesh{ports: map[types.Account]*Port{}} }

// Cut sets where streams break: f gives for a new one the bytes, both ways
// together, after which it does; negative: never. nil heals.
func (m *Mesh) Cut(f func(from, to types.Account, protocol string) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = f
}

// Wait returns when nobody serves a stream any more.
func (m *Mesh) Wait() { m.work.Wait() }

// Port is one peer of a Mesh.
type Port struct {
	m      *Mesh
	me     types.Account
	device types.Device
	serve  map[string]func(*Stream)
	answer map[string]answerer
}

type answerer struct {
	limit int
	f     func(ctx context.Context, from types.Account, request []byte) ([]byte, error)
}

// Join makes member i a peer; a second time, as after a restart, its handlers
// are gone.
func (m *Mesh) Join(i int) *Port {
	p := &Port{m: m, me: Account(i), device: Device(i), serve: map[string]func(*Stream){}, answer: map[string]answerer{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ports[p.me] = p
	return p
}

// Leave takes member i off the network.
func (m *Mesh) Leave(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ports, Account(i))
}

// Connected lists the other peers.
func (p *Port) Connected() (out []types.Account) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for a := range p.m.ports {
		if a != p.me {
			out = append(out, a)
		}
	}
	return out
}

// Request asks a peer and waits for its answer.
func (p *Port) Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error) {
	p.m.mu.Lock()
	var a answerer
	if q := p.m.ports[to]; q != nil {
		a = q.answer[protocol]
	}
	p.m.mu.Unlock()
	if a.f == nil {
		return nil, fmt.Errorf("%w: %s for %s", ErrUnknown, to.Short(), protocol)
	}
	if len(request) > a.limit {
		return nil, fmt.Errorf("request of %d bytes above %d", len(request), a.limit)
	}
	out, err := a.f(ctx, p.me, append([]byte(nil), request...))
	if len(out) > limit {
		return nil, fmt.Errorf("answer of %d bytes above %d", len(out), limit)
	}
	return out, err
}

// Answer serves a protocol of one frame there and one back.
func (p *Port) Answer(protocol string, limit int, f func(ctx context.Context, from types.Account, request []byte) ([]byte, error)) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.answer[protocol] = answerer{limit, f}
}

// Handle serves streams of a protocol, each in a goroutine of its own.
func (p *Port) Handle(protocol string, serve func(*Stream)) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.serve[protocol] = serve
}

// Open makes a stream to a peer.
func (p *Port) Open(_ context.Context, to types.Account, protocol string) (*Stream, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	q := p.m.ports[to]
	if q == nil || q.serve[protocol] == nil {
		return nil, fmt.Errorf("%w: %s for %s", ErrUnknown, to.Short(), protocol)
	}
	left := -1
	if p.m.cut != nil {
		left = p.m.cut(p.me, to, protocol)
	}
	l := &line{left: left}
	l.cond = sync.NewCond(&l.mu)
	here, there := &Stream{l: l, account: to, device: q.device}, &Stream{l: l, side: 1, account: p.me, device: p.device}
	serve := q.serve[protocol]
	p.m.work.Go(func() { serve(there) })
	return here, nil
}

// line is the two directions of a stream.
type line struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  [2][]byte // sent by side 0 and 1, not yet read
	shut [2]bool   // nothing more comes from that side
	err  error     // broken for both
	left int       // bytes until it breaks; negative: never
}

const lineBuffer = 1 << 20 // bytes on their way; a writer waits for more room

// Stream is one end of a stream between two peers.
type Stream struct {
	l       *line
	side    int
	account types.Account
	device  types.Device
	mu      sync.Mutex
	timer   *time.Timer
}

// Remote is the account and device at the other end.
func (s *Stream) Remote() (types.Account, types.Device) { return s.account, s.device }

// Deadline breaks the stream at a moment; zero: never.
func (s *Stream) Deadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if !t.IsZero() {
		s.timer = time.AfterFunc(time.Until(t), func() { s.l.fail(ErrTimeout) })
	}
	return nil
}

func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.cond.Broadcast()
}

// Write sends bytes.
func (s *Stream) Write(b []byte) (n int, err error) {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 {
		for l.err == nil && !l.shut[s.side] && len(l.buf[s.side]) >= lineBuffer {
			l.cond.Wait()
		}
		if l.err != nil || l.shut[s.side] {
			return n, errors.Join(l.err, ErrLost)
		}
		k := min(len(b), lineBuffer-len(l.buf[s.side]))
		if l.left >= 0 && k >= l.left {
			k, l.err = l.left, ErrLost
		}
		if l.left > 0 {
			l.left -= k
		}
		l.buf[s.side] = append(l.buf[s.side], b[:k]...)
		n, b = n+k, b[k:]
		l.cond.Broadcast()
	}
	return n, nil
}

// Read takes bytes that came; those before a break can still be read.
func (s *Stream) Read(b []byte) (int, error) {
	l, from := s.l, 1-s.side
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf[from]) == 0 && l.err == nil && !l.shut[from] {
		l.cond.Wait()
	}
	if len(l.buf[from]) > 0 {
		n := copy(b, l.buf[from])
		l.buf[from] = l.buf[from][n:]
		l.cond.Broadcast()
		return n, nil
	}
	if l.err != nil {
		return 0, l.err
	}
	return 0, io.EOF
}

// Send writes one frame.
func (s *Stream) Send(b []byte) error {
	_, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// Receive reads one frame of at most limit bytes.
func (s *Stream) Receive(limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(limit) {
		return nil, fmt.Errorf("frame of %d bytes above %d", n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// CloseWrite tells the peer that no more bytes come.
func (s *Stream) CloseWrite() error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.shut[s.side] = true
	s.l.cond.Broadcast()
	return nil
}

// Close ends this side after what was written.
func (s *Stream) Close() error {
	_ = s.Deadline(time.Time{})
	return s.CloseWrite()
}

// ResetError says that a stream was given up, and why.
type ResetError struct{ Number uint32 }

// Error names the number.
func (e *ResetError) Error() string { return fmt.Sprintf("stream reset, reason %d", e.Number) }

// Reason is the number.
func (e *ResetError) Reason() uint32 { return e.Number }

// Reset breaks the stream for both sides. What was sent before may be lost.
func (s *Stream) Reset(reason uint32) error {
	_ = s.Deadline(time.Time{})
	s.l.fail(&ResetError{reason})
	return nil
}
