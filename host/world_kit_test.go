package host

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// pace is how fast blocks follow when nobody wants a transaction.
const pace = 20 * time.Millisecond

// world is a community with running hosts. Member 0 is the sponsor, the last
// three are validators without a daemon: the test does their duties.
type world struct {
	*chaintest.World
	t     *testing.T
	mesh  *chaintest.Mesh
	pool  *Pool
	src   pieces
	nodes map[int]*node
}

// node is one member with its store and its running host.
type node struct {
	i    int
	st   *store.Store
	h    *Host
	stop context.CancelFunc
	done chan error
}

// newWorld registers members 1 to workers as hosts and encoders, each with a
// bond, and three validators after them.
func newWorld(t *testing.T, workers int) *world {
	t.Helper()
	first := workers + 1
	w := &world{t: t, mesh: chaintest.NewMesh(), pool: NewPool(0), nodes: map[int]*node{}}
	w.World = chaintest.New(t, first+3, func(g *types.Genesis) {
		r := &g.Rules
		r.EpochBlocks, r.BundleBlocks = 16, 30
		r.AcceptBlocks, r.AttestBlocks, r.StreamBlocks, r.EncodeBlocks = 100, 400, 2000, 2000
		chaintest.Validators(g, first, 3, 2000*types.Coin)
	})
	t.Cleanup(w.pool.Close)
	t.Cleanup(func() {
		for _, n := range w.nodes {
			w.halt(n.i)
			if err := n.st.Close(); err != nil {
				t.Error(err)
			}
		}
		w.mesh.Wait()
	})
	for i := first; i < first+3; i++ {
		w.Register(i, types.RoleValidator)
		w.answerChecks(i)
	}
	for i := 1; i <= workers; i++ {
		w.Register(i, types.RoleHost|types.RoleEncoder)
		w.Bond(i, types.RoleEncoder, 50*types.Coin)
	}
	return w
}

// publish makes the dataset and lets the sponsor have its pieces.
func (w *world) publish(size, perRange int) *chaintest.Dataset {
	w.t.Helper()
	d := w.Publish(0, "data", size, perRange)
	w.src = source(d)
	return d
}

// run starts the daemon of a member; again after halt, as after a restart.
func (w *world) run(i int, policy Policy) *node {
	w.t.Helper()
	n := w.nodes[i]
	if n == nil {
		st, err := store.Memory(store.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		n = &node{i: i, st: st}
		w.nodes[i] = n
	}
	var err error
	n.h, err = New(Config{
		Signer: chaintest.Signer(i), Chain: w.Node(i), Queue: w.Node(i), Net: port{w.mesh.Join(i)}, Table: n.st,
		Replicas: n.st.Replicas(), Reserve: reserve(n.st), Damaged: damaged, Source: w.src, Pool: w.pool,
		Random: rand.Reader, Policy: policy, Report: w.t.Logf,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.done = stop, make(chan error, 1)
	go func() { n.done <- n.h.Run(ctx) }()
	return n
}

// halt stops a member's daemon.
func (w *world) halt(i int) {
	n := w.nodes[i]
	if n.stop == nil {
		return
	}
	w.mesh.Leave(i)
	n.stop()
	if err := <-n.done; err != nil {
		w.t.Errorf("member %d: %v", i, err)
	}
	n.stop = nil
}

// all waits until every lot is in a state.
func (w *world) all(lots []types.LotID, want types.LotStatus) {
	w.t.Helper()
	w.Until("lots are "+want.String(), pace, func(v *consensus.View) bool {
		for _, id := range lots {
			l, err := v.Lot(id)
			if err != nil {
				w.t.Fatal(err)
			}
			if l.Status != want {
				return false
			}
		}
		return true
	})
}

// attest lets each drawn validator read leaves of the lot from its host, and
// attest.
func (w *world) attest(id types.LotID) {
	w.t.Helper()
	l := w.Lot(id)
	q := replica.LeafRequest{Lot: id, Attempt: l.Attempt, Leaves: []uint64{0, l.Leaves / 2, l.Leaves - 1}}
	for _, a := range l.Attestors {
		answer, err := w.ask(w.Number(a), l.Host, &q)
		if err != nil {
			w.t.Fatalf("validator asks: %v", err)
		}
		r := q.Check(answer, replica.LotTerms{Root: l.Root, Leaves: l.Leaves, Ranges: l.Count})
		if !r.Good() {
			w.t.Fatalf("leaves are %v: %v", r.Verdicts, r.Reasons)
		}
	}
	w.Attest(id)
}

func (w *world) ask(member int, host types.Account, q *replica.LeafRequest) (*replica.LeafAnswer, error) {
	p := w.mesh.Join(member)
	defer w.answerChecks(member) // joining took its handlers off
	raw, err := p.Request(w.t.Context(), host, replica.LeafProtocol, types.Marshal(q), replica.MaxLeafAnswer)
	if err != nil {
		return nil, err
	}
	a := new(replica.LeafAnswer)
	return a, types.Unmarshal(raw, a)
}

// answerChecks lets a validator check and sign bundles.
func (w *world) answerChecks(i int) {
	w.mesh.Join(i).Answer(replica.BundleProtocol, replica.MaxBundleRequest, func(_ context.Context, from types.Account, raw []byte) ([]byte, error) {
		var q replica.BundleRequest
		if err := types.Unmarshal(raw, &q); err != nil {
			return nil, err
		}
		b, err := replica.ParseBundle(q.Check)
		if err != nil {
			return nil, err
		}
		v := w.View()
		rec, err := v.Epoch(b.Epoch)
		if err != nil {
			return nil, err
		}
		claim, err := v.Claim(b.Epoch, from)
		if err != nil || claim == nil {
			return nil, errors.Join(err, errors.New("no claim"))
		}
		frozen, err := v.Frozen(b.Epoch)
		if err != nil {
			return nil, err
		}
		question, err := frozen.Question(from, &claim.Log, rec.Beacon)
		if err != nil {
			return nil, err
		}
		report, err := question.Check(b, frozen.Terms(from))
		if err != nil || !report.Honest() {
			return nil, errors.Join(err, errors.New("false bundle"))
		}
		digest := b.Post().Digest(v.Chain, from, rec.Beacon)
		return types.Marshal(&replica.CheckAnswer{Signature: chaintest.Signer(i).Sign(digest[:])}), nil
	})
}

// claim commits the logs of a host for the epoch that just closed.
func (w *world) claim(i int, e types.Epoch) {
	w.t.Helper()
	frozen, err := w.View().Frozen(e)
	if err != nil {
		w.t.Fatal(err)
	}
	claims, err := frozen.Claims(chaintest.Account(i))
	if err != nil {
		w.t.Fatal(err)
	}
	tree, err := replica.ClaimTree(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	root := tree.Root()
	w.Do(i, types.KindLog, &types.LogCommitment{
		Epoch: e, Root: types.H("logs"), Headers: 1, SumRoot: root.Hash, Leaves: root.Leaves, Lots: uint32(len(claims)),
	})
}

// bundle waits until a host's bundle of an epoch is on chain.
func (w *world) bundle(i int, e types.Epoch) (post *types.BundlePost) {
	w.t.Helper()
	w.Until("bundle is posted", pace, func(v *consensus.View) bool {
		c, err := v.Claim(e, chaintest.Account(i))
		if err != nil || c == nil {
			w.t.Fatalf("no claim: %v", err)
		}
		post = c.Bundle
		return post != nil
	})
	return post
}
