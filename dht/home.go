package dht

import (
	"net/netip"
	"slices"
	"time"
)

const (
	maxDoors      = 64 // bootstrap addresses
	maxLost       = 16 // addresses of nodes that fell out of the table
	maintainEvery = 5 * time.Second
	rejoinLeast   = 5 * time.Second
	rejoinMost    = time.Minute
)

// home is how a node stays in its network: where it came in, where it could
// come in again, and when it looks around.
type home struct {
	doors   []netip.AddrPort // given at the start
	lost    []netip.AddrPort // were in the table once, newest last
	probes  int              // pings of askers under way
	joinAt  time.Time        // not before
	pause   time.Duration    // between two attempts, doubling
	refresh bool             // a bucket is being refreshed
}

func (h *home) remember(a netip.AddrPort) {
	if slices.Contains(h.lost, a) {
		return
	}
	if len(h.lost) == maxLost {
		h.lost = slices.Delete(h.lost, 0, 1)
	}
	h.lost = append(h.lost, a)
}

// maintain runs every 5 seconds: forget what is old, ping one doubtful node,
// refresh one stale bucket, look for company while there is little.
func (c *core) maintain(now time.Time) {
	c.timers.set(now.Add(maintainEvery), c.maintain)
	c.store.expire(now)
	c.peers.expire(now)
	for a, g := range c.given {
		if now.Sub(g.at) >= tokenLife {
			delete(c.given, a)
		}
	}
	if n, ok := c.table.doubt(now); ok {
		c.ping(now, n)
	}
	c.refreshOne(now)
	if live, _ := c.table.count(); live < k && !now.Before(c.home.joinAt) {
		c.join(now, func(time.Time) {})
	}
}

// refreshOne looks for a random id in the bucket that was quiet for longest.
func (c *core) refreshOne(now time.Time) {
	if c.home.refresh {
		return
	}
	shared, ok := c.table.stalest(now)
	if !ok {
		return
	}
	target, err := randomNear(c.rand, c.id, shared)
	if err != nil {
		return
	}
	l := &lookup{c: c, target: target, method: methodFindNode}
	l.end = func(time.Time) { c.home.refresh = false }
	c.home.refresh = true
	l.start(now, nil)
}

// join looks for our own id, from the bootstrap addresses and from the table,
// and calls done when it has found all that it can.
func (c *core) join(now time.Time, done func(now time.Time)) {
	c.home.pause = min(max(2*c.home.pause, rejoinLeast), rejoinMost)
	c.home.joinAt = now.Add(c.home.pause)
	l := &lookup{c: c, target: c.id, method: methodFindNode}
	l.end = done
	l.start(now, append(slices.Clone(c.home.doors), c.home.lost...))
}
