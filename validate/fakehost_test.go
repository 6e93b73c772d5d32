package validate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// fakeHost keeps plain replicas of the scene's dataset and answers audits. Its
// switches make it lie.
type fakeHost struct {
	s    *scene
	i    int
	me   types.Account
	port *chaintest.Port

	refuses atomic.Bool // serves nothing
	silent  atomic.Bool // answers no leaf request
	garbage atomic.Bool // commits to other bytes than the dataset's
	corrupt atomic.Bool // shows a wrong path in its bundles, and has colluders sign it
	wrong   atomic.Bool // answers SMASH wrong
	asleep  atomic.Bool // commits no logs in time

	mu         sync.Mutex
	cuts       map[types.Hash]*cut
	logs       map[types.Epoch]*Log
	bundles    map[types.Epoch][]byte
	exceptions []lines.Exception
}

func (s *scene) newHost(i int) *fakeHost {
	h := &fakeHost{s: s, i: i, me: chaintest.Account(i), port: s.mesh.Join(i), logs: map[types.Epoch]*Log{}, bundles: map[types.Epoch][]byte{}, cuts: map[types.Hash]*cut{}}
	h.port.Answer(replica.LeafProtocol, replica.MaxLeafRequest, h.answerLeaf)
	h.port.Answer(replica.BundleProtocol, replica.MaxBundleRequest, h.answerBundle)
	return h
}

// newPayer is a member whose logs can be asked for.
func (s *scene) newPayer(i int) *fakeHost {
	h := s.newHost(i)
	s.hosts[i] = h
	return h
}

// Lot makes a fakeHost usable as replica.Terms, by the newest state.
func (h *fakeHost) Lot(id types.LotID) (replica.LotTerms, bool) {
	l := h.s.Lot(id)
	return replica.LotTerms{Root: l.Root, Leaves: l.Leaves, Ranges: l.Count}, l.Keeper() == h.me
}

// cut is a range in leaves.
type cut struct {
	leaves [][]byte
	hashes []types.Hash
	root   types.Hash
}

// cut gives the leaves of a range, computed once.
func (h *fakeHost) cut(r types.Range) *cut {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := types.H("cut", r.ID[:], fmt.Append(nil, h.garbage.Load()))
	if h.cuts[key] == nil {
		c := &cut{leaves: h.leaves(r)}
		for _, l := range c.leaves {
			c.hashes = append(c.hashes, replica.LeafHash(l))
		}
		c.root = replica.Root(c.hashes)
		h.cuts[key] = c
	}
	return h.cuts[key]
}

// leaves are the bytes of a range of the dataset in leaves.
func (h *fakeHost) leaves(r types.Range) (list [][]byte) {
	for _, p := range h.s.data.Pieces[r.First-1 : r.First-1+r.Count] {
		for at := range (len(p) + replica.LeafSize - 1) / replica.LeafSize {
			leaf := leafOf(p, uint64(at))
			if h.garbage.Load() {
				leaf[0] ^= 1
			}
			list = append(list, leaf)
		}
	}
	return list
}

func (h *fakeHost) entries(l *types.LotRecord) (out []replica.Entry) {
	for _, r := range h.s.data.Ranges[l.First : l.First+l.Count] {
		c := h.cut(r)
		out = append(out, replica.Entry{Range: r.ID, Encoded: c.root, Plain: c.root, Leaves: uint64(len(c.leaves))})
	}
	return out
}

// commit accepts a lot and says what it keeps.
func (h *fakeHost) commit(id types.LotID, l *types.LotRecord) {
	h.s.t.Helper()
	h.s.Do(h.i, types.KindDuty, &types.Duty{Action: types.DutyAccept, Lots: []types.LotAttempt{{Lot: id, Attempt: l.Attempt}}})
	var c types.Commitments
	for i, e := range h.entries(l) {
		c.List = append(c.List, types.Commitment{Lot: id, Attempt: l.Attempt, Range: uint32(i), Encoded: e.Encoded, Plain: e.Plain})
	}
	h.s.Do(h.i, types.KindHosted, &c)
}

// prove shows a leaf of a lot.
func (h *fakeHost) prove(id types.LotID, l *types.LotRecord, leaf uint64) (*replica.Proof, error) {
	entries := h.entries(l)
	tree, err := replica.LotTree(entries)
	if err != nil {
		return nil, err
	}
	at, inside, err := tree.Find(leaf)
	if err != nil {
		return nil, err
	}
	c := h.cut(h.s.data.Ranges[l.First+uint32(at)])
	p := &replica.Proof{Lot: id, Leaf: c.leaves[inside], Range: entries[at]}
	if p.Path, err = replica.Path(c.hashes, int(inside)); err != nil {
		return nil, err
	}
	p.Place, err = tree.Path(at)
	return p, err
}

func (h *fakeHost) answerLeaf(_ context.Context, _ types.Account, raw []byte) ([]byte, error) {
	if h.silent.Load() {
		return nil, errors.New("silent")
	}
	var q replica.LeafRequest
	if err := types.Unmarshal(raw, &q); err != nil {
		return nil, err
	}
	l := h.s.Lot(q.Lot)
	if l.Attempt != q.Attempt || l.Host != h.me {
		return nil, errors.New("not mine")
	}
	var a replica.LeafAnswer
	for _, n := range q.Leaves {
		p, err := h.prove(q.Lot, l, n)
		if err != nil {
			return nil, err
		}
		a.Proofs = append(a.Proofs, types.Marshal(p))
	}
	return types.Marshal(&a), nil
}

func (h *fakeHost) answerBundle(_ context.Context, _ types.Account, raw []byte) ([]byte, error) {
	var q replica.BundleRequest
	if err := types.Unmarshal(raw, &q); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.bundles[q.Epoch]
	if b == nil {
		return nil, errors.New("no such bundle")
	}
	return b, nil
}

// claim commits the logs of an epoch.
func (h *fakeHost) claim(e types.Epoch) {
	h.s.t.Helper()
	if h.asleep.Load() {
		return
	}
	frozen, err := h.s.View().Frozen(e)
	if err != nil {
		h.s.t.Fatal(err)
	}
	claims, err := frozen.Claims(h.me)
	if err != nil {
		h.s.t.Fatal(err)
	}
	tree, err := replica.ClaimTree(claims)
	if err != nil {
		h.s.t.Fatal(err)
	}
	l, body := h.makeLog(e, frozen)
	body.SumRoot, body.Leaves, body.Lots = tree.Root().Hash, tree.Root().Leaves, uint32(len(claims))
	h.mu.Lock()
	h.logs[e] = l
	h.mu.Unlock()
	h.s.Do(h.i, types.KindLog, body)
}

// claimLate commits the receipts of an epoch when its logs were due before.
func (h *fakeHost) claimLate(e types.Epoch) {
	h.s.t.Helper()
	frozen, err := h.s.View().Frozen(e)
	if err != nil {
		h.s.t.Fatal(err)
	}
	l, body := h.makeLog(e, frozen)
	h.mu.Lock()
	h.logs[e] = l
	h.mu.Unlock()
	h.s.Do(h.i, types.KindLog, body)
}

// makeLog derives the log of an epoch with the receipts that name this host and
// its exceptions.
func (h *fakeHost) makeLog(e types.Epoch, frozen *consensus.View) (*Log, *types.LogCommitment) {
	h.s.t.Helper()
	list := append([]lines.Exception(nil), h.exceptions...)
	of := owner{h.s.Genesis().Chain(), h.me, &types.LogCommitment{Epoch: e}}
	var traffic []lines.Traffic
	for i := range h.s.receipts {
		raw := types.Marshal(&h.s.receipts[i])
		if t, err := readReceipt(raw, of); err == nil {
			traffic = append(traffic, t)
			list = append(list, lines.Exception{Role: types.LogBandwidth, Op: lines.OpReceipt, Line: raw})
		}
	}
	var l Log
	body := &types.LogCommitment{Epoch: e}
	var x *lines.Exceptions
	var err error
	if len(list) > 0 {
		if x, err = lines.NewExceptions(list); err != nil {
			h.s.t.Fatal(err)
		}
		n := x.Block()
		l.Exceptions, body.Exceptions = n.Bytes, n.CID
	}
	src := &lines.Source{Epoch: e, Frozen: frozen, Digests: func(_ *types.Attachment, r types.Range) ([]types.Hash, error) { return h.s.data.Digests(r), nil }}
	derive := map[types.LogRole]func(lines.Emit) error{
		types.LogFarmer: func(emit lines.Emit) error {
			return x.Apply(types.LogFarmer, h.me.Address(), func(em lines.Emit) error { return src.Farmer(h.me, em) }, emit)
		},
		types.LogBuyer: func(emit lines.Emit) error {
			return x.Apply(types.LogBuyer, h.me.Address(), func(em lines.Emit) error { return src.Buyer(h.me, em) }, emit)
		},
		types.LogBandwidth: func(emit lines.Emit) error { return lines.Bandwidth(h.me, traffic, emit) },
	}
	for _, role := range lines.Roles() {
		var t lines.Tally
		if err := derive[role](t.Add); err != nil {
			h.s.t.Fatal(err)
		}
		l.Headers = append(l.Headers, t.Header(chaintest.Device(h.i), role, e))
	}
	if body.Root, err = l.Headers.Root(); err != nil {
		h.s.t.Fatal(err)
	}
	body.Headers = uint32(len(l.Headers))
	return &l, body
}

func (h *fakeHost) log(e types.Epoch) (*Log, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.logs[e] == nil {
		return nil, fmt.Errorf("no log of epoch %d", e)
	}
	c := *h.logs[e]
	return &c, nil
}

// bundle makes the answer to the epoch's question.
func (h *fakeHost) bundle(e types.Epoch) *replica.Bundle {
	h.s.t.Helper()
	a, err := auditOf(h.s.View(), e, h.me)
	if err != nil || a == nil {
		h.s.t.Fatalf("audit of epoch %d: %v", e, err)
	}
	claims, err := a.frozen.Claims(h.me)
	if err != nil {
		h.s.t.Fatal(err)
	}
	tree, err := replica.ClaimTree(claims)
	if err != nil {
		h.s.t.Fatal(err)
	}
	b := &replica.Bundle{Epoch: e, Host: h.me}
	show := func(id types.LotID, leaf uint64, claim *replica.SumPath) {
		p, err := h.prove(id, h.s.Lot(id), leaf)
		if err != nil {
			h.s.t.Fatal(err)
		}
		if p.Claim = claim; h.corrupt.Load() && len(b.Proofs) == 3 {
			p.Path[0][0] ^= 1
		}
		b.Proofs = append(b.Proofs, types.Marshal(p))
	}
	for _, n := range a.question.Samples {
		item, inside, err := tree.Find(n)
		if err != nil {
			h.s.t.Fatal(err)
		}
		path, err := tree.Path(item)
		if err != nil {
			h.s.t.Fatal(err)
		}
		show(claims[item].Lot, inside, &path)
	}
	for _, turn := range a.question.Turns {
		show(turn.Lot, turn.Leaf, nil)
	}
	return b
}

// post asks the checkers for signatures and puts the bundle on chain. A corrupt
// bundle is signed with the keys of its checkers, who collude.
func (h *fakeHost) post(e types.Epoch) {
	h.s.t.Helper()
	b := h.bundle(e)
	raw := types.Marshal(b)
	h.mu.Lock()
	h.bundles[e] = raw
	h.mu.Unlock()
	a, err := auditOf(h.s.View(), e, h.me)
	if err != nil {
		h.s.t.Fatal(err)
	}
	drawn, err := a.frozen.Checkers(h.me, a.beacon)
	if err != nil {
		h.s.t.Fatal(err)
	}
	post := b.Post()
	digest := post.Digest(h.s.Genesis().Chain(), h.me, a.beacon)
	for _, c := range drawn {
		sig := types.Signed{By: c}
		if h.corrupt.Load() {
			sig.Signature = chaintest.Signer(h.s.Number(c)).Sign(digest[:])
		} else if sig.Signature, err = h.askChecker(c, raw); err != nil {
			h.s.t.Logf("checker %d: %v", h.s.Number(c), err)
			continue
		}
		post.Checkers = append(post.Checkers, sig)
	}
	h.s.Do(h.i, types.KindBundle, post)
}

func (h *fakeHost) askChecker(c types.Account, raw []byte) (sig types.Signature, err error) {
	q := types.Marshal(&replica.BundleRequest{Check: raw})
	b, err := h.port.Request(context.Background(), c, replica.BundleProtocol, q, 256)
	if err != nil {
		return sig, err
	}
	var a replica.CheckAnswer
	err = types.Unmarshal(b, &a)
	return a.Signature, err
}

func (h *fakeHost) smash(chunk, seed types.Hash) (types.Hash, error) {
	for _, p := range h.s.data.Pieces {
		if types.Digest(types.RawCID(p)) == chunk {
			if h.wrong.Load() {
				p = p[:1]
			}
			return replica.ASH(p, replica.SmashSeed(seed))
		}
	}
	return types.Hash{}, errors.New("no such chunk")
}
