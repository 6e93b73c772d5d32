package consensus_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// tester is what testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// ledger is a community in memory whose blocks a test makes one by one, with
// exactly the transactions that it hands over. Every block is predicted by its
// miner and applied by somebody else.
type ledger struct {
	t      tester
	gen    *types.Genesis
	src    trie.Memory
	who    []keys.Signer // members, in the order of their numbers
	tip    *types.Block
	events []types.Event // of the tip
	kept   map[types.LotID]*kept
}

// coins that every member of a ledger begins with.
const coins = 10_000 * types.Coin

// start begins a community of n members with power and coins each.
func start(t tester, n int, tune func(*types.Genesis)) *ledger {
	t.Helper()
	l := &ledger{t: t, src: trie.Memory{}, kept: map[types.LotID]*kept{}}
	l.gen = &types.Genesis{Version: types.GenesisVersion, Name: "TEST", Symbol: "TST", Time: 1_700_000_000_000, Rules: types.SimMarket()}
	for i := range n {
		s := chaintest.Signer(i)
		l.who = append(l.who, s)
		l.gen.Credits = append(l.gen.Credits, types.Credit{Account: s.Account(), Amount: coins})
		l.gen.Members = append(l.gen.Members, s.Account())
	}
	slices.SortFunc(l.gen.Credits, func(a, b types.Credit) int { return bytes.Compare(a.Account[:], b.Account[:]) })
	slices.SortFunc(l.gen.Members, func(a, b types.Account) int { return bytes.Compare(a[:], b[:]) })
	if tune != nil {
		tune(l.gen)
	}
	out, err := consensus.Start(l.gen)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	l.adopt(out)
	return l
}

func (l *ledger) adopt(out consensus.Applied) {
	l.src.Put(out.Nodes)
	l.tip, l.events = &out.Block, out.Events
}

func (l *ledger) rules() *types.Rules { return &l.gen.Rules }

func (l *ledger) view() *consensus.View {
	l.t.Helper()
	v, err := consensus.Open(l.src, l.tip.Name)
	if err != nil {
		l.t.Fatalf("open: %v", err)
	}
	return v
}

// got unwraps a getter of a view.
func got[T any](l *ledger) func(T, error) T {
	return func(v T, err error) T {
		l.t.Helper()
		if err != nil {
			l.t.Fatalf("read state: %v", err)
		}
		return v
	}
}

func (l *ledger) id(i int) types.Account { return chaintest.Account(i) }

func (l *ledger) number(a types.Account) int {
	l.t.Helper()
	i := slices.IndexFunc(l.who, func(s keys.Signer) bool { return s.Account() == a })
	if i < 0 {
		l.t.Fatalf("account %s is no member", a.Short())
	}
	return i
}

func (l *ledger) acc(i int) *types.AccountRecord {
	l.t.Helper()
	return got[*types.AccountRecord](l)(l.view().Account(l.id(i)))
}

func (l *ledger) host(i int) *types.HostRecord {
	l.t.Helper()
	return got[*types.HostRecord](l)(l.view().Host(l.id(i)))
}

func (l *ledger) globals() *types.Globals {
	l.t.Helper()
	return got[*types.Globals](l)(l.view().Globals())
}

func (l *ledger) epoch(e types.Epoch) *types.EpochRecord {
	l.t.Helper()
	return got[*types.EpochRecord](l)(l.view().Epoch(e))
}

func (l *ledger) height() types.Height { return l.tip.Header.Height }

// sign makes the next transaction of member i, with a fee well above the base
// fee. Changes are made before the signature.
func (l *ledger) sign(i int, kind types.Kind, body types.Body, changes ...func(*types.Tx)) types.Tx {
	l.t.Helper()
	return l.signBy(chaintest.Signer(i), kind, types.Marshal(body), changes...)
}

func (l *ledger) signBy(by keys.Signer, kind types.Kind, body []byte, changes ...func(*types.Tx)) types.Tx {
	l.t.Helper()
	acc := got[*types.AccountRecord](l)(l.view().Account(by.Account()))
	_, now := l.turn() // the next block may be long after the tip
	t := types.Tx{
		Version: types.TxVersion, Chain: l.gen.Chain(), Kind: kind, Sender: by.Account(), Nonce: acc.Nonce + 1,
		Time: now, Expiry: now + types.Millis(l.rules().ExpiryMillis), Body: body,
	}
	if kind != types.KindBundle && kind != types.KindLog {
		t.Fee = types.MaxSupply
		t.Fee = 2 * got[types.Amount](l)(l.view().MinFee(len(types.Marshal(&t))))
	}
	for _, c := range changes {
		c(&t)
	}
	id := t.ID()
	t.Signature = by.Sign(id[:])
	return t
}

// later moves a transaction n nonces ahead.
func later(n uint64) func(*types.Tx) { return func(t *types.Tx) { t.Nonce += n } }

// turn is who may mine next, and when.
func (l *ledger) turn() (keys.Signer, types.Millis) {
	l.t.Helper()
	v := l.view()
	var by keys.Signer
	best := types.Millis(0)
	for _, s := range l.who {
		at, ok, err := v.Turn(s.Account())
		if err != nil {
			l.t.Fatalf("turn: %v", err)
		}
		if ok && (best == 0 || at < best) {
			by, best = s, at
		}
	}
	if best == 0 {
		l.t.Fatalf("nobody may mine block %d", l.height()+1)
	}
	return by, best
}

// predict makes the next block without adopting it.
func (l *ledger) predict(txs ...types.Tx) (consensus.Applied, []consensus.Left) {
	l.t.Helper()
	by, at := l.turn()
	out, left, err := consensus.Predict(l.src, l.tip.Name, txs, by, at)
	if err != nil {
		l.t.Fatalf("predict block %d: %v", l.height()+1, err)
	}
	return out, left
}

// mine makes the next block and gives what it left out.
func (l *ledger) mine(txs ...types.Tx) []consensus.Left {
	l.t.Helper()
	out, left := l.predict(txs...)
	again, err := consensus.Apply(l.src, &out.Block)
	if err != nil {
		l.t.Fatalf("apply block %d: %v", out.Block.Header.Height, err)
	}
	if again.Block.Name != out.Block.Name {
		l.t.Fatalf("block %d is %s for its miner, %s for others", out.Block.Header.Height, out.Block.Name, again.Block.Name)
	}
	l.adopt(out)
	return left
}

// put is mine for transactions that must all go in.
func (l *ledger) put(txs ...types.Tx) {
	l.t.Helper()
	if left := l.mine(txs...); len(left) > 0 {
		l.t.Fatalf("left out of block %d: %v", l.height(), left[0].Why)
	}
}

// do puts one transaction into the next block.
func (l *ledger) do(i int, kind types.Kind, body types.Body) types.TxID {
	l.t.Helper()
	t := l.sign(i, kind, body)
	l.put(t)
	return t.ID()
}

// to mines up to a height.
func (l *ledger) to(h types.Height) {
	l.t.Helper()
	for l.height() < h {
		l.mine()
	}
}

// toEpoch mines until the next block is the first of epoch e.
func (l *ledger) toEpoch(e types.Epoch) {
	l.t.Helper()
	l.to(l.rules().Checkpoint(e - 1))
}

// refused checks that neither a miner takes the transaction nor anybody else a
// block with it, for a reason with these words.
func (l *ledger) refused(t types.Tx, want string) {
	l.t.Helper()
	out, left := l.predict(t)
	var inv *consensus.Invalid
	if len(left) != 1 || !errors.As(left[0].Why, &inv) || !strings.Contains(left[0].Why.Error(), want) {
		l.t.Fatalf("left out of block %d: %v, want a refusal with %q", l.height()+1, left, want)
	}
	forced := out.Block
	forced.Txs = []types.Tx{t}
	_, err := consensus.Apply(l.src, &forced)
	if !errors.As(err, &inv) || !strings.Contains(err.Error(), want) {
		l.t.Fatalf("block %d with it: %v, want a refusal with %q", l.height()+1, err, want)
	}
}

// refuse is refused for the next transaction of member i.
func (l *ledger) refuse(i int, kind types.Kind, body types.Body, want string) {
	l.t.Helper()
	l.refused(l.sign(i, kind, body), want)
}

// balanced checks rule U3.
func (l *ledger) balanced() {
	l.t.Helper()
	base, wei, err := l.view().Money()
	if err != nil || base != l.gen.Supply() || wei != 0 {
		l.t.Fatalf("block %d: money is %d and %d wei, want %d: %v", l.height(), base, wei, l.gen.Supply(), err)
	}
}

// event gives the first event of a type in the tip.
func event[E types.Event](l *ledger) (e E, ok bool) {
	for _, x := range l.events {
		if e, ok = x.(E); ok {
			return e, true
		}
	}
	return e, false
}

func wire(to types.Account, n types.Amount) *types.Wire { return &types.Wire{To: to, Amount: n} }

func BenchmarkEmptyBlock(b *testing.B) {
	l := start(b, 5, nil)
	for b.Loop() {
		l.mine()
	}
}
