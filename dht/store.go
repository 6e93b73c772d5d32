package dht

import (
	"bytes"
	"container/list"
	"fmt"
	"net/netip"
	"time"
)

// itemLife is how long an item stays after its last put (BEP 44).
const itemLife = 2 * time.Hour

// stored is an item on its shelf.
type stored struct {
	item   Item
	target ID
	source netip.Prefix // who brought it first; invalid = ourselves
	put    time.Time    // last put
	place  *list.Element
}

// noSource is the source of what we store ourselves.
var noSource netip.Addr

type usage struct{ items, bytes int }

// store keeps items for others within fixed bounds: in all, and for each /24.
// Shelf n holds what shares n leading bits with our id, oldest put first; when
// all is full, the oldest item of the farthest shelf makes room.
type store struct {
	self    ID
	most    usage // in all
	share   usage // of one source
	held    usage
	items   map[ID]*stored
	shelves [bucketsInSpace + 1]list.List
	sources map[netip.Prefix]usage
}

func newStore(self ID, l Limits) *store {
	return &store{
		self:    self,
		most:    usage{l.Items, l.ItemBytes},
		share:   usage{max(1, l.Items*l.SourcePercent/100), max(MaxValueSize*2, l.ItemBytes*l.SourcePercent/100)},
		items:   make(map[ID]*stored),
		sources: make(map[netip.Prefix]usage),
	}
}

// get is the item at target, unless it expired.
func (s *store) get(now time.Time, target ID) (Item, bool) {
	e := s.items[target]
	if e == nil || now.Sub(e.put) >= itemLife {
		return Item{}, false
	}
	return e.item, true
}

// put stores an item that is checked already, by the rules of BEP 44: cas, if
// given, must be the stored seq; a lower seq is refused; an equal one refreshes
// the same value and is refused with another. A zero source is ourselves and
// has no quota.
func (s *store) put(now time.Time, source netip.Addr, it Item, cas *int64) *Error {
	target := it.Target()
	old := s.items[target]
	if old != nil && now.Sub(old.put) >= itemLife {
		s.remove(old)
		old = nil
	}
	if old == nil {
		return s.add(now, sourceOf(source), it, target)
	}
	if err := succeeds(old.item, it, cas); err != nil {
		return err
	}
	s.replace(now, old, it)
	return nil
}

// succeeds decides whether next may stand where old is.
func succeeds(old, next Item, cas *int64) *Error {
	switch {
	case old.Mutable != next.Mutable:
		return refusal(CodeProtocol, "the stored item is of the other kind")
	case !old.Mutable:
		return nil // the same target, so the same value
	case cas != nil && *cas != old.Seq:
		return refusal(CodeCAS, fmt.Sprintf("cas %d, stored seq %d", *cas, old.Seq))
	case next.Seq < old.Seq:
		return refusal(CodeSeq, fmt.Sprintf("seq %d below stored seq %d", next.Seq, old.Seq))
	case next.Seq == old.Seq && !bytes.Equal(next.Value, old.Value):
		return refusal(CodeSeq, fmt.Sprintf("seq %d is stored with another value", old.Seq))
	}
	return nil
}

func sourceOf(ip netip.Addr) netip.Prefix {
	if !ip.IsValid() {
		return netip.Prefix{}
	}
	return subnet(ip)
}

func (s *store) add(now time.Time, source netip.Prefix, it Item, target ID) *Error {
	size := it.size()
	if used := s.sources[source]; source.IsValid() && (used.items+1 > s.share.items || used.bytes+size > s.share.bytes) {
		return refusal(CodeServer, fmt.Sprintf("quota of your subnet, %d items, is full", s.share.items))
	}
	shelf := sharedBits(s.self, target)
	if !s.makeRoom(shelf, size) {
		return refusal(CodeServer, "store is full of nearer items")
	}
	e := &stored{item: it.clone(), target: target, source: source, put: now}
	e.place = s.shelves[shelf].PushBack(e)
	s.items[target] = e
	s.count(source, 1, size)
	return nil
}

// replace puts next in the place of old, as the newest of its shelf.
func (s *store) replace(now time.Time, old *stored, next Item) {
	s.count(old.source, 0, next.size()-old.item.size())
	old.item, old.put = next.clone(), now
	s.shelves[sharedBits(s.self, old.target)].MoveToBack(old.place)
	s.makeRoom(bucketsInSpace, 0)
}

// makeRoom evicts until one more item of size fits, and reports whether it
// does; nothing nearer than shelf is evicted for it.
func (s *store) makeRoom(shelf, size int) bool {
	more := 0
	if size > 0 {
		more = 1
	}
	for n := 0; s.held.items+more > s.most.items || s.held.bytes+size > s.most.bytes; {
		for n <= shelf && s.shelves[n].Len() == 0 {
			n++
		}
		if n > shelf {
			return false
		}
		s.remove(s.shelves[n].Front().Value.(*stored))
	}
	return true
}

func (s *store) remove(e *stored) {
	s.shelves[sharedBits(s.self, e.target)].Remove(e.place)
	delete(s.items, e.target)
	s.count(e.source, -1, -e.item.size())
}

func (s *store) count(source netip.Prefix, items, bytes int) {
	s.held.items += items
	s.held.bytes += bytes
	if !source.IsValid() {
		return
	}
	u := s.sources[source]
	u.items += items
	u.bytes += bytes
	if u.items == 0 {
		delete(s.sources, source)
		return
	}
	s.sources[source] = u
}

// expire drops what nobody has put for two hours.
func (s *store) expire(now time.Time) {
	for i := range s.shelves {
		for front := s.shelves[i].Front(); front != nil; front = s.shelves[i].Front() {
			e := front.Value.(*stored)
			if now.Sub(e.put) < itemLife {
				break
			}
			s.remove(e)
		}
	}
}
