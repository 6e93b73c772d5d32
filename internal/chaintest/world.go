package chaintest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// World is one community of a test.
type World struct {
	t   testing.TB
	src *source
	gen *types.Genesis
	who []keys.Signer // members, in the order of their numbers

	mu     sync.Mutex
	blocks map[cid.Cid]*types.Block
	events map[cid.Cid][]types.Event
	fork   []cid.Cid // name of the block at each height
	wishes []*wish
	watch  []chan struct{}
	asked  chan struct{} // somebody submitted
	turns  int           // which of the next miners makes the block; above 0 on a new fork
}

// wish is a transaction that somebody wants.
type wish struct {
	by    keys.Signer
	name  string
	kind  types.Kind
	body  types.Body
	tries int // blocks that left it out
	done  chan struct{}
	tx    types.TxID
	at    types.Height
	err   error
}

// patience is how many blocks a refused wish is tried in.
const patience = 30

// Coins that every member of a World begins with.
const Coins = 10_000 * types.Coin

// New starts a community of n members with power and Coins each. tune may change
// the genesis before it is used (nil: the sim market as it is).
func New(t testing.TB, n int, tune func(*types.Genesis)) *World {
	t.Helper()
	w := &World{
		t: t, src: &source{nodes: map[cid.Cid][]byte{}}, asked: make(chan struct{}, 1),
		blocks: map[cid.Cid]*types.Block{}, events: map[cid.Cid][]types.Event{},
	}
	for i := range n {
		w.who = append(w.who, Signer(i))
	}
	w.gen = &types.Genesis{Version: types.GenesisVersion, Name: "TEST", Symbol: "TST", Time: 1_700_000_000_000, Rules: types.SimMarket()}
	for _, s := range w.who {
		w.gen.Credits = append(w.gen.Credits, types.Credit{Account: s.Account(), Amount: Coins})
		w.gen.Members = append(w.gen.Members, s.Account())
	}
	sortCredits(w.gen.Credits)
	slices.SortFunc(w.gen.Members, func(a, b types.Account) int { return bytes.Compare(a[:], b[:]) })
	if tune != nil {
		tune(w.gen)
	}
	out, err := consensus.Start(w.gen)
	if err != nil {
		t.Fatalf("start community: %v", err)
	}
	w.adopt(&out)
	return w
}

func sortCredits(list []types.Credit) {
	slices.SortFunc(list, func(a, b types.Credit) int { return bytes.Compare(a.Account[:], b.Account[:]) })
}

// Signer is the key of member number i of any World.
func Signer(i int) keys.Signer {
	seed := types.H("staddle/chaintest/member", types.Be32(uint32(i)))
	return keys.SignerFromSeed(seed)
}

// Account is the account of member number i.
func Account(i int) types.Account { return Signer(i).Account() }

// Genesis is how the community began.
func (w *World) Genesis() *types.Genesis { return w.gen }

// Rules are the parameters of the community.
func (w *World) Rules() *types.Rules { return &w.gen.Rules }

// adopt makes a block the tip; the mutex is held, or nobody else is there yet.
func (w *World) adopt(out *consensus.Applied) {
	w.src.add(out.Nodes)
	b := out.Block
	w.blocks[b.Name], w.events[b.Name] = &b, out.Events
	w.fork = append(w.fork[:b.Header.Height], b.Name)
	for _, ch := range w.watch {
		select {
		case ch <- struct{}{}:
		default: // one is waiting: merged
		}
	}
}

// Tip is the newest block.
func (w *World) Tip() *types.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocks[w.fork[len(w.fork)-1]]
}

// View opens the newest state.
func (w *World) View() *consensus.View {
	w.t.Helper()
	v, err := consensus.Open(w.src, w.Tip().Name)
	if err != nil {
		w.t.Fatalf("open state: %v", err)
	}
	return v
}

// Add makes blocks known to the state, such as those of a range list.
func (w *World) Add(nodes ...types.Node) { w.src.add(nodes) }

// Mine makes one block of all that is wished for and allowed.
func (w *World) Mine() *types.Block {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.mine()
	if err != nil {
		w.t.Fatalf("mine block %d: %v", len(w.fork), err)
	}
	return b
}

// MineTo mines up to a height.
func (w *World) MineTo(h types.Height) {
	w.t.Helper()
	for w.Tip().Header.Height < h {
		w.Mine()
	}
}

// Reorg gives the newest n blocks up and mines n+1 others, the first of them by
// another miner, so that the beacon differs. What the lost blocks held is lost.
func (w *World) Reorg(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fork = w.fork[:len(w.fork)-n]
	w.turns = 1
	for range n + 1 {
		if _, err := w.mine(); err != nil {
			w.t.Fatalf("mine block %d of another fork: %v", len(w.fork), err)
		}
	}
}

// mine makes a block; the mutex is held.
func (w *World) mine() (*types.Block, error) {
	tip := w.fork[len(w.fork)-1]
	v, err := consensus.Open(w.src, tip)
	if err != nil {
		return nil, err
	}
	miner, at, err := w.next(v)
	if err != nil {
		return nil, err
	}
	txs, err := w.pool(v)
	if err != nil {
		return nil, err
	}
	out, _, err := consensus.Predict(w.src, tip, txs, miner, at)
	if err != nil {
		return nil, err
	}
	if _, err := consensus.Apply(w.src, &out.Block); err != nil {
		return nil, fmt.Errorf("predicted block does not apply: %w", err)
	}
	w.adopt(&out)
	w.included(&out.Block)
	return &out.Block, nil
}

// next is who may mine first, and when.
func (w *World) next(v *consensus.View) (keys.Signer, types.Millis, error) {
	type turn struct {
		by keys.Signer
		at types.Millis
	}
	var turns []turn
	for _, s := range w.who {
		at, ok, err := v.Turn(s.Account())
		if err != nil {
			return keys.Signer{}, 0, err
		}
		if ok {
			turns = append(turns, turn{s, at})
		}
	}
	slices.SortFunc(turns, func(a, b turn) int { return int(a.at - b.at) })
	if w.turns >= len(turns) {
		return keys.Signer{}, 0, fmt.Errorf("%d members may mine, number %d wanted", len(turns), w.turns)
	}
	t := turns[w.turns]
	w.turns = 0
	return t.by, t.at, nil
}

// pool signs the wishes that the rules allow at v, with the next nonces.
func (w *World) pool(v *consensus.View) ([]types.Tx, error) {
	ahead := map[types.Account]uint64{}
	var txs []types.Tx
	for _, x := range slices.Clone(w.wishes) {
		t, err := w.draft(v, x, 0)
		if err != nil {
			return nil, err
		}
		if err := v.Check(t, v.Head.Time); err != nil {
			w.refused(x, err)
			continue
		}
		a := x.by.Account()
		if t, err = w.draft(v, x, ahead[a]); err != nil {
			return nil, err
		}
		x.tx = t.ID()
		ahead[a]++
		txs = append(txs, *t)
	}
	return txs, nil
}

func (w *World) draft(v *consensus.View, x *wish, ahead uint64) (*types.Tx, error) {
	acc, err := v.Account(x.by.Account())
	if err != nil {
		return nil, err
	}
	t := &types.Tx{
		Version: types.TxVersion, Chain: v.Chain, Kind: x.kind, Sender: x.by.Account(), Nonce: acc.Nonce + 1 + ahead,
		Time: v.Head.Time, Expiry: v.Head.Time + types.Millis(v.Rules.ExpiryMillis), Body: types.Marshal(x.body),
	}
	if x.kind != types.KindBundle && x.kind != types.KindLog {
		t.Fee = types.MaxSupply // the longest encoding, for the size
		base, err := v.MinFee(len(types.Marshal(t)))
		if err != nil {
			return nil, err
		}
		t.Fee = base + base/4
	}
	id := t.ID()
	t.Signature = x.by.Sign(id[:])
	return t, nil
}

func (w *World) refused(x *wish, why error) {
	if x.tries++; x.tries > patience {
		x.err = why
		w.end(x)
	}
}

func (w *World) end(x *wish) {
	w.wishes = slices.DeleteFunc(w.wishes, func(y *wish) bool { return y == x })
	close(x.done)
}

func (w *World) included(b *types.Block) {
	for i := range b.Txs {
		for _, x := range slices.Clone(w.wishes) {
			if x.tx == b.Txs[i].ID() {
				x.at = b.Header.Height
				w.end(x)
			}
		}
	}
}

// Until mines until ok holds: at once when somebody wants a transaction, else
// one block a pace, so that engines at work have time. It fails the test after
// two minutes. pace is not what anything waits for: it may be as short as the
// time-outs in blocks allow.
func (w *World) Until(what string, pace time.Duration, ok func(v *consensus.View) bool) {
	w.t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		v := w.View()
		if ok(v) {
			return
		}
		w.rest(what, pace, limit.C)
		w.Mine()
	}
}

// rest waits for a wish, at most a pace.
func (w *World) rest(what string, pace time.Duration, limit <-chan time.Time) {
	w.t.Helper()
	tick := time.NewTimer(pace)
	defer tick.Stop()
	select {
	case <-w.asked:
	case <-tick.C:
	case <-limit:
		w.t.Fatalf("not within two minutes, at height %d: %s", w.Tip().Header.Height, what)
	}
}
