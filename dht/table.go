package dht

import (
	"net/netip"
	"slices"
	"time"
)

const (
	k              = 8                // nodes a bucket, and of an answer (BEP 5)
	goodFor        = 15 * time.Minute // BEP 5
	maxFailures    = 2                // unanswered queries in a row that remove a node
	perSubnet      = 1                // nodes of one public /24 in a bucket
	perSubnetAll   = 2                // and in the table
	bucketsInSpace = 8 * IDSize
)

// entry is a node that has answered at least once.
type entry struct {
	node     Contact
	answered time.Time // last answer to us
	asked    time.Time // last query from it
	failures int       // unanswered queries since
}

func (e *entry) good(now time.Time) bool {
	return e.failures == 0 && (now.Sub(e.answered) < goodFor || now.Sub(e.asked) < goodFor)
}

// bucket holds the nodes that share exactly so many leading bits with us.
type bucket struct {
	live    []entry   // at most k
	spare   []Contact // at most k that answered and found no place, newest last
	changed time.Time // last entry, answer or refresh
}

// table is the routing table of BEP 5 with one bucket for each number of shared
// bits, which is the fully split form. Only nodes that answered us come in.
type table struct {
	self    ID
	buckets [bucketsInSpace]bucket
	places  map[netip.AddrPort]ID // of live entries
	subnets map[netip.Prefix]int  // live entries of public subnets
}

func newTable(self ID) *table {
	return &table{self: self, places: make(map[netip.AddrPort]ID), subnets: make(map[netip.Prefix]int)}
}

func (t *table) bucketOf(id ID) *bucket {
	n := sharedBits(t.self, id)
	if n == bucketsInSpace {
		return nil
	}
	return &t.buckets[n]
}

func (b *bucket) find(id ID) *entry {
	for i := range b.live {
		if b.live[i].node.ID == id {
			return &b.live[i]
		}
	}
	return nil
}

// answered takes in a node that has just answered. If its bucket is full, it
// becomes a spare, and the node returned, if any, is the one to ping: the
// longest silent that is no longer good.
func (t *table) answered(now time.Time, n Contact) (doubt Contact, ok bool) {
	b := t.bucketOf(n.ID)
	if b == nil {
		return Contact{}, false
	}
	if old, known := t.places[n.Addr]; known && old != n.ID {
		t.remove(Contact{ID: old, Addr: n.Addr}) // it has a new id now
	}
	if e := b.find(n.ID); e != nil {
		return t.again(now, b, e, n)
	}
	if t.place(now, b, n) {
		return Contact{}, false
	}
	b.keepSpare(n)
	return b.oldestDoubt(now)
}

// again updates a known id. An id that turns up at another address is believed
// only when the old address no longer answers.
func (t *table) again(now time.Time, b *bucket, e *entry, n Contact) (Contact, bool) {
	if e.node.Addr == n.Addr {
		e.answered, e.failures, b.changed = now, 0, now
		return Contact{}, false
	}
	if e.good(now) {
		return Contact{}, false
	}
	t.remove(e.node)
	t.place(now, b, n)
	return Contact{}, false
}

// place enters n if there is room and its subnet is not yet well represented.
func (t *table) place(now time.Time, b *bucket, n Contact) bool {
	if len(b.live) >= k || !t.diverse(b, n.Addr.Addr()) {
		return false
	}
	b.live = append(b.live, entry{node: n, answered: now})
	b.changed = now
	t.places[n.Addr] = n.ID
	if !local(n.Addr.Addr()) {
		t.subnets[subnet(n.Addr.Addr())]++
	}
	return true
}

func (t *table) diverse(b *bucket, ip netip.Addr) bool {
	if local(ip) {
		return true
	}
	net, here := subnet(ip), 0
	for i := range b.live {
		if subnet(b.live[i].node.Addr.Addr()) == net {
			here++
		}
	}
	return here < perSubnet && t.subnets[net] < perSubnetAll
}

func (b *bucket) keepSpare(n Contact) {
	b.spare = slices.DeleteFunc(b.spare, func(s Contact) bool { return s.ID == n.ID || s.Addr == n.Addr })
	if len(b.spare) == k {
		b.spare = slices.Delete(b.spare, 0, 1)
	}
	b.spare = append(b.spare, n)
}

func (b *bucket) oldestDoubt(now time.Time) (Contact, bool) {
	var worst *entry
	for i := range b.live {
		e := &b.live[i]
		if !e.good(now) && (worst == nil || e.answered.Before(worst.answered)) {
			worst = e
		}
	}
	if worst == nil {
		return Contact{}, false
	}
	return worst.node, true
}

func (t *table) remove(n Contact) {
	b := t.bucketOf(n.ID)
	if b == nil {
		return
	}
	i := slices.IndexFunc(b.live, func(e entry) bool { return e.node == n })
	if i < 0 {
		return
	}
	b.live = slices.Delete(b.live, i, i+1)
	delete(t.places, n.Addr)
	if net := subnet(n.Addr.Addr()); t.subnets[net] > 1 {
		t.subnets[net]--
	} else {
		delete(t.subnets, net)
	}
}

// failed counts an unanswered query and reports whether that removed the node;
// the newest spare then takes its place.
func (t *table) failed(now time.Time, n Contact) bool {
	b := t.bucketOf(n.ID)
	if b == nil {
		return false
	}
	e := b.find(n.ID)
	if e == nil || e.node.Addr != n.Addr {
		return false
	}
	if e.failures++; e.failures < maxFailures {
		return false
	}
	t.remove(n)
	for i := len(b.spare) - 1; i >= 0; i-- {
		s := b.spare[i]
		if _, taken := t.places[s.Addr]; !taken && t.place(now, b, s) {
			b.spare = slices.Delete(b.spare, i, i+1)
			break
		}
	}
	return true
}

// asked notes a query from n, and reports whether n is unknown and would be
// worth a ping.
func (t *table) asked(now time.Time, n Contact) bool {
	b := t.bucketOf(n.ID)
	if b == nil {
		return false
	}
	if e := b.find(n.ID); e != nil {
		if e.node.Addr == n.Addr {
			e.asked = now
			return false
		}
		return !e.good(now)
	}
	if _, doubt := b.oldestDoubt(now); len(b.live) >= k && !doubt {
		return false
	}
	return t.diverse(b, n.Addr.Addr())
}

// nearest gives at most n nodes by distance to target; only good ones if
// goodOnly is set.
func (t *table) nearest(now time.Time, target ID, n int, goodOnly bool) []Contact {
	var out []Contact
	for i := range t.buckets {
		for j := range t.buckets[i].live {
			if e := &t.buckets[i].live[j]; !goodOnly || e.good(now) {
				out = append(out, e.node)
			}
		}
	}
	slices.SortFunc(out, func(a, b Contact) int { return compareDistance(target, a.ID, b.ID) })
	return out[:min(n, len(out))]
}

// count is how many nodes and spares the table holds.
func (t *table) count() (live, spare int) {
	for i := range t.buckets {
		live += len(t.buckets[i].live)
		spare += len(t.buckets[i].spare)
	}
	return live, spare
}

// stalest is the number of shared bits of the bucket that was not touched for
// longest, at least 15 minutes; buckets deeper than the deepest used are left
// alone. It counts as touched then.
func (t *table) stalest(now time.Time) (int, bool) {
	deepest := -1
	for i := range t.buckets {
		if len(t.buckets[i].live) > 0 {
			deepest = i
		}
	}
	worst := -1
	for i := 0; i <= deepest; i++ {
		old := now.Sub(t.buckets[i].changed) >= goodFor
		if old && (worst < 0 || t.buckets[i].changed.Before(t.buckets[worst].changed)) {
			worst = i
		}
	}
	if worst < 0 {
		return 0, false
	}
	t.buckets[worst].changed = now
	return worst, true
}

// doubt is a node that is no longer good and deserves a ping; the longest
// silent of the table.
func (t *table) doubt(now time.Time) (Contact, bool) {
	var worst *entry
	for i := range t.buckets {
		for j := range t.buckets[i].live {
			e := &t.buckets[i].live[j]
			if !e.good(now) && (worst == nil || e.answered.Before(worst.answered)) {
				worst = e
			}
		}
	}
	if worst == nil {
		return Contact{}, false
	}
	return worst.node, true
}
