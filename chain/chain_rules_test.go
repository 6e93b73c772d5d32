package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// T3: a block more than 15 s ahead of the clock is held, not punished, and taken
// when its time has come.
func TestT3(t *testing.T) {
	v, peer := lies(t)
	defer v.close()
	b := v.next(1)
	v.now = b.Header.Time - 15_001
	for range 3 { // the same block again and again takes one place
		v.push(0, peer, &b)
	}
	c := v.all[0]
	if c.Tip().Header.Height != 3 || c.isBanned(peer) || len(c.held) != 1 {
		t.Fatalf("tip %d, banned %t, %d held", c.Tip().Header.Height, c.isBanned(peer), len(c.held))
	}
	if ready := c.due(); len(ready) != 0 {
		t.Fatal("taken too early")
	}
	v.now++
	ready := c.due()
	if len(ready) != 1 || len(c.held) != 0 {
		t.Fatalf("%d blocks are due, %d held", len(ready), len(c.held))
	}
	for _, h := range ready {
		c.inbox(h)
	}
	v.settle()
	if c.Tip().Name != b.Name {
		t.Fatal("the block was not taken")
	}
	// Exactly 15 s ahead is not held.
	b = v.next(1)
	v.now = b.Header.Time - 15_000
	v.push(0, peer, &b)
	if c.Tip().Name != b.Name {
		t.Fatal("a block 15 s ahead was held")
	}
}

// TestHeldBlocksOfLiars: inventions from the far future do not keep out what is
// due soon.
func TestHeldBlocksOfLiars(t *testing.T) {
	v, peer := lies(t)
	defer v.close()
	c := v.all[0]
	for k := range 3 * maxHeld {
		b := types.Block{Name: types.NodeCID(types.Be64(uint64(k))), Header: v.fake(9)}
		b.Header.Time = 1 << 50
		v.push(0, peer, &b)
	}
	if len(c.held) != maxHeld {
		t.Fatalf("%d blocks are held, at most %d", len(c.held), maxHeld)
	}
	good := v.next(1)
	v.now = good.Header.Time - 16_000
	v.push(0, peer, &good)
	v.now += 2_000
	for _, h := range c.due() {
		c.inbox(h)
	}
	v.settle()
	if c.Tip().Name != good.Name {
		t.Fatal("the true block found no place")
	}
}

// C7: a fork without the checkpoint of the invite is not followed.
func TestC7(t *testing.T) {
	v := begin(t, 3)
	defer v.close()
	v.mine(0, 1, 2)
	v.split([]int{0}, []int{1}, []int{2})
	for range 3 {
		v.mine(0)
	}
	for range 6 {
		v.mine(1)
	}
	at := v.all[0].Tip()
	anchor := func(cfg *Config) { cfg.Anchor = types.Cursor{Height: at.Header.Height, Root: at.Name} }
	c := v.open(2, anchor)
	v.split()
	peer := signer(1).Account()
	v.push(2, peer, v.all[1].Tip())
	if c.Tip().Header.Height >= at.Header.Height || !c.isBanned(peer) {
		t.Fatalf("followed to block %d, banned: %t", c.Tip().Header.Height, c.isBanned(peer))
	}
	v.push(2, signer(0).Account(), at)
	if c.Tip().Name != at.Name {
		t.Fatalf("tip %d, want the fork of the invite", c.Tip().Header.Height)
	}
	// Once there, the anchor's block itself is not given up for a heavier fork.
	v.now += banMillis + 1
	v.push(2, peer, v.all[1].Tip())
	if name, err := c.NameAt(at.Header.Height); err != nil || name != at.Name {
		t.Fatalf("block %d is %s: %v", at.Header.Height, name, err)
	}
	for range 4 {
		v.mine(0)
	}
	if c.Tip().Header.Height != at.Header.Height+4 {
		t.Fatalf("does not follow the fork with the checkpoint: block %d", c.Tip().Header.Height)
	}
}

// TestKilledMiner: a miner that dies at any save goes on after a restart and
// never signs two headers of one height.
func TestKilledMiner(t *testing.T) {
	for at := 1; at <= 12; at++ {
		t.Run(fmt.Sprint("save ", at), func(t *testing.T) {
			v := begin(t, 1)
			defer v.close()
			signed := map[types.Height]cid.Cid{}
			watch := func(c *Chain) {
				for _, name := range v.fork(0) {
					b, err := c.Block(name)
					if err != nil {
						t.Fatal(err)
					}
					h := b.Header.Height
					if old, ok := signed[h]; ok && old != name {
						t.Fatalf("two headers of height %d", h)
					}
					signed[h] = name
				}
			}
			v.kept[0].failAt = at
			for k := range 6 {
				_ = v.all[0].Submit(types.KindWire, gift(k), fmt.Sprint(k))
				v.settle()
				v.mine(0)
			}
			if v.all[0].Trouble() == nil {
				t.Fatal("the store failed unseen")
			}
			tip := v.all[0].Tip().Header.Height
			v.mine(0)
			if h := v.all[0].Tip().Header.Height; h != tip {
				t.Fatalf("block %d was made without a store", h)
			}
			watch(v.all[0])
			v.kept[0].failAt = 0
			c := v.open(0)
			if c.Trouble() != nil {
				t.Fatal("the fault outlives the restart")
			}
			for range 4 {
				c.nudge()
				v.settle()
				if !v.mine(0) {
					t.Fatalf("the only miner cannot make block %d any more", c.Tip().Header.Height+1)
				}
			}
			watch(c)
			v.agree()
			for k := range 6 {
				if n := v.balance(0, gift(k).To); n != 0 && n != types.Amount(k+1) {
					t.Fatalf("wire %d was executed more than once: %d", k, n)
				}
			}
		})
	}
}

// TestNoSecondHeader: a fork that is lost leaves heights at which this account
// has signed; it does not sign them again.
func TestNoSecondHeader(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	v.split([]int{0}, []int{1})
	for range 3 {
		v.mine(0)
	}
	for range 5 {
		v.mine(1)
	}
	v.split()
	v.poll()
	v.agree()
	if h := v.all[0].Tip().Header.Height; h != 5 {
		t.Fatalf("tip %d", h)
	}
	c := v.open(0)
	for h := types.Height(1); h <= 6; h++ {
		if done, err := c.minedAt(h); err != nil || done != (h <= 3) {
			t.Errorf("height %d signed: %t, %v", h, done, err)
		}
	}
	if !v.mine(0) { // height 6 is new for it
		t.Fatal("member 0 may not mine any more")
	}
}

// TestTurnOfAnotherTip: a miner whose tip changed under it makes no block that is
// too early, nor one of a height that it has signed.
func TestTurnOfAnotherTip(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	v.mine(0)
	c := v.all[0]
	at, _, err := v.state(0).Turn(c.cfg.Signer.Account())
	if err != nil {
		t.Fatal(err)
	}
	v.now = at - 1
	c.mineOnce(t.Context())
	if c.Tip().Header.Height != 1 {
		t.Fatal("a block was made too early")
	}
	// Back to a tip below what it signed, as after a change of forks.
	genesis, err := c.Block(c.Tip().Header.Previous)
	if err != nil {
		t.Fatal(err)
	}
	c.tip = genesis
	v.now = at + 1_000_000
	c.mineOnce(t.Context())
	if c.Tip().Header.Height != 0 {
		t.Fatal("a second header of one height was signed")
	}
}

// TestStoreFault: a store that fails stops the chain; it says so.
func TestStoreFault(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	v.mine(0, 1)
	v.kept[0].failAt = 1
	v.mine(1)
	c := v.all[0]
	if c.Tip().Header.Height != 1 {
		t.Fatalf("tip %d without a store", c.Tip().Header.Height)
	}
	if err := c.Submit(types.KindWire, gift(0), "gift"); !errors.Is(err, errDisk) {
		t.Fatalf("submit: %v", err)
	}
	if c.isBanned(signer(1).Account()) {
		t.Fatal("the peer is punished for our disk")
	}
	if err := c.Run(context.Background()); !errors.Is(err, errDisk) {
		t.Fatalf("run ends with %v", err)
	}
}

// TestAnyOrder: blocks that come twice, backwards and from several peers make
// the same chain.
func TestAnyOrder(t *testing.T) {
	v := begin(t, 3)
	defer v.close()
	v.split([]int{0}, []int{1}, []int{2})
	var blocks []*types.Block
	for range 6 {
		v.mine(0)
		blocks = append(blocks, v.all[0].Tip())
	}
	v.split()
	for _, k := range []int{0, 0, 2, 1, 3, 3, 5, 4, 0, 5} {
		v.push(1, signer(0).Account(), blocks[k])
		v.push(1, signer(2).Account(), blocks[k])
	}
	if v.all[1].Tip().Name != blocks[5].Name {
		t.Fatalf("tip %d", v.all[1].Tip().Header.Height)
	}
	if out, err := v.all[1].Add(t.Context(), blocks[2], types.Account{}); out != Known || err != nil {
		t.Fatalf("a known block: %d, %v", out, err)
	}
	other := *blocks[2]
	other.Header.Chain[0] ^= 1
	if _, err := v.all[1].Add(t.Context(), &other, types.Account{}); err == nil {
		t.Fatal("a block of another chain is taken")
	}
}

// TestMissingRangeList: a node that does not hold what a transaction names asks
// the peer that sent it, for the pool and for the block.
func TestMissingRangeList(t *testing.T) {
	v := begin(t, 3)
	defer v.close()
	list := make([]types.Range, 5000) // two blocks of ranges
	for i := range list {
		list[i] = types.Range{ID: types.H("staddle/test/range", types.Be32(uint32(i))), First: uint32(i + 1), Count: 1}
	}
	head, nodes := types.RangeBlocks(list)
	root := types.NodeCID([]byte("index"))
	a := &types.Attachment{
		Index: root, UnixFS: root, Pieces: 5000, Size: 5000 * types.PieceSize, Ranges: head, RangeCount: 5000, Name: "d", Visibility: types.VisibilityPublic,
	}
	body := &types.Message{Attachment: a}
	c := v.all[0]
	if err := c.Submit(types.KindMessage, body, "publish"); err == nil {
		t.Fatal("a list that nobody holds is taken")
	}
	if err := c.store.Save(nodes, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(types.KindMessage, body, "publish"); err != nil {
		t.Fatal(err)
	}
	v.split([]int{0, 1}, []int{2})
	v.settle()
	if n := len(v.all[1].pool.byID); n != 1 {
		t.Fatalf("%d transactions in the other's pool", n)
	}
	v.mine(1)
	v.split()
	v.poll()
	v.agree()
	for i := range v.all {
		d, err := v.state(i).Dataset(a.Dataset())
		if err != nil || d == nil {
			t.Fatalf("member %d: %v", i, err)
		}
		if r, err := v.state(i).Ranges(a, 4990, 10); err != nil || len(r) != 10 || r[9] != list[4999] {
			t.Fatalf("member %d: %v, %v", i, r, err)
		}
	}
}

// TestPool: one transaction a sender and nonce, replaced by a better one, within
// limits.
func TestPool(t *testing.T) {
	tx := func(sender byte, nonce uint64, fee types.Amount, change ...func(*types.Tx)) *types.Tx {
		x := &types.Tx{Version: 1, Sender: types.Account{sender}, Nonce: nonce, Fee: fee, Expiry: 1000}
		for _, c := range change {
			c(x)
		}
		return x
	}
	p := newPool()
	steps := []struct {
		x  *types.Tx
		ok bool
	}{
		{tx(1, 5, 10), true},
		{tx(1, 5, 10), true}, // known
		{tx(1, 5, 10, func(t *types.Tx) { t.Body = []byte{1} }), false},
		{tx(1, 5, 9), false},
		{tx(1, 5, 11), true},
		{tx(1, 5, 2, func(t *types.Tx) { t.Recent.Height = 7 }), true},
		{tx(1, 5, 2, func(t *types.Tx) { t.Recent.Height = 6 }), false},
	}
	for i, s := range steps {
		if err := p.add(s.x); (err == nil) != s.ok {
			t.Errorf("step %d: %v", i, err)
		}
		if len(p.byID) != 1 || len(p.slots) != 1 || p.per[types.Account{1}] != 1 {
			t.Fatalf("step %d: %d transactions, %d slots, %d of the sender", i, len(p.byID), len(p.slots), p.per[types.Account{1}])
		}
	}
	for n := uint64(6); n < 5+poolPerAccount; n++ {
		if err := p.add(tx(1, n, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.add(tx(1, 500, 10)); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Errorf("transaction 65 of an account: %v", err)
	}
	if err := p.add(tx(1, 20, 99)); err != nil {
		t.Errorf("a better one at the limit: %v", err)
	}
	for k := byte(2); k < 5; k++ {
		if err := p.add(tx(k, 1, types.Amount(k)*50)); err != nil {
			t.Fatal(err)
		}
	}
	list := p.ordered()
	for i := 1; i < len(list); i++ {
		a, b := &list[i-1], &list[i]
		if a.Sender == b.Sender && a.Nonce >= b.Nonce {
			t.Errorf("nonce %d before %d", a.Nonce, b.Nonce)
		}
	}
	if list[0].Sender != (types.Account{4}) || list[1].Sender != (types.Account{3}) || list[2].Sender != (types.Account{2}) {
		t.Errorf("senders %v first, want the best fees", list[0].Sender[:1])
	}
	p.settle([]types.Tx{*tx(4, 1, 200), *tx(3, 1, 77)}, []types.Tx{*tx(9, 1, 5)})
	if p.per[types.Account{4}] != 0 || p.per[types.Account{3}] != 0 || p.per[types.Account{9}] != 1 {
		t.Errorf("after a block: %v", p.per)
	}
	p.expire(1001)
	if len(p.byID)+len(p.slots)+len(p.per)+p.size != 0 {
		t.Errorf("after all expired: %d transactions of %d bytes", len(p.byID), p.size)
	}
	big := func(k int) *types.Tx {
		return tx(byte(k), uint64(k), 1, func(t *types.Tx) { t.Body = make([]byte, types.MaxBody) })
	}
	full := 0
	for k := range 64 {
		if err := p.add(big(k)); err != nil {
			full++
		}
	}
	if full == 0 || p.size > poolBytes {
		t.Errorf("pool of %d bytes, %d refused", p.size, full)
	}
}

// TestDeepFork: a fork beyond the mutable range is not followed by itself.
func TestDeepFork(t *testing.T) {
	v := begin(t, 0)
	defer v.close()
	v.gen = genesis(2)
	v.gen.Rules.BlockMillis, v.gen.Time, v.gen.Rules.MutableRange = 1000, v.now, 6
	v.join()
	v.join()
	v.split([]int{0}, []int{1})
	for range 8 {
		v.mine(0)
	}
	for range 12 {
		v.mine(1)
	}
	v.split()
	v.push(0, signer(1).Account(), v.all[1].Tip())
	c := v.all[0]
	if c.Tip().Header.Height != 8 || c.Trouble() != nil || c.isBanned(signer(1).Account()) {
		t.Fatalf("tip %d, trouble %v, banned %t", c.Tip().Header.Height, c.Trouble(), c.isBanned(signer(1).Account()))
	}
}

// TestEventsAgain: events that left memory are computed again, the same.
func TestEventsAgain(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	for range 18 {
		v.mine(0, 1)
	}
	c := v.all[0]
	_, before, err := c.Updates(types.Cursor{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	c.events = newRecent()
	_, after, err := c.Updates(types.Cursor{}, 100)
	if err != nil || len(after) != len(before) || len(after) != 19 {
		t.Fatalf("%d blocks, %d before: %v", len(after), len(before), err)
	}
	closed := 0
	for i := range after {
		if fmt.Sprint(after[i].Events) != fmt.Sprint(before[i].Events) {
			t.Errorf("block %d: events %v, were %v", i, after[i].Events, before[i].Events)
		}
		for _, e := range after[i].Events {
			if _, ok := e.(types.Closed); ok {
				closed++
			}
		}
	}
	if closed != 2 {
		t.Errorf("%d epochs closed in 18 blocks", closed)
	}
	if _, _, err := c.Updates(types.Cursor{Height: 3, Root: types.NodeCID(nil)}, 9); !errors.Is(err, ErrUnknownBlock) {
		t.Errorf("a cursor of nowhere: %v", err)
	}
}
