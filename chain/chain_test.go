package chain

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// mesh is a network in memory: requests are calls.
type mesh struct {
	mu    sync.Mutex
	nodes map[types.Account]*port
}

type port struct {
	m  *mesh
	me types.Account
	f  func(context.Context, types.Account, []byte) ([]byte, error)
}

func (m *mesh) join(a types.Account) *port {
	p := &port{m: m, me: a}
	m.mu.Lock()
	m.nodes[a] = p
	m.mu.Unlock()
	return p
}

func (p *port) Request(ctx context.Context, to types.Account, _ string, req []byte, limit int) ([]byte, error) {
	p.m.mu.Lock()
	q := p.m.nodes[to]
	p.m.mu.Unlock()
	if q == nil {
		return nil, fmt.Errorf("no peer %s", to.Short())
	}
	out, err := q.f(ctx, p.me, req)
	if len(out) > limit {
		return nil, fmt.Errorf("answer of %d bytes above %d", len(out), limit)
	}
	return out, err
}

func (p *port) Answer(_ string, _ int, f func(context.Context, types.Account, []byte) ([]byte, error)) {
	p.f = f
}

func (p *port) Connected() []types.Account {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	var out []types.Account
	for a := range p.m.nodes {
		if a != p.me {
			out = append(out, a)
		}
	}
	return out
}

func signer(i byte) keys.Signer { return keys.SignerFromSeed([32]byte{i + 1}) }

func clock() types.Millis { return types.Millis(time.Now().UnixMilli()) }

func genesis(n int) *types.Genesis {
	g := &types.Genesis{Version: 1, Name: "TAUT", Symbol: "TAU", Time: clock(), Rules: types.SimMarket()}
	g.Rules.BlockMillis = 100
	for i := range n {
		g.Credits = append(g.Credits, types.Credit{Account: signer(byte(i)).Account(), Amount: 1000 * types.Coin})
	}
	sortCredits(g.Credits)
	for _, c := range g.Credits {
		g.Members = append(g.Members, c.Account)
	}
	return g
}

func sortCredits(cs []types.Credit) {
	for i := range cs {
		for j := range i {
			if string(cs[i].Account[:]) < string(cs[j].Account[:]) {
				cs[i], cs[j] = cs[j], cs[i]
			}
		}
	}
}

func open(t *testing.T, m *mesh, g *types.Genesis, s keys.Signer, mine bool) *Chain {
	t.Helper()
	st, err := store.Memory(store.Options{Quota: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := Create(st, g); err != nil {
		t.Fatal(err)
	}
	c, err := Open(st, m.join(s.Account()), Config{Signer: s, Clock: clock, Mine: mine, Report: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits for a condition on a chain, looking whenever its tip changes.
func until(t *testing.T, c *Chain, what string, ok func() bool) {
	t.Helper()
	changed, stop := c.Watch()
	defer stop()
	limit := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		case <-limit:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestThreeNodesAgreeAndANewcomerReplays(t *testing.T) {
	m := &mesh{nodes: map[types.Account]*port{}}
	g := genesis(3)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	run := func(c *Chain) { wg.Go(func() { _ = c.Run(ctx) }) }
	var cs []*Chain
	for i := range 3 {
		cs = append(cs, open(t, m, g, signer(byte(i)), true))
	}
	for _, c := range cs {
		run(c)
	}
	to := signer(9).Account()
	if err := cs[0].Submit(types.KindWire, &types.Wire{To: to, Amount: 7 * types.Coin}, "gift"); err != nil {
		t.Fatal(err)
	}
	wait, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if _, h, err := cs[0].Await(wait, "gift"); err != nil || h == 0 {
		t.Fatalf("wire in block %d: %v", h, err)
	}
	late := open(t, m, g, signer(5), false)
	run(late)
	until(t, late, "newcomer has the coins and height 30", func() bool {
		v, err := late.View()
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Account(to)
		if err != nil {
			t.Fatal(err)
		}
		return a.Balance == 7*types.Coin && v.Height() >= 30
	})
	v, err := late.View()
	if err != nil {
		t.Fatal(err)
	}
	if sum, wei, err := v.Money(); err != nil || sum != g.Supply() || wei != 0 {
		t.Fatalf("money %d + %d wei of %d: %v", sum, wei, g.Supply(), err)
	}
}
