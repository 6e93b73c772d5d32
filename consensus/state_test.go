package consensus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// town is a community with four hosts that encode (members 1 to 4) and four
// validators (5 to 8); member 0 sponsors.
func town(t tester, tune ...func(*types.Genesis)) *ledger {
	l := start(t, 9, both(append(tune, validators(5, 4, 2000*types.Coin))...))
	l.register(types.RoleValidator, 5, 6, 7, 8)
	l.register(types.RoleHost|types.RoleEncoder, 1, 2, 3, 4)
	var txs []types.Tx
	for i := 1; i <= 4; i++ {
		txs = append(txs, l.sign(i, types.KindDeposit, &types.Deposit{Role: types.RoleEncoder, Amount: 2000 * types.Coin}))
	}
	l.put(txs...)
	return l
}

// keys gives the state's keys and values.
func (l *ledger) keys() map[string][]byte {
	l.t.Helper()
	m, err := trie.Open(l.src, l.tip.Name)
	if err != nil {
		l.t.Fatalf("open trie: %v", err)
	}
	out := map[string][]byte{}
	err = m.Each(func(key string, value []byte) error {
		out[key] = append([]byte(nil), value...)
		return nil
	})
	if err != nil {
		l.t.Fatalf("walk: %v", err)
	}
	return out
}

type canonical interface {
	types.Encodable
	types.Decodable
}

// recordOf names a key's family and gives its record; "" for a key that rule S2
// does not know.
func recordOf(key string) (string, canonical) {
	n := len(key)
	switch {
	case key == "g":
		return "g", new(types.Globals)
	case key == "contract":
		return key, new(types.Header)
	case strings.HasPrefix(key, "q/"):
		return "q/", nil
	case strings.HasPrefix(key, "s/") && n == 2+8:
		return "s/", nil
	case strings.HasPrefix(key, "x/") && n == 2+20:
		return "x/", nil
	case strings.HasPrefix(key, "a/") && n == 2+32+5+8 && key[34:39] == "/out/":
		return "a/out/", new(types.OutRecord)
	case strings.HasPrefix(key, "c/") && n == 2+32+1+4:
		return "c//", new(types.RangeRecord)
	case strings.HasPrefix(key, "e/") && n == 2+8:
		return "e/", new(types.EpochRecord)
	case strings.HasPrefix(key, "e/") && n == 2+8+1+32:
		return "e//", new(types.ClaimRecord)
	case strings.HasPrefix(key, "e/") && n == 2+8+5 && key[10:] == "/late":
		return "e//late", new(types.EpochRecord)
	case strings.HasPrefix(key, "m/") && n == 2+32+1+8:
		return "m/", new(types.LockRecord)
	}
	byPrefix := map[string]canonical{
		"a/": new(types.AccountRecord), "d/": new(types.DatasetRecord), "p/": new(types.PlanRecord),
		"c/": new(types.LotRecord), "h/": new(types.HostRecord), "r/": new(types.RegistryRecord),
	}
	if n == 2+32 && byPrefix[key[:2]] != nil {
		return key[:2], byPrefix[key[:2]]
	}
	return "", nil
}

// S2: the state's keys, one record under each.
func TestS2(t *testing.T) {
	l := town(t)
	lots := l.plan(0, l.publish(0, "data", 3), 1, 1)
	l.do(0, types.KindLock, &types.Lock{Epoch: l.view().Epochal(), Amount: types.Coin})
	l.activate(lots[0])
	l.drawn(lots[1])
	l.accept(lots[1])
	rec := l.lot(lots[1])
	l.do(l.number(rec.Host), types.KindHosted, &types.Commitments{List: l.commitments(lots[1], rec)})
	e := l.rules().EpochOf(l.height())
	l.to(l.rules().Checkpoint(e))
	l.do(l.number(l.lot(lots[0]).Host), types.KindLog, l.claim(l.number(l.lot(lots[0]).Host), e))

	count := map[string]int{}
	for key, value := range l.keys() {
		family, record := recordOf(key)
		if family == "" {
			t.Errorf("unknown key %q", key)
		}
		count[family]++
		if record == nil {
			continue
		}
		if err := types.Unmarshal(value, record); err != nil {
			t.Errorf("%s: %v", family, err)
		} else if string(types.Marshal(record)) != string(value) {
			t.Errorf("%s: the record has another spelling", family)
		}
	}
	for family, want := range map[string]int{
		"g": 1, "contract": 1, "a/": 9, "x/": 9, "r/": 8, "d/": 1, "p/": 1, "c/": 2, "m/": 1, "e//": 1, "s/": int(l.height()),
	} {
		if count[family] != want {
			t.Errorf("%d keys of %s, want %d", count[family], family, want)
		}
	}
	for _, family := range []string{"a/out/", "h/", "c//", "e/", "q/"} {
		if count[family] == 0 {
			t.Errorf("no key of %s", family)
		}
	}
	for i := range 9 {
		if a, ok, err := l.view().ByAddress(l.id(i).Address()); err != nil || !ok || a != l.id(i) {
			t.Errorf("address of member %d leads to %s: %v", i, a.Short(), err)
		}
	}
}

// TestOutputsLeave: an output and a block's name leave the state one mutable
// range later; names of checkpoints stay.
func TestOutputsLeave(t *testing.T) {
	l := start(t, 2, func(g *types.Genesis) { g.Rules.MutableRange, g.Rules.EpochBlocks = 6, 4 })
	l.put(l.sign(0, types.KindWire, wire(l.id(1), 5)))
	outputs := func() (n int) {
		for key := range l.keys() {
			if family, _ := recordOf(key); family == "a/out/" {
				n++
			}
		}
		return n
	}
	for h := types.Height(1); h < 20; h++ {
		// One a block for its miner, and the wire of block 1 while it is in range.
		want := int(min(h, 7))
		if h <= 7 {
			want++
		}
		if n := outputs(); n != want {
			t.Fatalf("%d outputs after block %d, want %d", n, h, want)
		}
		l.mine()
	}
	v := l.view()
	for h := types.Height(0); h <= 20; h++ {
		_, err := v.Name(h)
		if there := err == nil; there != (h >= 14 || h%4 == 0) {
			t.Errorf("name of block %d at height 20: %v", h, err)
		}
	}
	if frozen, err := v.Frozen(0); err != nil || frozen.Height() != 4 {
		t.Errorf("epoch 0 is frozen at block %v: %v", frozen, err)
	}
}

// S5: a kind that is not active is refused by name.
func TestS5(t *testing.T) {
	l := start(t, 2, func(g *types.Genesis) { g.Rules.Active &^= types.KindSet(types.KindWire) })
	for _, k := range []types.Kind{
		types.KindWire, types.KindExit, types.KindVote, types.KindSlash, types.KindLitigate, types.KindJury, types.KindPrice,
		types.KindReveal, types.KindPurge, types.KindAnchor, types.KindRelay, types.KindLabel, types.KindRotate, types.KindRules,
		types.KindMember,
	} {
		l.refused(l.signBy(l.who[0], k, types.Marshal(wire(l.id(1), 5))), fmt.Sprintf("kind %d (%s) is not active", uint8(k), k))
	}
	l.refused(l.signBy(l.who[0], types.KindCoinbase, nil), "a coinbase transaction cannot be sent")
	l.refused(l.signBy(l.who[0], 30, nil), "a kind 30 transaction cannot be sent")
	l.refused(l.signBy(l.who[0], 255, nil), "a kind 255 transaction cannot be sent")
	g := l.gen
	g.Rules.Active |= types.KindSet(types.KindVote)
	if err := g.NotYet(); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("a genesis with votes: %v", err)
	}
}

// U5: genesis credits accounts; the sum is the supply; deposits come out of them.
func TestU5(t *testing.T) {
	l := start(t, 3, validators(1, 1, 1500*types.Coin))
	l.balanced()
	if l.gen.Supply() != 3*coins {
		t.Fatalf("supply %d", l.gen.Supply())
	}
	for i, want := range []types.AccountRecord{
		{Balance: coins, Member: true, Counts: []types.EpochCount{}},
		{Balance: coins - 1500*types.Coin, Deposit: 1500 * types.Coin, Member: true, Counts: []types.EpochCount{}},
	} {
		if have := l.acc(i); string(types.Marshal(have)) != string(types.Marshal(&want)) {
			t.Errorf("member %d begins with %+v, want %+v", i, have, want)
		}
	}
	if g := l.globals(); g.Deposits != 1500*types.Coin || g.Burned != 0 || g.Members != 3 {
		t.Errorf("globals %+v", g)
	}
	a, b, c := l.gen.Credits[0].Account, l.gen.Credits[1].Account, l.gen.Credits[2].Account
	for _, x := range []struct {
		name, want string
		change     func(*types.Genesis)
	}{
		{"order", "ascending", func(g *types.Genesis) { g.Credits = []types.Credit{{Account: b, Amount: 1}, {Account: a, Amount: 1}} }},
		{"twice", "ascending", func(g *types.Genesis) { g.Credits = []types.Credit{{Account: a, Amount: 1}, {Account: a, Amount: 1}} }},
		{"too much", "exceed", func(g *types.Genesis) { g.Credits[0].Amount = types.MaxSupply }},
		{"one too much", "exceed", func(g *types.Genesis) {
			g.Credits = []types.Credit{{Account: a, Amount: types.MaxSupply}, {Account: b, Amount: 1}}
		}},
		{"overflow", "exceed", func(g *types.Genesis) {
			g.Credits = []types.Credit{{Account: a, Amount: 1 << 63}, {Account: b, Amount: 1 << 63}, {Account: c, Amount: 7}}
		}},
		{"deposit above", "above the credit", func(g *types.Genesis) { g.Deposits = []types.Credit{{Account: a, Amount: coins + 1}} }},
		{"deposit small", "below minimum", func(g *types.Genesis) { g.Deposits = []types.Credit{{Account: a, Amount: 1000*types.Coin - 1}} }},
		{"deposit of nobody", "above the credit", func(g *types.Genesis) {
			g.Deposits = []types.Credit{{Account: chaintest.Account(77), Amount: 1000 * types.Coin}}
		}},
		{"member order", "ascending", func(g *types.Genesis) { g.Members = []types.Account{b, a} }},
		{"no member", "needs a name and a member", func(g *types.Genesis) { g.Members = nil }},
		{"no name", "needs a name and a member", func(g *types.Genesis) { g.Name = "" }},
	} {
		g := start(t, 3, nil).gen
		x.change(g)
		if _, err := consensus.Start(g); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
		var again types.Genesis
		if err := types.Unmarshal(types.Marshal(g), &again); err == nil {
			t.Errorf("%s: the decoder takes it", x.name)
		}
	}
	full := start(t, 1, func(g *types.Genesis) { g.Credits[0].Amount = types.MaxSupply })
	full.mine()
	full.balanced()
}
