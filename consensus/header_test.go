package consensus_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

func firstBeacon(g *types.Genesis) types.Hash { return sha256.Sum256(types.Marshal(g)) }

// block predicts the next block.
func (l *ledger) block(txs ...types.Tx) types.Block {
	l.t.Helper()
	out, _ := l.predict(txs...)
	return out.Block
}

// resign signs a changed header as its miner.
func (l *ledger) resign(b *types.Block) {
	l.t.Helper()
	d := b.Header.Digest()
	b.Header.Signature = l.who[l.number(b.Header.Miner)].Sign(d[:])
}

// refusedBlock checks that a block is never valid, for a reason with these words.
func (l *ledger) refusedBlock(b *types.Block, want string) {
	l.t.Helper()
	_, err := consensus.Apply(l.src, b)
	var inv *consensus.Invalid
	if !errors.As(err, &inv) || !strings.Contains(err.Error(), want) {
		l.t.Fatalf("block %d: %v, want a refusal with %q", b.Header.Height, err, want)
	}
}

// T3: a block's time is after its parent's. There is no clock here: a block
// from the future is valid.
func TestT3(t *testing.T) {
	l := start(t, 3, nil)
	for _, back := range []types.Millis{0, 1, 100_000} {
		b := l.block()
		b.Header.Time = l.tip.Header.Time - back
		l.resign(&b)
		l.refusedBlock(&b, "not after the parent's")
	}
	by, at := l.turn()
	out, _, err := consensus.Predict(l.src, l.tip.Name, nil, by, at+1_000_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consensus.Apply(l.src, &out.Block); err != nil {
		t.Errorf("a block far ahead of any clock: %v", err)
	}
}

// TestHeaderFields: each field of a header that is wrong, though signed again,
// refuses the block.
func TestHeaderFields(t *testing.T) {
	l := start(t, 3, nil)
	l.to(5)
	other := types.NodeCID([]byte("other"))
	for _, c := range []struct {
		name, want string
		change     func(h *types.Header)
	}{
		{"version", "header version 2", func(h *types.Header) { h.Version = 2 }},
		{"chain", "chain", func(h *types.Header) { h.Chain[3] ^= 1 }},
		{"height", "height 7, want 6", func(h *types.Header) { h.Height++ }},
		{"skip", "skip link", func(h *types.Header) { h.Skip = other }},
		{"target", "base target", func(h *types.Header) { h.BaseTarget++ }},
		{"difficulty", "difficulty", func(h *types.Header) { h.Difficulty++ }},
		{"gensig", "generation signature", func(h *types.Header) { h.Gensig[0] ^= 1 }},
		{"proof", "VRF proof", func(h *types.Header) { h.Proof[40] ^= 1 }},
		{"nonce", "miner's nonce", func(h *types.Header) { h.Nonce++ }},
		{"state", "state", func(h *types.Header) { h.State = other }},
		{"transactions", "transaction list", func(h *types.Header) { h.Txs = other }},
	} {
		b := l.block()
		c.change(&b.Header)
		l.resign(&b)
		_, err := consensus.Apply(l.src, &b)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a refusal with %q", c.name, err, c.want)
		}
	}
	b := l.block()
	b.Header.Signature[5] ^= 1
	l.refusedBlock(&b, "wrong signature")
	b = l.block()
	b.Name = other
	l.refusedBlock(&b, "announced as")
	b = l.block()
	b.Header.Previous = other
	var missing *types.Missing
	if _, err := consensus.Apply(l.src, &b); !errors.As(err, &missing) || missing.CID != other {
		t.Errorf("a block on an unknown parent: %v, want it missing", err)
	}
}

// TestStrangerMayNotMine: without power there is no turn, however late.
func TestStrangerMayNotMine(t *testing.T) {
	l := start(t, 2, nil)
	stranger := chaintest.Signer(9)
	if _, ok, err := l.view().Turn(stranger.Account()); ok || err != nil {
		t.Fatalf("a stranger has a turn: %v", err)
	}
	out, _, err := consensus.Predict(l.src, l.tip.Name, nil, stranger, l.tip.Header.Time+1<<40)
	if err != nil {
		t.Fatal(err)
	}
	l.refusedBlock(&out.Block, "with power 0 may not mine")
}

// S3: skip links lead to genesis inside the first mutable range and to the block
// one range below afterwards; the miner's nonce and the state's root are fixed.
func TestS3(t *testing.T) {
	l := start(t, 2, func(g *types.Genesis) { g.Rules.MutableRange, g.Rules.EpochBlocks = 6, 4 })
	names := []types.Block{*l.tip}
	for range 16 {
		l.mine()
		names = append(names, *l.tip)
	}
	for h, b := range names[1:] {
		h++
		want := names[max(h-6, 0)].Name
		if b.Header.Skip != want || b.Header.Previous != names[h-1].Name {
			t.Errorf("block %d: skip link is not block %d", h, max(h-6, 0))
		}
	}
	g := names[0].Header
	if g.Skip.Defined() || g.Previous.Defined() || g.State.String() == names[0].Name.String() {
		t.Error("genesis has links or no contract")
	}
}

// S4: the contract is the header with a link to the transactions; the name is the
// root after it is set; a block holds at most 1 MiB of transactions.
func TestS4(t *testing.T) {
	l := start(t, 2, nil)
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 5)))
	v := l.view()
	if types.Digest(v.Root()) != types.Digest(l.tip.Name) || v.Head != l.tip.Header {
		t.Fatal("the state under a block's name does not hold its header")
	}
	raw, err := l.src.Node(l.tip.Header.Txs)
	if err != nil {
		t.Fatal(err)
	}
	var list types.TxList
	if err := types.Unmarshal(raw, &list); err != nil || len(list.Txs) != 1 || list.Txs[0].ID() != l.tip.Txs[0].ID() {
		t.Fatalf("transaction list %v: %v", list, err)
	}

	// Bodies that no rule accepts still count: what fills a block are commitments
	// lists, here as many registrations as fit in 1 MiB.
	var txs []types.Tx
	size := 0
	for k := uint64(0); size <= types.MaxBlockBytes; k++ {
		reg := registration(0, 0)
		for range types.MaxEndpoints {
			reg.Endpoints = append(reg.Endpoints, strings.Repeat("x", types.MaxEndpoint))
		}
		x := l.sign(0, types.KindRegister, reg, later(k), func(t *types.Tx) { t.Fee *= 4 })
		size += len(types.Marshal(&x))
		txs = append(txs, x)
	}
	out, left := l.predict(txs...)
	if len(left) != 1 || !strings.Contains(left[0].Why.Error(), "full") {
		t.Fatalf("%d of %d transactions left out: %v", len(left), len(txs), left)
	}
	forced := out.Block
	forced.Txs = txs
	l.refusedBlock(&forced, "above the limit 1048576")
	l.mine(txs...)
	if f := l.globals().FeeFactor; f <= 1<<32 || f > 1<<32+1<<29 {
		t.Fatalf("factor %d after a full block, want about 1.125", f)
	}
}
