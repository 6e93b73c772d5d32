package dht

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/staddle/staddle/dht/bencode"
)

// core is the whole engine without clock, socket or goroutine: packets, calls
// and moments go in, packets come out in out, results go to the callbacks that
// a call brought. Whoever owns it calls one method at a time, hands in a time
// that never goes back, sends what is in out, and calls wake at due.
type core struct {
	id        ID
	frame     frame
	rand      io.Reader
	table     *table
	store     *store
	peers     *peerStore
	tokens    tokens
	turnstile *turnstile
	timers    timers
	trips     roundTrips
	pending   map[uint32]*transaction
	busy      map[netip.AddrPort]*debt // of addresses with pending queries
	given     map[netip.AddrPort]givenToken
	home      home
	out       []datagram
	stats     Stats
}

type datagram struct {
	to   netip.AddrPort
	data []byte
}

const (
	maxPending = 1024 // queries of ours without answer yet
	maxProbes  = 32   // of them, pings of nodes that asked us
	maxGiven   = 1024 // tokens of others that we remember
)

// debt is what an address owes us.
type debt struct {
	queries int // of ours without answer
	packets int // that may still come from there unpaid
}

// packetsPerQuery may come unpaid for each query of ours: its answer, late
// answers and some queries that would have been free to others.
const packetsPerQuery = 4

// givenToken is a token that another node gave us.
type givenToken struct {
	token []byte
	at    time.Time
}

func newCore(now time.Time, cfg Config, rand io.Reader) (*core, error) {
	limits := cfg.Limits.withDefaults(cfg.Network == Tag{})
	tokens, err := newTokens(now, rand)
	if err != nil {
		return nil, err
	}
	id := cfg.ID
	if id.IsZero() {
		if id, err = randomID(rand); err != nil {
			return nil, err
		}
	}
	c := &core{
		id:        id,
		frame:     frame{tag: cfg.Network, readOnly: cfg.ReadOnly},
		rand:      rand,
		table:     newTable(id),
		store:     newStore(id, limits),
		peers:     newPeerStore(limits),
		tokens:    tokens,
		turnstile: newTurnstile(limits),
		pending:   make(map[uint32]*transaction),
		busy:      make(map[netip.AddrPort]*debt),
		given:     make(map[netip.AddrPort]givenToken),
		home:      home{doors: slices.Clone(cfg.Bootstrap[:min(len(cfg.Bootstrap), maxDoors)])},
	}
	c.timers.set(now, c.maintain)
	return c, nil
}

// due is when wake wants to be called next.
func (c *core) due() (time.Time, bool) { return c.timers.due() }

// wake runs what is due at now.
func (c *core) wake(now time.Time) { c.timers.run(now) }

// send queues a packet, unless its receiver got too many of ours.
func (c *core) send(now time.Time, to netip.AddrPort, data []byte) bool {
	if !c.turnstile.send(now, to) {
		c.stats.Held++
		return false
	}
	c.out = append(c.out, datagram{to, data})
	c.stats.Sent++
	return true
}

// receive takes one packet; data is not kept.
func (c *core) receive(now time.Time, from netip.AddrPort, data []byte) {
	c.stats.Received++
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !reachable(from) {
		c.stats.Malformed++
		return
	}
	// Whoever owes us an answer may speak; all others pay before being read.
	awaited := c.awaits(from)
	if !awaited && !c.turnstile.query(now, from) {
		c.stats.Limited++
		return
	}
	m, err := decodeMessage(data)
	var bad *Error
	switch {
	case err != nil && !errors.As(err, &bad):
		c.stats.Malformed++
	case m.tag != c.frame.tag:
		c.stats.Foreign++
	case m.kind != kindQuery:
		c.conclude(now, from, m)
	case awaited && !c.turnstile.query(now, from):
		c.stats.Limited++
	case bad != nil:
		c.stats.Malformed++
		c.send(now, from, c.frame.refuse(m.transaction, bad))
	default:
		c.answer(now, from, m)
	}
}

// awaits reports whether a packet from this address may be an answer, and
// counts it.
func (c *core) awaits(from netip.AddrPort) bool {
	d := c.busy[from]
	if d == nil || d.packets == 0 {
		return false
	}
	d.packets--
	return true
}

// transaction is a query of ours that waits for its answer.
type transaction struct {
	number uint32
	to     Contact // a zero ID = whoever answers there
	sent   time.Time
	slow   func(now time.Time)                            // at most once, before done
	done   func(now time.Time, answer message, err error) // exactly once
}

var (
	errTimeout  = errors.New("no answer")
	errOtherID  = errors.New("another node answers at this address")
	errNoRandom = errors.New("no randomness")
)

// ask sends a query and reports whether it went out; if not, no callback comes.
func (c *core) ask(now time.Time, t *transaction, method string, args bencode.Fields) bool {
	if len(c.pending) >= maxPending || c.number(t) != nil {
		return false
	}
	args["id"] = bencode.OfBytes(c.id[:])
	if g, ok := c.given[t.to.Addr]; ok && method == "get" && now.Sub(g.at) < tokenLife {
		args["token"] = bencode.OfBytes(g.token) // shows that the address is ours
	}
	number := binary.BigEndian.AppendUint32(nil, t.number)
	if !c.send(now, t.to.Addr, c.frame.query(number, method, args)) {
		return false
	}
	t.sent = now
	c.pending[t.number] = t
	c.owe(t.to.Addr)
	if t.slow != nil {
		c.timers.set(now.Add(c.trips.soft()), func(now time.Time) {
			if c.pending[t.number] == t {
				t.slow(now)
			}
		})
	}
	c.timers.set(now.Add(hardTimeout), func(now time.Time) { c.expire(now, t) })
	return true
}

// number draws a transaction id that a stranger cannot guess.
func (c *core) number(t *transaction) error {
	var b [4]byte
	for range 8 {
		if _, err := io.ReadFull(c.rand, b[:]); err != nil {
			return err
		}
		t.number = binary.BigEndian.Uint32(b[:])
		if c.pending[t.number] == nil {
			return nil
		}
	}
	return errNoRandom
}

func (c *core) owe(a netip.AddrPort) {
	d := c.busy[a]
	if d == nil {
		d = new(debt)
		c.busy[a] = d
	}
	d.queries++
	d.packets += packetsPerQuery
}

func (c *core) settle(t *transaction) {
	delete(c.pending, t.number)
	d := c.busy[t.to.Addr]
	if d.queries--; d.queries == 0 {
		delete(c.busy, t.to.Addr)
	}
}

func (c *core) expire(now time.Time, t *transaction) {
	if c.pending[t.number] != t {
		return
	}
	c.settle(t)
	c.stats.Timeouts++
	c.lost(now, t.to)
	t.done(now, message{}, errTimeout)
}

// lost counts a failure of n; a node that leaves the table is remembered as a
// door to come back by.
func (c *core) lost(now time.Time, n Contact) {
	if !n.ID.IsZero() && c.table.failed(now, n) {
		c.home.remember(n.Addr)
	}
}

// conclude gives an answer to the query that it belongs to: its number must be
// known and its sender be the one asked.
func (c *core) conclude(now time.Time, from netip.AddrPort, m message) {
	if len(m.transaction) != 4 {
		c.stats.Unexpected++
		return
	}
	t := c.pending[binary.BigEndian.Uint32(m.transaction)]
	if t == nil || t.to.Addr != from {
		c.stats.Unexpected++
		return
	}
	c.settle(t)
	c.trips.add(now.Sub(t.sent))
	c.turnstile.prove(now, from)
	if m.kind == kindError {
		t.done(now, m, m.refused)
		return
	}
	if !t.to.ID.IsZero() && t.to.ID != m.id {
		c.table.remove(t.to)
		c.welcome(now, Contact{m.id, from}, m)
		t.done(now, m, errOtherID)
		return
	}
	c.welcome(now, Contact{m.id, from}, m)
	t.done(now, m, nil)
}

// welcome enters a node that has just answered.
func (c *core) welcome(now time.Time, n Contact, m message) {
	if token, ok := m.body.Get("token").Bytes(); ok && len(token) > 0 && len(token) <= maxForeignToken {
		c.keepToken(now, n.Addr, token)
	}
	if doubt, ok := c.table.answered(now, n); ok {
		c.ping(now, doubt)
	}
}

func (c *core) keepToken(now time.Time, from netip.AddrPort, token []byte) {
	if _, known := c.given[from]; !known && len(c.given) >= maxGiven {
		clear(c.given) // they are a convenience and come again
	}
	c.given[from] = givenToken{append([]byte(nil), token...), now}
}

// ping asks a node whether it is there, unless an answer from it is awaited
// anyway. Coming in and going out of the table is the effect.
func (c *core) ping(now time.Time, n Contact) {
	if c.busy[n.Addr] != nil {
		return
	}
	c.ask(now, &transaction{to: n, done: func(time.Time, message, error) {}}, "ping", bencode.Fields{})
}

// probe pings a node that asked us and could be worth knowing. Few at a time:
// the address may be forged.
func (c *core) probe(now time.Time, n Contact) {
	if c.busy[n.Addr] != nil || c.home.probes >= maxProbes || !c.turnstile.probe(now, n.Addr) {
		return
	}
	done := func(time.Time, message, error) { c.home.probes-- }
	if c.ask(now, &transaction{to: Contact{Addr: n.Addr}, done: done}, "ping", bencode.Fields{}) {
		c.home.probes++
	}
}
