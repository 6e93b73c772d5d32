package dht

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/dht/bencode"
)

func TestIDs(t *testing.T) {
	a := ID{0x80}
	if got := []int{sharedBits(a, a), sharedBits(a, ID{}), sharedBits(a, ID{0x81}), sharedBits(ID{}, ID{19: 1})}; !slices.Equal(got, []int{160, 0, 7, 159}) {
		t.Errorf("shared bits %v", got)
	}
	back, err := ParseID(a.String())
	if err != nil || back != a {
		t.Errorf("parsed %v, %v", back, err)
	}
	for _, s := range []string{"", "80", a.String() + "0", "zz" + a.String()[2:]} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q was read as an id", s)
		}
	}
	rng := seeded(1)
	for n := range bucketsInSpace {
		id, err := randomNear(rng, a, n)
		if err != nil || sharedBits(a, id) != n {
			t.Errorf("random id shares %d bits, want %d (%v)", sharedBits(a, id), n, err)
		}
	}
}

func TestToldAddresses(t *testing.T) {
	for _, c := range []struct {
		from, told string
		want       bool
	}{
		{"8.8.8.8:1", "9.9.9.9:1", true},
		{"8.8.8.8:1", "9.9.9.9:0", false},
		{"8.8.8.8:1", "0.0.0.0:1", false},
		{"8.8.8.8:1", "224.0.0.1:1", false},
		{"8.8.8.8:1", "255.255.255.255:1", false},
		{"8.8.8.8:1", "127.0.0.1:1", false},
		{"8.8.8.8:1", "192.168.1.1:1", false},
		{"192.168.1.1:1", "192.168.1.2:1", true},
		{"192.168.1.1:1", "127.0.0.1:1", false},
		{"127.0.0.1:1", "127.0.0.2:1", true},
		{"127.0.0.1:1", "192.168.1.1:1", true},
	} {
		told := Contact{ID{1}, netip.MustParseAddrPort(c.told)}
		got := nodesOf(compactNodes([]Contact{told}), netip.MustParseAddrPort(c.from))
		if (len(got) == 1) != c.want {
			t.Errorf("%s told by %s: %v, want kept %v", c.told, c.from, got, c.want)
		}
	}
	many := make([]Contact, 50)
	for i := range many {
		many[i] = Contact{ID{byte(i)}, simAddr(i + 1)}
	}
	if got := nodesOf(compactNodes(many), simAddr(1)); len(got) != maxNodesInReply {
		t.Errorf("%d nodes of 50 kept, want %d", len(got), maxNodesInReply)
	}
}

func public(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, byte(i >> 8), byte(i), 7}), 6881)
}

func far(i int) Contact { return Contact{ID{0xff, byte(i >> 8), byte(i)}, public(i)} }

func live(tb *table, shared int) []Contact {
	var out []Contact
	for _, e := range tb.buckets[shared].live {
		out = append(out, e.node)
	}
	return out
}

func TestTableFillsAndReplaces(t *testing.T) {
	tb, now := newTable(ID{}), simStart
	for i := range 12 {
		if _, ok := tb.answered(now, far(i)); ok {
			t.Errorf("node %d: a good node is doubted", i)
		}
	}
	if l, s := tb.count(); l != k || s != 4 {
		t.Fatalf("%d nodes and %d spares, want 8 and 4", l, s)
	}
	if tb.failed(now, far(0)) {
		t.Error("one failure removes a node")
	}
	if !tb.failed(now, far(0)) {
		t.Error("two failures do not remove a node")
	}
	if got := live(tb, 0); len(got) != k || got[7] != far(11) {
		t.Errorf("live %v, want the newest spare in the place of node 0", got)
	}
	tb.failed(now, far(1))
	tb.answered(now, far(1))
	if tb.failed(now, far(1)) {
		t.Error("an answer does not clear failures")
	}
	later := now.Add(goodFor)
	tb.asked(later, far(2))
	if doubt, ok := tb.answered(later, far(20)); !ok || doubt != far(1) && doubt != far(3) {
		t.Errorf("doubt %v %v, want a node silent for 15 minutes", doubt, ok)
	}
	if got := tb.nearest(later, ID{0xff}, 20, true); len(got) != 1 || got[0] != far(2) {
		t.Errorf("good nodes %v, want only the one that asked", got)
	}
}

func TestTableIdentity(t *testing.T) {
	tb, now := newTable(ID{}), simStart
	tb.answered(now, far(1))
	thief := Contact{far(1).ID, public(99)}
	tb.answered(now, thief)
	if got := live(tb, 0); !cmp.Equal(got, []Contact{far(1)}, cmpopts.EquateComparable(Contact{})) {
		t.Errorf("a good node was replaced: %v", got)
	}
	tb.failed(now, far(1))
	tb.answered(now, thief)
	if got := live(tb, 0); len(got) != 1 || got[0] != thief {
		t.Errorf("a node that moved is not found: %v", got)
	}
	renamed := Contact{ID{0x80, 1}, public(99)}
	tb.answered(now, renamed)
	if got := live(tb, 0); len(got) != 1 || got[0] != renamed {
		t.Errorf("an address holds two ids: %v", got)
	}
	tb.answered(now, Contact{ID{}, public(5)})
	if l, _ := tb.count(); l != 1 {
		t.Error("our own id is in the table")
	}
}

func TestTableDiversity(t *testing.T) {
	tb, now := newTable(ID{}), simStart
	at := func(bucket int, last byte) Contact {
		id := ID{byte(0x80 >> bucket)}
		id[19] = last
		return Contact{id, netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, 1, 1, last}), 1)}
	}
	for bucket := range 4 {
		for last := range byte(3) {
			tb.answered(now, at(bucket, 10*byte(bucket)+last))
		}
	}
	if l, _ := tb.count(); l != perSubnetAll {
		t.Errorf("%d nodes of one /24, want %d", l, perSubnetAll)
	}
	for i := range 5 {
		tb.answered(now, Contact{ID{0x80, 0, byte(i + 1)}, netip.AddrPortFrom(netip.MustParseAddr("192.168.1.1"), uint16(i+1))})
	}
	if l, _ := tb.count(); l != perSubnetAll+5 {
		t.Errorf("%d nodes, want 5 of one LAN more", l)
	}
	tb.remove(at(0, 0))
	if tb.subnets[subnet(at(0, 0).Addr.Addr())] != 1 {
		t.Errorf("subnet counts %v after a removal", tb.subnets)
	}
}

// The table's books agree with its nodes whatever happens.
func TestTableBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb, now := newTable(ID{}), simStart
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "s")) * time.Second)
			n := Contact{ID{0xff, byte(rapid.IntRange(0, 15).Draw(t, "id"))}, public(rapid.IntRange(1, 20).Draw(t, "addr"))}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				tb.answered(now, n)
			case 2:
				tb.failed(now, n)
			case 3:
				tb.asked(now, n)
			}
			checkBooks(t, tb)
		}
	})
}

func checkBooks(t *rapid.T, tb *table) {
	places, subnets := map[netip.AddrPort]ID{}, map[netip.Prefix]int{}
	for i := range tb.buckets {
		b := &tb.buckets[i]
		if len(b.live) > k || len(b.spare) > k {
			t.Fatalf("bucket %d holds %d nodes, %d spares", i, len(b.live), len(b.spare))
		}
		for _, e := range b.live {
			places[e.node.Addr] = e.node.ID
			subnets[subnet(e.node.Addr.Addr())]++
		}
	}
	if d := cmp.Diff(places, tb.places, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(subnets, tb.subnets, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Fatal(d)
	}
	if l, _ := tb.count(); l != len(places) {
		t.Fatalf("%d nodes at %d addresses", l, len(places))
	}
}

func source(i int) netip.Addr { return public(i).Addr() }

func TestStoreQuotaOfSource(t *testing.T) {
	s, now := newStore(ID{}, Limits{Items: 100, ItemBytes: 1 << 20, SourcePercent: 5}), simStart
	var first Item
	for i := range 5 {
		it := immutable(fmt.Sprint(i))
		if err := s.put(now, source(1), it, nil); err != nil {
			t.Fatal(err)
		}
		first = it
	}
	if err := s.put(now, source(1), immutable("sixth"), nil); err == nil || err.Code != CodeServer {
		t.Errorf("sixth of 5: %v", err)
	}
	if err := s.put(now, source(1), first, nil); err != nil {
		t.Errorf("refresh at the quota: %v", err)
	}
	if err := s.put(now, source(2), immutable("sixth"), nil); err != nil {
		t.Errorf("another source: %v", err)
	}
	if err := s.put(now, noSource, immutable("own"), nil); err != nil {
		t.Errorf("ourselves: %v", err)
	}
	s.expire(now.Add(itemLife))
	if s.held != (usage{}) || len(s.sources) != 0 || len(s.items) != 0 {
		t.Errorf("after expiry: %+v, %v", s.held, s.sources)
	}
}

func TestStoreEvictsTheFarthest(t *testing.T) {
	self := immutable("self").Target()
	s, now := newStore(self, Limits{Items: 20, ItemBytes: 1 << 20, SourcePercent: 100}), simStart
	var all []ID
	for i := range 400 {
		it := immutable(fmt.Sprint("item ", i))
		all = append(all, it.Target())
		_ = s.put(now.Add(time.Duration(i)), source(i), it, nil)
	}
	slices.SortFunc(all, func(a, b ID) int { return sharedBits(self, b) - sharedBits(self, a) })
	least := sharedBits(self, all[19])
	for id := range s.items {
		if sharedBits(self, id) < least {
			t.Errorf("an item that shares %d bits is kept, want %d or more", sharedBits(self, id), least)
		}
	}
	if s.held.items != 20 {
		t.Errorf("%d items, want 20", s.held.items)
	}
}

// Items and bytes are counted right, and never above the limits.
func TestStoreBooks(t *testing.T) {
	items := make([]Item, 60)
	for i := range items {
		items[i] = mutable(t, byte(i%20), "s", int64(i/20), string(make([]byte, i*10)))
	}
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{Items: 10, ItemBytes: 8000, SourcePercent: 50}
		s, now := newStore(ID{}, l), simStart
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "min")) * time.Minute)
			it := items[rapid.IntRange(0, 59).Draw(t, "item")]
			before, had := s.get(now, it.Target())
			err := s.put(now, source(rapid.IntRange(1, 3).Draw(t, "source")), it, nil)
			if had && (err == nil) != (it.Seq >= before.Seq) {
				t.Fatalf("seq %d over %d: %v", it.Seq, before.Seq, err)
			}
			if rapid.Bool().Draw(t, "expire") {
				s.expire(now)
			}
			checkStore(t, s, l)
		}
	})
}

func checkStore(t *rapid.T, s *store, l Limits) {
	sum, sources, shelved := usage{}, map[netip.Prefix]usage{}, 0
	for _, e := range s.items {
		sum.items++
		sum.bytes += e.item.size()
		u := sources[e.source]
		sources[e.source] = usage{u.items + 1, u.bytes + e.item.size()}
	}
	for i := range s.shelves {
		shelved += s.shelves[i].Len()
	}
	if sum != s.held || shelved != sum.items || sum.items > l.Items || sum.bytes > l.ItemBytes {
		t.Fatalf("held %+v, counted %+v, on shelves %d", s.held, sum, shelved)
	}
	if d := cmp.Diff(sources, s.sources, cmp.AllowUnexported(usage{}), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Fatal(d)
	}
}

func TestPeerBounds(t *testing.T) {
	p, now := newPeerStore(Limits{Swarms: 3}), simStart
	for hash := range byte(5) {
		for i := range 100 {
			p.announce(now, ID{hash}, public(i))
		}
	}
	if len(p.swarms) != 3 || p.order.Len() != 3 || p.get(now, ID{0}) != nil {
		t.Errorf("%d swarms, want the 3 newest", len(p.swarms))
	}
	if got := p.get(now, ID{4}); len(got) != peersInAnswer || got[0] != public(99) {
		t.Errorf("%d peers from %v on, want 32 from the newest on", len(got), got[0])
	}
	if n := len(p.swarms[ID{4}].peers); n != peersPerSwarm {
		t.Errorf("%d peers kept, want %d", n, peersPerSwarm)
	}
	p.expire(now.Add(peerLife))
	if len(p.swarms) != 0 || p.order.Len() != 0 {
		t.Errorf("%d swarms after expiry", len(p.swarms))
	}
}

func TestGate(t *testing.T) {
	var g gate
	p := perSecond(2, 5)
	passed := func(n int, at time.Duration) (out int) {
		for range n {
			if g.pass(simStart.Add(at), p) {
				out++
			}
		}
		return out
	}
	if got := []int{passed(20, 0), passed(20, 400*time.Millisecond), passed(20, time.Second), passed(20, time.Minute)}; !slices.Equal(got, []int{5, 0, 2, 5}) {
		t.Errorf("passed %v, want 5 at once, 0, 2 after a second, 5 after a pause", got)
	}
}

func TestGatesForget(t *testing.T) {
	g, now := newGates[int](perSecond(1, 1), 10), simStart
	passed := 0
	for i := range 100 {
		if g.pass(now, i) {
			passed++
		}
	}
	if passed != 10 || len(g.byKey) != 10 {
		t.Errorf("%d sources passed, %d remembered; want 10", passed, len(g.byKey))
	}
	if !g.pass(now.Add(2*time.Second), 50) || len(g.byKey) != 1 {
		t.Errorf("paid gates are not forgotten: %d", len(g.byKey))
	}
}

// Nobody gets more than 50 packets of ours within 10 seconds in the public
// network: other nodes would ignore us for minutes.
func TestNoBan(t *testing.T) {
	s, sent := meet(t, Config{}), 0
	for range 10_000 {
		s.now = s.now.Add(time.Millisecond)
		s.c.ask(s.now, &transaction{to: Contact{Addr: s.from}, done: func(time.Time, message, error) {}}, methodPing, bencode.Fields{})
		s.c.wake(s.now)
		for _, d := range s.c.out {
			if d.to == s.from {
				sent++
			}
		}
		s.c.out = nil
	}
	if sent > 50 || sent < 20 {
		t.Errorf("%d packets in 10 seconds, want 20 to 50", sent)
	}
}

// A whole /24 gets five times what one IP gets, all together ten times less
// than its 250 addresses would.
func TestSubnetLimit(t *testing.T) {
	ts, passed := newTurnstile(Limits{}.withDefaults(true)), 0
	for i := range 250 * 20 {
		ip := netip.AddrFrom4([4]byte{60, 0, 0, byte(i % 250)})
		if ts.query(simStart, netip.AddrPortFrom(ip, 1)) {
			passed++
		}
	}
	if passed != 300 {
		t.Errorf("%d queries of one /24 passed at once, want 300", passed)
	}
}

func TestRoundTrips(t *testing.T) {
	var r roundTrips
	if got := r.soft(); got != softMost {
		t.Errorf("without knowledge %v, want %v", got, softMost)
	}
	for i := range 200 {
		r.add(time.Duration(i%100) * 10 * time.Millisecond)
	}
	if got := r.soft(); got < 800*time.Millisecond || got > softMost {
		t.Errorf("95th of 0 to 990 ms: %v", got)
	}
	for range 64 {
		r.add(time.Millisecond)
	}
	if got := r.soft(); got != softLeast {
		t.Errorf("on a fast network %v, want %v", got, softLeast)
	}
}

func TestTimersKeepOrder(t *testing.T) {
	var ts timers
	var got []int
	for i, at := range []int{3, 1, 2, 1, 1} {
		ts.set(simStart.Add(time.Duration(at)*time.Second), func(time.Time) { got = append(got, i) })
	}
	ts.run(simStart.Add(2 * time.Second))
	if due, ok := ts.due(); !slices.Equal(got, []int{1, 3, 4, 2}) || !ok || due != simStart.Add(3*time.Second) {
		t.Errorf("ran %v, next at %v", got, due)
	}
}
