package chain

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// follower keeps what it did as a list of blocks, by undo and do alone.
type follower struct {
	c      *Chain
	at     types.Cursor
	blocks []types.Update
}

func (f *follower) pull(t tester, n int) {
	t.Helper()
	undo, do, err := f.c.Updates(f.at, n)
	if err != nil {
		t.Fatalf("updates: %v", err)
	}
	for _, u := range undo {
		last := f.blocks[len(f.blocks)-1]
		if u.Block.Name != last.Block.Name || len(u.Events) != len(last.Events) {
			t.Fatalf("undo block %d, the last done is %d", u.Block.Header.Height, last.Block.Header.Height)
		}
		f.blocks = f.blocks[:len(f.blocks)-1]
		f.at = types.Cursor{Height: u.Block.Header.Height - 1, Root: u.Block.Header.Previous}
	}
	for _, u := range do {
		if int(u.Block.Header.Height) != len(f.blocks) || len(f.blocks) > 0 && u.Block.Header.Previous != f.blocks[len(f.blocks)-1].Block.Name {
			t.Fatalf("do block %d after %d blocks", u.Block.Header.Height, len(f.blocks))
		}
		f.blocks = append(f.blocks, u)
		f.at = types.Cursor{Height: u.Block.Header.Height, Root: u.Block.Name}
	}
}

// TestPartitionsReunite: two halves mine apart; when they hear each other again
// the heavier fork is everybody's, followers undo and do, and what the lighter
// one included comes back.
func TestPartitionsReunite(t *testing.T) {
	v := begin(t, 4)
	defer v.close()
	for range 5 {
		v.mine(0, 1, 2, 3)
	}
	v.agree()
	f := &follower{c: v.all[0]}
	f.pull(t, 100)
	v.split([]int{0, 1}, []int{2, 3})
	to := signer(77).Account()
	for k := range 3 { // in three blocks of the lighter side
		if err := v.all[0].Submit(types.KindWire, &types.Wire{To: to, Amount: types.Coin << k}, fmt.Sprint("gift ", k)); err != nil {
			t.Fatal(err)
		}
		v.settle()
		v.mine(0, 1)
	}
	if v.all[0].Waiting("gift 0") || v.balance(0, to) != 7*types.Coin {
		t.Fatalf("the lighter side has not included the wires: %s", v.balance(0, to))
	}
	f.pull(t, 2)
	f.pull(t, 100)
	for range 8 {
		v.mine(2, 3)
	}
	before := v.fork(0)
	v.split()
	v.poll()
	v.agree()
	if b := v.fork(0); b[5] != before[5] || b[6] == before[6] {
		t.Fatal("the forks do not part after block 5")
	}
	f.pull(t, 3)
	f.pull(t, 100)
	if len(f.blocks) != int(v.all[0].Tip().Header.Height)+1 {
		t.Fatalf("the follower did %d blocks of %d", len(f.blocks), v.all[0].Tip().Header.Height+1)
	}
	for range 6 {
		v.mine(0, 1, 2, 3)
	}
	v.agree()
	if n := v.balance(2, to); n != 7*types.Coin {
		t.Fatalf("%s arrived on the heavier fork, want 7", n)
	}
}

// TestWishesExecuteOnce: whatever forks win, lose and win again, each wish is
// executed exactly once in the end.
func TestWishesExecuteOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := begin(r, 4)
		defer v.close()
		wished := map[types.Account]types.Amount{}
		n := func(low, high int, what string) int { return rapid.IntRange(low, high).Draw(r, what) }
		for step := range n(20, 60, "steps") {
			switch n(0, 9, "what") {
			case 0:
				v.split([]int{0, 1}, []int{2, 3})
			case 1:
				v.split([]int{0, 2}, []int{1, 3})
			case 2:
				v.split()
				v.poll()
			case 3:
				i := n(0, 3, "restart")
				v.all[i].talk.Wait()
				v.open(i)
			case 4: // soon refused for good: its epoch passes
				by := n(0, 3, "by")
				e := v.state(by).Epochal()
				_ = v.all[by].Submit(types.KindLock, &types.Lock{Epoch: e, Amount: types.Amount(1000 + step)}, fmt.Sprint("lock ", step))
			case 5, 6:
				to := signer(byte(100 + len(wished))).Account()
				amount := types.Amount(len(wished) + 1)
				if err := v.all[n(0, 3, "by")].Submit(types.KindWire, &types.Wire{To: to, Amount: amount}, fmt.Sprint("wire ", step)); err != nil {
					r.Fatalf("submit: %v", err)
				}
				wished[to] = amount
				if n(0, 1, "heard") == 1 {
					v.settle()
				}
			default:
				group := []int{n(0, 3, "miner"), n(0, 3, "miner")}
				for range n(1, 4, "blocks") {
					v.mine(group...)
				}
			}
		}
		v.split()
		for range 12 {
			v.poll()
			v.mine(0, 1, 2, 3)
		}
		v.poll()
		v.agree()
		for to, want := range wished {
			if have := v.balance(0, to); have != want {
				r.Fatalf("account %s got %d, want %d", to.Short(), have, want)
			}
		}
		done := map[string]int{}
		for _, name := range v.fork(0) {
			b, err := v.all[0].Block(name)
			if err != nil {
				r.Fatalf("block: %v", err)
			}
			for _, x := range b.Txs {
				if self := types.Marshal(&types.Wire{To: x.Sender, Amount: 1}); string(self) == string(x.Body) {
					continue // fills a nonce
				}
				if done[string(x.Body)]++; done[string(x.Body)] > 1 {
					r.Fatalf("a %s was executed twice", x.Kind)
				}
			}
		}
		for i, c := range v.all {
			for _, w := range c.queue.sorted() {
				if w.kind == types.KindWire {
					r.Fatalf("member %d still has %s", i, w.name)
				}
			}
		}
	})
}
