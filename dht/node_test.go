package dht

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/dht/bencode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t testing.TB, host string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func start(t testing.TB, host string, cfg Config) *Node {
	t.Helper()
	n, err := New(listen(t, host), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// cluster starts n nodes, each on a loopback address of its own.
func cluster(t *testing.T, n int, cfg Config) []*Node {
	t.Helper()
	nodes := []*Node{start(t, "127.10.0.1", cfg)}
	cfg.Bootstrap = []netip.AddrPort{nodes[0].Addr()}
	for i := 1; i < n; i++ {
		nodes = append(nodes, start(t, fmt.Sprintf("127.10.%d.1", i), cfg))
	}
	for _, node := range nodes[1:] {
		if _, err := node.Bootstrap(within(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func TestLoopbackNetwork(t *testing.T) {
	cfg := Config{Network: NetworkTag([]byte("loopback"))}
	nodes := cluster(t, 32, cfg)
	ctx := within(t, 60*time.Second)
	content := []byte("an immutable item")
	put, err := nodes[5].Put(ctx, content)
	if err != nil || put.Stored != 8 {
		t.Fatalf("put %+v, %v", put, err)
	}
	pub, sign := testKey(1)
	for seq := range int64(3) {
		p := MutablePut{Sign: sign, Key: pub, Salt: EndpointSalt(), Seq: seq, Content: fmt.Append(nil, "version ", seq)}
		if r, err := nodes[6].PutMutable(ctx, p); err != nil || r.Stored != 8 {
			t.Fatalf("put seq %d: %+v, %v", seq, r, err)
		}
	}
	stale := MutablePut{Sign: sign, Key: pub, Salt: EndpointSalt(), Seq: 1, Content: []byte("late")}
	var refused *Error
	if r, err := nodes[9].PutMutable(ctx, stale); !errors.As(err, &refused) || refused.Code != CodeSeq {
		t.Errorf("stale put: %+v, %v", r, err)
	}
	for i := range 4 { // every fourth of the nodes dies, keepers or not
		_ = nodes[10+5*i].Close()
	}
	for _, i := range []int{0, 7, 31} {
		it, err := nodes[i].Get(ctx, put.Target)
		if got, _ := it.Content(); err != nil || string(got) != string(content) {
			t.Errorf("node %d reads %q, %v", i, got, err)
		}
		it, err = nodes[i].GetMutable(ctx, pub, EndpointSalt(), 2)
		if got, _ := it.Content(); err != nil || string(got) != "version 2" {
			t.Errorf("node %d reads %q, %v", i, got, err)
		}
	}
	if _, err := nodes[8].Get(ctx, ID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v, want %v", err, ErrNotFound)
	}
	if s := nodes[0].Stats(); s.Nodes < 8 || s.Malformed != 0 || s.Forged != 0 || len(nodes[0].Nodes()) != s.Nodes {
		t.Errorf("stats of the bootstrap node: %+v", s)
	}
}

// All nodes of a demo share 127.0.0.1 and differ by port.
func TestOneAddressManyPorts(t *testing.T) {
	cfg := Config{Network: NetworkTag([]byte("ports"))}
	first := start(t, "127.0.0.1", cfg)
	cfg.Bootstrap = []netip.AddrPort{first.Addr()}
	nodes := []*Node{first}
	for range 9 {
		nodes = append(nodes, start(t, "127.0.0.1", cfg))
	}
	ctx := within(t, 30*time.Second)
	for _, n := range nodes[1:] {
		if _, err := n.Bootstrap(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		pub, sign := testKey(byte(i))
		if r, err := n.PutMutable(ctx, MutablePut{Sign: sign, Key: pub, Content: []byte("x")}); err != nil || r.Stored < 7 {
			t.Fatalf("node %d: %+v, %v", i, r, err)
		}
	}
	for i, n := range nodes {
		pub, _ := testKey(byte((i + 5) % 10))
		if _, err := n.GetMutable(ctx, pub, nil, 0); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

func TestLimitsOfCalls(t *testing.T) {
	n := start(t, "127.0.0.1", Config{})
	ctx := within(t, 10*time.Second)
	pub, sign := testKey(1)
	if _, err := n.Put(ctx, make([]byte, MaxContentSize+1)); !errors.Is(err, ErrSize) {
		t.Errorf("997 bytes: %v", err)
	}
	if _, err := n.PutMutable(ctx, MutablePut{Sign: sign, Key: pub, Salt: make([]byte, 65)}); !errors.Is(err, ErrSize) {
		t.Errorf("salt of 65: %v", err)
	}
	if _, err := n.GetMutable(ctx, pub, make([]byte, 65), 0); !errors.Is(err, ErrSize) {
		t.Errorf("salt of 65: %v", err)
	}
	other, _ := testKey(2)
	var refused *Error
	if _, err := n.PutMutable(ctx, MutablePut{Sign: sign, Key: other}); !errors.As(err, &refused) || refused.Code != CodeBadSignature {
		t.Errorf("signer of another key: %v", err)
	}
	if _, err := n.PutMutable(ctx, MutablePut{Sign: sign, Key: pub, Seq: -1}); !errors.As(err, &refused) || refused.Code != CodeProtocol {
		t.Errorf("negative seq: %v", err)
	}
	if _, err := n.Bootstrap(ctx); !errors.Is(err, ErrAlone) {
		t.Errorf("bootstrap from nowhere: %v", err)
	}
}

// Nobody answers at this address, so operations last until they are cancelled
// or the node closes.
func silent(t *testing.T) netip.AddrPort {
	conn := listen(t, "127.0.0.9")
	t.Cleanup(func() { _ = conn.Close() })
	return addrPort(conn.LocalAddr())
}

func TestCancelAndClose(t *testing.T) {
	n := start(t, "127.0.0.1", Config{Bootstrap: []netip.AddrPort{silent(t)}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := n.Get(ctx, ID{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := n.Put(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled meanwhile: %v", err)
	}
	var all sync.WaitGroup
	ended := make(chan error, 40) // more than run at once
	for range 40 {
		all.Go(func() {
			_, err := n.Get(context.Background(), ID{1})
			ended <- err
		})
	}
	_ = n.Close()
	_ = n.Close()
	all.Wait()
	close(ended)
	for err := range ended {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want %v", err, ErrClosed)
		}
	}
	if n.Nodes() != nil || n.Stats() != (Stats{}) {
		t.Error("a closed node tells something")
	}
}

// A stranger who floods from one address gets as many answers as his limit
// allows, and others are still served.
func TestFlood(t *testing.T) {
	n := start(t, "127.0.0.1", Config{Limits: Limits{QueriesPerSecond: 1, QueryBurst: 10}})
	flooder := listen(t, "127.0.0.2")
	defer flooder.Close()
	to := net.UDPAddrFromAddrPort(n.Addr())
	id := ID{7}
	ping := frame{}.query([]byte("aa"), methodPing, bencode.Fields{"id": bencode.OfBytes(id[:])})
	for i := range 3000 {
		packet := ping
		if i%3 == 1 {
			packet = []byte("d1:ad2:id20:endless")
		} else if i%3 == 2 {
			packet = make([]byte, 4000)
		}
		if _, err := flooder.WriteTo(packet, to); err != nil {
			t.Fatal(err)
		}
	}
	awaitAnswer(t, to)
	polite := start(t, "127.0.0.3", Config{Bootstrap: []netip.AddrPort{n.Addr()}})
	if _, err := polite.Bootstrap(within(t, 20*time.Second)); err != nil {
		t.Fatalf("a polite node is not served: %v", err)
	}
	s := n.Stats()
	if s.Answered > 40 || s.Malformed > 40 || s.Limited < 50 || s.Overrun == 0 {
		t.Errorf("after a flood: %+v", s)
	}
}

// awaitAnswer asks until a node has worked off what came before.
func awaitAnswer(t *testing.T, to net.Addr) {
	t.Helper()
	conn := listen(t, "127.0.0.4")
	defer conn.Close()
	id := ID{8}
	ping := frame{readOnly: true}.query([]byte("aa"), methodPing, bencode.Fields{"id": bencode.OfBytes(id[:])})
	for range 8 { // of a burst of 10
		_, _ = conn.WriteTo(ping, to)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := conn.ReadFrom(make([]byte, MaxPacket)); err == nil {
			return
		}
	}
	t.Fatal("the node answers nobody any more")
}

// faulty fails each read, as a socket does after a network change.
type faulty struct{ net.PacketConn }

func (faulty) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, errors.New("network is down") }

func TestFaultySocket(t *testing.T) {
	n, err := New(faulty{listen(t, "127.0.0.1")}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Get(within(t, 10*time.Second), ID{1}); !errors.Is(err, ErrAlone) {
		t.Errorf("get: %v, want %v", err, ErrAlone)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
