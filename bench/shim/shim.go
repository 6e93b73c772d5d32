// Package shim puts a line of limited rate and long delay between two programs
// on one machine: a TCP proxy. The programs see an ordinary connection; what
// they must cope with is the window that rate and delay ask for.
package shim

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Line is what lies between a listener and the program behind it. All
// connections through one listener share its rate, each way on its own.
type Line struct {
	Rate  int64         // bytes a second each way; 0 sets no limit
	Delay time.Duration // one way; a round trip takes twice as long
}

// chunk is the most bytes that travel together: a few segments' worth, so that a
// slow line does not come in jumps.
const chunk = 16 << 10

// Proxy passes connections on. Close it.
type Proxy struct {
	line Line
	from net.Listener
	to   string
	up   *Bucket
	down *Bucket

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	work   sync.WaitGroup
}

// New serves a listener: each connection goes on to the TCP address to.
func New(from net.Listener, to string, line Line) *Proxy {
	p := &Proxy{line: line, from: from, to: to, up: NewBucket(line.Rate), down: NewBucket(line.Rate), conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	return p
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	err := p.from.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close() // it is to break
	}
	p.mu.Unlock()
	p.work.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.from.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(c) })
	}
}

// keep remembers a connection for Close; false when that is past.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.conns[c] = true
	}
	return !p.closed
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close() // both ways have ended
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(near net.Conn) {
	defer p.drop(near)
	if !p.keep(near) {
		return
	}
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer p.drop(far)
	if !p.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(far, near, p.up) })
	both.Go(func() { p.carry(near, far, p.down) })
	both.Wait()
}

// parcel is bytes under way.
type parcel struct {
	due   time.Time
	bytes []byte
}

// parcels is how many may be under way: what bounds a line is bytes, and a parcel
// may be as small as what one write of a program brings.
const parcels = 1 << 16

// hold bounds the bytes that are under way.
type hold struct {
	mu    sync.Mutex
	freed sync.Cond
	used  int64
	most  int64
}

func newHold(most int64) *hold {
	h := &hold{most: most}
	h.freed.L = &h.mu
	return h
}

// take waits until there is room, or nothing is under way.
func (h *hold) take(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.used > 0 && h.used+int64(n) > h.most {
		h.freed.Wait()
	}
	h.used += int64(n)
}

func (h *hold) give(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used -= int64(n)
	h.freed.Signal()
}

// carry brings what comes from one side to the other. What is under way is
// bounded by twice what the line holds, and by 4 MiB where it sets no rate.
func (p *Proxy) carry(to, from net.Conn, b *Bucket) {
	room := newHold(max(2*p.line.Rate*int64(p.line.Delay)/int64(time.Second), 4<<20))
	way := make(chan parcel, parcels)
	var gone sync.WaitGroup
	gone.Go(func() { deliver(to, way, room) })
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			now := time.Now()
			time.Sleep(b.Take(n, now))
			room.take(n)
			way <- parcel{time.Now().Add(p.line.Delay), append([]byte(nil), buf[:n]...)}
		}
		if err != nil {
			way <- parcel{due: time.Now().Add(p.line.Delay)} // the end travels, too
			close(way)
			gone.Wait()
			finish(to, err)
			return
		}
	}
}

// deliver writes parcels when they are due. After a write that failed the rest
// is lost, as behind a cut.
func deliver(to net.Conn, way <-chan parcel, room *hold) {
	broken := false
	for p := range way {
		time.Sleep(time.Until(p.due))
		if !broken {
			_, err := to.Write(p.bytes)
			broken = err != nil
		}
		room.give(len(p.bytes))
	}
}

// finish passes the end on: of one direction when it ended well, else of all.
func finish(to net.Conn, err error) {
	if half, ok := to.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
		_ = half.CloseWrite() // a side that is gone needs no word
		return
	}
	_ = to.Close()
}

// Bucket lets bytes through at a rate, with a burst of four chunks.
type Bucket struct {
	rate int64
	mu   sync.Mutex
	next time.Time // when what was taken so far is through
}

const burst = 4 * chunk

// NewBucket is a full bucket; a rate of 0 bytes a second sets no limit.
func NewBucket(rate int64) *Bucket { return &Bucket{rate: rate} }

// Take takes n bytes and says how long to wait before they may go.
func (b *Bucket) Take(n int, now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if full := now.Add(-b.time(burst)); b.next.Before(full) {
		b.next = full
	}
	b.next = b.next.Add(b.time(int64(n)))
	return max(b.next.Sub(now), 0)
}

func (b *Bucket) time(n int64) time.Duration { return time.Duration(n * int64(time.Second) / b.rate) }
