package swarm

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/types"
)

// TestFaultyPeersAreReplaced: with one peer that stops answering, one that lies
// and one that goes away in the middle, the others bring all within seconds, at
// the limits that nodes have.
func TestFaultyPeersAreReplaced(t *testing.T) {
	var pieces [][]byte
	var want []types.Hash
	for i := range 400 {
		p := bytes.Repeat(types.Be32(uint32(i)+1), 4096)
		pieces, want = append(pieces, p), append(want, sha256.Sum256(p))
	}
	n, town := newNet(t), friends()
	over := make(chan struct{})
	defer close(over)

	stalls := newShelf(pieces)
	stalls.before = func(types.Hash) {
		if stalls.given.Load() >= 3 {
			<-over
		}
	}
	n.host(2, town, stalls)

	lies := newShelf(pieces)
	for h, b := range lies.pieces {
		b = bytes.Clone(b)
		b[9] ^= 1
		lies.pieces[h] = b
	}
	n.host(3, town, lies)

	leaves := newShelf(pieces)
	server := n.host(4, town, leaves)
	n.put(4, func(st Stream) {
		leaves.before = func(types.Hash) {
			if leaves.given.Load()%7 == 6 {
				_ = st.Reset(resetBase)
			}
		}
		_ = server.Serve(soon(t), st)
	})

	slow := newShelf(pieces)
	slow.before = func(types.Hash) { time.Sleep(200 * time.Millisecond) }
	n.host(5, town, slow)
	n.host(6, town, newShelf(pieces))

	var mu sync.Mutex
	var liars []Peer
	r := n.reader(town, func(c *Config) {
		c.Limits = Limits{}
		c.Lied = func(p Peer, _ error) {
			mu.Lock()
			defer mu.Unlock()
			liars = append(liars, p)
		}
	})
	b := newBasket(t, want)
	began := time.Now()
	if err := r.Fetch(soon(t), want, peersOf(2, 3, 4, 5, 6), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("took %s", took)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(liars) != 1 || liars[0].Account != account(3) {
		t.Errorf("liars %v", liars)
	}
}
