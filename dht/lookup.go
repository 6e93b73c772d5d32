package dht

import (
	"net/netip"
	"slices"
	"time"

	"github.com/staddle/staddle/dht/bencode"
)

const (
	methodPing     = "ping"
	methodFindNode = "find_node"
	methodGetPeers = "get_peers"
	methodAnnounce = "announce_peer"
	methodGet      = "get"
	methodPut      = "put"

	alpha         = 4   // queries under way in one lookup
	maxCandidates = 128 // remembered in one lookup
)

type progress uint8

const (
	fresh progress = iota
	asked
	slow // asked, and later than others usually are
	answered
	failed
)

// candidate is a node that may be near the target.
type candidate struct {
	node  Contact // a zero ID = a door whose id is not known yet
	state progress
	token []byte
	taken bool // by takers
}

// lookup walks towards a target (BEP 5): it asks the nearest nodes it knows for
// nearer ones, four at a time, and ends when the eight nearest that answer have
// answered. It does not wait for nodes slower than most.
type lookup struct {
	c      *core
	target ID
	method string
	args   bencode.Fields                                        // beside id and target
	heard  func(now time.Time, from Contact, body bencode.Value) // each answer, may be nil
	end    func(now time.Time)                                   // once, unless stopped

	candidates []*candidate // nearest first; doors before all
	active     int          // asked and not slow
	waiting    int          // slow
	answers    int
	wider      int // this many more than the 8 nearest
	over       bool
}

// start begins from the nearest of the table, and from doors while the table
// has few.
func (l *lookup) start(now time.Time, doors []netip.AddrPort) {
	near := l.c.table.nearest(now, l.target, 2*k, false)
	for _, n := range near {
		l.add(n)
	}
	if len(near) < k/2 {
		doors = append(slices.Clone(doors), l.c.home.doors...)
	}
	for _, a := range doors {
		l.add(Contact{Addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
	}
	l.step(now)
}

// add remembers a node, unless it is us, known already, or too far.
func (l *lookup) add(n Contact) {
	if n.ID == l.c.id || !reachable(n.Addr) || l.crowded(n) {
		return
	}
	at, _ := slices.BinarySearchFunc(l.candidates, n, func(o *candidate, n Contact) int { return l.compare(o.node, n) })
	if at >= maxCandidates {
		return
	}
	l.candidates = slices.Insert(l.candidates, at, &candidate{node: n})
	if len(l.candidates) > maxCandidates && l.candidates[maxCandidates].state == fresh {
		l.candidates = l.candidates[:maxCandidates]
	}
}

// crowded reports whether this address is a candidate already, or its public
// /24 has two.
func (l *lookup) crowded(n Contact) bool {
	near := 0
	for _, o := range l.candidates {
		if o.node.Addr == n.Addr || !n.ID.IsZero() && o.node.ID == n.ID {
			return true
		}
		if !local(n.Addr.Addr()) && subnet(o.node.Addr.Addr()) == subnet(n.Addr.Addr()) {
			near++
		}
	}
	return near >= perSubnetAll
}

func (l *lookup) compare(a, b Contact) int {
	switch {
	case a.ID.IsZero() && b.ID.IsZero():
		return a.Addr.Compare(b.Addr)
	case a.ID.IsZero():
		return -1
	case b.ID.IsZero():
		return 1
	}
	return compareDistance(l.target, a.ID, b.ID)
}

// step asks the next candidates, or ends the walk.
func (l *lookup) step(now time.Time) {
	counted := 0
	for i := 0; i < len(l.candidates) && counted < k+l.wider && !l.over; i++ {
		cand := l.candidates[i]
		if cand.state == fresh {
			if l.active >= alpha {
				return
			}
			l.ask(now, cand)
		}
		if cand.state == asked || cand.state == answered {
			counted++
		}
	}
	// With no answer at all, even late ones are worth waiting for.
	if l.over || l.active > 0 || l.answers == 0 && l.waiting > 0 {
		return
	}
	l.over = true
	l.end(now)
}

func (l *lookup) ask(now time.Time, cand *candidate) {
	t := &transaction{
		to:   cand.node,
		slow: func(now time.Time) { l.late(now, cand) },
		done: func(now time.Time, m message, err error) { l.take(now, cand, m, err) },
	}
	args := bencode.Fields{"target": bencode.OfBytes(l.target[:])}
	for key, v := range l.args {
		args[key] = v
	}
	if !l.c.ask(now, t, l.method, args) {
		cand.state = failed
		return
	}
	cand.state = asked
	l.active++
}

func (l *lookup) late(now time.Time, cand *candidate) {
	if l.over || cand.state != asked {
		return
	}
	cand.state = slow
	l.active--
	l.waiting++
	l.step(now)
}

// take handles the end of one query.
func (l *lookup) take(now time.Time, cand *candidate, m message, err error) {
	if l.over {
		return
	}
	if cand.state == slow {
		l.waiting--
	} else {
		l.active--
	}
	if err != nil {
		cand.state = failed
		l.step(now)
		return
	}
	cand.state = answered
	l.answers++
	if cand.node.ID.IsZero() {
		l.name(cand, m.id)
	}
	if token, ok := m.body.Get("token").Bytes(); ok && len(token) <= maxForeignToken {
		cand.token = token
	}
	if nodes, ok := m.body.Get("nodes").Bytes(); ok {
		for _, n := range nodesOf(nodes, cand.node.Addr) {
			l.add(n)
		}
	}
	if l.heard != nil {
		l.heard(now, cand.node, m.body)
	}
	l.step(now)
}

// name gives a door its id and its place in the order.
func (l *lookup) name(cand *candidate, id ID) {
	l.candidates = slices.DeleteFunc(l.candidates, func(o *candidate) bool { return o == cand })
	cand.node.ID = id
	twice := slices.ContainsFunc(l.candidates, func(o *candidate) bool { return o.node.ID == id })
	if twice || id == l.c.id {
		return
	}
	at, _ := slices.BinarySearchFunc(l.candidates, cand.node, func(o *candidate, n Contact) int { return l.compare(o.node, n) })
	l.candidates = slices.Insert(l.candidates, at, cand)
}

// stop ends the walk without calling end.
func (l *lookup) stop() { l.over = true }

// widen goes on with an ended walk until the next eight have answered too.
func (l *lookup) widen(now time.Time) {
	l.wider += k
	l.over = false
	l.step(now)
}

// takers are the nodes that gave a token, nearest first: they can store. None
// is named twice.
func (l *lookup) takers() []*candidate {
	var out []*candidate
	for _, cand := range l.candidates {
		if cand.state == answered && len(cand.token) > 0 && !cand.taken {
			cand.taken = true
			out = append(out, cand)
		}
	}
	return out
}
