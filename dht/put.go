package dht

import (
	"errors"
	"fmt"
	"time"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// enoughStored is below how many acknowledgements a put goes on to the next 8
// nearest nodes.
const enoughStored = 4

// MutablePut is what PutMutable stores.
type MutablePut struct {
	Sign    Signer
	Key     types.Account // whose signature Sign makes
	Salt    []byte        // at most 64 bytes
	Seq     int64         // from 0; must grow with each new content
	Content []byte        // at most 996 bytes; ours at most MaxChannelSize
	CAS     *int64        // if not nil: store only over exactly this seq
}

// PutResult counts what became of a put.
type PutResult struct {
	Target    ID
	Stored    int // nodes that acknowledged; 8 is usual, fewer in small networks
	Tried     int // nodes that were asked to store
	Conflicts int // nodes that have a newer item, or another than cas says
}

// putting is one put under way: a walk that collects tokens, then the item to
// the eight nearest that gave one, and after a wider walk to the next eight if
// too few took it. A newer item met on the walk ends it before anything is written.
type putting struct {
	c       *core
	item    Item
	cas     *int64
	lookup  *lookup
	takers  []*candidate // not tried yet
	active  int
	late    int
	walking bool
	widened bool
	result  PutResult
	refused *Error // the last; a conflict before all others
	over    bool
	deliver func(PutResult, error)
}

// put starts a put of a checked item; deliver is called once, unless stop comes
// first.
func (c *core) put(now time.Time, it Item, cas *int64, deliver func(PutResult, error)) *putting {
	p := &putting{c: c, item: it, cas: cas, deliver: deliver}
	p.result.Target = it.Target()
	p.lookup = &lookup{c: c, target: p.result.Target, method: methodGet, heard: p.heard}
	p.lookup.end = p.walked
	if it.Mutable {
		// Nodes then send only what is newer than this.
		p.lookup.args = bencode.Fields{"seq": bencode.OfInt(p.latest())}
	}
	p.walking = true
	p.lookup.start(now, nil)
	return p
}

// latest is the highest stored seq over which the item may be put.
func (p *putting) latest() int64 {
	if p.cas != nil {
		return *p.cas
	}
	return p.item.Seq
}

// heard ends the put when a node shows a newer item with a good signature.
func (p *putting) heard(now time.Time, _ Contact, body bencode.Value) {
	if p.over || !p.item.Mutable || body.Get("v").Kind() == bencode.Absent {
		return
	}
	it, err := itemOf(body)
	if err != nil {
		return
	}
	it.Salt = p.item.Salt
	if !it.Mutable || it.Key != p.item.Key || it.Seq <= p.latest() || it.check() != nil {
		return
	}
	p.result.Conflicts++
	if p.refused = refusal(CodeSeq, fmt.Sprintf("seq %d below stored seq %d", p.item.Seq, it.Seq)); p.cas != nil {
		p.refused = refusal(CodeCAS, fmt.Sprintf("cas %d, stored seq %d", *p.cas, it.Seq))
	}
	p.finish(now)
}

func (p *putting) walked(now time.Time) {
	p.walking = false
	p.takers = p.lookup.takers()
	p.step(now)
}

// step sends the next round; without takers left it looks once for more.
func (p *putting) step(now time.Time) {
	for p.active == 0 && p.tooFew() && len(p.takers) > 0 {
		round := p.takers[:min(k, len(p.takers))]
		p.takers = p.takers[len(round):]
		for _, cand := range round {
			p.send(now, cand)
		}
	}
	if p.over || p.walking || p.active > 0 {
		return
	}
	if p.tooFew() && !p.widened {
		p.walking, p.widened = true, true
		p.lookup.widen(now)
		return
	}
	if p.result.Stored > 0 || p.late == 0 {
		p.finish(now)
	}
}

func (p *putting) tooFew() bool { return p.result.Stored < enoughStored && p.result.Conflicts == 0 }

func (p *putting) send(now time.Time, to *candidate) {
	late := false
	t := &transaction{to: to.node}
	t.slow = func(now time.Time) {
		late = true
		p.active--
		p.late++
		p.stepOn(now)
	}
	t.done = func(now time.Time, _ message, err error) {
		if late {
			p.late--
		} else {
			p.active--
		}
		p.note(err)
		p.stepOn(now)
	}
	if p.c.ask(now, t, methodPut, p.args(to)) {
		p.active++
		p.result.Tried++
	}
}

func (p *putting) stepOn(now time.Time) {
	if !p.over {
		p.step(now)
	}
}

// note counts the end of one query. Only an answer of kind r is a yes.
func (p *putting) note(err error) {
	var refused *Error
	switch {
	case err == nil:
		p.result.Stored++
	case errors.As(err, &refused):
		conflict := refused.Code == CodeCAS || refused.Code == CodeSeq
		if conflict {
			p.result.Conflicts++
		}
		if conflict || p.result.Conflicts == 0 {
			p.refused = refused
		}
	}
}

func (p *putting) args(to *candidate) bencode.Fields {
	f := bencode.Fields{"token": bencode.OfBytes(to.token)}
	itemFields(p.item, f)
	if len(p.item.Salt) > 0 {
		f["salt"] = bencode.OfBytes(p.item.Salt)
	}
	if p.cas != nil {
		f["cas"] = bencode.OfInt(*p.cas)
	}
	return f
}

// finish keeps a copy here too, unless the others refused it.
func (p *putting) finish(now time.Time) {
	p.stop()
	r := p.result
	err := p.failure()
	if err == nil || r.Tried == 0 && r.Conflicts == 0 {
		// A newer item of our own store wins over this one; that is no error.
		_ = p.c.store.put(now, noSource, p.item, p.cas)
	}
	if err != nil {
		err = fmt.Errorf("put %v: stored at %d of %d nodes: %w", r.Target, r.Stored, r.Tried, err)
	}
	p.deliver(r, err)
}

// failure decides whether the put failed: stored nowhere, or at fewer nodes
// than have something newer.
func (p *putting) failure() error {
	switch {
	case p.result.Stored > 0 && p.result.Stored >= p.result.Conflicts:
		return nil
	case p.refused != nil:
		return p.refused
	}
	return ErrAlone
}

// stop ends the put without a result.
func (p *putting) stop() {
	p.over = true
	p.lookup.stop()
}
