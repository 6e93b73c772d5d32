package dht

import (
	"bytes"
	"errors"
	"time"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// Outcomes of Get, GetMutable, Put, PutMutable and Bootstrap.
var (
	ErrNotFound = errors.New("no node has the item")
	ErrAlone    = errors.New("no node of the network answers")
	ErrClosed   = errors.New("dht node is closed")
)

// settleTime is how long a mutable get goes on after its first hit, in case
// that a newer item turns up.
const settleTime = 300 * time.Millisecond

// want says which item a get looks for.
type want struct {
	target  ID
	mutable bool
	key     types.Account
	salt    []byte
	minSeq  int64
}

// getting is one recursive get under way. An immutable item ends it at the
// first valid copy; a mutable one at two copies of the highest seq seen, or 300
// ms after the first copy. The walk to its end is the latest end of both.
type getting struct {
	c       *core
	want    want
	lookup  *lookup
	best    Item
	copies  int // of best, from other nodes
	found   bool
	over    bool
	deliver func(Item, error)
}

// get starts a get; deliver is called once, unless stop comes first.
func (c *core) get(now time.Time, w want, deliver func(Item, error)) *getting {
	g := &getting{c: c, want: w, deliver: deliver}
	if it, ok := c.store.get(now, w.target); ok && g.wanted(it) {
		g.best, g.found = it, true
		if !w.mutable {
			g.finish()
			return g
		}
	}
	g.lookup = &lookup{c: c, target: w.target, method: methodGet, heard: g.heard}
	g.lookup.end = func(time.Time) { g.finish() }
	if w.mutable && w.minSeq > 0 {
		g.lookup.args = bencode.Fields{"seq": bencode.OfInt(w.minSeq - 1)}
	}
	g.lookup.start(now, nil)
	return g
}

// wanted reports whether it is what the caller asked for. Its own validity is
// another question.
func (g *getting) wanted(it Item) bool {
	if !g.want.mutable {
		return !it.Mutable && ImmutableTarget(it.Value) == g.want.target
	}
	return it.Mutable && it.Key == g.want.key && it.Seq >= g.want.minSeq
}

// heard looks for the item in an answer. Answers do not carry the salt.
func (g *getting) heard(now time.Time, _ Contact, body bencode.Value) {
	if g.over || body.Get("v").Kind() == bencode.Absent {
		return
	}
	it, err := itemOf(body)
	if err != nil {
		return
	}
	if it.Mutable {
		it.Salt = g.want.salt
	}
	if !g.wanted(it) || it.check() != nil {
		g.c.stats.Forged++
		return
	}
	g.hit(now, it)
}

// hit takes one valid copy from another node.
func (g *getting) hit(now time.Time, it Item) {
	first := g.copies == 0
	switch {
	case !g.found || it.Seq > g.best.Seq:
		g.best, g.copies, g.found = it, 1, true
	case it.Seq == g.best.Seq && bytes.Equal(it.Value, g.best.Value):
		g.copies++
	}
	if !g.want.mutable || g.copies >= 2 {
		g.finish()
		return
	}
	if first {
		g.c.timers.set(now.Add(settleTime), func(time.Time) { g.finish() })
	}
}

func (g *getting) finish() {
	if g.over {
		return
	}
	g.stop()
	switch {
	case g.found:
		g.deliver(g.best.clone(), nil)
	case g.lookup.answers == 0:
		g.deliver(Item{}, ErrAlone)
	default:
		g.deliver(Item{}, ErrNotFound)
	}
}

// stop ends the get without a result.
func (g *getting) stop() {
	g.over = true
	if g.lookup != nil {
		g.lookup.stop()
	}
}
