package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/big"
	"sync/atomic"
	"testing"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// add raises the lock of person 1.
func (c *town) add(lock *big.Int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locks[account(1)] += types.Amount(types.BaseCeil(lock).Uint64())
}

// clear takes the lock of person 1 away.
func (c *town) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locks[account(1)] = 0
}

// wholePieces are pieces of the full size.
func wholePieces(n int) (pieces [][]byte, want []types.Hash) {
	for i := range n {
		p := bytes.Repeat(types.Be32(uint32(i)+1), types.PieceSize/4)
		pieces = append(pieces, p)
		want = append(want, sha256.Sum256(p))
	}
	return pieces, want
}

// TestOffersUsedUp: the free offers of all peers add up to the job, but the peer
// that has most of it does not offer all of that: the lock is asked for when the
// first piece has to be paid, on a stream that began without one.
func TestOffersUsedUp(t *testing.T) {
	n := newNet(t)
	town := newTown(0)
	pieces, want := wholePieces(40)
	offer := func(c *ServerConfig) { c.UploadPerDay = 8 * 20 * types.PieceSize }
	n.host(2, town, newShelf(pieces), offer)
	n.host(3, town, newShelf(pieces[:5]), offer)
	var said []Estimate
	r := n.reader(town, paying(1), func(c *Config) {
		c.Terms.Agree = func(e Estimate) error {
			said = append(said, e)
			town.add(e.Lock)
			return nil
		}
	})
	b := newBasket(t, want)
	if err := r.Fetch(soon(t), want, peersOf(2, 3), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	n.work.Wait()
	if len(said) != 1 || said[0].High.Sign() == 0 || said[0].Lock.Cmp(said[0].High) < 0 {
		t.Errorf("asked for a lock with %+v", said)
	}
	mine, err := Settled(r.c.Ledger, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(mine) != 1 || mine[0].Units > -15 {
		t.Errorf("at least 15 pieces had to be paid: %+v", mine)
	}
}

// TestLockComesBack: the lock vanishes with its block in the middle of a fetch. The fetch asks for it again, and all is fetched
// and paid once.
func TestLockComesBack(t *testing.T) {
	for name, both := range map[string]bool{"the payer alone": false, "both sides": true} {
		t.Run(name, func(t *testing.T) {
			n := newNet(t)
			mine, theirs := newTown(0), newTown(0)
			pieces, want := piecesOf(200)
			s := newShelf(pieces)
			var given, asked atomic.Int64
			s.before = func(types.Hash) {
				if given.Add(1) != 50 {
					return
				}
				if mine.clear(); both {
					theirs.clear()
				}
			}
			ledger := newBook()
			n.host(2, theirs, s, func(c *ServerConfig) { c.Ledger = ledger })
			r := n.reader(mine, paying(1), func(c *Config) {
				c.Terms.Agree = func(e Estimate) error {
					asked.Add(1)
					mine.add(market.Wei(300, cost))
					theirs.add(market.Wei(300, cost))
					return nil
				}
			})
			b := newBasket(t, want)
			if err := r.Fetch(soon(t), want, peersOf(2), b.put); err != nil {
				t.Fatal(err)
			}
			b.full()
			if err := r.Settle(soon(t)); err != nil {
				t.Error(err)
			}
			n.work.Wait()
			paid, earned := linesOf(t, r.c.Ledger), linesOf(t, ledger)
			if asked.Load() < 2 || paid[0].Units != -s.given.Load() || earned[0].Units != s.given.Load() {
				t.Errorf("asked %d times, %d pieces, lines %v and %v", asked.Load(), s.given.Load(), paid, earned)
			}
		})
	}
}

// TestPayeeBehind: a payee that does not see the lock yet refuses, and is asked
// again.
func TestPayeeBehind(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(20)
	behind := newTown(0)
	n.host(2, behind, newShelf(pieces))
	dials := 0
	r := n.reader(newTown(100), paying(1), func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, to types.Account) (Stream, error) {
			if dials++; dials == 3 {
				behind.add(market.Wei(100, cost))
			}
			return dial(ctx, to)
		}
	})
	b := newBasket(t, want)
	if err := r.Fetch(soon(t), want, peersOf(2), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
}
