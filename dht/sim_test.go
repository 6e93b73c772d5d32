package dht

import (
	"container/heap"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// simnet runs many engines in one goroutine and virtual time.
type simnet struct {
	t      *testing.T
	now    time.Time
	rng    *rand.Rand
	events simEvents
	next   uint64
	cores  map[netip.AddrPort]*core
	order  []netip.AddrPort
	dead   map[netip.AddrPort]bool
	loss   float64
	delay  func() time.Duration
	packet int // sent in all
}

type simEvent struct {
	at       time.Time
	order    uint64
	from, to netip.AddrPort
	data     []byte // nil: wake
}

type simEvents []simEvent

func (h simEvents) Len() int { return len(h) }
func (h simEvents) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h simEvents) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *simEvents) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *simEvents) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}

var simStart = time.Unix(1_700_000_000, 0)

func newSim(t *testing.T, seed uint64) *simnet {
	s := &simnet{
		t: t, now: simStart, rng: rand.New(rand.NewPCG(seed, 1)),
		cores: map[netip.AddrPort]*core{}, dead: map[netip.AddrPort]bool{},
	}
	s.delay = func() time.Duration { return time.Duration(5+s.rng.IntN(10)) * time.Millisecond }
	return s
}

func simAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 6881)
}

func seeded(n uint64) *rand.ChaCha8 {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n)
	return rand.NewChaCha8(seed)
}

// add starts a node; the first added one is everybody's bootstrap.
func (s *simnet) add(cfg Config) *core {
	a := simAddr(len(s.order) + 1)
	if len(s.order) > 0 && cfg.Bootstrap == nil {
		cfg.Bootstrap = []netip.AddrPort{s.order[0]}
	}
	c, err := newCore(s.now, cfg, seeded(uint64(len(s.order)+1)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.cores[a] = c
	s.order = append(s.order, a)
	s.touched(a)
	return c
}

func (s *simnet) push(e simEvent) {
	s.next++
	e.order = s.next
	heap.Push(&s.events, e)
}

// touched collects what a core sent, and when it wants to wake.
func (s *simnet) touched(a netip.AddrPort) {
	c := s.cores[a]
	for _, p := range c.out {
		s.packet++
		if s.rng.Float64() >= s.loss {
			s.push(simEvent{at: s.now.Add(s.delay()), from: a, to: p.to, data: p.data})
		}
	}
	c.out = nil
	if at, ok := c.due(); ok {
		s.push(simEvent{at: at, to: a})
	}
}

func (s *simnet) addrOf(c *core) netip.AddrPort {
	for _, a := range s.order {
		if s.cores[a] == c {
			return a
		}
	}
	s.t.Fatal("core is not in the network")
	return netip.AddrPort{}
}

// do calls f on a core now.
func (s *simnet) do(c *core, f func(now time.Time)) {
	f(s.now)
	s.touched(s.addrOf(c))
}

// run goes on until stop says so, at most for d.
func (s *simnet) run(d time.Duration, stop func() bool) bool {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		if stop() {
			return true
		}
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		c := s.cores[e.to]
		if c == nil || s.dead[e.to] {
			continue
		}
		if e.data != nil {
			c.receive(s.now, e.from, e.data)
			s.touched(e.to)
		} else if at, ok := c.due(); ok && !at.After(s.now) {
			c.wake(s.now)
			s.touched(e.to)
		}
	}
	s.now = end
	return stop()
}

func never() bool { return false }

// network starts n nodes, 100 ms apart, and lets them settle.
func (s *simnet) network(n int, cfg Config) []*core {
	var out []*core
	for range n {
		out = append(out, s.add(cfg))
		s.run(100*time.Millisecond, never)
	}
	s.run(90*time.Second, never)
	return out
}

type simGet struct {
	item Item
	err  error
	took time.Duration
}

func (s *simnet) get(c *core, w want) simGet {
	var r *simGet
	start := s.now
	s.do(c, func(now time.Time) {
		c.get(now, w, func(it Item, err error) { r = &simGet{it, err, s.now.Sub(start)} })
	})
	if !s.run(time.Minute, func() bool { return r != nil }) {
		s.t.Fatal("get has no end")
	}
	return *r
}

type simPut struct {
	result PutResult
	err    error
	took   time.Duration
}

func (s *simnet) put(c *core, it Item, cas *int64) simPut {
	var r *simPut
	start := s.now
	s.do(c, func(now time.Time) {
		c.put(now, it, cas, func(p PutResult, err error) { r = &simPut{p, err, s.now.Sub(start)} })
	})
	if !s.run(time.Minute, func() bool { return r != nil }) {
		s.t.Fatal("put has no end")
	}
	return *r
}

func testKey(n byte) (types.Account, Signer) {
	private := ed25519.NewKeyFromSeed(append(make([]byte, 31), n))
	return types.Account(private.Public().(ed25519.PublicKey)), func(msg []byte) types.Signature {
		return types.Signature(ed25519.Sign(private, msg))
	}
}

func mutable(t testing.TB, key byte, salt string, seq int64, content string) Item {
	t.Helper()
	pub, sign := testKey(key)
	it, err := newMutable(MutablePut{Sign: sign, Key: pub, Salt: []byte(salt), Seq: seq, Content: []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func immutable(content string) Item { return Item{Value: bencode.OfString(content)} }

func wantOf(it Item) want {
	return want{target: it.Target(), mutable: it.Mutable, key: it.Key, salt: it.Salt}
}

func TestSimPutGet(t *testing.T) {
	s := newSim(t, 1)
	nodes := s.network(40, Config{Network: NetworkTag([]byte("sim"))})
	for i, it := range []Item{immutable("hello"), mutable(t, 1, "ep", 7, "here"), mutable(t, 1, "", 0, "")} {
		put := s.put(nodes[3+i], it, nil)
		if put.err != nil || put.result != (PutResult{it.Target(), 8, 8, 0}) {
			t.Fatalf("item %d: put %+v, %v", i, put.result, put.err)
		}
		got := s.get(nodes[30+i], wantOf(it))
		if got.err != nil || got.item.Target() != it.Target() || string(got.item.Value) != string(it.Value) || got.item.Seq != it.Seq {
			t.Errorf("item %d: got %+v, %v", i, got.item, got.err)
		}
	}
	missing := s.get(nodes[5], want{target: ImmutableTarget([]byte("7:missing"))})
	if !errors.Is(missing.err, ErrNotFound) {
		t.Errorf("missing item: %v, want %v", missing.err, ErrNotFound)
	}
}

func TestSimAlone(t *testing.T) {
	s := newSim(t, 1)
	c := s.add(Config{Bootstrap: []netip.AddrPort{simAddr(99)}})
	it := immutable("alone")
	if got := s.get(c, wantOf(it)); !errors.Is(got.err, ErrAlone) {
		t.Errorf("get: %v, want %v", got.err, ErrAlone)
	}
	if put := s.put(c, it, nil); !errors.Is(put.err, ErrAlone) {
		t.Errorf("put: %v, want %v", put.err, ErrAlone)
	}
	if got := s.get(c, wantOf(it)); got.err != nil || got.took != 0 {
		t.Errorf("own copy: %v after %v, want it at once", got.err, got.took)
	}
}

func TestSimNewestWins(t *testing.T) {
	s := newSim(t, 2)
	nodes := s.network(40, Config{Network: NetworkTag([]byte("sim"))})
	old, newer := mutable(t, 1, "ep", 1, "old"), mutable(t, 1, "ep", 2, "new")
	s.put(nodes[3], old, nil)
	s.put(nodes[4], newer, nil)
	if got := s.get(nodes[3], wantOf(old)); got.err != nil || got.item.Seq != 2 {
		t.Errorf("the node that put seq 1 reads seq %d, %v; want 2", got.item.Seq, got.err)
	}
	stale := s.put(nodes[5], old, nil)
	var refused *Error
	if !errors.As(stale.err, &refused) || refused.Code != CodeSeq || stale.result != (PutResult{old.Target(), 0, 0, 1}) {
		t.Errorf("stale put: %+v, %v", stale.result, stale.err)
	}
	other := s.put(nodes[5], mutable(t, 1, "ep", 2, "other"), nil)
	if !errors.As(other.err, &refused) || refused.Code != CodeSeq {
		t.Errorf("equal seq with another value: %v", other.err)
	}
	w := wantOf(old)
	w.minSeq = 3
	if got := s.get(nodes[9], w); !errors.Is(got.err, ErrNotFound) {
		t.Errorf("seq 3 or more: %v, want %v", got.err, ErrNotFound)
	}
}

func TestSimCAS(t *testing.T) {
	s := newSim(t, 3)
	nodes := s.network(20, Config{Network: NetworkTag([]byte("sim"))})
	s.put(nodes[3], mutable(t, 1, "", 5, "a"), nil)
	wrong, right := int64(4), int64(5)
	put := s.put(nodes[4], mutable(t, 1, "", 6, "b"), &wrong)
	var refused *Error
	if !errors.As(put.err, &refused) || refused.Code != CodeCAS || put.result != (PutResult{put.result.Target, 0, 0, 1}) {
		t.Errorf("cas 4 over seq 5: %+v, %v", put.result, put.err)
	}
	if put := s.put(nodes[4], mutable(t, 1, "", 6, "b"), &right); put.err != nil || put.result.Stored < 7 {
		t.Errorf("cas 5 over seq 5: %+v, %v", put.result, put.err)
	}
}

// Nodes of two networks that know each other's addresses stay apart.
func TestSimNetworksDoNotMix(t *testing.T) {
	s := newSim(t, 4)
	var red, blue []*core
	for range 10 {
		red = append(red, s.add(Config{Network: NetworkTag([]byte("red")), Bootstrap: s.order}))
		blue = append(blue, s.add(Config{Network: NetworkTag([]byte("blue")), Bootstrap: s.order}))
		s.run(200*time.Millisecond, never)
	}
	s.run(time.Minute, never)
	it := immutable("red only")
	if put := s.put(red[2], it, nil); put.result.Stored != 8 {
		t.Fatalf("put: %+v, %v", put.result, put.err)
	}
	if got := s.get(blue[2], wantOf(it)); !errors.Is(got.err, ErrNotFound) {
		t.Errorf("the other network answers %v, want %v", got.err, ErrNotFound)
	}
	ids := map[ID]bool{}
	for _, c := range red {
		ids[c.id] = true
	}
	for _, c := range blue {
		for _, n := range c.table.nearest(s.now, c.id, 100, false) {
			if ids[n.ID] {
				t.Errorf("node %v of the other network is in the table", n.ID)
			}
		}
	}
	if blue[0].stats.Foreign == 0 {
		t.Error("no foreign packet was counted, so the test tried nothing")
	}
}

func TestSimReadOnlyIsNotListed(t *testing.T) {
	s := newSim(t, 5)
	net := Config{Network: NetworkTag([]byte("sim"))}
	nodes := s.network(15, net)
	net.ReadOnly = true
	quiet := s.add(net)
	s.run(2*time.Minute, never)
	it := mutable(t, 1, "ep", 1, "behind a NAT")
	if put := s.put(quiet, it, nil); put.result.Stored != 8 {
		t.Fatalf("put: %+v, %v", put.result, put.err)
	}
	for _, c := range nodes {
		if e := c.table.bucketOf(quiet.id).find(quiet.id); e != nil {
			t.Errorf("node %v lists the read-only node", c.id)
		}
	}
	// It still serves whoever asks it.
	q := frame{tag: net.Network}.query([]byte("aa"), methodGet, bencode.Fields{
		"id": bencode.OfBytes(nodes[0].id[:]), "target": bencode.OfBytes(target(it)),
	})
	quiet.receive(s.now, simAddr(200), q)
	m, err := decodeMessage(quiet.out[len(quiet.out)-1].data)
	if err != nil || m.kind != kindReply || m.body.Get("v").Kind() == bencode.Absent {
		t.Errorf("a read-only node does not answer a get: %v", err)
	}
}

func target(it Item) []byte { id := it.Target(); return id[:] }

// One of the nodes that knew the way is gone and its address book too: the
// network is found again by the nodes that fell out of the table.
func TestSimComesBack(t *testing.T) {
	s := newSim(t, 6)
	nodes := s.network(6, Config{Network: NetworkTag([]byte("sim"))})
	last := nodes[5]
	s.dead[s.order[0]] = true
	cut := s.loss
	s.loss = 1
	s.run(40*time.Minute, never)
	if live, _ := last.table.count(); live != 0 {
		t.Fatalf("%d nodes are in the table after 40 minutes of silence", live)
	}
	s.loss = cut
	s.run(3*time.Minute, never)
	if live, _ := last.table.count(); live < 3 {
		t.Errorf("%d nodes in the table, want the other 4 that live", live)
	}
}

// The network of the design's study: slow links, 2 % loss, 30 % dead nodes.
func TestSimHardNetwork(t *testing.T) {
	s := newSim(t, 7)
	nodes := s.network(120, Config{Network: NetworkTag([]byte("sim"))})
	s.loss = 0.02
	s.delay = func() time.Duration { return time.Duration(20+s.rng.ExpFloat64()*40) * time.Millisecond }
	alive := slices.Clone(nodes)
	for i := range 36 {
		s.dead[s.order[10+i*3]] = true
	}
	alive = slices.DeleteFunc(alive, func(c *core) bool { return s.dead[s.addrOf(c)] })
	var puts, gets []time.Duration
	stored, before := 0, s.packet
	for i := range 30 {
		it := immutable(fmt.Sprint("item ", i))
		put := s.put(alive[(i*7)%len(alive)], it, nil)
		if put.err != nil {
			t.Fatalf("put %d: %v", i, put.err)
		}
		puts, stored = append(puts, put.took), stored+put.result.Stored
		got := s.get(alive[(i*11+5)%len(alive)], wantOf(it))
		if got.err != nil {
			t.Errorf("get %d: %v", i, got.err)
		}
		gets = append(gets, got.took)
	}
	slices.Sort(puts)
	slices.Sort(gets)
	t.Logf("put median %v, get median %v, replicas %.2f, packets %d", puts[15], gets[15], float64(stored)/30, s.packet-before)
	if puts[15] > 2500*time.Millisecond || gets[15] > 600*time.Millisecond || stored < 7*30 {
		t.Errorf("put median %v above 2.5s, or get median %v above 600ms, or replicas %d of 240 below 210", puts[15], gets[15], stored)
	}
}

// What is stored survives the death of half of its keepers.
func TestSimSurvivesDeaths(t *testing.T) {
	s := newSim(t, 8)
	nodes := s.network(40, Config{Network: NetworkTag([]byte("sim"))})
	it := mutable(t, 1, "ep", 1, "still here")
	s.put(nodes[0], it, nil)
	killed := 0
	for _, a := range s.order[1:] {
		if _, ok := s.cores[a].store.get(s.now, it.Target()); ok && killed < 5 {
			s.dead[a] = true
			killed++
		}
	}
	if killed != 5 {
		t.Fatalf("only %d keepers found", killed)
	}
	for _, a := range s.order[1:] {
		if c := s.cores[a]; !s.dead[a] {
			if _, has := c.store.get(s.now, it.Target()); !has {
				if got := s.get(c, wantOf(it)); got.err != nil || got.item.Seq != 1 {
					t.Fatalf("after 5 of 8 keepers died: %v", got.err)
				}
				return
			}
		}
	}
}

// The nearest eight have no room, so the put goes on to the next eight.
func TestSimPutWidens(t *testing.T) {
	s := newSim(t, 10)
	nodes := s.network(30, Config{Network: NetworkTag([]byte("sim"))})
	it := immutable("crowded out")
	putter, others := nodes[0], slices.Clone(nodes[1:])
	slices.SortFunc(others, func(a, b *core) int { return compareDistance(it.Target(), a.id, b.id) })
	for _, c := range others[:8] {
		c.store.most.items = 0
	}
	if put := s.put(putter, it, nil); put.err != nil || put.result != (PutResult{it.Target(), 8, 16, 0}) {
		t.Errorf("put %+v, %v; want 8 of 16", put.result, put.err)
	}
}

// Copies of a mutable item arrive in any order, old ones among them.
func TestMutableQuorum(t *testing.T) {
	old, newer := mutable(t, 1, "", 1, "old"), mutable(t, 1, "", 2, "new")
	for _, c := range []struct {
		name string
		hits []Item
		seq  int64 // after the last hit; -1: goes on
	}{
		{"one copy goes on", []Item{newer}, -1},
		{"two equal end it", []Item{newer, newer}, 2},
		{"old and new go on", []Item{old, newer}, -1},
		{"a late old one does not count", []Item{newer, old, old}, -1},
		{"two of the newest", []Item{old, newer, newer}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := meet(t, Config{Bootstrap: []netip.AddrPort{simAddr(1)}})
			seq := int64(-1)
			g := s.c.get(s.now, wantOf(old), func(it Item, err error) { seq = it.Seq })
			for _, it := range c.hits {
				g.hit(s.now, it)
			}
			if seq != c.seq {
				t.Fatalf("ended with seq %d, want %d", seq, c.seq)
			}
			s.c.wake(s.now.Add(settleTime - 1))
			if seq != c.seq {
				t.Fatalf("ended with seq %d before 300 ms", seq)
			}
			s.c.wake(s.now.Add(settleTime))
			if seq < c.hits[0].Seq {
				t.Errorf("after 300 ms: seq %d", seq)
			}
		})
	}
}

func TestSimItemsExpire(t *testing.T) {
	s := newSim(t, 9)
	nodes := s.network(10, Config{Network: NetworkTag([]byte("sim"))})
	it := immutable("short life")
	s.put(nodes[1], it, nil)
	s.run(itemLife+time.Minute, never)
	if got := s.get(nodes[2], wantOf(it)); !errors.Is(got.err, ErrNotFound) {
		t.Errorf("after two hours: %v, want %v", got.err, ErrNotFound)
	}
	for _, c := range nodes {
		if c.store.held != (usage{}) || len(c.store.sources) != 0 {
			t.Errorf("a store still holds %+v", c.store.held)
		}
	}
}
