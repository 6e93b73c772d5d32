package swarm

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// raw is a client that does what a test says.
type raw struct {
	t *testing.T
	Stream
	id uint32
}

func (n *netting) raw(to byte) *raw {
	n.t.Helper()
	s, err := n.dial(1)(context.Background(), account(to))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = s.Close() })
	if err := s.Deadline(time.Now().Add(20 * time.Second)); err != nil {
		n.t.Fatal(err)
	}
	return &raw{t: n.t, Stream: s}
}

func (r *raw) send(m types.Encodable) {
	r.t.Helper()
	if err := r.Send(types.Marshal(m)); err != nil {
		r.t.Fatal(err)
	}
}

// next is what the server says next: a message or bulk.
func (r *raw) next() any {
	r.t.Helper()
	frame, err := r.Receive(maxAnswer)
	if err != nil {
		r.t.Fatal(err)
	}
	if isBulk(frame) {
		b, err := parseBulk(frame)
		if err != nil {
			r.t.Fatal(err)
		}
		return b
	}
	m, err := parseAnswer(frame)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *raw) hello(have ...types.Hash) *quote {
	r.t.Helper()
	r.send(&hello{Chain: chain, Pays: true, Have: have})
	q, ok := r.next().(*quote)
	if !ok {
		r.t.Fatal("no quote")
	}
	return q
}

// ask asks for pieces on credit and gives the request's number.
func (r *raw) ask(want ...types.Hash) uint32 {
	r.t.Helper()
	r.id++
	r.send(&ask{ID: r.id, Pays: true, Pieces: want})
	return r.id
}

// receipt is signed by person 1 for server p.
func receipt(p byte, epoch types.Epoch, units, total uint64) *payment {
	r := market.Receipt{
		Chain: chain, Payer: account(1), Payee: account(p), Device: device(p), Epoch: epoch,
		Units: units, Total: market.Wei(total, cost),
	}
	digest := types.H("staddle/receipt/1", r.Signed())
	r.Signature = signer(1).Sign(digest[:])
	return &payment{r}
}

// TestF1: windows and what is free, as a peer meets them.
func TestF1(t *testing.T) {
	t.Run("window", testWindow)
	t.Run("free", testFree)
}

// testWindow: a payer that pays gets 1, 2, 4 ... 64 pieces on credit; one that
// does not gets no more, is cut off, and begins again with one piece.
func testWindow(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(400)
	s := newShelf(pieces)
	n.host(2, newTown(1000), s, func(c *ServerConfig) { c.Limits.PayWait = 300 * time.Millisecond })
	r := n.raw(2)
	if q := r.hello(want[:3]...); q.Window != 1 || q.Units != 1 || q.Free != 0 || q.Have[0] != 7 {
		t.Fatalf("first quote %+v", q)
	}
	next, units := 0, uint64(0)
	for _, window := range []int{1, 2, 4, 8, 16, 32, 64, 64} {
		for asked := 0; asked < window; asked += 32 {
			r.ask(want[next+asked : next+min(asked+32, window)]...)
		}
		for range window {
			if b, ok := r.next().(bulk); !ok || !b.Paid {
				t.Fatalf("window %d: no piece on credit", window)
			}
		}
		next, units = next+window, units+uint64(window)
		r.send(receipt(2, 5, units, units))
		m, ok := r.next().(*taken)
		if want := (taken{Epoch: 5, Units: units, Window: uint64(min(2*window, 64))}); !ok || *m != want {
			t.Fatalf("window %d: %+v, want %+v", window, m, want)
		}
	}
	given := s.given.Load()
	r.ask(want[next : next+64]...)
	r.ask(want[next+64 : next+69]...)
	for range 64 {
		if _, ok := r.next().(bulk); !ok {
			t.Fatal("no piece on credit")
		}
	}
	m, ok := r.next().(*refused)
	if !ok || m.Reason != ReasonUnpaid || m.Count != 5 {
		t.Fatalf("beyond the window: %+v", m)
	}
	if more := s.given.Load() - given; more > 65 {
		t.Errorf("%d pieces were read for a window of 64", more)
	}
	if q := r.hello(); q.Window != 1 || q.Owed != 64 {
		t.Errorf("after not paying: %+v", q)
	}
}

// testFree: who is free, and for how much, before anything is charged.
func testFree(t *testing.T) {
	pieces, want := piecesOf(30)
	size := uint64(len(pieces[0]))
	t.Run("a stranger has an eighth of the upload", func(t *testing.T) {
		n := newNet(t)
		s := newShelf(pieces)
		n.host(2, newTown(0), s, func(c *ServerConfig) { c.UploadPerDay = 8 * (10*size + size/2) })
		r := n.raw(2)
		r.hello()
		r.send(&ask{ID: 1, Pieces: want[:20]})
		for i := range 10 {
			if b, ok := r.next().(bulk); !ok || b.Paid || b.Item != uint16(i) {
				t.Fatalf("piece %d is not free", i)
			}
		}
		if m, ok := r.next().(*refused); !ok || m.Reason != ReasonQuota || m.First != 10 || m.Count != 10 {
			t.Fatalf("beyond: %+v", m)
		}
	})
	t.Run("bounds", func(t *testing.T) {
		town := newTown(0)
		now := time.UnixMilli(0)
		s, err := NewServer(ServerConfig{
			Facts: town, Ledger: newBook(), UploadPerDay: 1 << 50, Now: func() time.Time { return now },
			Subnet: func(types.Device) string { return "192.0.2.0/24" },
		})
		if err != nil {
			t.Fatal(err)
		}
		left := func(p byte, standing market.Standing, used uint64) uint64 {
			t.Helper()
			town.standing = standing
			g, err := s.counter.enter(account(p), device(p))
			if err != nil {
				t.Fatal(err)
			}
			for used > 0 {
				step := min(used, types.PieceSize)
				if what, _, err := s.counter.charge(g, load{bytes: step, units: 1}); what != forFree || err != nil {
					t.Fatal(what, err)
				}
				used -= step
			}
			q, err := s.counter.quote(g)
			if err == nil {
				err = s.counter.leave(g)
			}
			if err != nil {
				t.Fatal(err)
			}
			return q.Free
		}
		for i, v := range []struct {
			who      byte
			standing market.Standing
			use      uint64
			left     uint64
		}{
			{3, market.Stranger, 0, 64 << 20},
			{3, market.Stranger, 48 << 20, 16 << 20},
			{4, market.Stranger, 0, 16 << 20}, // the same network
			{5, market.Matured, 1000 << 20, 24 << 20},
			{6, market.Member, 1 << 30, ^uint64(0)},
		} {
			if got := left(v.who, v.standing, v.use); got != v.left {
				t.Errorf("step %d: %d bytes are free, want %d", i, got, v.left)
			}
		}
		now = now.Add(24 * time.Hour)
		if a, b := left(3, market.Stranger, 0), left(5, market.Matured, 0); a != 64<<20 || b != 24<<20 {
			t.Errorf("the next day %d and %d are free", a, b)
		}
	})
	t.Run("what is free enters no log", func(t *testing.T) {
		n := newNet(t)
		ledger := newBook()
		n.host(2, friends(), newShelf(pieces), func(c *ServerConfig) { c.Ledger = ledger })
		b := newBasket(t, want)
		r := n.reader(friends(), paying(4))
		if err := r.Fetch(soon(t), want, peersOf(2), b.put); err != nil {
			t.Fatal(err)
		}
		n.work.Wait()
		for _, l := range []Ledger{ledger, r.c.Ledger} {
			if lines, err := Settled(l, 0); len(lines) > 0 || err != nil {
				t.Errorf("lines %+v, %v", lines, err)
			}
		}
	})
}

// TestPaidFetch: two payees, one lock; both sides have the same lines, and they
// are what was served.
func TestPaidFetch(t *testing.T) {
	n := newNet(t)
	town := newTown(2000)
	pieces, want := piecesOf(300)
	shelves := map[byte]*shelf{2: newShelf(pieces), 3: newShelf(pieces)}
	books := map[byte]*book{}
	for p, s := range shelves {
		books[p] = newBook()
		n.host(p, town, s, func(c *ServerConfig) { c.Ledger, c.Units = books[p], 2 })
	}
	var said Estimate
	r := n.reader(town, paying(2), func(c *Config) {
		c.Terms.Agree = func(e Estimate) error { said = e; return nil }
	})
	b := newBasket(t, want)
	if err := r.Fetch(soon(t), want, peersOf(2, 3), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	n.work.Wait()
	if said.Pieces != 300 || said.Free != 0 || said.High.Cmp(market.Wei(600, cost)) != 0 || said.Low.Cmp(said.High) != 0 {
		t.Errorf("said before: %+v", said)
	}
	mine, err := Settled(r.c.Ledger, 5)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, line := range mine {
		total -= line.Units
		p := byte(2)
		if line.Peer == account(3) {
			p = 3
		}
		theirs, err := Settled(books[p], 5)
		if err != nil {
			t.Fatal(err)
		}
		want := []Traffic{{Peer: account(1), Units: -line.Units, Receipt: line.Receipt}}
		if d := cmp.Diff(want, theirs); d != "" {
			t.Error(d)
		}
		if given := shelves[p].given.Load(); line.Units != -2*given {
			t.Errorf("%d units for %d pieces", line.Units, given)
		}
	}
	if len(mine) == 0 || total < 600 || total > 640 {
		t.Errorf("paid %d units for 300 pieces: %+v", total, mine)
	}
	earned, signed, err := Receipts(r.c.Ledger, 5)
	if err != nil || len(earned) != 0 || len(signed) != len(mine) {
		t.Errorf("receipts: %d, %d, %v", len(earned), len(signed), err)
	}
}

// TestTwoJobsOnePayee: streams to one payee share window, purse and debts.
func TestTwoJobsOnePayee(t *testing.T) {
	n := newNet(t)
	town := newTown(2000)
	pieces, want := piecesOf(600)
	ledger, s := newBook(), newShelf(pieces)
	n.host(2, town, s, func(c *ServerConfig) { c.Ledger = ledger })
	r := n.reader(town, paying(1))
	var jobs sync.WaitGroup
	for part := range 3 {
		mine := want[200*part : 200*part+200]
		b := newBasket(t, mine)
		jobs.Go(func() {
			if err := r.Fetch(soon(t), mine, peersOf(2), b.put); err != nil {
				t.Error(err)
			}
			b.full()
		})
	}
	jobs.Wait()
	if err := r.Settle(soon(t)); err != nil {
		t.Error(err)
	}
	n.work.Wait()
	mine, theirs := linesOf(t, r.c.Ledger), linesOf(t, ledger)
	if given := s.given.Load(); theirs[0].Units != given || mine[0].Units != -given || mine[0].Receipt != theirs[0].Receipt {
		t.Errorf("%d pieces, lines %v and %v", given, mine, theirs)
	}
	if r.wallet.reserved != 0 {
		t.Errorf("%d units stay reserved", r.wallet.reserved)
	}
}

// TestST8_1Fetch: a fetch stops at the lock; what was served is what was paid,
// and nothing is signed beyond.
func TestST8_1Fetch(t *testing.T) {
	for _, lock := range []uint64{0, 1, 5, 50} {
		n := newNet(t)
		town := newTown(lock)
		pieces, want := piecesOf(100)
		ledger := newBook()
		s := newShelf(pieces)
		n.host(2, town, s, func(c *ServerConfig) { c.Ledger = ledger })
		r := n.reader(town, paying(1))
		b := newBasket(t, want)
		err := r.Fetch(soon(t), want, peersOf(2), b.put)
		if !errors.Is(err, market.ErrLock) || !errors.Is(err, ErrIncomplete) {
			t.Fatalf("lock of %d units: %v", lock, err)
		}
		n.work.Wait()
		mine, err := Settled(r.c.Ledger, 5)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := Settled(ledger, 5)
		if err != nil {
			t.Fatal(err)
		}
		if lock == 0 {
			if len(mine)+len(theirs)+len(b.got) > 0 {
				t.Errorf("without a lock: %v, %v, %d pieces", mine, theirs, len(b.got))
			}
			continue
		}
		if uint64(len(b.got)) != lock || mine[0].Units != -int64(lock) || theirs[0].Units != int64(lock) {
			t.Errorf("lock of %d units: %d pieces, lines %v and %v", lock, len(b.got), mine, theirs)
		}
	}
}

// TestServerNeedsLock: a payee serves nothing on credit beyond the lock that it
// sees (A key without coins gets nothing).
func TestServerNeedsLock(t *testing.T) {
	n := newNet(t)
	pieces, want := piecesOf(10)
	town := newTown(3)
	n.host(2, town, newShelf(pieces))
	r := n.raw(2)
	r.hello()
	for units := uint64(1); units <= 3; units++ {
		r.ask(want[units])
		if b, ok := r.next().(bulk); !ok || !b.Paid {
			t.Fatal("no piece on credit")
		}
		r.send(receipt(2, 5, units, units))
		if _, ok := r.next().(*taken); !ok {
			t.Fatal("receipt was not taken")
		}
	}
	r.ask(want[4], want[5])
	if m, ok := r.next().(*refused); !ok || m.Reason != ReasonUnpaid || m.Count != 2 {
		t.Errorf("beyond the lock: %+v", m)
	}
	r.send(receipt(2, 5, 4, 4))
	if m, ok := r.next().(*dispute); !ok || m.Reason != ReasonReceipt || m.Units != 4 {
		t.Errorf("receipt beyond the lock: %+v", m)
	}
}

// TestST8_3Server: a receipt that contradicts an earlier one is not taken, and
// becomes evidence.
func TestST8_3Server(t *testing.T) {
	n := newNet(t)
	pieces, _ := piecesOf(1)
	var found []market.Evidence
	n.host(2, newTown(100), newShelf(pieces), func(c *ServerConfig) {
		c.Accuse = func(e market.Evidence) { found = append(found, e) }
	})
	r := n.raw(2)
	r.send(receipt(2, 5, 4, 40))
	r.send(receipt(2, 5, 4, 40)) // the same again is no offence
	r.send(receipt(2, 5, 3, 30))
	for range 3 {
		if m, ok := r.next().(*taken); !ok || m.Units != 4 {
			t.Fatalf("not taken: %+v", m)
		}
	}
	r.send(receipt(2, 5, 6, 41))
	if m, ok := r.next().(*dispute); !ok || m.Reason != ReasonReceipt {
		t.Fatalf("taken: %+v", m)
	}
	forged := receipt(2, 5, 9, 50)
	forged.Signature[0] ^= 1
	r.send(forged)
	if m, ok := r.next().(*dispute); !ok || m.Reason != ReasonReceipt {
		t.Fatalf("taken: %+v", m)
	}
	if len(found) != 1 || found[0].Check(cost, keys.Verify) != nil {
		t.Errorf("evidence: %+v", found)
	}
}

// TestPrices: what is too dear is not fetched, and nothing is asked for before
// the price is agreed.
func TestPrices(t *testing.T) {
	pieces, want := piecesOf(20)
	no := errors.New("too much")
	for name, v := range map[string]struct {
		change func(*Config)
		err    error
	}{
		"only free":        {func(*Config) {}, errTerms},
		"a piece":          {paying(2), market.ErrPrice},
		"the whole":        {func(c *Config) { paying(3)(c); c.Terms.Whole = market.Wei(59, cost) }, market.ErrPrice},
		"not agreed":       {func(c *Config) { paying(3)(c); c.Terms.Agree = func(Estimate) error { return no } }, no},
		"budget of a day":  {func(c *Config) { paying(3)(c); c.PerDay = market.Wei(2, cost) }, market.ErrBudget},
		"no wei for a day": {func(c *Config) { paying(3)(c); c.PerDay = new(big.Int) }, market.ErrBudget},
	} {
		n := newNet(t)
		s := newShelf(pieces)
		n.host(2, newTown(1000), s, func(c *ServerConfig) { c.Units = 3 })
		err := n.reader(newTown(1000), v.change).Fetch(soon(t), want, peersOf(2), func(int, []byte) error { return nil })
		if !errors.Is(err, v.err) || s.given.Load() != 0 {
			t.Errorf("%s: %d pieces were given, %v", name, s.given.Load(), err)
		}
	}
	n := newNet(t)
	n.host(2, newTown(1000), newShelf(pieces), func(c *ServerConfig) { c.Units = 3 })
	n.host(3, newTown(1000), newShelf(pieces[:15]), func(c *ServerConfig) { c.Units = 1 })
	ledger := newBook()
	r := n.reader(newTown(1000), paying(1), func(c *Config) { c.Ledger, c.PerDay = ledger, market.Wei(15, cost) })
	b := newBasket(t, want)
	if err := r.Fetch(soon(t), want, peersOf(2, 3), b.put); !errors.Is(err, market.ErrPrice) || len(b.got) != 15 {
		t.Errorf("%d pieces from the cheap peer, %v", len(b.got), err)
	}
	r = n.reader(newTown(1000), paying(1), func(c *Config) { c.Ledger, c.PerDay = ledger.reopen(), market.Wei(15, cost) })
	if err := r.Fetch(soon(t), want[:1], peersOf(3), b.put); !errors.Is(err, market.ErrBudget) {
		t.Errorf("the budget was forgotten: %v", err)
	}
}

// TestPayAt: small debts wait, and Settle pays them.
func TestPayAt(t *testing.T) {
	n := newNet(t)
	town := newTown(100)
	pieces, want := piecesOf(40)
	ledger := newBook()
	n.host(2, town, newShelf(pieces), func(c *ServerConfig) { c.Ledger = ledger })
	mine := newBook()
	nothing := func(int, []byte) error { return nil }
	r := n.reader(town, paying(1), func(c *Config) { c.Ledger = mine })
	if err := r.Fetch(soon(t), want[1:], peersOf(2), nothing); err != nil { // opens the window
		t.Fatal(err)
	}
	r = n.reader(town, paying(1), func(c *Config) { c.Ledger, c.Terms.PayAt = mine, 20 })
	if err := r.Fetch(soon(t), want[:1], peersOf(2), nothing); err != nil {
		t.Fatal(err)
	}
	n.work.Wait()
	if lines, err := Settled(ledger, 5); len(lines) != 1 || lines[0].Units != 39 || err != nil {
		t.Fatalf("paid before it was due: %v, %v", lines, err)
	}
	town.turn(6)
	r = n.reader(town, paying(1), func(c *Config) { c.Ledger = mine.reopen() }) // it was restarted, too
	if err := r.Settle(soon(t)); err != nil {
		t.Fatal(err)
	}
	n.work.Wait()
	for e, want := range map[types.Epoch]int64{5: 39, 6: 1} {
		lines, err := Settled(ledger, e)
		own, ownErr := Settled(r.c.Ledger, e)
		if len(lines) != 1 || len(own) != 1 || lines[0].Units != want || own[0].Units != -want || err != nil || ownErr != nil {
			t.Errorf("epoch %d: %v and %v, %v, %v", e, lines, own, err, ownErr)
		}
	}
	if err := r.Settle(soon(t)); err != nil {
		t.Errorf("settle again: %v", err)
	}
}

// TestEpochs: receipts of the last epoch are taken, those of the next when this
// node has seen it, others not.
func TestEpochs(t *testing.T) {
	n := newNet(t)
	pieces, _ := piecesOf(1)
	town := newTown(100)
	ledger := newBook()
	n.host(2, town, newShelf(pieces), func(c *ServerConfig) { c.Ledger, c.Limits.Ahead = ledger, 10*time.Second })
	r := n.raw(2)
	r.send(receipt(2, 5, 1, 1))
	r.send(receipt(2, 4, 7, 7))
	r.send(receipt(2, 3, 2, 2))
	var got []any
	for range 3 {
		got = append(got, r.next())
	}
	if d := cmp.Diff([]any{&taken{Epoch: 5, Units: 1, Window: 1}, &taken{Epoch: 4, Units: 7, Window: 1}}, got[:2]); d != "" {
		t.Error(d)
	}
	if m, ok := got[2].(*dispute); !ok || m.Epoch != 3 {
		t.Errorf("two epochs old: %+v", got[2])
	}
	r.send(receipt(2, 6, 3, 3))
	town.turn(6)
	if m, ok := r.next().(*taken); !ok || m.Epoch != 6 || m.Units != 3 {
		t.Errorf("next epoch: %+v", m)
	}
	if q := r.hello(); q.Epoch != 6 || q.Known != 3 || q.Past != 1 {
		t.Errorf("quote %+v", q)
	}
	if err := Forget(ledger, 6); err != nil {
		t.Fatal(err)
	}
	for e, want := range map[types.Epoch]int{4: 0, 5: 0, 6: 1} {
		if lines, err := Settled(ledger, e); len(lines) != want || err != nil {
			t.Errorf("after forgetting, epoch %d: %v, %v", e, lines, err)
		}
	}
}

// TestFreeMarket: at a price of 0 all is free, and nothing is signed.
func TestFreeMarket(t *testing.T) {
	n := newNet(t)
	town := newTown(0)
	town.price = new(big.Int)
	pieces, want := piecesOf(50)
	n.host(2, town, newShelf(pieces))
	r := n.reader(town)
	b := newBasket(t, want)
	if err := r.Fetch(soon(t), want, peersOf(2), b.put); err != nil {
		t.Fatal(err)
	}
	b.full()
	if lines, err := Settled(r.c.Ledger, 5); len(lines) > 0 || err != nil {
		t.Errorf("%v, %v", lines, err)
	}
}

// TestPaidNodes: blocks cost a piece for each 262,144 bytes of them.
func TestPaidNodes(t *testing.T) {
	n := newNet(t)
	town := newTown(100)
	s := newShelf(nil)
	var want []types.Node
	for i := range 40 {
		node := types.NewNode(append([]byte{byte(i)}, make([]byte, 49_999)...))
		want = append(want, node)
		s.nodes[node.CID] = node.Bytes
	}
	ledger := newBook()
	n.host(2, town, s, func(c *ServerConfig) { c.Ledger = ledger })
	got, err := n.reader(town, paying(1)).Nodes(soon(t), cidsOf(want), peersOf(2))
	if err != nil || len(got) != 40 {
		t.Fatal(len(got), err)
	}
	n.work.Wait()
	if lines, err := Settled(ledger, 5); err != nil || len(lines) != 1 || lines[0].Units != 40*50_000/types.PieceSize {
		t.Errorf("lines %v, %v", lines, err)
	}
}

// TestCrashes: payer or payee crash at any write. After restarts the rest is
// fetched, every receipt is honest, and once all debts are settled both sides
// agree; nobody paid for more than was served.
func TestCrashes(t *testing.T) {
	pieces, want := piecesOf(120)
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 1))
			n := newNet(t)
			town, s := newTown(1000), newShelf(pieces)
			payee, payer := newBook(), newBook()
			open := func() {
				n.host(2, town, s, func(c *ServerConfig) { c.Ledger = payee })
			}
			got := map[int]bool{}
			for round := 0; len(got) < len(want); round++ {
				if round > 40 {
					t.Fatalf("%d pieces are missing", len(want)-len(got))
				}
				if round < 8 {
					payer.crashAfter(1 + chance.IntN(12))
					payee.crashAfter(1 + chance.IntN(12))
				}
				open()
				fetchRest(t, n, town, payer, want, got)
				n.work.Wait()
				payer, payee = payer.reopen(), payee.reopen()
			}
			open()
			r := n.reader(town, func(c *Config) { c.Ledger = payer })
			if err := r.Settle(soon(t)); err != nil {
				t.Fatal(err)
			}
			n.work.Wait()
			mine, theirs := linesOf(t, payer), linesOf(t, payee)
			if mine[0].Units != -theirs[0].Units || mine[0].Receipt != theirs[0].Receipt {
				t.Fatalf("lines %+v and %+v", mine, theirs)
			}
			if given := s.given.Load(); theirs[0].Units > given {
				t.Fatalf("paid %d units for %d pieces that were given", theirs[0].Units, given)
			}
		})
	}
}

func fetchRest(t *testing.T, n *netting, town *town, payer *book, want []types.Hash, got map[int]bool) {
	var rest []int
	var digests []types.Hash
	for i, h := range want {
		if !got[i] {
			rest, digests = append(rest, i), append(digests, h)
		}
	}
	r := n.reader(town, paying(1), impatient, func(c *Config) { c.Ledger = payer })
	_ = r.Fetch(soon(t), digests, peersOf(2), func(i int, _ []byte) error {
		got[rest[i]] = true
		return nil
	})
}

func linesOf(t *testing.T, l Ledger) []Traffic {
	lines, err := Settled(l, 5)
	if err != nil || len(lines) != 1 {
		t.Fatalf("lines %v, %v", lines, err)
	}
	return lines
}
