package swarm

import (
	"cmp"
	"maps"
	"slices"

	"github.com/staddle/staddle/types"
)

// Span is a run of items: First, First+1, ..., Count of them.
type Span struct{ First, Count int }

func (s Span) end() int { return s.First + s.Count }

// Bounds of what is under way.
const (
	maxSpan  = 16 // items asked in one request
	maxDepth = 64 // items under way at one peer
	minDepth = 2  // and at a new or slow one

	aheadMillis   = 300    // a peer is asked for what it sends in its delay and this
	maxDelay      = 2000   // of a delay that counts
	overdueMillis = 10_000 // then others may be asked for the same
	lateMillis    = 1000   // the same, when nothing else is left to ask for
	auditMillis   = 500    // between looks for what is overdue

	maxPenalty = 5
	maxVanish  = 3 // times that a peer may vanish before it is left alone
)

// Loss says why a peer is lost to a plan.
type Loss uint8

// Losses.
const (
	Vanished Loss = iota // its items go back; it may come again, twice
	Lied                 // it sent wrong bytes and is never asked again
)

// Plan says which item to ask of which peer. It knows no time but what it is
// told, and does not wait. Items are numbers from 0; so are peers. It belongs to
// one goroutine.
//
// A peer has under way what it sends, at its own rate, in its own delay and 0.3
// seconds, so the fast get more and nobody holds up the end. What a peer owes
// for ten seconds may be asked of another, and it is asked for less. At the end,
// what is late for a second is asked twice.
type Plan struct {
	size    int
	left    int    // items not got
	todo    bitset // not got
	free    bitset // not got and to be asked
	low     int    // no free item is below
	focus   Span
	flights map[int][]flight // of items not got
	peers   map[int]*partner
	audited types.Millis
}

type flight struct {
	peer int
	at   types.Millis
}

// partner is a peer as the plan sees it.
type partner struct {
	under   map[int]types.Millis // items asked and not answered
	lacks   bitset
	penalty uint // its depth is halved so often
	vanish  int  // times that it vanished
	banned  bool
}

// NewPlan begins with n items, none of them got.
func NewPlan(n int) *Plan {
	p := &Plan{
		size: n, left: n, todo: newBitset(n), free: newBitset(n),
		flights: map[int][]flight{}, peers: map[int]*partner{},
	}
	for i := range n {
		p.todo.add(i)
		p.free.add(i)
	}
	return p
}

// Left is the number of items that are not got.
func (p *Plan) Left() int { return p.left }

// Focus asks for these items before all others, for a player that seeks.
func (p *Plan) Focus(s Span) {
	first := min(max(s.First, 0), p.size)
	p.focus = Span{First: first, Count: min(max(s.Count, 0), p.size-first)}
}

func (p *Plan) partner(peer int) *partner {
	w, ok := p.peers[peer]
	if !ok {
		w = &partner{under: map[int]types.Millis{}}
		p.peers[peer] = w
	}
	return w
}

// Pace is how fast a peer answers.
type Pace struct {
	Rate  uint64       // bytes a second that it sends; 0 when that is not known
	Delay types.Millis // from a request to its first bytes when nothing is before it
}

// Next gives the items that the peer is to be asked for now: at most limit, in
// one run. It gives false when the peer has enough under way, or there is nothing
// to ask of it now.
func (p *Plan) Next(peer, limit int, pace Pace, now types.Millis) (Span, bool) {
	w := p.partner(peer)
	p.audit(now)
	room := min(limit, w.depth(pace)-len(w.under), maxSpan)
	if w.banned || room <= 0 || p.left == 0 {
		return Span{}, false
	}
	s := p.run(w, room)
	if s.Count == 0 {
		s = p.again(w, now)
	}
	for i := s.First; i < s.end(); i++ {
		p.free.drop(i)
		w.under[i] = now
		p.flights[i] = append(p.flights[i], flight{peer, now})
	}
	return s, s.Count > 0
}

func (w *partner) depth(pace Pace) int {
	millis := uint64(min(max(pace.Delay, 0), maxDelay) + aheadMillis)
	depth := min(pace.Rate/1000*millis/types.PieceSize, maxDepth) >> w.penalty
	return max(int(depth), minDepth)
}

// run is the first run of free items that the peer may have, in the focus
// before others.
func (p *Plan) run(w *partner, room int) Span {
	// Near the end a run is small, so that nobody waits for one peer.
	room = min(room, max(p.left/(2*max(len(p.peers), 1)), 1))
	first := p.first(w, p.focus.First, p.focus.end())
	if first < 0 {
		for p.low < p.size && !p.free.has(p.low) {
			p.low++
		}
		first = p.first(w, p.low, p.size)
	}
	if first < 0 {
		return Span{}
	}
	s := Span{First: first, Count: 1}
	for s.Count < room && s.end() < p.size && p.first(w, s.end(), s.end()+1) >= 0 {
		s.Count++
	}
	return s
}

// first is the first free item in [from, end) that the peer may be asked for:
// not what it lacks, nor what it owes so long that it was made free.
func (p *Plan) first(w *partner, from, end int) int {
	for i := p.free.next(w.lacks, from, end); i >= 0; i = p.free.next(w.lacks, i+1, end) {
		if _, owes := w.under[i]; !owes {
			return i
		}
	}
	return -1
}

// again is the item that is under way elsewhere for the longest time, when that
// is long.
func (p *Plan) again(w *partner, now types.Millis) Span {
	best, since := -1, now-lateMillis
	for i, fs := range p.flights {
		if _, owes := w.under[i]; owes || len(fs) != 1 || w.lacks.has(i) {
			continue
		}
		if at := fs[0].at; at < since || at == since && (best < 0 || i < best) {
			best, since = i, at
		}
	}
	if best < 0 {
		return Span{}
	}
	return Span{First: best, Count: 1}
}

// audit gives items that are overdue free for others. Who owes them keeps the
// places that they take, and is asked for less.
func (p *Plan) audit(now types.Millis) {
	if now < p.audited+auditMillis {
		return
	}
	p.audited = now
	for _, i := range slices.Sorted(maps.Keys(p.flights)) {
		fs := p.flights[i]
		newest := slices.MaxFunc(fs, func(a, b flight) int { return cmp.Compare(a.at, b.at) })
		if now < newest.at+overdueMillis {
			continue
		}
		for _, f := range fs {
			w := p.peers[f.peer]
			w.penalty = min(w.penalty+1, maxPenalty)
		}
		p.release(i)
	}
}

// release makes an item free that nobody is known to bring.
func (p *Plan) release(i int) {
	delete(p.flights, i)
	p.free.add(i)
	p.low = min(p.low, i)
}

// Got counts an item that the peer sent, and reports whether it is the first
// copy.
func (p *Plan) Got(peer, i int) bool {
	w := p.partner(peer)
	delete(w.under, i)
	if w.penalty > 0 {
		w.penalty--
	}
	if !p.todo.has(i) {
		return false
	}
	p.todo.drop(i)
	p.free.drop(i)
	p.left--
	delete(p.flights, i)
	return true
}

// Back returns an item that the peer does not send now.
func (p *Plan) Back(peer, i int) {
	delete(p.partner(peer).under, i)
	fs, ok := p.flights[i]
	if !ok {
		return
	}
	fs = slices.DeleteFunc(fs, func(f flight) bool { return f.peer == peer })
	if p.flights[i] = fs; len(fs) == 0 {
		p.release(i)
	}
}

// Refused returns an item that the peer does not have: it is not asked again.
func (p *Plan) Refused(peer, i int) {
	w := p.partner(peer)
	if w.lacks == nil {
		w.lacks = newBitset(p.size)
	}
	w.lacks.add(i)
	p.Back(peer, i)
}

// Lost returns all that the peer has under way.
func (p *Plan) Lost(peer int, why Loss) {
	w := p.partner(peer)
	for _, i := range slices.Sorted(maps.Keys(w.under)) {
		p.Back(peer, i)
	}
	w.vanish++
	w.penalty = min(w.penalty+2, maxPenalty)
	w.banned = w.banned || why == Lied || w.vanish >= maxVanish
}

// Useful reports whether the peer may still have something that is wanted.
func (p *Plan) Useful(peer int) bool {
	w := p.partner(peer)
	return !w.banned && p.todo.next(w.lacks, 0, p.size) >= 0
}
