package swarm

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// cargo is many full pieces, made once.
var cargo = sync.OnceValues(func() (*shelf, []types.Hash) {
	s := &shelf{pieces: map[types.Hash][]byte{}}
	var want []types.Hash
	chance := rand.NewChaCha8([32]byte{8})
	for range 1024 {
		p := make([]byte, types.PieceSize)
		_, _ = chance.Read(p)
		h := types.Hash(sha256.Sum256(p))
		s.pieces[h], want = p, append(want, h)
	}
	return s, want
})

// slow is a Stream with a round trip and a rate: what is received was sent half
// a round trip ago, and so was what is sent.
type slow struct {
	Stream
	link *link
	in   chan held
	end  error
	over chan struct{}
}

type held struct {
	frame []byte
	err   error
	at    time.Time // when it may be had
}

// link is the way from one peer: half a round trip each way, and the bytes of one
// second that fit through it.
type link struct {
	half time.Duration
	rate int64 // bytes a second; 0: no bound

	mu   sync.Mutex
	free time.Time // when the next byte may leave
}

// pass is when n bytes that come now have come through.
func (l *link) pass(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	if l.rate > 0 {
		l.free = l.free.Add(time.Duration(int64(n) * int64(time.Second) / l.rate))
	}
	return l.free.Add(2 * l.half) // both directions, seen from here
}

// over makes a stream slow. The queue holds what fits on the link.
func (l *link) over(s Stream) Stream {
	w := &slow{Stream: s, link: l, in: make(chan held, 4096), over: make(chan struct{})}
	go func() {
		defer close(w.in)
		for {
			b, err := s.Receive(maxAnswer)
			select {
			case w.in <- held{b, err, l.pass(len(b))}:
			case <-w.over:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return w
}

func (w *slow) Receive(int) ([]byte, error) {
	if w.end != nil {
		return nil, w.end
	}
	h := <-w.in
	time.Sleep(time.Until(h.at))
	w.end = h.err
	return h.frame, h.err
}

func (w *slow) Close() error {
	close(w.over)
	return w.Stream.Close()
}

func (w *slow) Reset(reason uint32) error {
	return w.Stream.Reset(reason)
}

// bench fetches all pieces from so many peers over a link each, and gives MB/s.
func bench(b testing.TB, listen string, peers byte, n int, way func() *link, rate uint64) float64 {
	shelf, want := cargo()
	want = want[:n]
	reader := openHost(b, 1, listen)
	for p := byte(2); p < 2+peers; p++ {
		h := openHost(b, p, listen)
		server, err := NewServer(ServerConfig{Chain: chain, Account: account(p), Device: device(p), Pieces: shelf, Facts: friends(), Ledger: newBook(), BytesPerSecond: rate})
		if err != nil {
			b.Fatal(err)
		}
		h.Handle(Protocol, func(st *transport.Stream) { _ = server.Serve(context.Background(), st) })
		if err := reader.Add(account(p), device(p), h.Addrs()...); err != nil {
			b.Fatal(err)
		}
	}
	ways := map[types.Account]*link{}
	for p := byte(2); p < 2+peers; p++ {
		ways[account(p)] = way()
	}
	s := New(Config{Chain: chain, Signer: signer(1), Facts: friends(), Ledger: newBook(), Dial: func(ctx context.Context, to types.Account) (Stream, error) {
		st, err := reader.Open(ctx, to, Protocol)
		if err != nil {
			return nil, err
		}
		if l := ways[to]; l != nil {
			time.Sleep(2 * l.half)
			return l.over(st), nil
		}
		return st, nil
	}})
	var who []byte
	for p := byte(2); p < 2+peers; p++ {
		who = append(who, p)
	}
	bytes := 0
	began := time.Now()
	if err := s.Fetch(context.Background(), want, peersOf(who...), func(_ int, p []byte) error { bytes += len(p); return nil }); err != nil {
		b.Fatal(err)
	}
	return float64(bytes) / 1e6 / time.Since(began).Seconds()
}

func free() *link { return nil }

const tcp, quic = "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"

func BenchmarkFetch(b *testing.B) {
	for _, tt := range []struct {
		name, listen string
		peers        byte
		n            int
		way          func() *link
		rate         uint64 // bytes a second that each server sends; 0: no bound
	}{
		{"tcp", tcp, 1, 1024, free, 0},
		{"quic", quic, 1, 1024, free, 0},
		{"tcp4", tcp, 4, 1024, free, 0},
		{"limit50", tcp, 1, 512, func() *link { return &link{rate: 50e6} }, 0},
		{"limit50rtt80", tcp, 1, 512, func() *link { return &link{rate: 50e6, half: 40 * time.Millisecond} }, 0},
		{"limit5x4", tcp, 4, 512, free, 5e6},
		{"limit5x1", tcp, 1, 128, free, 5e6},
	} {
		b.Run(tt.name, func(b *testing.B) {
			sum := 0.0
			for range b.N {
				sum += bench(b, tt.listen, tt.peers, tt.n, tt.way, tt.rate)
			}
			b.ReportMetric(sum/float64(b.N), "MB/s")
		})
	}
}
