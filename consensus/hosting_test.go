package consensus_test

import (
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// kept is what the parties of a lot hold, made out of its id.
type kept struct {
	attempt types.AttemptID // in which the bytes were made
	entries []replica.Entry
	leaves  [][]types.Hash // of each range
}

// leafOf is leaf k of range r as a lot's host keeps it in an attempt.
func leafOf(attempt types.AttemptID, r, k uint32) []byte {
	out := make([]byte, 0, replica.LeafSize)
	for n := range uint32(replica.LeafSize / types.HashSize) {
		h := types.H("staddle/test/leaf", attempt[:], types.Be32(r), types.Be32(k), types.Be32(n))
		out = append(out, h[:]...)
	}
	return out
}

// validators gives members from first on n deposits in the genesis.
func validators(first, n int, each types.Amount) func(*types.Genesis) {
	return func(g *types.Genesis) { chaintest.Validators(g, first, n, each) }
}

// both joins changes of a genesis.
func both(list ...func(*types.Genesis)) func(*types.Genesis) {
	return func(g *types.Genesis) {
		for _, f := range list {
			f(g)
		}
	}
}

func registration(i int, roles types.Roles) *types.Register {
	return &types.Register{
		Device: chaintest.Device(i), Roles: roles, FreeGiB: 8, Encodings: 3,
		TargetStorage: types.Wei(0), TargetBandwidth: types.Wei(0),
	}
}

// register gives members from first on n roles, in one block.
func (l *ledger) register(roles types.Roles, members ...int) {
	l.t.Helper()
	var txs []types.Tx
	for _, i := range members {
		txs = append(txs, l.sign(i, types.KindRegister, registration(i, roles)))
	}
	l.put(txs...)
}

// bond locks coins of a member for a role.
func (l *ledger) bond(i int, role types.Roles, n types.Amount) {
	l.t.Helper()
	l.do(i, types.KindDeposit, &types.Deposit{Role: role, Amount: n})
}

// dataset is a published dataset of ranges of one piece each; the last piece has
// 2,500 bytes, which make 3 leaves.
func dataset(name string, ranges int) (*types.Attachment, []types.Node) {
	return datasetOf(name, ranges, 1)
}

func datasetOf(name string, ranges, pieces int) (*types.Attachment, []types.Node) {
	var list []types.Range
	for i := range ranges {
		list = append(list, types.Range{
			ID: types.H("staddle/test/range", []byte(name), types.Be32(uint32(i))), First: uint32(i*pieces + 1), Count: uint32(pieces),
		})
	}
	head, nodes := types.RangeBlocks(list)
	root := types.NodeCID([]byte(name))
	return &types.Attachment{
		Index: root, UnixFS: root, Pieces: uint32(ranges * pieces), Size: uint64(ranges*pieces-1)*types.PieceSize + 2500,
		Ranges: head, RangeCount: uint32(ranges), Name: name, Visibility: types.VisibilityPublic,
	}, nodes
}

// publish lets member i publish a dataset of so many ranges.
func (l *ledger) publish(i int, name string, ranges int) types.DatasetID {
	l.t.Helper()
	a, nodes := dataset(name, ranges)
	l.src.Put(nodes)
	l.do(i, types.KindMessage, &types.Message{Attachment: a})
	return a.Dataset()
}

// planFor is a plan for a whole dataset with the least lock.
func (l *ledger) planFor(d types.DatasetID, copies, encoding uint32, epochs types.Epoch) *types.Plan {
	l.t.Helper()
	v := l.view()
	rec := got[*types.DatasetRecord](l)(v.Dataset(d))
	p := &types.Plan{
		Dataset: d, Count: rec.Attachment.RangeCount, Copies: copies, Encoding: encoding,
		Until: v.Epochal() + epochs, MaxPrice: l.rules().StorageCost,
	}
	ranges := got[[]types.Range](l)(v.Ranges(&rec.Attachment, 0, p.Count))
	p.Lock = got[types.Amount](l)(v.PlanCost(p, ranges))
	return p
}

// lotsOf are the lots of a plan, copy by copy.
func (l *ledger) lotsOf(id types.PlanID) (out []types.LotID) {
	l.t.Helper()
	rec := got[*types.PlanRecord](l)(l.view().Plan(id))
	if rec == nil {
		l.t.Fatalf("plan %s is not there", id.Short())
	}
	for c := range rec.Plan.Copies {
		for k := range rec.Lots {
			out = append(out, types.LotOf(id, c, k))
		}
	}
	return out
}

// plan publishes nothing: it asks for a dataset and gives the lots.
func (l *ledger) plan(i int, d types.DatasetID, copies, encoding uint32) []types.LotID {
	l.t.Helper()
	return l.lotsOf(l.do(i, types.KindPlan, l.planFor(d, copies, encoding, 60)))
}

func (l *ledger) lot(id types.LotID) *types.LotRecord {
	l.t.Helper()
	rec := got[*types.LotRecord](l)(l.view().Lot(id))
	if rec == nil {
		l.t.Fatalf("lot %s is not there", id.Short())
	}
	return rec
}

// drawn mines until the lot is drawn.
func (l *ledger) drawn(id types.LotID) *types.LotRecord {
	l.t.Helper()
	for range 40 {
		if rec := l.lot(id); rec.Status == types.LotDrawn {
			return rec
		}
		l.mine()
	}
	l.t.Fatalf("lot %s is %s after 40 blocks", id.Short(), l.lot(id).Status)
	return nil
}

// parties are the host and the encoders of a lot, once each.
func parties(rec *types.LotRecord) []types.Account {
	out := []types.Account{rec.Host}
	for _, a := range rec.Encoders {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func answer(action types.DutyAction, id types.LotID, rec *types.LotRecord) *types.Duty {
	return &types.Duty{Action: action, Lots: []types.LotAttempt{{Lot: id, Attempt: rec.Attempt}}}
}

// accept lets host and encoders accept in one block.
func (l *ledger) accept(id types.LotID) {
	l.t.Helper()
	rec := l.lot(id)
	var txs []types.Tx
	for _, a := range parties(rec) {
		txs = append(txs, l.sign(l.number(a), types.KindDuty, answer(types.DutyAccept, id, rec)))
	}
	l.put(txs...)
}

// commitments are what both sides say of the ranges of a lot, and the lot is
// remembered for proofs.
func (l *ledger) commitments(id types.LotID, rec *types.LotRecord) []types.Commitment {
	l.t.Helper()
	v := l.view()
	p := got[*types.PlanRecord](l)(v.Plan(rec.Plan))
	d := got[*types.DatasetRecord](l)(v.Dataset(p.Plan.Dataset))
	ranges := got[[]types.Range](l)(v.Ranges(&d.Attachment, rec.First, rec.Count))
	k := &kept{attempt: rec.Attempt}
	var out []types.Commitment
	for r, x := range ranges {
		var leaves []types.Hash
		for n := range consensus.RangeLeaves(&d.Attachment, x) {
			leaves = append(leaves, replica.LeafHash(leafOf(rec.Attempt, uint32(r), uint32(n))))
		}
		c := types.Commitment{
			Lot: id, Attempt: rec.Attempt, Range: uint32(r), Encoded: replica.Root(leaves), Plain: types.H("staddle/test/plain", x.ID[:]),
		}
		if len(rec.Encoders) > 0 {
			c.Modulus = types.H("staddle/test/modulus", rec.Attempt[:], types.Be32(uint32(r)))
		}
		k.leaves = append(k.leaves, leaves)
		k.entries = append(k.entries, replica.Entry{Range: x.ID, Encoded: c.Encoded, Plain: c.Plain, Modulus: c.Modulus, Leaves: uint64(len(leaves))})
		out = append(out, c)
	}
	l.kept[id] = k
	return out
}

// commit lets the encoders and then the host commit every range, in one block.
func (l *ledger) commit(id types.LotID) {
	l.t.Helper()
	rec := l.lot(id)
	list := l.commitments(id, rec)
	var txs []types.Tx
	for _, a := range parties(rec)[1:] {
		var own []types.Commitment
		for r, c := range list {
			if rec.Encoders[r] == a {
				own = append(own, c)
			}
		}
		txs = append(txs, l.sign(l.number(a), types.KindEncoded, &types.Commitments{List: own}))
	}
	l.put(append(txs, l.sign(l.number(rec.Host), types.KindHosted, &types.Commitments{List: list}))...)
}

// attest lets every validator of a committed lot attest.
func (l *ledger) attest(id types.LotID) {
	l.t.Helper()
	rec := l.lot(id)
	var txs []types.Tx
	for _, a := range rec.Attestors {
		txs = append(txs, l.sign(l.number(a), types.KindAttest, attestation(id, rec)))
	}
	l.put(txs...)
}

func attestation(id types.LotID, rec *types.LotRecord) *types.Attestations {
	return &types.Attestations{List: []types.Attestation{{Lot: id, Attempt: rec.Attempt, Root: rec.Root}}}
}

// activate takes lots from their draws to their contracts, one block a step.
func (l *ledger) activate(ids ...types.LotID) {
	l.t.Helper()
	yes, encoded, hosted, attested := map[types.Account][]types.LotAttempt{}, map[types.Account][]types.Commitment{},
		map[types.Account][]types.Commitment{}, map[types.Account][]types.Attestation{}
	for _, id := range ids {
		rec := l.drawn(id)
		for _, a := range parties(rec) {
			yes[a] = append(yes[a], types.LotAttempt{Lot: id, Attempt: rec.Attempt})
		}
		for r, c := range l.commitments(id, rec) {
			hosted[rec.Host] = append(hosted[rec.Host], c)
			if len(rec.Encoders) > 0 {
				encoded[rec.Encoders[r]] = append(encoded[rec.Encoders[r]], c)
			}
		}
	}
	each(l, types.KindDuty, yes, func(x []types.LotAttempt) types.Body { return &types.Duty{Action: types.DutyAccept, Lots: x} })
	each(l, types.KindEncoded, encoded, func(x []types.Commitment) types.Body { return &types.Commitments{List: x} })
	each(l, types.KindHosted, hosted, func(x []types.Commitment) types.Body { return &types.Commitments{List: x} })
	for _, id := range ids {
		rec := l.lot(id)
		for _, a := range rec.Attestors {
			attested[a] = append(attested[a], attestation(id, rec).List...)
		}
	}
	each(l, types.KindAttest, attested, func(x []types.Attestation) types.Body { return &types.Attestations{List: x} })
	for _, id := range ids {
		if s := l.lot(id).Status; s != types.LotActive {
			l.t.Fatalf("lot %s is %s, want active", id.Short(), s)
		}
	}
}

// each puts one transaction of every account into the next block.
func each[T any](l *ledger, kind types.Kind, lists map[types.Account][]T, body func([]T) types.Body) {
	l.t.Helper()
	var txs []types.Tx
	for i := range l.who { // members in order: a map has none
		if list := lists[l.id(i)]; len(list) > 0 {
			txs = append(txs, l.sign(i, kind, body(list)))
		}
	}
	l.put(txs...)
}

// claim is what a host commits for an epoch that has ended.
func (l *ledger) claim(i int, e types.Epoch) *types.LogCommitment {
	l.t.Helper()
	frozen := got[*consensus.View](l)(l.view().Frozen(e))
	claims := got[[]replica.Claim](l)(frozen.Claims(l.id(i)))
	c := &types.LogCommitment{Epoch: e, Root: types.H("staddle/test/log", types.Be64(uint64(e))), Headers: 1}
	if len(claims) == 0 {
		return c
	}
	tree := got[*replica.SumTree](l)(replica.ClaimTree(claims))
	c.Lots, c.Leaves, c.SumRoot = uint32(len(claims)), tree.Root().Leaves, tree.Root().Hash
	return c
}

// question is what a host has to show, with the view that it is read from.
func (l *ledger) question(i int, e types.Epoch) (*replica.Question, *consensus.View) {
	l.t.Helper()
	v := l.view()
	frozen := got[*consensus.View](l)(v.Frozen(e))
	rec := got[*types.ClaimRecord](l)(v.Claim(e, l.id(i)))
	if rec == nil {
		l.t.Fatalf("no claim of member %d in epoch %d", i, e)
	}
	return got[*replica.Question](l)(frozen.Question(l.id(i), &rec.Log, l.epoch(e).Beacon)), frozen
}

// bundle answers an epoch's question with true proofs.
func (l *ledger) bundle(i int, e types.Epoch) *replica.Bundle {
	l.t.Helper()
	q, frozen := l.question(i, e)
	claims := got[[]replica.Claim](l)(frozen.Claims(l.id(i)))
	tree := got[*replica.SumTree](l)(replica.ClaimTree(claims))
	out := &replica.Bundle{Epoch: e, Host: l.id(i)}
	for _, n := range q.Samples {
		at, inside, err := tree.Find(n)
		if err != nil {
			l.t.Fatalf("find leaf %d: %v", n, err)
		}
		path := got[replica.SumPath](l)(tree.Path(at))
		out.Proofs = append(out.Proofs, l.proof(claims[at].Lot, inside, &path))
	}
	for _, turn := range q.Turns {
		out.Proofs = append(out.Proofs, l.proof(turn.Lot, turn.Leaf, nil))
	}
	for place, p := range out.Proofs {
		if v, err := q.CheckProof(place, p, frozen.Terms(l.id(i))); v != replica.Shown {
			l.t.Fatalf("own proof %d is %s: %v", place, v, err)
		}
	}
	return out
}

func (l *ledger) proof(id types.LotID, leaf uint64, claim *replica.SumPath) []byte {
	l.t.Helper()
	k := l.kept[id]
	tree := got[*replica.SumTree](l)(replica.LotTree(k.entries))
	r, inside, err := tree.Find(leaf)
	if err != nil {
		l.t.Fatalf("find leaf %d of lot: %v", leaf, err)
	}
	return types.Marshal(&replica.Proof{
		Lot: id, Claim: claim, Leaf: leafOf(k.attempt, uint32(r), uint32(inside)),
		Path:  got[[]types.Hash](l)(replica.Path(k.leaves[r], int(inside))),
		Range: k.entries[r], Place: got[replica.SumPath](l)(tree.Path(r)),
	})
}

// signedBundle is the post of a bundle with the word of the drawn checkers.
func (l *ledger) signedBundle(i int, b *replica.Bundle) *types.BundlePost {
	l.t.Helper()
	post := b.Post()
	l.check(i, post)
	return post
}

// check lets all drawn checkers sign a post.
func (l *ledger) check(i int, post *types.BundlePost) {
	l.t.Helper()
	_, frozen := l.question(i, post.Epoch)
	digest := post.Digest(l.gen.Chain(), l.id(i), l.epoch(post.Epoch).Beacon)
	post.Checkers = nil
	for _, a := range got[[]types.Account](l)(frozen.Checkers(l.id(i), l.epoch(post.Epoch).Beacon)) {
		post.Checkers = append(post.Checkers, types.Signed{By: a, Signature: l.who[l.number(a)].Sign(digest[:])})
	}
}

// step ends epoch e: the hosts claim it, and those who claimed the epoch before
// answer for that. The ledger stands behind the judgement of epoch e-1 then.
func (l *ledger) step(e types.Epoch, hosts ...int) {
	l.t.Helper()
	l.to(l.rules().Checkpoint(e))
	v := l.view()
	var txs []types.Tx
	for i := range l.who {
		ahead := uint64(0)
		if slices.Contains(hosts, i) {
			txs = append(txs, l.sign(i, types.KindLog, l.claim(i, e)))
			ahead++
		}
		if e == 0 {
			continue
		}
		if c := got[*types.ClaimRecord](l)(v.Claim(e-1, l.id(i))); c != nil && c.Log.Leaves > 0 && c.Bundle == nil {
			txs = append(txs, l.sign(i, types.KindBundle, l.signedBundle(i, l.bundle(i, e-1)), later(ahead)))
		}
	}
	l.put(txs...)
	l.to(l.rules().Checkpoint(e) + types.Height(l.rules().BundleBlocks) + 1)
}

// now is the epoch of the next block.
func (l *ledger) now() types.Epoch { return l.rules().EpochOf(l.height() + 1) }
