package dht

import (
	"container/heap"
	"slices"
	"time"
)

// timer calls do at a moment. Who no longer needs it lets do return at once:
// every timer of the engine is due within seconds.
type timer struct {
	at    time.Time
	order uint64 // equal moments keep the order in which they were set
	do    func(now time.Time)
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return t
}

// timers is the engine's future.
type timers struct {
	heap timerHeap
	next uint64
}

func (t *timers) set(at time.Time, do func(now time.Time)) {
	t.next++
	heap.Push(&t.heap, timer{at: at, order: t.next, do: do})
}

// due is the moment of the next timer.
func (t *timers) due() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].at, true
}

// run calls all timers that are due at now.
func (t *timers) run(now time.Time) {
	for len(t.heap) > 0 && !t.heap[0].at.After(now) {
		heap.Pop(&t.heap).(timer).do(now)
	}
}

const (
	hardTimeout = 3 * time.Second
	softLeast   = 300 * time.Millisecond
	softMost    = time.Second
)

// roundTrips are the last 64 measured, for an estimate of when an answer is
// late.
type roundTrips struct {
	last [64]time.Duration
	n    int
}

func (r *roundTrips) add(d time.Duration) {
	r.last[r.n%len(r.last)] = d
	r.n++
}

// soft is how long a lookup waits before it no longer counts on an answer: the
// 95th of 100 round trips, within 300 to 1,000 ms; 1,000 before the first 8.
func (r *roundTrips) soft() time.Duration {
	n := min(r.n, len(r.last))
	if n < 8 {
		return softMost
	}
	sorted := slices.Clone(r.last[:n])
	slices.Sort(sorted)
	return min(max(sorted[n*95/100], softLeast), softMost)
}
