package swarm

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

const mib = 1 << 20

// TestPlanProperties plays a plan against peers that are fast, slow, partial,
// lying and vanishing, in virtual time: every item comes once, nothing is asked
// of a peer that lied or lacks it, nobody has more under way than allowed.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "items")
		w := &world{t: t, plan: NewPlan(n), got: make([]int, n)}
		for range rapid.IntRange(1, 5).Draw(t, "peers") {
			w.peers = append(w.peers, &virtual{
				rate:    rapid.Uint64Range(50<<10, 40*mib).Draw(t, "rate"),
				every:   rapid.IntRange(1, 3).Draw(t, "has every"),
				lie:     rapid.IntRange(0, 60).Draw(t, "lie at"),
				vanish:  rapid.IntRange(0, 40).Draw(t, "vanish every"),
				pending: map[int]types.Millis{},
			})
		}
		w.peers = append(w.peers, &virtual{rate: mib, every: 1, pending: map[int]types.Millis{}}) // one is honest
		w.run()
		for i, times := range w.got {
			if times != 1 {
				t.Fatalf("item %d was got %d times", i, times)
			}
		}
	})
}

// virtual is a peer in virtual time.
type virtual struct {
	rate          uint64
	every         int // has each item whose number it divides
	lie, vanish   int // after so many items; 0: never
	sent          int
	pending       map[int]types.Millis // item to the time when it is ready
	queue         []int
	busy          types.Millis
	lost          int
	banned        bool
	bytes, wasted int
}

type world struct {
	t     *rapid.T
	plan  *Plan
	peers []*virtual
	got   []int
	now   types.Millis
}

func (w *world) run() {
	for w.plan.Left() > 0 {
		for i, v := range w.peers {
			w.ask(i, v)
		}
		w.now += 50
		for i, v := range w.peers {
			w.answer(i, v)
		}
		if w.now > 3600*1000 {
			w.t.Fatalf("%d items are left after an hour", w.plan.Left())
		}
	}
}

func (w *world) ask(i int, v *virtual) {
	for {
		s, ok := w.plan.Next(i, maxSpan, Pace{Rate: v.rate}, w.now)
		if !ok {
			return
		}
		if v.banned || s.Count > maxSpan || s.First < 0 || s.end() > len(w.got) {
			w.t.Fatalf("peer %d, banned %t, is asked for %+v", i, v.banned, s)
		}
		for item := s.First; item < s.end(); item++ {
			if _, twice := v.pending[item]; twice {
				w.t.Fatalf("item %d is asked twice of peer %d", item, i)
			}
			v.busy = max(v.busy, w.now) + types.Millis(types.PieceSize*1000/v.rate)
			v.pending[item] = v.busy
			v.queue = append(v.queue, item)
		}
		if len(v.pending) > maxDepth {
			w.t.Fatalf("peer %d has %d items under way", i, len(v.pending))
		}
	}
}

func (w *world) answer(i int, v *virtual) {
	for len(v.queue) > 0 && v.pending[v.queue[0]] <= w.now {
		item := v.queue[0]
		v.queue = v.queue[1:]
		delete(v.pending, item)
		v.sent++
		switch {
		case item%v.every != 0:
			w.plan.Refused(i, item)
		case v.lie > 0 && v.sent == v.lie:
			w.plan.Lost(i, Lied)
			v.banned, v.queue = true, nil
			clear(v.pending)
		case v.vanish > 0 && v.sent%v.vanish == 0:
			w.plan.Lost(i, Vanished)
			v.queue, v.busy = nil, w.now
			clear(v.pending)
			v.lost++
			v.banned = v.lost == maxVanish
		case w.plan.Got(i, item):
			w.got[item]++
			v.bytes++
		default:
			v.wasted++
		}
	}
}

// TestPlanSharesByRate: who sends eight times as fast brings most, the slow one
// does not hold up the end, and little travels twice.
func TestPlanSharesByRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 400
		w := &world{t: t, plan: NewPlan(n), got: make([]int, n)}
		for _, rate := range []uint64{8 * mib, 8 * mib, mib} {
			w.peers = append(w.peers, &virtual{rate: rate, every: 1, pending: map[int]types.Millis{}})
		}
		w.run()
		fast, slow := w.peers[0].bytes+w.peers[1].bytes, w.peers[2].bytes
		if fast < 8*slow {
			t.Fatalf("fast peers brought %d, the slow one %d", fast, slow)
		}
		// 400 pieces of 256 KiB at 17 MiB/s take 5.9 s.
		if w.now > 8000 {
			t.Fatalf("took %d ms", w.now)
		}
		if wasted := w.peers[0].wasted + w.peers[1].wasted + w.peers[2].wasted; wasted > 10 {
			t.Fatalf("%d items came twice", wasted)
		}
	})
}

// TestPlanStalledPeer: what a peer sits on goes to another within ten seconds.
func TestPlanStalledPeer(t *testing.T) {
	p := NewPlan(4)
	s, ok := p.Next(1, 1, Pace{}, 0)
	if !ok || s != (Span{0, 1}) {
		t.Fatalf("first: %+v", s)
	}
	var asked []Span
	for now := types.Millis(100); p.Left() > 0 && now < 20_000; now += 100 {
		if s, ok := p.Next(2, 1, Pace{}, now); ok {
			asked = append(asked, s)
			p.Got(2, s.First)
		}
	}
	if want := []Span{{1, 1}, {2, 1}, {3, 1}, {0, 1}}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
	if p.Got(1, 0) {
		t.Error("a second copy counts")
	}
}

func TestPlanFocus(t *testing.T) {
	p := NewPlan(1000)
	p.Focus(Span{500, 3})
	var first []int
	for range 2 {
		s, _ := p.Next(1, 1, Pace{}, 0)
		first = append(first, s.First)
		p.Got(1, s.First)
	}
	p.Focus(Span{900, 50})
	for range 2 {
		s, _ := p.Next(1, 1, Pace{}, 0)
		first = append(first, s.First)
		p.Got(1, s.First)
	}
	p.Focus(Span{-5, 2000}) // a careless caller
	s, _ := p.Next(1, 1, Pace{}, 0)
	if first = append(first, s.First); !slices.Equal(first, []int{500, 501, 900, 901, 0}) {
		t.Errorf("asked for %v", first)
	}
}

func TestPlanBans(t *testing.T) {
	p := NewPlan(10)
	if _, ok := p.Next(1, 16, Pace{}, 0); !ok {
		t.Fatal("nothing to ask")
	}
	p.Lost(1, Lied)
	if _, ok := p.Next(1, 16, Pace{}, 99_999); ok || p.Useful(1) {
		t.Error("a peer that lied is asked again")
	}
	if s, ok := p.Next(2, 16, Pace{}, 0); !ok || s.First != 0 {
		t.Errorf("what it had did not go back: %+v", s)
	}
	for range 2 {
		p.Lost(2, Vanished)
		if _, ok := p.Next(2, 16, Pace{}, 0); !ok || !p.Useful(2) {
			t.Error("a peer that vanished cannot come again")
		}
	}
	p.Lost(2, Vanished)
	if _, ok := p.Next(2, 16, Pace{}, 0); ok || p.Useful(2) {
		t.Error("a peer that vanished three times comes again")
	}
	for i := range 10 {
		p.Refused(3, i)
	}
	if p.Useful(3) {
		t.Error("a peer without anything is useful")
	}
	if _, ok := p.Next(3, 16, Pace{}, 99_999); ok {
		t.Error("a peer is asked for what it lacks")
	}
}
