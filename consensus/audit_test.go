package consensus_test

import (
	"slices"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// kept2 is a town in which one host keeps two lots, at the end of the epoch after
// their activation.
func kept2(t *testing.T, tune ...func(*types.Genesis)) (l *ledger, lots []types.LotID, host int, e types.Epoch) {
	l = start(t, 9, both(append(tune, validators(5, 4, 2000*types.Coin))...))
	l.register(types.RoleValidator, 5, 6, 7, 8)
	l.register(types.RoleHost, 1)
	l.bond(1, types.RoleHost, 50*types.Coin)
	lots = append(l.plan(0, l.publish(0, "data", 1), 1, 0), l.plan(0, l.publish(0, "more", 2), 1, 0)...)
	l.activate(lots...)
	l.register(types.RoleHost, 2) // where repair may go
	e = l.now()
	l.to(l.rules().Checkpoint(e))
	return l, lots, 1, e
}

// H6.3: a host claims the lots that the chain gives it, no more and no less.
func TestH6_3(t *testing.T) {
	l, lots, host, e := kept2(t)
	good := l.claim(host, e)
	if good.Lots != 2 || good.Leaves != 3+256+3 {
		t.Fatalf("claim %+v", good)
	}
	for name, change := range map[string]func(*types.LogCommitment){
		"fewer lots":   func(c *types.LogCommitment) { c.Lots = 1 },
		"more lots":    func(c *types.LogCommitment) { c.Lots = 3 },
		"fewer leaves": func(c *types.LogCommitment) { c.Leaves-- },
		"more leaves":  func(c *types.LogCommitment) { c.Leaves++ },
		"no tree":      func(c *types.LogCommitment) { c.SumRoot = types.Hash{} },
		"nothing":      func(c *types.LogCommitment) { c.Lots, c.Leaves, c.SumRoot = 0, 0, types.Hash{} },
	} {
		bad := *good
		change(&bad)
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.refuse(host, types.KindLog, &bad, "the chain has 2 with 262; drop what is lost first")
		})
	}
	l.t = t
	tree := l.claim(2, e)
	tree.SumRoot = types.Hash{1}
	l.refuse(2, types.KindLog, tree, "claim of 0 lots")
	l.refuse(0, types.KindLog, l.claim(0, e), "has no role")

	// What is not claimed at all has missed; what is lost is dropped before.
	l.step(e)
	l.step(e + 1)
	for _, id := range lots {
		if rec := l.lot(id); rec.Missed != 1 {
			t.Errorf("lot %s has %d misses, want 1", id.Short(), rec.Missed)
		}
	}
	if h := l.host(host); h.State != types.HostSuspended || h.Bundles != 0 {
		t.Errorf("host %+v", h)
	}
}

// H6.4: a bundle comes after the beacon and until its deadline, with a proof for
// every place, signed by more than half of the drawn checkers.
func TestH6_4(t *testing.T) {
	l, _, host, e := kept2(t)
	l.do(host, types.KindLog, l.claim(host, e))
	l.refuse(host, types.KindBundle, &types.BundlePost{Epoch: e, Proofs: 16}, "wanted after its beacon")
	l.to(l.rules().Checkpoint(e+1) - 1)
	l.refuse(host, types.KindBundle, &types.BundlePost{Epoch: e, Proofs: 16}, "wanted after its beacon") // in the block that fixes it
	l.mine()

	good := l.signedBundle(host, l.bundle(host, e))
	q, frozen := l.question(host, e)
	drawn := got[[]types.Account](l)(frozen.Checkers(l.id(host), l.epoch(e).Beacon))
	if len(drawn) != 3 || slices.Contains(drawn, l.id(host)) {
		t.Fatalf("checkers %v", drawn)
	}
	other := -1
	for i := 5; i <= 8; i++ {
		if !slices.Contains(drawn, l.id(i)) {
			other = i
		}
	}
	digest := good.Digest(l.gen.Chain(), l.id(host), l.epoch(e).Beacon)
	for name, x := range map[string]struct {
		change func(b *types.BundlePost)
		sign   bool
		want   string
	}{
		"one proof less": {func(b *types.BundlePost) { b.Proofs-- }, true, "were drawn"},
		"one proof more": {func(b *types.BundlePost) { b.Proofs++ }, true, "were drawn"},
		"none":           {func(b *types.BundlePost) { b.Proofs = 0 }, true, "were drawn"},
		"misses beyond":  {func(b *types.BundlePost) { b.Missed = []uint32{uint32(q.Places())} }, true, "misses proof"},
		"epoch":          {func(b *types.BundlePost) { b.Epoch++ }, false, "claimed nothing in epoch"},
		"nobody signed":  {func(b *types.BundlePost) { b.Checkers = nil }, false, "signed by 0 checkers, want 2 of 3"},
		"too few":        {func(b *types.BundlePost) { b.Checkers = b.Checkers[:1] }, false, "signed by 1 checkers, want 2 of 3"},
		"twice":          {func(b *types.BundlePost) { b.Checkers[1] = b.Checkers[0] }, false, "signed twice"},
		"undrawn": {func(b *types.BundlePost) {
			b.Checkers[1] = types.Signed{By: l.id(other), Signature: l.who[other].Sign(digest[:])}
		}, false, "was not drawn to check"},
		"wrong signature": {func(b *types.BundlePost) { b.Checkers[2].Signature[0] ^= 1 }, false, "has a wrong signature"},
		"of another root": {func(b *types.BundlePost) { b.Root[0] ^= 1 }, false, "has a wrong signature"},
		"of another size": {func(b *types.BundlePost) { b.Size++ }, false, "has a wrong signature"},
		"of no misses":    {func(b *types.BundlePost) { b.Missed = []uint32{3} }, false, "has a wrong signature"},
	} {
		bad := *good
		bad.Checkers = slices.Clone(good.Checkers)
		x.change(&bad)
		if x.sign {
			l.check(host, &bad)
		}
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.refuse(host, types.KindBundle, &bad, x.want)
		})
	}
	l.t = t
	l.refuse(2, types.KindBundle, good, "claimed nothing in epoch")
	last := l.rules().BundlesDue(e)
	if last != l.rules().Checkpoint(e+1)+4 {
		t.Fatalf("bundles are due in block %d", last)
	}
	l.to(last)
	l.refuse(host, types.KindBundle, good, "wanted after its beacon, until block")
	late := *l
	late.t = t

	l, _, host, e = kept2(t) // the same until the last block
	l.do(host, types.KindLog, l.claim(host, e))
	l.to(l.rules().BundlesDue(e) - 1)
	two := l.signedBundle(host, l.bundle(host, e))
	two.Checkers = two.Checkers[1:] // two of three will do
	l.do(host, types.KindBundle, two)
	if rec := got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(host))); rec.Bundle == nil || rec.Bundle.Root != two.Root {
		t.Fatalf("claim %+v", rec)
	}
	l.mine()
	if h := l.host(host); h.Bundles != e+1 || h.State != types.HostOnline {
		t.Fatalf("host %+v after a good bundle", h)
	}
	late.mine()
	if h := late.host(host); h.Bundles != 0 || h.State != types.HostSuspended || h.Missed != 1 {
		t.Fatalf("host %+v without a bundle", h)
	}
}

// H6.5: a missed sample counts against its lot, an absent bundle against all;
// nobody is slashed.
func TestH6_5(t *testing.T) {
	l, lots, host, e := kept2(t)
	l.do(host, types.KindLog, l.claim(host, e))
	l.to(l.rules().Checkpoint(e + 1))
	b := l.bundle(host, e)
	_, frozen := l.question(host, e)
	claims := got[[]replica.Claim](l)(frozen.Claims(l.id(host)))
	// Nothing is shown of the first lot: the samples and turns on it are missed.
	q, _ := l.question(host, e)
	for place, n := range q.Samples {
		if n < claims[0].Leaves {
			b.Proofs[place] = nil
		}
	}
	for k, turn := range q.Turns {
		if turn.Lot == claims[0].Lot {
			b.Proofs[len(q.Samples)+k] = nil
		}
	}
	post := l.signedBundle(host, b)
	want := 0
	if len(post.Missed) > 0 {
		want = 1
	}
	before := l.acc(host)
	l.do(host, types.KindBundle, post)
	l.to(l.rules().BundlesDue(e) + 1)
	n := 0
	for _, id := range lots {
		rec := l.lot(id)
		if rec.Missed > 0 {
			n++
			if id != claims[0].Lot {
				t.Errorf("lot %s is blamed, %s was missed", id.Short(), claims[0].Lot.Short())
			}
		}
	}
	if n != want || want == 0 && claims[0].Leaves > 100 {
		t.Errorf("%d lots missed, want %d", n, want)
	}
	now := l.acc(host)
	if now.HostBond != before.HostBond || l.host(host).State != types.HostOnline {
		t.Errorf("bond %s, was %s; host %+v", now.HostBond, before.HostBond, l.host(host))
	}
	l.balanced()
}

// posted is a kept2 whose host posted a bundle after the test changed it.
func posted(t *testing.T, change func(*replica.Bundle), tune ...func(*types.Genesis)) (l *ledger, b *replica.Bundle, host int, e types.Epoch) {
	l, _, host, e = kept2(t, tune...)
	l.do(host, types.KindLog, l.claim(host, e))
	l.to(l.rules().Checkpoint(e + 1))
	b = l.bundle(host, e)
	if change != nil {
		change(b)
	}
	post := b.Post()
	post.Missed = nil // the host says that all is shown
	l.check(host, post)
	l.do(host, types.KindBundle, post)
	return l, b, host, e
}

func disputeOf(l *ledger, b *replica.Bundle, host int, place int) *types.Dispute {
	path := got[[]types.Hash](l)(b.Path(place))
	return &types.Dispute{Host: l.id(host), Epoch: b.Epoch, Index: uint32(place), Evidence: b.Proofs[place], Path: path}
}

// wonMoney checks who lost and won what by a dispute that member 3 won.
func wonMoney(l *ledger, do func(), host int, pay types.Amount, checkers []types.Signed) {
	l.t.Helper()
	before, burned := map[int]*types.AccountRecord{}, l.globals().Burned
	for i := range l.who {
		before[i] = l.acc(i)
	}
	deposits := l.globals().Deposits
	do()
	taken := min(before[host].HostBond, pay)
	if now := l.acc(host); now.HostBond != before[host].HostBond-taken {
		l.t.Fatalf("bond %s, was %s: want %s less", now.HostBond, before[host].HostBond, taken)
	}
	for _, c := range checkers {
		i := l.number(c.By)
		cut := before[i].Deposit / 32
		if now := l.acc(i); now.Deposit != before[i].Deposit-cut {
			l.t.Fatalf("deposit %s, was %s: want 1/32 less", now.Deposit, before[i].Deposit)
		}
		taken += cut
		deposits -= cut
	}
	if g := l.globals(); g.Deposits != deposits {
		l.t.Fatalf("deposits %s, want %s", g.Deposits, deposits)
	}
	fee := l.feeOf(3)
	base := got[types.Amount](l)(l.view().MinFee(len(types.Marshal(&l.tip.Txs[0]))))
	if l.tip.Header.Miner == l.id(3) {
		fee = base
	}
	if now := l.acc(3); now.Balance != before[3].Balance-fee+taken/10 {
		l.t.Fatalf("the disputer has %d, had %d: want a tenth of %d more and the fee %d less", now.Balance, before[3].Balance, taken, fee)
	}
	if g := l.globals(); g.Burned != burned+base+taken-taken/10 {
		l.t.Fatalf("burned %d, want %d", g.Burned-burned-base, taken-taken/10)
	}
	l.balanced()
}

// H6.6: disputes that win and lose, with their money; what proves nothing is
// refused at the door.
func TestH6_6(t *testing.T) {
	forge := func(b *replica.Bundle) {
		var p replica.Proof
		if err := types.Unmarshal(b.Proofs[4], &p); err != nil {
			panic(err)
		}
		p.Leaf[17] ^= 1
		b.Proofs[4] = types.Marshal(&p)
	}
	for name, change := range map[string]func(*replica.Bundle){
		"forged leaf": forge,
		"not shown":   func(b *replica.Bundle) { b.Proofs[4] = nil },
		"no proof":    func(b *replica.Bundle) { b.Proofs[4] = []byte{0x80} },
		"elsewhere":   func(b *replica.Bundle) { b.Proofs[4] = otherProof(b, 4) },
	} {
		t.Run(name, func(t *testing.T) {
			l, b, host, e := posted(t, change)
			claim := got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(host)))
			q, frozen := l.question(host, e)
			claims := got[[]replica.Claim](l)(frozen.Claims(l.id(host)))
			lot := claims[0].Lot
			if q.Samples[4] >= claims[0].Leaves {
				lot = claims[1].Lot
			}
			rec := l.lot(lot)
			pay := types.Amount(rec.Pieces) * 64 * 1_000_000 // 10^15 wei a piece and epoch
			wonMoney(l, func() { l.do(3, types.KindDispute, disputeOf(l, b, host, 4)) }, host, pay, claim.Bundle.Checkers)
			if x, ok := event[types.Disputed](l); !ok || !x.Won || x.Host != l.id(host) {
				t.Errorf("event %+v", x)
			}
			l.refuse(3, types.KindDispute, disputeOf(l, b, host, 4), "lost a dispute of epoch")
			if now := l.lot(lot); now.Status != types.LotWaiting || now.Old != l.id(host) {
				t.Errorf("lot is %s: a failed audit is repaired at once", now.Status)
			}
			l.to(l.rules().BundlesDue(e) + 1) // its bundle counts for nothing
			if h := l.host(host); h.State != types.HostSuspended || h.Bundles != 0 {
				t.Errorf("host %+v", h)
			}
		})
	}
	t.Run("small bond", func(t *testing.T) {
		l, b, host, e := posted(t, forge)
		claim := got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(host)))
		wonMoney(l, func() { l.do(3, types.KindDispute, disputeOf(l, b, host, 4)) }, host, 64_000_000*types.Amount(pieceOf(l, host, e, 4)), claim.Bundle.Checkers)
	})
	t.Run("lost", func(t *testing.T) {
		l, b, host, _ := posted(t, nil)
		before, bond := l.acc(3).Balance, l.acc(host)
		burned := l.globals().Burned
		x := l.sign(3, types.KindDispute, disputeOf(l, b, host, 4))
		l.put(x)
		base := consensus.BaseFee(1<<32, uint64(len(types.Marshal(&x))))
		tip := types.Amount(0)
		if l.tip.Header.Miner == l.id(3) {
			tip = x.Fee - base
		}
		if now := l.acc(3).Balance; now != before-x.Fee+tip-10*types.Coin {
			t.Errorf("the disputer has %d, had %d", now, before)
		}
		hostTip := types.Amount(0)
		if l.tip.Header.Miner == l.id(host) {
			hostTip = x.Fee - base
		}
		if now := l.acc(host); now.Balance != bond.Balance+hostTip+5*types.Coin || now.HostBond != bond.HostBond {
			t.Errorf("the host has %d, had %d", now.Balance, bond.Balance)
		}
		if now := l.globals().Burned; now != burned+base+5*types.Coin {
			t.Errorf("burned %d", now-burned)
		}
		l.balanced()
		l.do(3, types.KindDispute, disputeOf(l, b, host, 5)) // it may lose again
	})
	t.Run("refused", func(t *testing.T) {
		l, b, host, e := posted(t, forge)
		good := disputeOf(l, b, host, 4)
		for want, change := range map[string]func(*types.Dispute){
			"claimed nothing in epoch":      func(d *types.Dispute) { d.Host = l.id(2) },
			"is not proof 5 of the bundle":  func(d *types.Dispute) { d.Index = 5 },
			"is not proof 99 of the bundle": func(d *types.Dispute) { d.Index = 99 },
			"is not proof 4 of the bundle":  func(d *types.Dispute) { d.Evidence = b.Proofs[5] },
			"evidence":                      func(d *types.Dispute) { d.Kind = types.DisputeSum },
		} {
			bad := *good
			change(&bad)
			l.refuse(3, types.KindDispute, &bad, want)
		}
		cut := *good
		cut.Path = cut.Path[1:]
		l.refuse(3, types.KindDispute, &cut, "is not proof 4 of the bundle")
		poor := l.signBy(l.who[3], types.KindDispute, types.Marshal(good))
		l.put(l.sign(3, types.KindWire, wire(l.id(0), l.acc(3).Balance-poor.Fee-10*types.Coin)))
		l.refuse(3, types.KindDispute, good, "a dispute locks 10")

		due := l.rules().DisputesDue(e)
		if due != l.rules().BundlesDue(e)+2 {
			t.Fatalf("disputes are due in block %d", due)
		}
		l.to(due)
		l.refuse(4, types.KindDispute, good, "wanted until")
	})
	t.Run("last block", func(t *testing.T) {
		l, b, host, e := posted(t, forge)
		l.to(l.rules().DisputesDue(e) - 1)
		l.do(3, types.KindDispute, disputeOf(l, b, host, 4))
	})
	t.Run("before a bundle", func(t *testing.T) {
		l, _, host, e := kept2(t)
		l.do(host, types.KindLog, l.claim(host, e))
		l.refuse(3, types.KindDispute, &types.Dispute{Host: l.id(host), Epoch: e}, "posted no bundle")
	})
	t.Run("sums", wrongSums)
}

// TestSlashedBelowTheMinimum: a deposit that a dispute made too small has no
// voice, and does not count against the others', until it is filled up.
func TestSlashedBelowTheMinimum(t *testing.T) {
	l, b, host, e := posted(t, func(b *replica.Bundle) { b.Proofs[4] = nil }, func(g *types.Genesis) { g.Rules.MinDeposit = 1950 * types.Coin })
	claim := got[*types.ClaimRecord](l)(l.view().Claim(e, l.id(host)))
	l.do(3, types.KindDispute, disputeOf(l, b, host, 4))
	if g := l.globals(); g.Deposits != 2000*types.Coin {
		t.Fatalf("deposits of %s count after three of four were cut", g.Deposits)
	}
	slashed := l.number(claim.Bundle.Checkers[0].By)
	list, total, err := l.view().Committee()
	if err != nil || len(list) != 1 || total != 2000*types.Coin || list[0].Account == l.id(slashed) {
		t.Fatalf("committee %v with %s: %v", list, total, err)
	}
	l.to(l.rules().DisputesDue(e))
	l.refuse(0, types.KindCollation, l.signed(l.result(e), slashed), "has no deposit")
	l.do(0, types.KindCollation, l.signed(l.result(e), l.number(list[0].Account)))
	l.refuse(slashed, types.KindDeposit, &types.Deposit{Role: types.RoleValidator, Amount: 12 * types.Coin}, "below minimum")
	l.bond(slashed, types.RoleValidator, 13*types.Coin)
	if g := l.globals(); g.Deposits != 2000*types.Coin+l.acc(slashed).Deposit {
		t.Fatalf("deposits of %s count after one was filled up", g.Deposits)
	}
	l.balanced()
}

// pieceOf is the number of pieces of the lot that a sample fell on.
func pieceOf(l *ledger, host int, e types.Epoch, place int) uint32 {
	q, frozen := l.question(host, e)
	claims := got[[]replica.Claim](l)(frozen.Claims(l.id(host)))
	lot := claims[0].Lot
	if q.Samples[place] >= claims[0].Leaves {
		lot = claims[1].Lot
	}
	return l.lot(lot).Pieces
}

// otherProof is a true proof for a place with another sample.
func otherProof(b *replica.Bundle, place int) []byte {
	for _, p := range b.Proofs {
		if string(p) != string(b.Proofs[place]) {
			return p
		}
	}
	return nil
}

// wrongSums: the totals are the chain's, but a leaf is moved from one lot to the
// other.
func wrongSums(t *testing.T) {
	l, _, host, e := kept2(t)
	frozen := l.view()
	claims := got[[]replica.Claim](l)(frozen.Claims(l.id(host)))
	truth := l.claim(host, e)
	claims[0].Leaves--
	claims[1].Leaves++
	tree := got[*replica.SumTree](l)(replica.ClaimTree(claims))
	wrong := *truth
	wrong.SumRoot = tree.Root().Hash
	l.do(host, types.KindLog, &wrong)
	evidence := func(i int, c replica.Claim) *types.Dispute {
		var enc types.Encoder
		enc.Array(2)
		c.EncodeTo(&enc)
		got[replica.SumPath](l)(tree.Path(i)).EncodeTo(&enc)
		return &types.Dispute{Kind: types.DisputeSum, Host: l.id(host), Epoch: e, Evidence: enc.Data()}
	}
	right := claims[0]
	right.Leaves++
	l.refuse(3, types.KindDispute, evidence(0, right), "is not a claim of the host's sum tree")
	pay := types.Amount(l.lot(claims[0].Lot).Pieces) * 64 * 1_000_000
	wonMoney(l, func() { l.do(3, types.KindDispute, evidence(0, claims[0])) }, host, pay, nil)

	// A true claim loses.
	l, _, host, e = kept2(t)
	claims = got[[]replica.Claim](l)(l.view().Claims(l.id(host)))
	tree = got[*replica.SumTree](l)(replica.ClaimTree(claims))
	l.do(host, types.KindLog, l.claim(host, e))
	before := l.acc(3).Balance
	l.do(3, types.KindDispute, evidence(1, claims[1]))
	if now := l.acc(3).Balance; now > before-10*types.Coin {
		t.Errorf("a dispute of the truth cost %d", before-now)
	}
	l.balanced()
}
