package transport

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// One process-wide cleaner of a cache that libp2p's identify shares.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/v2/writer.(*MirrorWriter).logRoutine"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}

const echo = "/staddle/test-echo/1"

var networks = map[string]string{
	"tcp":  "/ip4/127.0.0.1/tcp/0",
	"quic": "/ip4/127.0.0.1/udp/0/quic-v1",
}

// everywhere runs a test over TCP with Noise and over QUIC.
func everywhere(t *testing.T, test func(t *testing.T, listen string)) {
	for name, listen := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, listen)
		})
	}
}

// start is the time of every test, in Unix milliseconds.
const start types.Millis = 1_700_000_000_000

type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(int64(start))
	return c
}

func (c *clock) read() types.Millis { return types.Millis(c.now.Load()) }

// person n has an account and a device, and a certificate for an hour.
func person(n byte) Config {
	device := keys.DeviceFromSeed([32]byte{n, 1})
	return Config{
		Device: device,
		Certificate: keys.Issue(signer(n), keys.Certificate{
			Device: device.ID(), Serial: 1, Roles: keys.Roles(n), Expiry: start + 3_600_000,
		}),
		Now: newClock().read,
	}
}

func signer(n byte) keys.Signer { return keys.SignerFromSeed([32]byte{n, 2}) }

// open starts person n's host on loopback, with everything else off.
func open(t *testing.T, n byte, listen string, changes ...func(*Config)) *Host {
	t.Helper()
	c := person(n)
	c.Listen = []string{listen}
	for _, change := range changes {
		change(&c)
	}
	h, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join connects a to b and waits until both know each other.
func join(t *testing.T, a, b *Host) {
	t.Helper()
	if _, err := a.Dial(soon(t), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if len(b.list(a.Account())) != 1 {
		t.Fatal("the dialled host does not know the account that dialled")
	}
}

func (h *Host) list(account types.Account) []*link {
	return h.peers.list(h.config.Now(), func(c keys.Certificate) bool { return c.Account == account })
}

// serveEcho answers each frame with itself until the peer ends.
func serveEcho(h *Host) {
	h.Handle(echo, func(s *Stream) {
		for {
			b, err := s.Receive(1 << 20)
			if err != nil || s.Send(b) != nil {
				return
			}
		}
	})
}

// seen gives the error that a handler of h meets on its next stream.
func seen(h *Host, protocol string, do func(*Stream) error) <-chan error {
	errs := make(chan error, 16)
	h.Handle(protocol, func(s *Stream) { errs <- do(s) })
	return errs
}

func next[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happened in 20 s")
	}
	return v
}

// TestTwoHosts walks the plain way: dial, prove, speak, count, part.
func TestTwoHosts(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		met := make(chan Peer, 4)
		b.OnPeer(func(p Peer) { met <- p })
		remote := make(chan [2]string, 1)
		b.Handle(echo, func(s *Stream) {
			account, device := s.Remote()
			remote <- [2]string{account.String(), device.String()}
			if _, err := io.Copy(s, s); err != nil {
				t.Error(err)
			}
		})
		join(t, a, b)
		if p := next(t, met); p.Account != a.Account() || p.Device != a.Device() || p.Roles != 1 || p.Since != start || len(p.Addrs) != 1 {
			t.Errorf("b met %+v", p)
		}
		s, err := a.Open(soon(t), b.Account(), echo)
		if err != nil {
			t.Fatal(err)
		}
		account, device := s.Remote()
		if account != b.Account() || device != b.Device() || s.Roles() != 2 {
			t.Errorf("a speaks to %s %s with roles %d", account, device, s.Roles())
		}
		for _, want := range []string{"first", "", "second"} {
			if err := s.Send([]byte(want)); err != nil {
				t.Fatal(err)
			}
			if have, err := s.Receive(6); err != nil || string(have) != want {
				t.Fatalf("have %q, want %q, error %v", have, want, err)
			}
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(6); !errors.Is(err, io.EOF) {
			t.Fatalf("error %v, want %v", err, io.EOF)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if have, want := next(t, remote), [2]string{a.Account().String(), a.Device().String()}; have != want {
			t.Errorf("b speaks to %v, want %v", have, want)
		}
		stats := a.Peers()[0].Stats
		// Two streams, each with a certificate; 3 frames of 5, 0, 6 bytes.
		want := Stats{Sent: frames(a, 2) + 23, Received: frames(b, 2) + 23, Opened: 2}
		if stats != want || a.Stats() != want {
			t.Errorf("stats %+v and %+v, want %+v", stats, a.Stats(), want)
		}
	})
}

// frames is the length of n certificates of h as frames.
func frames(h *Host, n uint64) uint64 { return n * uint64(frameHead+len(h.own.Load().raw)) }

// TestThreeHosts finds hosts by the address book, and speaks with several.
func TestThreeHosts(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		all := []*Host{open(t, 1, listen), open(t, 2, listen), open(t, 3, listen)}
		for i, h := range all {
			name := []byte{'a' + byte(i)}
			h.Answer(echo, 100, func(_ context.Context, from types.Account, request []byte) ([]byte, error) {
				return append(append(name, from[:2]...), request...), nil
			})
			for _, other := range all {
				if err := h.Add(other.Account(), other.Device(), other.Addrs()...); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, from := range all {
			for j, to := range all {
				if i == j {
					continue
				}
				account := from.Account()
				want := string(append([]byte{'a' + byte(j)}, account[:2]...)) + "hello"
				have, err := from.Request(soon(t), to.Account(), echo, []byte("hello"), 100)
				if err != nil || string(have) != want {
					t.Errorf("%d to %d: have %q, want %q, error %v", i, j, have, want, err)
				}
			}
			if n := len(from.Peers()); n != 2 {
				t.Errorf("host %d has %d peers, want 2", i, n)
			}
		}
		all[0].Disconnect(all[1].Account())
		if peers := all[0].Peers(); len(peers) != 1 || peers[0].Account != all[2].Account() {
			t.Errorf("after Disconnect peers are %+v", peers)
		}
		if _, err := all[0].Connect(soon(t), all[1].Account()); err != nil {
			t.Error(err)
		}
	})
}

// TestRestart reaches a device again that went away and came back elsewhere.
func TestRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a, b := open(t, 1, listen), open(t, 2, listen)
		join(t, a, b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for len(a.Peers()) > 0 && ctx.Err() == nil {
			runtime.Gosched() // the news of the end is on its way
		}
		if _, err := a.Connect(ctx, b.Account()); err == nil {
			t.Fatal("reached a closed host")
		}
		again := open(t, 2, listen)
		if err := a.Add(again.Account(), again.Device(), again.Addrs()...); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Connect(soon(t), again.Account()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRestartRetiresTheOldConnection: a device that was killed comes back
// before anybody noticed; what it left behind must not be used.
func TestRestartRetiresTheOldConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, listen string) {
		a := open(t, 1, listen, func(c *Config) { c.Limits.Meet = 40 * time.Millisecond })
		killed, restarted := open(t, 2, listen), open(t, 2, listen)
		gone := rawPeer{t, killed}.connect(a)
		join(t, killed, a)
		<-time.After(90 * time.Millisecond) // age is what the rule is about
		join(t, restarted, a)
		next(t, gone)
		serveEcho(restarted)
		if _, err := a.Request(soon(t), restarted.Account(), echo, nil, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOnPeerCallsOncePerConnection(t *testing.T) {
	a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"])
	serveEcho(b)
	early := make(chan Peer, 16)
	a.OnPeer(func(p Peer) { early <- p })
	join(t, a, b)
	for range 3 {
		if _, err := a.Request(soon(t), b.Account(), echo, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	late := make(chan Peer, 16)
	a.OnPeer(func(p Peer) { late <- p })
	if p, q := next(t, early), next(t, late); p.Account != b.Account() || q.Account != b.Account() {
		t.Fatalf("met %s and %s", p.Account, q.Account)
	}
	if err := a.Close(); err != nil { // waits for all calls
		t.Fatal(err)
	}
	if len(early)+len(late) > 0 {
		t.Fatalf("%d calls too many", len(early)+len(late))
	}
}

func TestClosedHost(t *testing.T) {
	a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"])
	join(t, a, b)
	held := make(chan error, 1)
	b.Handle(echo, func(s *Stream) {
		held <- nil
		_, err := s.Receive(1)
		held <- err
	})
	if _, err := a.Open(soon(t), b.Account(), echo); err != nil {
		t.Fatal(err)
	}
	_ = next(t, held)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-held:
		if err == nil {
			t.Error("the handler saw no error")
		}
	default:
		t.Error("Close did not wait for the handler")
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := b.OpenDevice(soon(t), a.Device(), echo); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
}

func TestUnknownOnes(t *testing.T) {
	a, b := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"])
	ctx := soon(t)
	_, noAccount := a.Connect(ctx, b.Account())
	_, noStream := a.Open(ctx, b.Account(), echo)
	_, noDevice := a.OpenDevice(ctx, b.Device(), echo)
	for _, err := range []error{noAccount, noStream, noDevice} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("error %v, want %v", err, ErrUnknown)
		}
	}
	if _, err := a.Dial(ctx, a.Addrs()[0]); !errors.Is(err, ErrAddress) {
		t.Errorf("dialling itself: error %v, want %v", err, ErrAddress)
	}
	join(t, a, b)
	s, err := a.Open(ctx, b.Account(), "/staddle/nonsense/1")
	if err == nil {
		_, err = s.Receive(1)
	}
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("error %v, want %v", err, ErrProtocol)
	}
}
