package dht

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/staddle/staddle/types"
)

// Config says who a node is. The zero Config is a node of the public network
// with a random id and no way in.
type Config struct {
	ID        ID               // zero: random
	Network   Tag              // zero: the public network; else see NetworkTag
	Bootstrap []netip.AddrPort // where to come in, at most 64 are used; nodes saved from Nodes fit here
	ReadOnly  bool             // others shall not list us (BEP 43): set it behind a NAT
	Limits    Limits           // zero fields: defaults
}

// Stats counts since the start, except where "now" is said.
type Stats struct {
	Nodes, Spares    int // now, in the routing table
	Items, ItemBytes int // now, in the store; bytes with bookkeeping
	Swarms           int // now
	Pending          int // now, queries of ours without answer

	Received, Sent uint64 // packets
	Answered       uint64 // queries
	Refused        uint64 // queries answered by an error
	Stored         uint64 // puts accepted
	Malformed      uint64 // packets
	Foreign        uint64 // packets of other networks
	Limited        uint64 // packets not read, their source exceeded its limits
	Held           uint64 // packets not sent, their receiver got too many
	Unexpected     uint64 // answers to no query of ours, or from elsewhere
	Timeouts       uint64 // queries of ours
	Forged         uint64 // items with a wrong hash or signature in answers
	Overrun        uint64 // packets lost because the engine was behind, or too long
}

const (
	readQueue = 256 // packets between socket and engine; more are dropped
	maxGets   = 16  // under way at once; further callers wait
	maxPuts   = 8
)

// Node is one member of the DHT on one socket. All methods may be called at
// once.
type Node struct {
	conn    net.PacketConn
	id      ID
	packets chan datagram
	calls   chan func(now time.Time, c *core)
	gets    chan struct{}
	puts    chan struct{}
	quit    chan struct{}
	close   sync.Once
	running sync.WaitGroup
	overrun atomic.Uint64
}

// New starts a node on conn, which it owns from then on and closes in the end,
// also if New fails. conn must carry IPv4 ("udp4"). The node looks for its network at
// once; Bootstrap waits for that.
func New(conn net.PacketConn, cfg Config) (*Node, error) {
	c, err := newCore(time.Now(), cfg, rand.Reader)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start dht: %w", err), conn.Close())
	}
	n := &Node{
		conn:    conn,
		id:      c.id,
		packets: make(chan datagram, readQueue),
		calls:   make(chan func(time.Time, *core)),
		gets:    make(chan struct{}, maxGets),
		puts:    make(chan struct{}, maxPuts),
		quit:    make(chan struct{}),
	}
	n.running.Add(2)
	go n.read()
	go n.run(c)
	return n, nil
}

// Close ends the node and its socket, and waits for its goroutines. Calls under
// way return ErrClosed.
func (n *Node) Close() error {
	var err error
	n.close.Do(func() {
		close(n.quit)
		err = n.conn.Close()
		n.running.Wait()
	})
	return err
}

// ID is the node's own id.
func (n *Node) ID() ID { return n.id }

// Addr is where the socket listens.
func (n *Node) Addr() netip.AddrPort { return addrPort(n.conn.LocalAddr()) }

// read copies packets out of the socket. A full queue drops them, as the
// network would.
func (n *Node) read() {
	defer n.running.Done()
	buf := make([]byte, MaxPacket+1)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !n.rest() {
				return
			}
			continue
		}
		if size > MaxPacket {
			n.overrun.Add(1)
			continue
		}
		select {
		case n.packets <- datagram{addrPort(from), append([]byte(nil), buf[:size]...)}:
		default:
			n.overrun.Add(1)
		}
	}
}

// rest keeps a failing socket from spinning, and reports whether to go on.
func (n *Node) rest() bool {
	pause := time.NewTimer(20 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-n.quit:
		return false
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		p := u.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	p, _ := netip.ParseAddrPort(a.String()) // an invalid one is dropped by the engine
	return p
}

// run is the one goroutine that touches the engine, and owns its clock.
func (n *Node) run(c *core) {
	defer n.running.Done()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-n.quit:
			return
		case p := <-n.packets:
			c.receive(time.Now(), p.to, p.data)
		case call := <-n.calls:
			call(time.Now(), c)
		case <-alarm.C:
			c.wake(time.Now())
		}
		n.flush(c)
		if at, ok := c.due(); ok {
			alarm.Reset(time.Until(at))
		}
	}
}

// flush sends what the engine has to say. Losing a packet is normal here.
func (n *Node) flush(c *core) {
	for i, p := range c.out {
		_, _ = n.conn.WriteTo(p.data, net.UDPAddrFromAddrPort(p.to))
		c.out[i] = datagram{}
	}
	c.out = c.out[:0]
}

// call runs f in the engine's goroutine.
func (n *Node) call(ctx context.Context, f func(now time.Time, c *core)) error {
	select {
	case n.calls <- f:
		return nil
	case <-n.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopper is an operation under way in the engine.
type stopper interface{ stop() }

// outcome is what an operation delivers.
type outcome[T any] struct {
	value T
	err   error
}

// await starts an operation and waits for its end; a cancelled one is stopped.
func await[T any](ctx context.Context, n *Node, start func(now time.Time, c *core, deliver func(T, error)) stopper) (T, error) {
	var none T
	var op stopper // belongs to the engine's goroutine
	end := make(chan outcome[T], 1)
	begin := func(now time.Time, c *core) {
		op = start(now, c, func(v T, err error) { end <- outcome[T]{v, err} })
	}
	if err := n.call(ctx, begin); err != nil {
		return none, err
	}
	select {
	case r := <-end:
		return r.value, r.err
	case <-n.quit:
		return none, ErrClosed
	case <-ctx.Done():
		_ = n.call(context.WithoutCancel(ctx), func(time.Time, *core) { op.stop() })
		return none, ctx.Err()
	}
}

// enter waits for a place among the operations under way.
func (n *Node) enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-n.quit:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *Node) get(ctx context.Context, w want) (Item, error) {
	leave, err := n.enter(ctx, n.gets)
	if err != nil {
		return Item{}, fmt.Errorf("get %v: %w", w.target, err)
	}
	defer leave()
	it, err := await(ctx, n, func(now time.Time, c *core, deliver func(Item, error)) stopper {
		return c.get(now, w, deliver)
	})
	if err != nil {
		return Item{}, fmt.Errorf("get %v: %w", w.target, err)
	}
	return it, nil
}

// Get fetches the immutable item whose bencoded value has this SHA-1. The error
// is ErrNotFound, ErrAlone, ErrClosed or the context's, wrapped.
func (n *Node) Get(ctx context.Context, target ID) (Item, error) {
	return n.get(ctx, want{target: target})
}

// GetMutable fetches the newest item that key signed under salt, with a seq of
// at least minSeq. Errors are those of Get, and ErrSize for a salt above 64
// bytes.
func (n *Node) GetMutable(ctx context.Context, key types.Account, salt []byte, minSeq int64) (Item, error) {
	if len(salt) > MaxSaltSize {
		return Item{}, fmt.Errorf("salt of %d bytes, at most %d: %w", len(salt), MaxSaltSize, ErrSize)
	}
	w := want{target: MutableTarget(key, salt), mutable: true, key: key, minSeq: minSeq}
	w.salt = append(w.salt, salt...)
	return n.get(ctx, w)
}

func (n *Node) put(ctx context.Context, it Item, cas *int64) (PutResult, error) {
	leave, err := n.enter(ctx, n.puts)
	if err != nil {
		return PutResult{}, fmt.Errorf("put %v: %w", it.Target(), err)
	}
	defer leave()
	return await(ctx, n, func(now time.Time, c *core, deliver func(PutResult, error)) stopper {
		return c.put(now, it, cas, deliver)
	})
}

// Put stores content, at most 996 bytes, as an immutable item with the 8 nodes
// nearest to its target. It fails if no node stored it: with a *Error if they
// refused, with ErrAlone, ErrClosed or the context's error.
func (n *Node) Put(ctx context.Context, content []byte) (PutResult, error) {
	it, err := newImmutable(content)
	if err != nil {
		return PutResult{}, err
	}
	return n.put(ctx, it, nil)
}

// PutMutable signs and stores a mutable item. Errors are those of Put; a *Error
// with CodeSeq or CodeCAS says that more nodes have a newer item than stored
// this one. Usually it is then stored nowhere, but see PutResult.
func (n *Node) PutMutable(ctx context.Context, p MutablePut) (PutResult, error) {
	it, err := newMutable(p)
	if err != nil {
		return PutResult{}, err
	}
	return n.put(ctx, it, p.CAS)
}

// joining is a Bootstrap under way; its walk goes on if the caller gives up.
type joining struct{}

func (joining) stop() {}

// joinTries is how often Bootstrap knocks: a single packet may be lost.
const joinTries = 3

// Bootstrap looks for the nodes nearest to this one, from the bootstrap
// addresses and the table, and returns when it has found what there is: the
// number of nodes in the table. It gives up with ErrAlone after three walks of
// at most 3 seconds without any answer.
func (n *Node) Bootstrap(ctx context.Context) (int, error) {
	err := ErrAlone
	for range joinTries {
		var count int
		if count, err = await(ctx, n, join); err == nil {
			return count, nil
		}
		if !errors.Is(err, ErrAlone) {
			break
		}
	}
	return 0, fmt.Errorf("bootstrap: %w", err)
}

func join(now time.Time, c *core, deliver func(int, error)) stopper {
	c.join(now, func(time.Time) {
		live, _ := c.table.count()
		if live == 0 {
			deliver(0, ErrAlone)
			return
		}
		deliver(live, nil)
	})
	return joining{}
}

// Nodes lists the routing table, nearest first, to be saved and to be the
// Bootstrap of the next start. Nil after Close.
func (n *Node) Nodes() []Contact {
	return ask(n, func(now time.Time, c *core) []Contact {
		return c.table.nearest(now, c.id, bucketsInSpace*k, false)
	})
}

// Stats counts what happened. Zero after Close.
func (n *Node) Stats() Stats {
	return ask(n, func(_ time.Time, c *core) Stats {
		s := c.stats
		s.Nodes, s.Spares = c.table.count()
		s.Items, s.ItemBytes = c.store.held.items, c.store.held.bytes
		s.Swarms, s.Pending = len(c.peers.swarms), len(c.pending)
		s.Overrun = n.overrun.Load()
		return s
	})
}

// ask reads something from the engine.
func ask[T any](n *Node, read func(now time.Time, c *core) T) T {
	var none T
	answer := make(chan T, 1)
	if n.call(context.Background(), func(now time.Time, c *core) { answer <- read(now, c) }) != nil {
		return none
	}
	return <-answer
}
