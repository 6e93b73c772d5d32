package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// tester is what testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// village is a community of chains in virtual time: blocks are made when the
// test says so, and what was said is heard before the next step. Nothing runs in
// the background between two steps.
type village struct {
	t    tester
	gen  *types.Genesis
	net  *wires
	all  []*Chain
	kept []*disk
	now  types.Millis
}

// wires connects the chains of a village; a test may cut them and overhear.
type wires struct {
	mu    sync.Mutex
	ends  map[types.Account]*end
	order []types.Account
	cut   func(from, to types.Account) bool                               // true: not connected
	lie   func(to types.Account, request []byte) (answer []byte, ok bool) // a peer's false answer
	heard int                                                             // requests
}

type end struct {
	w      *wires
	me     types.Account
	answer func(context.Context, types.Account, []byte) ([]byte, error)
}

var errCut = errors.New("not connected")

func (e *end) Request(ctx context.Context, to types.Account, _ string, req []byte, limit int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.w.mu.Lock()
	e.w.heard++
	other, cut, lie := e.w.ends[to], e.w.cut, e.w.lie
	e.w.mu.Unlock()
	if lie != nil {
		if b, ok := lie(to, req); ok {
			return b, nil
		}
	}
	if other == nil || cut != nil && cut(e.me, to) {
		return nil, errCut
	}
	b, err := other.answer(ctx, e.me, req)
	if len(b) > limit {
		return nil, fmt.Errorf("answer of %d bytes above %d", len(b), limit)
	}
	return b, err
}

func (e *end) Answer(_ string, _ int, f func(context.Context, types.Account, []byte) ([]byte, error)) {
	e.answer = f
}

func (e *end) Connected() (out []types.Account) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for _, a := range e.w.order {
		if a != e.me && (e.w.cut == nil || !e.w.cut(e.me, a)) {
			out = append(out, a)
		}
	}
	return out
}

// disk is a store that can fail at its n-th save from now, and survives what
// used it.
type disk struct {
	*store.Store
	failAt int // 0: never
}

var errDisk = errors.New("disk is gone")

func (d *disk) Save(nodes []types.Node, rows []types.Row) error {
	if d.failAt > 0 {
		if d.failAt--; d.failAt == 0 {
			d.failAt = 1 // for good
			return errDisk
		}
	}
	return d.Store.Save(nodes, rows)
}

func begin(t tester, n int) *village {
	t.Helper()
	v := &village{t: t, gen: genesis(n), net: &wires{ends: map[types.Account]*end{}}}
	v.gen.Rules.BlockMillis, v.gen.Time, v.now = 1000, 1_700_000_000_000, 1_700_000_000_000
	for range n {
		v.join()
	}
	return v
}

// join adds the next member.
func (v *village) join() *Chain {
	v.t.Helper()
	st, err := store.Memory(store.Options{Quota: 1 << 30})
	if err != nil {
		v.t.Fatalf("store: %v", err)
	}
	d := &disk{Store: st}
	if _, err := Create(d, v.gen); err != nil {
		v.t.Fatalf("create: %v", err)
	}
	v.kept = append(v.kept, d)
	v.all = append(v.all, nil)
	return v.open(len(v.all) - 1)
}

// open starts member i again from its store.
func (v *village) open(i int, changes ...func(*Config)) *Chain {
	v.t.Helper()
	me := signer(byte(i))
	if v.net.ends[me.Account()] == nil {
		v.net.order = append(v.net.order, me.Account())
	}
	e := &end{w: v.net, me: me.Account()}
	cfg := Config{Signer: me, Clock: func() types.Millis { return v.now }, Report: v.t.Logf}
	for _, c := range changes {
		c(&cfg)
	}
	c, err := Open(v.kept[i], e, cfg)
	if err != nil {
		v.t.Fatalf("open %d: %v", i, err)
	}
	v.net.mu.Lock()
	v.net.ends[me.Account()] = e
	v.net.mu.Unlock()
	v.all[i] = c
	return c
}

func (v *village) close() {
	for _, d := range v.kept {
		_ = d.Store.Close()
	}
}

// settle lets everything that was said be heard.
func (v *village) settle() {
	v.t.Helper()
	for quiet := false; !quiet; {
		quiet = true
		for _, c := range v.all {
			c.talk.Wait()
			for more := true; more; {
				select {
				case h := <-c.in:
					c.take(context.Background(), h)
					quiet = false
				case <-c.wake:
					c.afterTip()
					quiet = false
				default:
					more = false
				}
			}
		}
		for _, c := range v.all {
			c.talk.Wait()
		}
	}
}

// poll lets everybody ask for tips, as after a while.
func (v *village) poll() {
	v.t.Helper()
	v.now += deafMillis // whom nobody heard is asked again
	for _, c := range v.all {
		for _, h := range c.due() {
			c.inbox(h)
		}
		c.poll(context.Background())
	}
	v.settle()
}

// mine lets the one of these members whose turn comes first make a block; false
// when none may.
func (v *village) mine(members ...int) bool {
	v.t.Helper()
	best, by := types.Millis(0), -1
	for _, i := range members {
		c := v.all[i]
		view, err := c.View()
		if err != nil {
			v.t.Fatalf("view: %v", err)
		}
		at, ok, err := view.Turn(c.cfg.Signer.Account())
		if err != nil {
			v.t.Fatalf("turn: %v", err)
		}
		done, err := c.minedAt(view.Head.Height + 1)
		if err != nil {
			v.t.Fatalf("mined: %v", err)
		}
		if ok && !done && (by < 0 || at < best) {
			best, by = at, i
		}
	}
	if by < 0 {
		return false
	}
	v.now = max(v.now, best)
	v.all[by].mineOnce(context.Background())
	v.settle()
	return true
}

// split cuts the village into groups that do not hear each other; none: heals it.
func (v *village) split(groups ...[]int) {
	side := map[types.Account]int{}
	for k, g := range groups {
		for _, i := range g {
			side[signer(byte(i)).Account()] = k + 1
		}
	}
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	v.net.cut = func(from, to types.Account) bool { return side[from] != side[to] }
	if len(groups) == 0 {
		v.net.cut = nil
	}
}

func (v *village) state(i int) *consensus.View {
	v.t.Helper()
	view, err := v.all[i].View()
	if err != nil {
		v.t.Fatalf("view: %v", err)
	}
	return view
}

func (v *village) balance(i int, a types.Account) types.Amount {
	v.t.Helper()
	acc, err := v.state(i).Account(a)
	if err != nil {
		v.t.Fatalf("account: %v", err)
	}
	return acc.Balance
}

// agree checks that all have one tip, and its money.
func (v *village) agree() {
	v.t.Helper()
	for i, c := range v.all {
		if a, b := c.Tip(), v.all[0].Tip(); a.Name != b.Name {
			v.t.Fatalf("member %d is at block %d, member 0 at %d of another fork", i, a.Header.Height, b.Header.Height)
		}
		if err := c.Trouble(); err != nil {
			v.t.Fatalf("member %d: %v", i, err)
		}
	}
	sum, wei, err := v.state(0).Money()
	if err != nil || sum != v.gen.Supply() || wei != 0 {
		v.t.Fatalf("money %d and %d wei of %d: %v", sum, wei, v.gen.Supply(), err)
	}
}

// fork gives the names of member i's fork by height.
func (v *village) fork(i int) (out []cid.Cid) {
	v.t.Helper()
	c := v.all[i]
	for h := types.Height(0); h <= c.Tip().Header.Height; h++ {
		name, err := c.NameAt(h)
		if err != nil {
			v.t.Fatalf("name of block %d: %v", h, err)
		}
		out = append(out, name)
	}
	return out
}

func oneCID(c cid.Cid) []cid.Cid { return []cid.Cid{c} }
