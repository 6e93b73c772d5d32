package swarm

import (
	"errors"
	"math/big"
	"testing"

	"github.com/staddle/staddle/market"
)

// TestTellAndCost: the price is told once before anything is paid, a refusal
// there costs nothing, and the end says what was charged.
func TestTellAndCost(t *testing.T) {
	pieces, want := piecesOf(12)
	for name, refusal := range map[string]error{"agreed": nil, "refused": errors.New("too dear for me")} {
		t.Run(name, func(t *testing.T) {
			n, town := newNet(t), newTown(100)
			n.host(2, town, newShelf(pieces))
			n.host(3, town, newShelf(pieces))
			var told []Estimate
			cost := new(big.Int)
			r := n.reader(town, paying(1), func(c *Config) {
				c.Terms.Tell = func(e Estimate) error { told = append(told, e); return refusal }
				c.Terms.Cost = func(wei *big.Int) { cost.Add(cost, wei) }
			})
			b := newBasket(t, want)
			err := r.Fetch(soon(t), want, peersOf(2, 3), b.put)
			if !errors.Is(err, refusal) {
				t.Fatalf("error %v, want %v", err, refusal)
			}
			all := market.Wei(12, town.price)
			if len(told) != 1 || told[0].Pieces != 12 || told[0].Low.Cmp(all) != 0 || told[0].Likely().Cmp(all) != 0 {
				t.Errorf("told %+v", told)
			}
			charged := int64(12)
			if refusal != nil {
				charged = 0
			} else {
				b.full()
			}
			if want := market.Wei(uint64(charged), town.price); cost.Cmp(want) != 0 {
				t.Errorf("charged %s wei, want %s", cost, want)
			}
		})
	}
}

// TestLanes: many jobs at once ask one peer for no more streams than it takes.
func TestLanes(t *testing.T) {
	pieces, want := piecesOf(40)
	n, town := newNet(t), friends()
	n.host(2, town, newShelf(pieces), func(c *ServerConfig) { c.Limits.PerPeer = perPeer })
	r := n.reader(town)
	ended := make(chan error)
	for range 30 {
		go func() {
			b := newBasket(t, want)
			err := r.Fetch(soon(t), want, peersOf(2), b.put)
			b.full()
			ended <- err
		}()
	}
	for range 30 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(r.lanes.of) > 0 {
		t.Errorf("%d lanes are left", len(r.lanes.of))
	}
}
