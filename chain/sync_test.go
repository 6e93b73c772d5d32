package chain

import (
	"context"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// TestCatchUp: somebody who was away for 200 blocks, and a newcomer, follow a
// pushed block back to what they know.
func TestCatchUp(t *testing.T) {
	v := begin(t, 3)
	defer v.close()
	v.mine(0, 1, 2)
	v.split([]int{0, 1}, []int{2})
	for range 200 {
		v.mine(0, 1)
	}
	if h := v.all[2].Tip().Header.Height; h != 1 {
		t.Fatalf("member 2 heard of block %d", h)
	}
	v.split()
	late := v.join()
	if !v.mine(0, 1) {
		t.Fatal("nobody may mine")
	}
	v.agree()
	if h := late.Tip().Header.Height; h != 202 {
		t.Fatalf("the newcomer is at block %d", h)
	}
	for _, c := range []*Chain{v.all[2], late} {
		for _, h := range []types.Height{1, 64, 65, 137, 138, 201} {
			a, err := c.NameAt(h)
			b, err2 := v.all[0].NameAt(h)
			if err != nil || err2 != nil || a != b {
				t.Fatalf("block %d is %s, want %s: %v %v", h, a, b, err, err2)
			}
		}
	}
}

// TestWayIsAskedForAgain: what does not fit in memory on the way back is asked
// for when it is judged.
func TestWayIsAskedForAgain(t *testing.T) {
	v := begin(t, 2)
	defer v.close()
	v.split([]int{0}, []int{1})
	for range 150 {
		v.mine(0)
	}
	v.split()
	c, from := v.all[1], signer(0).Account()
	b := v.all[0].Tip()
	way, err := c.wayBack(context.Background(), b, from)
	if err != nil || len(way) != 150 || way[0].name != b.Name {
		t.Fatalf("way of %d blocks: %v", len(way), err)
	}
	for i := range way {
		way[i].block = nil
	}
	for i := len(way) - 1; i >= 0; i-- {
		if way[i].block == nil {
			if err := c.recall(context.Background(), way[:i+1], from); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.step(context.Background(), way[i].block, from); err != nil {
			t.Fatal(err)
		}
	}
	v.agree()
	way[0].block = nil
	way[0].name = types.NodeCID([]byte("nobody has it"))
	if err := c.recall(context.Background(), way[:1], from); err == nil {
		t.Fatal("a block that nobody has was found")
	}
}

// lies makes member 1 a peer that pushes false blocks to member 0.
func lies(t *testing.T) (v *village, liar types.Account) {
	v = begin(t, 2)
	for range 3 {
		v.mine(0, 1)
	}
	v.agree()
	return v, signer(1).Account()
}

// next is a true next block of member i that nobody has heard of.
func (v *village) next(i int) types.Block {
	v.t.Helper()
	c := v.all[i]
	at, _, err := v.state(i).Turn(c.cfg.Signer.Account())
	if err != nil {
		v.t.Fatalf("turn: %v", err)
	}
	out, _, err := consensus.Predict(c.store, c.Tip().Name, nil, c.cfg.Signer, at)
	if err != nil {
		v.t.Fatalf("predict: %v", err)
	}
	v.now = max(v.now, at)
	return out.Block
}

func (v *village) push(to int, from types.Account, b *types.Block) {
	v.t.Helper()
	c := v.all[to]
	e := c.request(tellBlock, 1)
	b.EncodeTo(e)
	if _, err := c.answer(context.Background(), from, e.Data()); err != nil {
		v.t.Fatalf("push: %v", err)
	}
	v.settle()
}

// TestLiarIsBanned: a peer that sends a block that can never be valid, or headers
// that do not follow each other, is not listened to any more; ten minutes later
// it may try again.
func TestLiarIsBanned(t *testing.T) {
	for name, lie := range map[string]func(v *village, b *types.Block){
		"state":     func(_ *village, b *types.Block) { b.Header.State = types.NodeCID([]byte("other")) },
		"name":      func(_ *village, b *types.Block) { b.Name = types.NodeCID([]byte("other")) },
		"early":     func(_ *village, b *types.Block) { b.Header.Time-- },
		"target":    func(_ *village, b *types.Block) { b.Header.BaseTarget = 1 },
		"signature": func(_ *village, b *types.Block) { b.Header.Signature[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			v, liar := lies(t)
			defer v.close()
			tip := v.all[0].Tip()
			b := v.next(1)
			lie(v, &b)
			v.push(0, liar, &b)
			if v.all[0].Tip() != tip || !v.all[0].isBanned(liar) {
				t.Fatalf("banned: %t, tip %d", v.all[0].isBanned(liar), v.all[0].Tip().Header.Height)
			}
			good := v.next(1)
			v.push(0, liar, &good)
			if v.all[0].Tip() != tip {
				t.Fatal("a banned peer is listened to")
			}
			v.now += banMillis + 1
			v.push(0, liar, &good)
			if v.all[0].Tip().Name != good.Name {
				t.Fatal("the ban has no end")
			}
		})
	}
}

// TestEndlessAncestors: a peer invents a heavy block and a way to it without end.
func TestEndlessAncestors(t *testing.T) {
	endless := func(step func(h *types.Header)) func(*village) {
		return func(v *village) {
			n := 0
			v.net.lie = func(_ types.Account, req []byte) ([]byte, bool) {
				d := types.NewDecoder(req)
				d.Array(8)
				if d.Uint() != askAncestors {
					return nil, false
				}
				d.Hash()
				name := d.Link()
				var e types.Encoder
				e.Array(maxAncestors)
				for range maxAncestors {
					n++
					b := types.Block{Name: name, Header: v.fake(types.Height(1<<20 - n))}
					name = types.NodeCID(types.Be64(uint64(n)))
					b.Header.Previous = name
					if step != nil {
						step(&b.Header)
					}
					b.EncodeTo(&e)
				}
				return e.Data(), true
			}
		}
	}
	for name, set := range map[string]func(*village){
		"heights do not fall":   endless(func(h *types.Header) { h.Height = 1 << 20 }),
		"times do not fall":     endless(func(h *types.Header) { h.Time = 1 << 50 }),
		"difficulty is too low": endless(func(h *types.Header) { h.Difficulty = 5 }),
		"another chain":         endless(func(h *types.Header) { h.Chain[0] ^= 1 }),
		"no target":             endless(func(h *types.Header) { h.BaseTarget = 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			v, liar := lies(t)
			defer v.close()
			set(v)
			b := types.Block{Name: types.NodeCID([]byte("heavy")), Header: v.fake(1 << 20)}
			b.Header.Previous = types.NodeCID([]byte("unknown"))
			v.push(0, liar, &b)
			if !v.all[0].isBanned(liar) || v.all[0].Trouble() != nil {
				t.Fatalf("the liar is banned: %t; trouble: %v", v.all[0].isBanned(liar), v.all[0].Trouble())
			}
		})
	}
	t.Run("to another genesis", func(t *testing.T) {
		v, liar := lies(t)
		defer v.close()
		b := types.Block{Name: types.NodeCID([]byte("heavy")), Header: v.fake(1)}
		b.Header.Previous = types.NodeCID([]byte("another genesis"))
		v.push(0, liar, &b)
		if !v.all[0].isBanned(liar) {
			t.Fatal("a block on another genesis is no lie")
		}
	})
	t.Run("silence", func(t *testing.T) {
		v, liar := lies(t)
		defer v.close()
		for what, answer := range map[string][]byte{"nothing": {0x80}, "garbage": {0xff, 0, 1}, "empty": nil} {
			v.net.lie = func(types.Account, []byte) ([]byte, bool) { return answer, true }
			b := types.Block{Name: types.NodeCID([]byte(what)), Header: v.fake(9)}
			b.Header.Previous = types.NodeCID([]byte("unknown"))
			v.push(0, liar, &b)
			if v.all[0].Trouble() != nil || v.all[0].Tip().Header.Height != 3 {
				t.Fatalf("%s: trouble %v at %d", what, v.all[0].Trouble(), v.all[0].Tip().Header.Height)
			}
		}
	})
}

// fake is a header that nobody mined: heights, times and difficulties fit.
func (v *village) fake(h types.Height) types.Header {
	const target = 1 << 40
	return types.Header{
		Version: 1, Chain: v.gen.Chain(), Height: h, Time: v.gen.Time + types.Millis(h)/1000, BaseTarget: target,
		Difficulty: 1<<60 + uint64(h)*consensus.Work(target), State: types.NodeCID(nil), Txs: types.NodeCID(types.Marshal(types.TxList{})),
	}
}

// TestWrongNodes: a peer that gives other blocks of state than asked for.
func TestWrongNodes(t *testing.T) {
	v, liar := lies(t)
	defer v.close()
	c := v.all[0]
	want := types.NodeCID([]byte("a node"))
	for name, answer := range map[string]func(e *types.Encoder){
		"another":  func(e *types.Encoder) { e.Array(1); e.Bytes([]byte("another node")) },
		"empty":    func(e *types.Encoder) { e.Array(1); e.Bytes(nil) },
		"two":      func(e *types.Encoder) { e.Array(2); e.Bytes([]byte("a node")); e.Bytes(nil) },
		"none":     func(e *types.Encoder) { e.Array(0) },
		"trailing": func(e *types.Encoder) { e.Array(1); e.Bytes([]byte("a node")); e.Uint(0) },
		"nothing":  func(*types.Encoder) {},
	} {
		v.net.lie = func(types.Account, []byte) ([]byte, bool) {
			var e types.Encoder
			answer(&e)
			return e.Data(), true
		}
		if nodes, err := c.fetchNodes(context.Background(), liar, oneCID(want)); err == nil {
			t.Errorf("%s: taken as %v", name, nodes)
		}
	}
	v.net.lie = nil
	if _, err := c.fetchNodes(context.Background(), liar, oneCID(want)); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("a node that nobody has: %v", err)
	}
	got, err := c.fetchNodes(context.Background(), liar, oneCID(c.Tip().Header.Txs))
	if err != nil || len(got) != 1 || got[0].CID != c.Tip().Header.Txs {
		t.Errorf("a true node: %v, %v", got, err)
	}
}

// TestGarbageRequests: what is no request is an error for the peer and nothing
// else; a block or a transaction that cannot be read bans it.
func TestGarbageRequests(t *testing.T) {
	v, peer := lies(t)
	defer v.close()
	c := v.all[0]
	ask := func(raw []byte) error {
		_, err := c.answer(context.Background(), peer, raw)
		return err
	}
	for op := range askGenesis + 1 {
		for extra := range 4 {
			e := c.request(op, extra)
			for range extra {
				e.Uint(0)
			}
			e.Uint(0) // trailing
			if err := ask(e.Data()); err == nil {
				t.Errorf("request %d with %d fields and a trailing byte is answered", op, extra)
			}
		}
	}
	for _, raw := range [][]byte{nil, {0}, {0x82, 0}, {0x82, 9, 0x40}, {0xff}, make([]byte, 100)} {
		if err := ask(raw); err == nil {
			t.Errorf("% x is answered", raw)
		}
	}
	other := new(types.Encoder)
	other.Array(2)
	other.Uint(askTip)
	other.Bytes(make([]byte, 32))
	if err := ask(other.Data()); err == nil || !strings.Contains(err.Error(), "request for chain") {
		t.Errorf("another chain: %v", err)
	}
	many := c.request(askNodes, 1)
	many.Array(maxNodes + 1)
	for range maxNodes + 1 {
		many.Link(c.Tip().Name)
	}
	if err := ask(many.Data()); err == nil {
		t.Error("65 nodes are given at once")
	}
	if !c.isBanned(peer) || c.Trouble() != nil {
		t.Errorf("banned: %t, trouble %v", c.isBanned(peer), c.Trouble())
	}
}

func FuzzRequest(f *testing.F) {
	v := begin(f, 1)
	f.Cleanup(v.close)
	c := v.all[0]
	for range 3 {
		v.mine(0)
	}
	for op := range askGenesis + 1 {
		e := c.request(op, 0)
		f.Add(e.Data())
	}
	e := c.request(askAncestors, 2)
	e.Link(c.Tip().Name)
	e.Uint(64)
	f.Add(e.Data())
	e = c.request(askNodes, 1)
	e.Array(1)
	e.Link(c.Tip().Name)
	f.Add(e.Data())
	e = c.request(tellBlock, 1)
	c.Tip().EncodeTo(e)
	f.Add(e.Data())
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer, err := c.answer(context.Background(), signer(1).Account(), raw)
		if err == nil && len(answer) > maxAnswer {
			t.Fatalf("answer of %d bytes", len(answer))
		}
		if err == nil && types.Canonical(answer) != nil {
			t.Fatalf("answer % x: %v", answer, types.Canonical(answer))
		}
		for len(c.in) > 0 {
			<-c.in
		}
		if c.Trouble() != nil {
			t.Fatal(c.Trouble())
		}
	})
}

// FuzzAnswer reads what peers answer.
func FuzzAnswer(f *testing.F) {
	v := begin(f, 2)
	f.Cleanup(v.close)
	c, peer := v.all[0], signer(1).Account()
	v.mine(0)
	e := c.request(askAncestors, 2)
	e.Link(c.Tip().Name)
	e.Uint(64)
	if raw, err := c.answer(context.Background(), peer, e.Data()); err == nil {
		f.Add(raw)
	}
	f.Add([]byte{0x80})
	f.Add(types.Marshal(c.Tip()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v.net.lie = func(types.Account, []byte) ([]byte, bool) { return raw, true }
		blocks, err := c.ancestors(context.Background(), peer, c.Tip().Name)
		if err == nil && (len(blocks) == 0 || blocks[0].Name != c.Tip().Name) {
			t.Fatalf("%d blocks", len(blocks))
		}
		_, _ = c.askTipOf(context.Background(), peer)
		_, _ = c.fetchNodes(context.Background(), peer, oneCID(c.Tip().Name))
		if g, err := FetchGenesis(context.Background(), &end{w: v.net, me: peer}, peer, c.id); err == nil && g.Chain() != c.id {
			t.Fatal("another genesis is taken")
		}
	})
}
