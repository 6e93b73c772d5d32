package consensus_test

import (
	"math/big"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// lateLog is a log with receipts alone.
func lateLog(e types.Epoch) *types.LogCommitment {
	return &types.LogCommitment{Epoch: e, Root: types.Hash{1}, Headers: 1, Exceptions: types.RawCID([]byte("receipts"))}
}

func (l *ledger) lateRecord(e types.Epoch) *types.EpochRecord {
	l.t.Helper()
	return got[*types.EpochRecord](l)(l.view().LateRecord(e))
}

func (l *ledger) lockOf(i int, e types.Epoch) *types.LockRecord {
	l.t.Helper()
	return got[*types.LockRecord](l)(l.view().Lock(l.id(i), e))
}

// lateCollation is a result of late logs, signed by all four validators of a town.
func (l *ledger) lateCollation(e types.Epoch, rows ...row) *types.Collation {
	l.t.Helper()
	c := l.collation(e, rows...)
	l.signLate(c)
	return c
}

// signLate puts the signatures for a result of late logs in place of the others.
func (l *ledger) signLate(c *types.Collation) {
	digest := consensus.LateDigest(l.gen.Chain(), c)
	for i := range c.Signers {
		c.Signers[i].Signature = l.who[l.number(c.Signers[i].By)].Sign(digest[:])
	}
}

// lateLogs: from block LogsDue(E)+1 to LogsDue(E+4) logs are late; they hold
// receipts, one commitment a node and epoch, and never a claim.
func lateLogs(t *testing.T) {
	l, host, e := settled(t)
	other := 4
	if host == 4 {
		other = 3
	}
	l.refuse(host, types.KindLog, lateLog(e), "committed logs of epoch")
	for want, change := range map[string]func(*types.LogCommitment){
		"not 1 headers and 2 lots": func(c *types.LogCommitment) { c.Lots, c.Leaves, c.SumRoot = 2, 9, types.Hash{1} },
		"not 0 headers":            func(c *types.LogCommitment) { c.Headers = 0 },
		"receipts and no claim":    func(c *types.LogCommitment) { c.Leaves = 1 },
		"after 20: wanted":         func(c *types.LogCommitment) { c.SumRoot = types.Hash{1} },
		"wanted from":              func(c *types.LogCommitment) { c.Epoch = l.now() },
	} {
		c := lateLog(e)
		change(c)
		l.refuse(other, types.KindLog, c, want)
	}
	bare := &types.LogCommitment{Epoch: e, Root: types.Hash{1}, Headers: 1}
	l.refuse(other, types.KindLog, bare, "receipts and no claim")
	l.refuse(0, types.KindLog, lateLog(e), "has no role")
	if l.lateRecord(e) != nil {
		t.Fatal("late logs before the first one")
	}
	due := consensus.LateLogsDue(l.rules(), e)
	if due != l.rules().LogsDue(e)+32 {
		t.Fatalf("late logs are due in block %d", due)
	}
	l.to(due - 1)
	l.do(other, types.KindLog, lateLog(e)) // the last block that takes one
	claim := got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(other)))
	if !consensus.Late(l.rules(), claim) || l.lateRecord(e) == nil {
		t.Fatalf("claim %+v", claim)
	}
	if consensus.Late(l.rules(), got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(host)))) {
		t.Fatal("the host's log was in time")
	}
	l.refuse(other, types.KindLog, lateLog(e), "committed logs of epoch")
	l.refuse(5, types.KindLog, lateLog(e), "wanted from")
	l.refuse(5, types.KindBundle, &types.BundlePost{Epoch: e, Root: types.Hash{1}, Size: 1}, "claimed nothing")
}

// downloaded is settled, with a lock of five coins of member 3 for epoch e, a
// late log of member 2, and a result of the epoch that debits some units.
func downloaded(t *testing.T, first int64) (l *ledger, e types.Epoch) {
	l = town(t)
	e = l.now()
	l.do(3, types.KindLock, &types.Lock{Epoch: e, Amount: 5 * types.Coin})
	l.to(l.rules().DisputesDue(e))
	l.put(l.nothing(e)...)
	var rows []row
	if first > 0 {
		rows = []row{{3, 0, -first}, {2, 0, first}}
	}
	l.do(5, types.KindCollation, l.collation(e, rows...))
	l.do(2, types.KindLog, lateLog(e))
	return l, e
}

// lateResult: one for an epoch that has a result and late logs, after their time,
// of downloads alone, within what the first one leaves of the lock, under a
// signature of its own; it is paid behind the first one, and then the lock
// returns.
func lateResult(t *testing.T) {
	l, e := downloaded(t, units(3))
	good := []row{{3, 0, -units(1)}, {2, 0, units(1)}}
	due := consensus.LateLogsDue(l.rules(), e)
	l.to(due - 1)
	l.refuse(5, types.KindCollation, l.lateCollation(e, good...), "wanted after block")
	l.mine()
	l.refuse(5, types.KindCollation, l.collation(e, good...), "wrong signature")
	l.refuse(5, types.KindCollation, l.lateCollation(e, row{3, 1, -units(1)}, row{2, -1, units(1)}), "count downloads alone")
	l.refuse(5, types.KindCollation, l.lateCollation(e, row{3, 0, -units(3)}, row{2, 0, units(3)}), "whose locks hold")
	l.refuse(5, types.KindCollation, l.lateCollation(e, row{2, 0, -1}, row{3, 0, 1}), "whose locks hold 0")
	few := l.lateCollation(e, good...)
	few.Signers = few.Signers[:2]
	l.refuse(5, types.KindCollation, few, "want more than 2/3")
	l.to(l.rules().Checkpoint(e+5) + 2) // the first result is being paid
	l.refuse(5, types.KindCollation, l.lateCollation(e, row{3, 0, -units(3)}, row{2, 0, units(3)}), "whose locks hold")
	l.do(5, types.KindCollation, l.lateCollation(e, good...))
	l.refuse(5, types.KindCollation, l.lateCollation(e, good...), "has a result")
	if rec := l.lateRecord(e); rec.Due != 0 || rec.Signed != 8000*types.Coin || len(rec.Collation.Signers) != 0 {
		t.Fatalf("late logs %+v", rec)
	}
	l.mine()
	if x := l.lateRecord(e); l.epoch(e).Buckets != types.ResultBuckets || x.Due != l.height() {
		t.Fatalf("late logs %+v, the first result has %d buckets", x, l.epoch(e).Buckets)
	}
	lock := l.lockOf(3, e)
	before := l.acc(2)
	for l.globals().Transfer == e {
		l.balanced()
		if spent := l.lockOf(3, e).Spent; spent > lock.Amount || spent < lock.Spent {
			t.Fatalf("%s of a lock of %s spent", spent, lock.Amount)
		}
		l.mine()
	}
	l.balanced()
	if n := l.height() - l.lateRecord(e).Due; n != 4 {
		t.Fatalf("paid in %d blocks, want 4", n)
	}
	wei := new(big.Int).Mul(big.NewInt(units(1)), l.rules().BandwidthCost)
	wei.Sub(wei, new(big.Int).Rsh(wei, 5))
	if have := l.acc(2).Balance - before.Balance; types.BaseCeil(wei).Uint64()-uint64(have) > 1 {
		t.Fatalf("payee got %s, want %s wei", have, wei)
	}
	if a := l.acc(3); a.Locked != 0 || a.Reserved != 0 || l.lockOf(3, e) != nil {
		t.Fatalf("locked %s, reserved %s", a.Locked, a.Reserved)
	}
	l.refuse(5, types.KindCollation, l.lateCollation(e, good...), "has a result")
}

// lateWait: without a result of the late logs the lock waits until the epoch
// would be given up, and nothing of it is lost; one that comes for an epoch that
// was given up is refused.
func lateWait(t *testing.T) {
	l, e := downloaded(t, units(3))
	last := l.rules().Checkpoint(e + 8)
	l.to(last - 1)
	lock := l.lockOf(3, e)
	if l.globals().Transfer != e || lock == nil || lock.Spent == 0 || l.epoch(e).Buckets != types.ResultBuckets {
		t.Fatalf("epoch %d is next, lock %+v", l.globals().Transfer, lock)
	}
	if _, left := l.predict(l.sign(5, types.KindCollation, l.lateCollation(e))); len(left) != 0 {
		t.Fatalf("in the last block: %v", left[0].Why)
	}
	rest := lock.Amount - lock.Spent
	before := l.acc(3)
	l.mine()
	if a := l.acc(3); l.globals().Transfer != e+1 || a.Balance != before.Balance+rest || a.Locked != 0 {
		t.Fatalf("epoch %d is next, balance %s of %s, locked %s", l.globals().Transfer, a.Balance, before.Balance+rest, a.Locked)
	}
	l.refuse(5, types.KindCollation, l.lateCollation(e), "was paid")
	l.balanced()
}

// lockForDownloads: a debt for storage leaves a download lock alone, so that it
// is good for late receipts.
func lockForDownloads(t *testing.T) {
	l, host, e := settled(t)
	l.do(6, types.KindCollation, l.collation(e, row{0, -2, 0}, row{host, 2, 0}))
	now := l.view().Epochal() + 1
	l.do(0, types.KindLock, &types.Lock{Epoch: now, Amount: types.Coin})
	line := l.line(row{0, -2, -1})
	if lock, _, err := l.view().Backing(now, l.id(0), &line); err != nil || lock != 0 {
		t.Fatalf("the lock pays %s at a price that is not fixed yet: %v", lock, err)
	}
	l.to(l.rules().Checkpoint(now))
	for _, x := range []struct {
		row  row
		want types.Amount
	}{{row{0, -2, 0}, 0}, {row{0, -2, -1000}, 262_144}, {row{0, -2, -1}, 263}, {row{0, 2, 1}, 0}, {row{0, -3, 1}, 0}, {row{0, 0, -units(9)}, types.Coin}} {
		line := l.line(x.row)
		if lock, _, err := l.view().Backing(now, l.id(0), &line); err != nil || lock != x.want {
			t.Errorf("the lock pays %s of %+v, want %s: %v", lock, x.row, x.want, err)
		}
	}
}

// Whatever an epoch's result and that of its late logs take from locks: each debit
// and credit is paid to the wei, no lock gives more than it holds, and what is left
// of it returns.
func TestLatePaysToTheWei(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := town(r)
		e := l.now()
		members := []int{2, 3, 4}
		for _, i := range members {
			l.do(i, types.KindLock, &types.Lock{Epoch: e, Amount: rapid.SampledFrom([]types.Amount{300_000, 700_001, 1_500_000, 1_500_000}).Draw(r, "lock")})
		}
		l.to(l.rules().DisputesDue(e))
		l.put(l.nothing(e)...)
		first, second := dealt(r, members, 2), dealt(r, members, 2)
		if left := l.mine(l.sign(5, types.KindCollation, l.collation(e, first...))); len(left) > 0 {
			return // above the locks: bounded by TestST9_1
		}
		l.do(4, types.KindLog, lateLog(e))
		l.to(consensus.LateLogsDue(l.rules(), e))
		covered := true
		for k := range second {
			rest := l.lockOf(second[k].member, e).Amount - l.need(first, second[k].member)
			covered = covered && l.need(second, second[k].member) <= rest
		}
		left := l.mine(l.sign(5, types.KindCollation, l.lateCollation(e, second...)))
		if covered != (len(left) == 0) {
			r.Fatalf("first %v, late %v: left out %v", first, second, left)
		}
		if !covered {
			second = nil
			l.do(5, types.KindCollation, l.lateCollation(e))
		}
		l.to(l.rules().Checkpoint(e + 5))
		want := map[int]*big.Int{}
		for _, i := range members {
			want[i] = l.wei(i)
		}
		for _, x := range slices.Concat(first, second) {
			line := l.line(x)
			if line.T.Sign() > 0 {
				line.T.Sub(line.T, new(big.Int).Rsh(line.T, 5)) // ST7
			}
			want[x.member].Add(want[x.member], line.T)
		}
		for l.globals().Transfer == e {
			l.mine()
			l.balanced()
		}
		for _, i := range members {
			if have := l.wei(i); have.Cmp(want[i]) != 0 || l.acc(i).Locked != 0 {
				r.Fatalf("member %d has %s wei and %s locked, want %s", i, have, l.acc(i).Locked, want[i])
			}
		}
	})
}

// dealt are rows of downloads among members, up to some thousand units each.
func dealt(r *rapid.T, members []int, thousands int) (rows []row) {
	sum := map[int]int64{}
	for range 3 {
		i := rapid.IntRange(0, len(members)-1).Draw(r, "payer")
		j := (i + rapid.IntRange(1, len(members)-1).Draw(r, "payee")) % len(members)
		n := int64(rapid.IntRange(0, thousands*1000).Draw(r, "units"))
		sum[members[i]] -= n
		sum[members[j]] += n
	}
	for _, i := range members {
		if sum[i] != 0 {
			rows = append(rows, row{member: i, b: sum[i]})
		}
	}
	return rows
}

// need is what a member's row takes from its locks, in base units.
func (l *ledger) need(rows []row, i int) types.Amount {
	for _, x := range rows {
		if line := l.line(x); x.member == i && line.T.Sign() < 0 {
			return types.Amount(types.BaseCeil(line.T.Neg(line.T)).Uint64())
		}
	}
	return 0
}

// wei is all that a member has, free or locked.
func (l *ledger) wei(i int) *big.Int {
	l.t.Helper()
	a := l.acc(i)
	n := new(big.Int).SetUint64(uint64(a.Balance + a.Locked))
	return n.Mul(n, big.NewInt(types.WeiPerBase)).Add(n, new(big.Int).SetUint64(a.Carry))
}

// lateLogs commits some logs late and settles them, in the property of U3.
func (x *life) lateLogs() {
	now := x.now()
	for e := now - min(now, 6); e < now; e++ {
		if i := x.n(1, 8, "member"); x.likely(10) {
			x.send(i, types.KindLog, lateLog(e))
		}
		rec := x.lateRecord(e)
		if rec == nil || rec.Collation != nil || x.epoch(e).Collation == nil || x.height() < consensus.LateLogsDue(x.rules(), e) || !x.likely(50) {
			continue
		}
		x.send(x.n(5, 8, "validator"), types.KindCollation, x.lateOutcome(e))
	}
}

// lateOutcome debits about what is left of some locks, or a bit more.
func (x *life) lateOutcome(e types.Epoch) *types.Collation {
	var rows []row
	for i := range 9 {
		rows = append(rows, row{member: i})
	}
	for i := range 9 {
		lock := x.lockOf(i, e)
		if lock == nil || x.likely(30) {
			continue
		}
		b := int64(x.n(0, int((lock.Amount-lock.Spent)/262), "units"))
		rows[i].b -= b
		rows[(i+x.n(1, 8, "server"))%9].b += b
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.b == 0 })
	return x.lateCollation(e, rows...)
}

// TestLateVectors: what is signed of the two results of an epoch.
func TestLateVectors(t *testing.T) {
	var list []struct {
		Chain  string `json:"chain"`
		Epoch  uint64 `json:"epoch"`
		Input  string `json:"input"`
		Result string `json:"result"`
		Rows   uint32 `json:"rows"`
		Signed string `json:"signed"`
		Late   string `json:"late"`
	}
	vectors(t, "late.json", &list)
	if len(list) == 0 {
		t.Fatal("no vectors")
	}
	for _, x := range list {
		chain, err := types.ParseHash(x.Chain)
		if err != nil {
			t.Fatal(err)
		}
		c := &types.Collation{Epoch: types.Epoch(x.Epoch), Rows: x.Rows}
		if c.Input, err = types.ParseHash(x.Input); err != nil {
			t.Fatal(err)
		}
		if c.Result, err = cid.Decode(x.Result); err != nil {
			t.Fatal(err)
		}
		if have := c.Digest(chain).String(); have != x.Signed {
			t.Errorf("signed is %s, want %s", have, x.Signed)
		}
		if have := consensus.LateDigest(chain, c).String(); have != x.Late {
			t.Errorf("signed of late logs is %s, want %s", have, x.Late)
		}
	}
}
