package dht

import (
	"net/netip"
	"time"
)

// Limits bound what strangers can cost. A zero field takes its default.
type Limits struct {
	QueriesPerSecond int // queries answered to one IP; default 20
	QueryBurst       int // default 60
	PutsPerSecond    int // put and announce_peer of one IP; default 4
	PutBurst         int // default 32
	AnswersPerSecond int // queries answered in all; default 2,000, burst twice that
	SendPerSecond    int // packets of ours to one IP; default 2 (public network) or 40
	SendBurst        int // default 20 (public network) or 120
	Items            int // items stored; default 16,384
	ItemBytes        int // bytes of all items with their bookkeeping; default 16 MiB
	SourcePercent    int // of Items and ItemBytes that one /24 may hold; default 5
	Swarms           int // info hashes with announced peers; default 1,024
	Sources          int // addresses remembered for these limits; default 8,192
}

// Other nodes stop answering whoever sends more than 50 packets in 10 seconds:
// 20 at once and 2 a second stay below.
func (l Limits) withDefaults(public bool) Limits {
	send, burst := 40, 120
	if public {
		send, burst = 2, 20
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.QueriesPerSecond, 20},
		{&l.QueryBurst, 60},
		{&l.PutsPerSecond, 4},
		{&l.PutBurst, 32},
		{&l.AnswersPerSecond, 2000},
		{&l.SendPerSecond, send},
		{&l.SendBurst, burst},
		{&l.Items, 16384},
		{&l.ItemBytes, 16 << 20},
		{&l.SourcePercent, 5},
		{&l.Swarms, 1024},
		{&l.Sources, 8192},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}

// subnetFactor is how much more a whole /24 may ask than one IP.
const subnetFactor = 5

// pace is a rate with a burst: one event each interval, up to burst at once.
type pace struct {
	interval time.Duration
	burst    int
}

func perSecond(n, burst int) pace { return pace{time.Second / time.Duration(n), burst} }

func (p pace) times(n int) pace { return pace{p.interval / time.Duration(n), p.burst * n} }

// gate counts events against a pace (the generic cell rate algorithm): the
// moment at which all that passed so far is paid for.
type gate struct{ paid time.Time }

// pass reports whether one more event is within p, and counts it if so.
func (g *gate) pass(now time.Time, p pace) bool {
	next := g.paid
	if next.Before(now) {
		next = now
	}
	next = next.Add(p.interval)
	if next.Sub(now) > p.interval*time.Duration(p.burst) {
		return false
	}
	g.paid = next
	return true
}

// gates keep one gate for each of at most max sources. When all places are
// taken, paid gates make room at most once a second; failing that a new source
// has to wait.
type gates[K comparable] struct {
	pace   pace
	max    int
	byKey  map[K]*gate
	purged time.Time
}

func newGates[K comparable](p pace, most int) *gates[K] {
	return &gates[K]{pace: p, max: most, byKey: make(map[K]*gate)}
}

func (g *gates[K]) pass(now time.Time, key K) bool {
	e := g.byKey[key]
	if e == nil {
		if len(g.byKey) >= g.max {
			g.purge(now)
		}
		if len(g.byKey) >= g.max {
			return false
		}
		e = new(gate)
		g.byKey[key] = e
	}
	return e.pass(now, g.pace)
}

func (g *gates[K]) purge(now time.Time) {
	if now.Sub(g.purged) < time.Second {
		return
	}
	g.purged = now
	for k, e := range g.byKey {
		if !e.paid.After(now) {
			delete(g.byKey, k)
		}
	}
}

// host is whom a limit counts: the IP, but on loopback every port by itself,
// because there many nodes of one machine share an address.
type host netip.AddrPort

func hostOf(a netip.AddrPort) host {
	if a.Addr().IsLoopback() {
		return host(a)
	}
	return host(netip.AddrPortFrom(a.Addr(), 0))
}

// Items are sent to an address that has not shown to be the sender's at most 3
// times in 10 seconds: a get of 88 bytes is answered with up to 1,427.
var unprovenItems = pace{10 * time.Second / 3, 3}

const (
	provenLife = 10 * time.Minute
	provenMax  = 4096
)

// turnstile holds all limits on packets.
type turnstile struct {
	total   gate
	overall pace
	queries *gates[host]
	subnets *gates[netip.Prefix]
	puts    *gates[host]
	items   *gates[host]
	sends   *gates[host]
	probes  *gates[host]
	proven  map[host]time.Time
	purged  time.Time // of proven
}

func newTurnstile(l Limits) *turnstile {
	queries := perSecond(l.QueriesPerSecond, l.QueryBurst)
	return &turnstile{
		overall: perSecond(l.AnswersPerSecond, 2*l.AnswersPerSecond),
		queries: newGates[host](queries, l.Sources),
		subnets: newGates[netip.Prefix](queries.times(subnetFactor), l.Sources),
		puts:    newGates[host](perSecond(l.PutsPerSecond, l.PutBurst), l.Sources),
		items:   newGates[host](unprovenItems, l.Sources),
		sends:   newGates[host](perSecond(l.SendPerSecond, l.SendBurst), l.Sources),
		probes:  newGates[host](pace{time.Minute, 2}, l.Sources),
		proven:  make(map[host]time.Time),
	}
}

// query reports whether a query from this source is looked at.
func (t *turnstile) query(now time.Time, from netip.AddrPort) bool {
	return t.queries.pass(now, hostOf(from)) &&
		t.subnets.pass(now, subnet(from.Addr())) &&
		t.total.pass(now, t.overall)
}

// put reports whether this source may store one more thing.
func (t *turnstile) put(now time.Time, from netip.AddrPort) bool {
	return t.puts.pass(now, hostOf(from))
}

// send reports whether one more packet of ours may go to this node.
func (t *turnstile) send(now time.Time, to netip.AddrPort) bool { return t.sends.pass(now, hostOf(to)) }

// probe reports whether an unknown asker may be pinged: twice, then once a
// minute.
func (t *turnstile) probe(now time.Time, to netip.AddrPort) bool {
	return t.probes.pass(now, hostOf(to))
}

// item reports whether a large answer may go to this address.
func (t *turnstile) item(now time.Time, to netip.AddrPort) bool {
	if until, ok := t.proven[hostOf(to)]; ok && now.Before(until) {
		return true
	}
	return t.items.pass(now, hostOf(to))
}

// prove notes that the sender receives what is sent to this address: it
// returned a token or the number of a query of ours.
func (t *turnstile) prove(now time.Time, from netip.AddrPort) {
	h := hostOf(from)
	if _, known := t.proven[h]; !known && len(t.proven) >= provenMax {
		t.forget(now)
		if len(t.proven) >= provenMax {
			return
		}
	}
	t.proven[h] = now.Add(provenLife)
}

// forget drops what expired, at most once a second.
func (t *turnstile) forget(now time.Time) {
	if now.Sub(t.purged) < time.Second {
		return
	}
	t.purged = now
	for k, until := range t.proven {
		if !now.Before(until) {
			delete(t.proven, k)
		}
	}
}
