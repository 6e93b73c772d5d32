package consensus_test

import (
	"bytes"
	"math/big"
	"slices"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// row is one line of a result: s and b of a member, at the sim's prices.
type row struct {
	member int
	s, b   int64
}

func (l *ledger) line(r row) types.ResultLine {
	t := new(big.Int).Mul(big.NewInt(r.s), l.rules().StorageCost)
	t.Add(t, new(big.Int).Mul(big.NewInt(r.b), l.rules().BandwidthCost))
	return types.ResultLine{Address: l.id(r.member).Address(), S: r.s, B: r.b, T: t}
}

// result stores the blocks of a result and gives an unsigned collation of it.
func (l *ledger) result(e types.Epoch, lines ...types.ResultLine) *types.Collation {
	l.t.Helper()
	slices.SortFunc(lines, func(a, b types.ResultLine) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	buckets := map[byte]*types.ResultBucket{}
	for _, x := range lines {
		k := x.Address[0]
		if buckets[k] == nil {
			buckets[k] = new(types.ResultBucket)
		}
		buckets[k].Lines = append(buckets[k].Lines, x)
	}
	var res types.Result
	for k := range res.Entries {
		if b := buckets[byte(k)]; b != nil {
			res.Entries[k] = got[types.ResultEntry](l)(b.Entry())
			l.src.Put([]types.Node{types.NewNode(types.Marshal(b))})
		}
	}
	root := types.NewNode(types.Marshal(&res))
	l.src.Put([]types.Node{root})
	return &types.Collation{Epoch: e, Input: types.H("staddle/test/input"), Result: root.CID, Rows: res.Lines()}
}

// signed lets members sign a collation.
func (l *ledger) signed(c *types.Collation, members ...int) *types.Collation {
	digest := c.Digest(l.gen.Chain())
	c.Signers = nil
	for _, i := range members {
		c.Signers = append(c.Signers, types.Signed{By: l.id(i), Signature: l.who[i].Sign(digest[:])})
	}
	slices.SortFunc(c.Signers, func(a, b types.Signed) int { return bytes.Compare(a.By[:], b.By[:]) })
	return c
}

// collation is a result signed by all four validators of a town.
func (l *ledger) collation(e types.Epoch, rows ...row) *types.Collation {
	l.t.Helper()
	var lines []types.ResultLine
	for _, r := range rows {
		lines = append(lines, l.line(r))
	}
	return l.signed(l.result(e, lines...), 5, 6, 7, 8)
}

// settled is a town with one plan of member 0, whose host has proven epoch e and
// whose result may be collated in the next block.
func settled(t tester, tune ...func(*types.Genesis)) (l *ledger, host int, e types.Epoch) {
	l = town(t, tune...)
	lots := l.plan(0, l.publish(0, "data", 2), 1, 0)
	l.activate(lots...)
	host = l.number(l.lot(lots[0]).Host)
	e = l.now()
	l.step(e, host)
	l.to(l.rules().BundlesDue(e) - 2)
	l.put(append(l.nothing(e), l.sign(host, types.KindBundle, l.signedBundle(host, l.bundle(host, e))))...)
	l.to(l.rules().DisputesDue(e))
	return l, host, e
}

// nothing collates the epochs before e that have no result: nobody owes anything.
func (l *ledger) nothing(e types.Epoch) (txs []types.Tx) {
	l.t.Helper()
	for f := l.globals().Transfer; f < e; f++ {
		c := l.signed(l.result(f), 5, 6, 7)
		txs = append(txs, l.sign(5, types.KindCollation, c, later(uint64(len(txs)))))
	}
	return txs
}

// ST1: each kind has its time; a transfer is due at checkpoint E+5 or later, and
// an epoch without a result is given up at checkpoint E+8.
func TestST1(t *testing.T) {
	t.Run("logs", func(t *testing.T) {
		l := town(t)
		e := l.now()
		c := &types.LogCommitment{Epoch: e, Root: types.Hash{1}, Headers: 1}
		l.to(l.rules().Checkpoint(e) - 1)
		l.refuse(1, types.KindLog, c, "wanted from") // in the checkpoint itself
		l.mine()
		if _, left := l.predict(l.sign(1, types.KindLog, c)); len(left) != 0 {
			t.Fatalf("first block: %v", left[0].Why)
		}
		l.to(l.rules().LogsDue(e) - 1)
		if l.rules().LogsDue(e) != l.rules().Checkpoint(e)+4 {
			t.Fatalf("logs are due in block %d", l.rules().LogsDue(e))
		}
		l.do(1, types.KindLog, c)
		l.refuse(2, types.KindLog, c, "receipts and no claim") // late from here on
		c.Epoch++
		l.refuse(2, types.KindLog, c, "wanted from")
	})
	t.Run("late logs", lateLogs)
	t.Run("late logs' result", lateResult)
	t.Run("late logs are waited for", lateWait)
	t.Run("lock pays downloads alone", lockForDownloads)
	t.Run("beacon", func(t *testing.T) {
		l := town(t)
		e := l.now()
		l.to(l.rules().Checkpoint(e+1) - 1)
		if !l.epoch(e).Beacon.IsZero() {
			t.Fatal("the beacon is known before checkpoint E+1")
		}
		l.mine()
		if want := types.H("staddle/epoch", func() []byte { r := l.globals().R; return r[:] }()); l.epoch(e).Beacon != want {
			t.Fatal("the beacon is not of the block at checkpoint E+1")
		}
		if x, ok := event[types.Beaconed](l); !ok || x.Epoch != e {
			t.Fatalf("event %+v", x)
		}
	})
	t.Run("collation", func(t *testing.T) {
		l, host, e := settled(t)
		c := l.collation(e, row{0, -2, 0}, row{host, 2, 0})
		back := *l
		back.to(l.height())
		if l.height() != l.rules().DisputesDue(e) {
			t.Fatalf("block %d", l.height())
		}
		early, _, _ := settledBefore(t)
		early.refuse(5, types.KindCollation, early.collation(e, row{0, -2, 0}, row{host, 2, 0}), "wanted after block")
		l.do(6, types.KindCollation, c)
		if x, ok := event[types.Collated](l); !ok || x.Epoch != e || x.Result != c.Result {
			t.Fatalf("event %+v", x)
		}
		l.refuse(5, types.KindCollation, c, "has a result")
		l.refuse(5, types.KindCollation, l.collation(e+1), "wanted after block")
		l.refuse(5, types.KindCollation, l.collation(1<<30), "wanted after block")

		l.to(l.rules().Checkpoint(e+5) - 1)
		if l.epoch(e).Due != 0 {
			t.Fatal("due before checkpoint E+5")
		}
		l.mine()
		if due := l.epoch(e).Due; due != l.height() || l.globals().Transfer != e {
			t.Fatalf("due in block %d, the checkpoint is %d", due, l.height())
		}
	})
	t.Run("late result", func(t *testing.T) {
		l, host, e := settled(t)
		l.to(l.rules().Checkpoint(e+6) + 3)
		c := l.collation(e, row{0, -2, 0}, row{host, 2, 0})
		l.do(6, types.KindCollation, c)
		l.to(l.rules().Checkpoint(e + 7))
		if due := l.epoch(e).Due; due != l.height() {
			t.Fatalf("due in block %d, want %d", due, l.height())
		}
	})
	t.Run("given up", func(t *testing.T) {
		l, host, e := settled(t)
		l.to(l.rules().Checkpoint(e+8) - 1)
		c := l.collation(e, row{0, -2, 0}, row{host, 2, 0})
		if _, left := l.predict(l.sign(5, types.KindCollation, c)); len(left) != 0 {
			t.Fatalf("in the last block: %v", left[0].Why)
		}
		l.mine()
		if l.globals().Transfer != e+1 {
			t.Fatalf("next to be paid is %d, want %d", l.globals().Transfer, e+1)
		}
		l.refuse(5, types.KindCollation, c, "was given up or paid")
		l.balanced()
	})
	t.Run("disputes", disputesBeforeResult)
}

// settledBefore is settled one block earlier, when disputes may still come.
func settledBefore(t tester) (l *ledger, host int, e types.Epoch) {
	full, host, e := settled(t)
	l = town(t)
	lots := l.plan(0, l.publish(0, "data", 2), 1, 0)
	l.activate(lots...)
	l.to(full.height() - 1)
	return l, host, e
}

// ST6: an epoch pays the price fixed at its checkpoint; a plan's own price only
// says above which it stops; it is prepaid at the highest, and the rest returns.
func TestST6(t *testing.T) {
	l := town(t)
	d := l.publish(0, "data", 3)
	p := l.planFor(d, 2, 1, 10)
	// Set-up: 2 x 3 ranges of 4 pieces (1,048 and 2 x 131), rent: 2 x 3 pieces x 10
	// epochs x 0.001 coins.
	if want := types.Amount(2*3*(1048+2*131) + 2*3*10*1_000_000); p.Lock != want {
		t.Fatalf("prepayment %d, want %d", p.Lock, want)
	}
	low := *p
	low.Lock--
	l.refuse(0, types.KindPlan, &low, "lock of")
	low = *p
	low.MaxPrice = new(big.Int).Sub(p.MaxPrice, big.NewInt(1))
	l.refuse(0, types.KindPlan, &low, "below the price")
	high := *p
	high.MaxPrice = new(big.Int).Mul(p.MaxPrice, big.NewInt(4))
	l.refuse(0, types.KindPlan, &high, "lock of") // four times the rent
	rent := types.Amount(2 * 3 * 10 * 1_000_000)
	high.Lock = p.Lock + 3*rent
	if _, left := l.predict(l.sign(0, types.KindPlan, &high)); len(left) != 0 {
		t.Fatalf("highest price 4x: %v", left[0].Why)
	}
	for want, change := range map[string]func(*types.Plan){
		"plan until epoch":  func(p *types.Plan) { p.Until = l.now() },
		"at most 2920":      func(p *types.Plan) { p.Until = l.now() + 2921 },
		"plan locks":        func(p *types.Plan) { p.Lock = 2 * coins },
		"encoding 99":       func(p *types.Plan) { p.Encoding = 99 },
		"lock of":           func(p *types.Plan) { p.MaxPrice = new(big.Int).Lsh(big.NewInt(1), 250) },
		"plan for ranges 0": func(p *types.Plan) { p.Count = 4 },
	} {
		bad := *p
		change(&bad)
		l.refuse(0, types.KindPlan, &bad, want)
	}
	e := l.now()
	l.to(l.rules().Checkpoint(e))
	if rec := l.epoch(e); rec.Storage.Cmp(l.rules().StorageCost) != 0 || rec.Bandwidth.Cmp(l.rules().BandwidthCost) != 0 || rec.Seconds != uint64(l.tip.Header.Time)/1000 {
		t.Fatalf("epoch %+v", rec)
	}

	// The rest returns when the plan's last epoch is paid or given up.
	short := l.planFor(d, 1, 0, 2)
	before := l.acc(0).Locked
	id := l.do(0, types.KindPlan, short)
	lots := l.lotsOf(id)
	l.drawn(lots[0])
	l.to(l.rules().Checkpoint(short.Until-1) + 1)
	if rec := got[*types.PlanRecord](l)(l.view().Plan(id)); !rec.Ended || rec.Left != short.Lock {
		t.Fatalf("plan %+v at its end", rec)
	}
	if rec := l.lot(lots[0]); rec.Status != types.LotEnded {
		t.Fatalf("lot is %s", rec.Status)
	}
	for i := 1; i <= 4; i++ {
		if h := l.host(i); h.Open != 0 || h.Bonded != 0 || h.Lots != 0 {
			t.Errorf("member %d: %+v after the plan ended", i, h)
		}
	}
	if l.acc(0).Locked != before+short.Lock {
		t.Fatal("the lock came back before its last epoch was settled")
	}
	for range 14 * 8 {
		if l.acc(0).Locked == before {
			break
		}
		l.mine()
	}
	if rec := got[*types.PlanRecord](l)(l.view().Plan(id)); rec.Left != 0 || l.acc(0).Locked != before {
		t.Fatalf("%s is left, %s locked", rec.Left, l.acc(0).Locked)
	}
	if list := got[[]types.PlanID](l)(l.view().Plans(l.id(0))); len(list) != 0 {
		t.Fatalf("%d plans are listed", len(list))
	}
	l.balanced()
}

// ST7: floor(t/32) of each credit goes to the signers by stake, the rest of the
// levy is burned.
func TestST7(t *testing.T) {
	uneven := func(g *types.Genesis) {
		g.Deposits = nil
		for i, n := range map[int]types.Amount{5: 1000, 6: 2000, 7: 4000, 8: 1001} {
			g.Deposits = append(g.Deposits, types.Credit{Account: chaintest.Account(i), Amount: n * types.Coin})
		}
		slices.SortFunc(g.Deposits, func(a, b types.Credit) int { return bytes.Compare(a.Account[:], b.Account[:]) })
	}
	l := start(t, 9, uneven)
	l.register(types.RoleValidator, 5, 6, 7, 8)
	l.register(types.RoleHost, 1)
	lots := l.plan(0, l.publish(0, "data", 2), 1, 0)
	l.activate(lots...)
	e := l.now()
	l.step(e, 1)
	l.to(l.rules().BundlesDue(e) - 2)
	l.put(append(l.nothing(e), l.sign(1, types.KindBundle, l.signedBundle(1, l.bundle(1, e))))...)
	l.to(l.rules().DisputesDue(e))
	// 8 has not signed and gets nothing.
	c := l.signed(l.result(e, l.line(row{0, -2, 0}), l.line(row{1, 2, 0})), 5, 6, 7)
	l.do(5, types.KindCollation, c)
	l.to(l.rules().Checkpoint(e + 5))
	before, burned := map[int]types.AccountRecord{}, l.globals()
	for i := range 9 {
		before[i] = *l.acc(i)
	}
	l.to(l.height() + 4)

	tt := big.NewInt(2 * 1_000_000_000_000_000)
	levy := new(big.Int).Rsh(tt, 5) // 62,500,000,000,000 wei
	part := func(stake int64) *big.Int {
		x := new(big.Int).Mul(levy, big.NewInt(stake))
		return x.Quo(x, big.NewInt(7000))
	}
	wei := func(i int) *big.Int { // what member i has more, in wei
		a := l.acc(i)
		d := new(big.Int).SetInt64(int64(a.Balance) - int64(before[i].Balance))
		d.Mul(d, big.NewInt(types.WeiPerBase))
		d.Add(d, big.NewInt(int64(a.Carry)-int64(before[i].Carry)))
		return d
	}
	want := map[int]*big.Int{
		1: new(big.Int).Sub(tt, levy), 5: part(1000), 6: part(2000), 7: part(4000), 8: new(big.Int), 2: new(big.Int),
	}
	for i, w := range want {
		if d := wei(i); d.Cmp(w) != 0 {
			t.Errorf("member %d got %s wei, want %s", i, d, w)
		}
	}
	rest := new(big.Int).Set(levy)
	for _, stake := range []int64{1000, 2000, 4000} {
		rest.Sub(rest, part(stake))
	}
	g := l.globals()
	if n := int64(g.Burned-burned.Burned)*types.WeiPerBase + int64(g.BurnCarry) - int64(burned.BurnCarry); rest.Cmp(big.NewInt(n)) != 0 {
		t.Errorf("burned %d wei, want %s", n, rest)
	}
	if a := l.acc(0); a.Locked != before[0].Locked-2_000_000 || a.Reserved != 0 || a.Balance != before[0].Balance {
		t.Errorf("sponsor %+v, was %+v", a, before[0])
	}
	l.balanced()
}

// ST9.1: what a result may say.
func TestST9_1(t *testing.T) {
	l, host, e := settled(t)
	l.do(3, types.KindLock, &types.Lock{Epoch: l.now(), Amount: types.Coin})
	good := []row{{0, -2, 0}, {host, 2, 0}}
	raw := func(lines ...types.ResultLine) *types.Collation { return l.signed(l.result(e, lines...), 5, 6, 7, 8) }
	changed := func(f func(*types.Collation)) *types.Collation {
		c := l.collation(e, good...)
		f(c)
		return l.signed(c, 5, 6, 7, 8)
	}
	idle := 4
	if host == 4 {
		idle = 3
	}
	stranger := l.line(row{0, 2, 0})
	stranger.Address = chaintest.Account(99).Address()
	cheap, dear := l.line(row{0, -2, 0}), l.line(row{host, 2, 0})
	cheap.T = new(big.Int).Add(cheap.T, big.NewInt(1))
	dear.T = new(big.Int).Sub(dear.T, big.NewInt(1))
	for name, x := range map[string]struct {
		c    *types.Collation
		want string
	}{
		"sum s":        {l.collation(e, row{0, -2, 0}, row{host, 1, 0}), "zero sums"},
		"sum b":        {l.collation(e, row{0, -2, -1}, row{host, 2, 2}), "zero sums"},
		"sum t":        {raw(cheap, l.line(row{host, 2, 0})), "zero sums"},
		"price":        {raw(cheap, dear), "want"},
		"unregistered": {raw(l.line(row{0, -2, 0}), stranger), "is not registered"},
		"more than proven": {
			l.collation(e, row{0, -3, 0}, row{host, 3, 0}), "which proved 2",
		},
		"proved nothing": {l.collation(e, row{0, -2, 0}, row{idle, 2, 0}), "which proved nothing in epoch"},
		"above the locks": {
			l.collation(e, row{2, -2, 0}, row{host, 2, 0}), "whose locks hold 0",
		},
		"rows":         {changed(func(c *types.Collation) { c.Rows++ }), "want"},
		"two thirds":   {l.signed(l.collation(e, good...), 5, 6), "want more than 2/3"},
		"no deposit":   {l.signed(l.collation(e, good...), 5, 6, 7, 3), "has no deposit"},
		"no signature": {l.signed(l.collation(e, good...)), "deposits of 0 signed"},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.refuse(5, types.KindCollation, x.c, x.want)
		})
	}
	l.t = t
	forged := l.collation(e, good...)
	forged.Signers[1].Signature[3] ^= 1
	l.refuse(5, types.KindCollation, forged, "has a wrong signature")
	twice := l.collation(e, good...)
	twice.Signers = []types.Signed{twice.Signers[0], twice.Signers[0], twice.Signers[1]}
	l.refuse(5, types.KindCollation, twice, "is not in ascending order")

	// An entry that does not describe its bucket, and a bucket in the wrong place.
	c := l.result(e, l.line(good[0]), l.line(good[1]))
	b, _ := l.src.Node(c.Result)
	var res types.Result
	if err := types.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	k := int(l.id(0).Address()[0])
	lie := func(change func(*types.Result)) *types.Collation {
		bad := res
		change(&bad)
		n := types.NewNode(types.Marshal(&bad))
		l.src.Put([]types.Node{n})
		x := *c
		x.Result = n.CID
		return l.signed(&x, 5, 6, 7, 8)
	}
	l.refuse(5, types.KindCollation, lie(func(r *types.Result) { r.Entries[k].Credit.S = 7 }), "its entry says")
	l.refuse(5, types.KindCollation, lie(func(r *types.Result) {
		r.Entries[(k+1)%256], r.Entries[k] = r.Entries[k], types.ResultEntry{}
	}), "bucket")
	l.refuse(5, types.KindCollation, lie(func(r *types.Result) { r.Entries[k].Bucket = l.tip.Header.Txs }), "bucket")

	three := l.signed(l.collation(e, good...), 5, 6, 7) // 3/4 will do
	l.do(0, types.KindCollation, three)
	if rec := l.epoch(e); rec.Signed != 6000*types.Coin || rec.Collation == nil || len(rec.Collation.Signers) != 0 {
		t.Fatalf("epoch %+v", rec)
	}
	if a := l.acc(0); a.Reserved != 2_000_000 {
		t.Fatalf("%d reserved", a.Reserved)
	}
}

// ST9.2: bucket k applies in block c + 1 + floor(k / bucketsPerBlock); results
// are paid in the order of epochs, the next after the last bucket of the one
// before.
func TestST9_2(t *testing.T) {
	for _, perBlock := range []uint32{64, 4, 100} {
		l, host, e := settled(t, func(g *types.Genesis) { g.Rules.BucketsPerBlock = perBlock })
		l.do(6, types.KindCollation, l.collation(e, row{0, -2, 0}, row{host, 2, 0}))
		for l.epoch(e).Due == 0 { // the epochs before take their blocks
			l.mine()
		}
		c := l.height()
		first := uint32(l.id(0).Address()[0])
		locked := l.acc(0).Locked
		for l.globals().Transfer == e {
			l.mine()
			want := min(uint32(l.height()-c)*perBlock, 256)
			if rec := l.epoch(e); rec.Buckets != want {
				t.Fatalf("%d a block: %d buckets after %d blocks, want %d", perBlock, rec.Buckets, l.height()-c, want)
			}
			due := l.height() >= c+1+types.Height(first/perBlock)
			if paid := l.acc(0).Locked < locked; paid != due {
				t.Fatalf("%d a block: bucket %d paid in block c + %d: %t", perBlock, first, l.height()-c, paid)
			}
			l.balanced()
		}
		if n := types.Height((256 + perBlock - 1) / perBlock); l.height() != c+n {
			t.Fatalf("paid in %d blocks, want %d", l.height()-c, n)
		}
		if x, ok := event[types.Settled](l); !ok || x.Epoch != e {
			t.Fatalf("event %+v", x)
		}
	}
	t.Run("order", func(t *testing.T) {
		// The results of three epochs come late and in the wrong order.
		l := town(t)
		lots := l.plan(0, l.publish(0, "data", 2), 1, 0)
		l.activate(lots...)
		host := l.number(l.lot(lots[0]).Host)
		e := l.now()
		for k := range types.Epoch(3) {
			l.step(e+k, host)
		}
		l.step(e + 3)
		l.put(l.nothing(e)...)
		l.to(l.rules().Checkpoint(e+6) + 1)
		for _, k := range []types.Epoch{2, 0, 1} {
			l.do(5, types.KindCollation, l.collation(e+k, row{0, -2, 0}, row{host, 2, 0}))
		}
		if a := l.acc(0); a.Reserved != 6_000_000 {
			t.Fatalf("%d reserved for three results", a.Reserved)
		}
		l.to(l.rules().Checkpoint(e + 7))
		c := l.height()
		for k := range types.Epoch(3) {
			if g := l.globals(); g.Transfer != e+k || l.epoch(e+k).Due != l.height() {
				t.Fatalf("block c + %d: epoch %d is next, due in %d; want %d", l.height()-c, g.Transfer, l.epoch(e+k).Due, e+k)
			}
			l.to(l.height() + 4)
		}
		if a := l.acc(0); a.Reserved != 0 || l.globals().Transfer != e+3 {
			t.Fatalf("%d reserved, epoch %d next", a.Reserved, l.globals().Transfer)
		}
		l.balanced()
	})
}

// H3: a host beyond its first ranges earns its bond before it is paid; an
// encoder is drawn for what its bond covers.
func TestH3(t *testing.T) {
	t.Run("host", func(t *testing.T) {
		for _, free := range []uint32{1, 2} {
			l, host, e := settled(t, func(g *types.Genesis) { g.Rules.FreeRanges = free })
			l.do(6, types.KindCollation, l.collation(e, row{0, -2, 0}, row{host, 2, 0}))
			l.to(l.rules().Checkpoint(e + 5))
			before := l.acc(host)
			l.to(l.height() + 4)
			paid := types.Amount(2_000_000 - 62_500)
			retained := types.Amount(0)
			if free == 1 { // two ranges kept: the bond of 64 epochs is far from there
				paid, retained = 0, paid
			}
			if now := l.acc(host); now.HostBond != retained || now.Balance != before.Balance+paid || l.host(host).Retained != retained {
				t.Errorf("%d free: bond %d, paid %d, retained %d", free, now.HostBond, now.Balance-before.Balance, l.host(host).Retained)
			}
			l.balanced()
		}
		// The bond is nearly there: the rest is retained, what is over is paid.
		l, host, e := settled(t, func(g *types.Genesis) { g.Rules.FreeRanges = 1 })
		need := types.Amount(2 * 64 * 1_000_000)
		l.bond(host, types.RoleHost, need-1000)
		l.do(6, types.KindCollation, l.collation(e, row{0, -2, 0}, row{host, 2, 0}))
		l.to(l.rules().Checkpoint(e + 5))
		before := l.acc(host)
		l.to(l.height() + 4)
		if now := l.acc(host); now.HostBond != need || now.Balance != before.Balance+2_000_000-62_500-1000 {
			t.Errorf("bond %d of %d, paid %d", now.HostBond, need, now.Balance-before.Balance)
		}
		l.balanced()
	})
	t.Run("encoder", func(t *testing.T) {
		l := start(t, 7, both(validators(4, 2, 1000*types.Coin), func(g *types.Genesis) { g.Rules.LotRanges = 1 }))
		l.register(types.RoleValidator, 4, 5)
		l.register(types.RoleEncoder, 1)
		l.register(types.RoleHost, 2, 3)
		piece := types.Amount(112 * 1_000_000) // 112 epochs of a piece
		l.bond(1, types.RoleEncoder, 2*piece-1)
		lots := l.plan(0, l.publish(0, "data", 3), 1, 1)
		l.to(l.height() + 5)
		if h := l.host(1); h.Bonded != 1 {
			t.Fatalf("a bond for less than two pieces stands for %d", h.Bonded)
		}
		l.bond(1, types.RoleEncoder, 1)
		l.mine()
		if h := l.host(1); h.Bonded != 2 {
			t.Fatalf("a bond for two pieces stands for %d", h.Bonded)
		}
		l.activate(lots[0])
		if h := l.host(1); h.Bonded != 2 || l.lot(lots[2]).Status != types.LotWaiting {
			t.Fatalf("%d pieces behind the bond: what was encoded stays in it", h.Bonded)
		}
		l.do(l.number(l.lot(lots[0]).Host), types.KindDuty, answer(types.DutyDrop, lots[0], l.lot(lots[0])))
		l.mine()
		if s := l.lot(lots[2]).Status; s != types.LotDrawn {
			t.Fatalf("the waiting lot is %s when the bond is free again", s)
		}
	})
}

// disputesBeforeResult: up to its last block a dispute counts and no result does;
// from the next one on a result counts and no dispute does. So nothing that a
// result credits is lost later.
func disputesBeforeResult(t *testing.T) {
	for _, won := range []bool{false, true} {
		var change func(*replica.Bundle)
		if won {
			change = func(b *replica.Bundle) { b.Proofs[4] = nil }
		}
		l, b, host, e := posted(t, change)
		due := l.rules().DisputesDue(e)
		if l.rules().EpochOf(due+1) != e+2 || l.rules().EpochOf(l.rules().BundlesDue(e)+1) != e+2 {
			t.Fatalf("results from block %d on: want the epoch after the beacon's", due+1)
		}
		credit := func() *types.Collation { return l.collation(e, row{0, -1, 0}, row{host, 1, 0}) }
		l.to(due - 1)
		l.refuse(6, types.KindCollation, credit(), "wanted after block")
		l.do(3, types.KindDispute, disputeOf(l, b, host, 4)) // in the last block
		if x, ok := event[types.Disputed](l); !ok || x.Won != won || l.height() != due {
			t.Fatalf("event %+v in block %d", x, l.height())
		}
		l.refuse(4, types.KindDispute, disputeOf(l, b, host, 5), map[bool]string{true: "lost a dispute", false: "wanted until"}[won])
		if won {
			l.refuse(6, types.KindCollation, credit(), "which proved nothing in epoch")
			l.do(6, types.KindCollation, l.collation(e))
			continue
		}
		l.do(6, types.KindCollation, credit())
		l.refuse(4, types.KindDispute, disputeOf(l, b, host, 5), "wanted until")
	}
}
