package validate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/cluster"
	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Members of the community of these tests.
const (
	sponsor = iota
	hostA
	hostB
	validator // and three more
	reader    = validator + 4
	members   = reader + 2
)

// scene is a community of a sponsor, two hosts and four validators.
type scene struct {
	*chaintest.World
	t     *testing.T
	mesh  *chaintest.Mesh
	data  *chaintest.Dataset
	lots  []types.LotID
	hosts map[int]*fakeHost
	rows  map[int]*memory
	dirs  map[int]string

	running  map[int]*Validator
	mu       sync.Mutex
	receipts []market.Receipt
	feedback []string
	lost     bool // nobody gives the index
}

// newScene registers everybody and publishes 7 pieces in ranges of two.
func newScene(t *testing.T) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{t: t, mesh: chaintest.NewMesh(), hosts: map[int]*fakeHost{}, rows: map[int]*memory{}, dirs: map[int]string{}, running: map[int]*Validator{}}
	s.World = chaintest.New(t, members, func(g *types.Genesis) {
		g.Rules.EpochBlocks, g.Rules.BundleBlocks = 24, 8
		chaintest.Validators(g, validator, 4, 2000*types.Coin)
	})
	for i := validator; i < validator+4; i++ {
		s.Register(i, types.RoleValidator)
	}
	s.Register(sponsor, types.RoleSponsor)
	s.Register(reader, types.RoleSponsor)
	for _, i := range []int{hostA, hostB} {
		s.Register(i, types.RoleHost)
		s.hosts[i] = s.newHost(i)
	}
	s.data = s.Publish(sponsor, "data", 6*types.PieceSize+99, 2)
	t.Cleanup(s.mesh.Wait)
	return s
}

// memory is a Store.
type memory struct {
	mu    sync.Mutex
	rows  map[string][]byte
	nodes int
	full  bool // writes fail
}

func (m *memory) Get(table, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.rows[table+"|"+key]
	return b, ok, nil
}

func (m *memory) Scan(table, prefix, from string, fn func(key string, value []byte) error) error {
	m.mu.Lock()
	var keys []string
	for k := range m.rows {
		if rest, ok := strings.CutPrefix(k, table+"|"); ok && strings.HasPrefix(rest, prefix) && rest >= from {
			keys = append(keys, rest)
		}
	}
	m.mu.Unlock()
	slices.Sort(keys)
	for _, k := range keys {
		b, ok, _ := m.Get(table, k)
		if !ok {
			continue
		}
		if err := fn(k, b); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Save(nodes []types.Node, rows []types.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("disk is full")
	}
	m.nodes += len(nodes)
	for _, r := range rows {
		if r.Value == nil {
			delete(m.rows, r.Table+"|"+r.Key)
			continue
		}
		m.rows[r.Table+"|"+r.Key] = r.Value
	}
	return nil
}

// world is the part of a scene's store that makes result blocks known to the
// chain, as the node's one store does.
type shared struct {
	*memory
	w *scene
}

func (s shared) Save(nodes []types.Node, rows []types.Row) error {
	if err := s.memory.Save(nodes, rows); err != nil {
		return err
	}
	s.w.Add(nodes...)
	return nil
}

// localRunner is the runner of this process.
type localRunner struct{ cluster.Runner }

func (r localRunner) Run(ctx context.Context, plan settle.Plan, dir string) (Outcome, error) {
	res, err := r.Runner.Run(ctx, plan, dir, nil)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{}
	if out.Rows, err = res.Rows(settle.Grammar{}); err != nil {
		return out, err
	}
	for _, step := range res.Steps {
		for _, p := range step.Parts {
			if p.Report != "" {
				out.Reports = append(out.Reports, p.Report)
			}
		}
	}
	return out, nil
}

// config is member i's, with its rows and its directory of before.
func (s *scene) config(i int) Config {
	s.t.Helper()
	if s.rows[i] == nil {
		s.rows[i], s.dirs[i] = &memory{rows: map[string][]byte{}}, s.t.TempDir()
	}
	run, err := cluster.New("local", cluster.Options{Workers: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return Config{
		Signer: chaintest.Signer(i), Chain: s.Node(i), Net: s.mesh.Join(i), Store: shared{s.rows[i], s},
		Strangers: s, Peers: s, Runner: localRunner{run}, Dir: s.dirs[i], Chance: rand.Reader,
		Digests: s.digests, Retry: 300 * time.Millisecond, Patience: 5 * time.Second,
		Report: func(format string, args ...any) {
			if testing.Verbose() {
				fmt.Printf("  member %d: %s\n", i, fmt.Sprintf(format, args...))
			}
		},
	}
}

func (s *scene) digests(_ context.Context, a *types.Attachment, r types.Range) ([]types.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return nil, &types.Missing{CID: a.Index}
	}
	return s.data.Digests(r), nil
}

// open makes member i's validator without running it.
func (s *scene) open(i int) *Validator {
	s.t.Helper()
	v, err := New(s.config(i))
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// start runs member i's validator; stop ends it.
func (s *scene) start(i int) (v *Validator, stop func()) {
	s.t.Helper()
	v = s.open(i)
	s.running[i] = v
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			delete(s.running, i)
			if err := <-done; err != nil {
				s.t.Errorf("validator %d: %v", i, err)
			}
		})
	}
	s.t.Cleanup(stop)
	return v, stop
}

// Log is what hosts and payees committed.
func (s *scene) Log(_ context.Context, of types.Account, e types.Epoch) (*Log, error) {
	h := s.hosts[s.Number(of)]
	if h == nil {
		return nil, fmt.Errorf("account %s is away", of.Short())
	}
	return h.log(e)
}

func (s *scene) Smash(_ context.Context, host types.Account, chunk, seed types.Hash) (types.Hash, error) {
	h := s.hosts[s.Number(host)]
	if h == nil {
		return types.Hash{}, errors.New("no host")
	}
	return h.smash(chunk, seed)
}

func (s *scene) Feedback(_ context.Context, to types.Account, n *lines.Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feedback = append(s.feedback, fmt.Sprintf("%d %d %s", n.Epoch, s.Number(to), n.Kind))
	return nil
}

// FetchOnce gives plain pieces of a host that serves, or of the sponsor.
func (s *scene) FetchOnce(_ context.Context, from types.Account, digest types.Hash) ([]byte, error) {
	if h := s.hosts[s.Number(from)]; h != nil && h.refuses.Load() {
		return nil, errors.New("no answer")
	}
	for _, p := range s.data.Pieces {
		if types.Digest(types.RawCID(p)) == digest {
			return slices.Clone(p), nil
		}
	}
	return nil, errors.New("no such piece")
}

// activate has all lots of a plan of so many copies kept, attested by whoever
// runs or, with byHand, by the test.
func (s *scene) activate(copies uint32, byHand bool) {
	s.t.Helper()
	s.MineTo(s.Rules().Checkpoint(s.epoch())) // so that all are active in one epoch
	s.lots = s.Plan(sponsor, s.data, copies, 0)
	for _, id := range s.lots {
		s.Until("lot is drawn", 0, func(v *consensus.View) bool {
			l, err := v.Lot(id)
			return err == nil && l.Status == types.LotDrawn
		})
		l := s.Lot(id)
		s.hosts[s.Number(l.Host)].commit(id, l)
		if byHand {
			s.Attest(id)
		}
	}
	s.until("all lots are active", func(v *consensus.View) bool {
		for _, id := range s.lots {
			if l, err := v.Lot(id); err != nil || l.Status != types.LotActive {
				return false
			}
		}
		return true
	})
}

// walk mines up to a height. Validators that run do their duties at every block.
func (s *scene) walk(to types.Height) {
	s.t.Helper()
	s.until("height", func(v *consensus.View) bool { return v.Height() >= to })
}

// until mines until ok holds of a state that all running validators have seen.
func (s *scene) until(what string, ok func(v *consensus.View) bool) {
	s.t.Helper()
	for range 1000 {
		v := s.View()
		s.await("duties of a block", func() bool {
			for _, x := range s.running {
				for i := range x.worked {
					if types.Height(x.worked[i].Load()) < v.Height() {
						return false
					}
				}
			}
			return true
		})
		if ok(v) {
			return
		}
		s.Mine()
	}
	s.t.Fatalf("not within 1000 blocks: %s", what)
}

// ready brings an epoch to where its result can be decided: lots kept, logs and
// receipts committed, bundles posted.
func (s *scene) ready(e types.Epoch) {
	s.t.Helper()
	s.walk(s.Rules().Checkpoint(e))
	for _, i := range slices.Sorted(maps.Keys(s.hosts)) {
		s.hosts[i].claim(e)
	}
	s.walk(s.Rules().Checkpoint(e + 1))
	for _, i := range []int{hostA, hostB} {
		s.hosts[i].post(e)
	}
	s.walk(s.Rules().DisputesDue(e))
}

// await waits, with no block made meanwhile, until what validators do at their
// own time is done.
func (s *scene) await(what string, ok func() bool) {
	s.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			s.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// epoch is the running one.
func (s *scene) epoch() types.Epoch { return s.Rules().EpochOf(s.Tip().Header.Height) }

// claims commits the logs of all hosts for an epoch.
func (s *scene) claims(e types.Epoch) {
	s.t.Helper()
	s.MineTo(s.Rules().Checkpoint(e))
	for _, i := range []int{hostA, hostB} {
		s.hosts[i].claim(e)
	}
}

// bundles has all hosts ask their checkers and post.
func (s *scene) bundles(e types.Epoch) {
	s.t.Helper()
	s.MineTo(s.Rules().Checkpoint(e + 1))
	for _, i := range []int{hostA, hostB} {
		s.hosts[i].post(e)
	}
}

// collated mines until the epoch has a result.
func (s *scene) collated(e types.Epoch) *types.EpochRecord {
	s.t.Helper()
	var rec *types.EpochRecord
	s.until(fmt.Sprintf("epoch %d has a result", e), func(v *consensus.View) (ok bool) {
		var err error
		rec, err = v.Epoch(e)
		if err != nil {
			s.t.Fatal(err)
		}
		if v.Height() > s.Rules().Checkpoint(e+7) {
			s.t.Fatalf("no result of epoch %d until block %d", e, v.Height())
		}
		return rec.Collation != nil
	})
	return rec
}

// pay is what a member has in all, locks and bonds too.
func (s *scene) pay(i int) types.Amount {
	s.t.Helper()
	a, err := s.View().Account(chaintest.Account(i))
	if err != nil {
		s.t.Fatal(err)
	}
	return a.Balance + a.Locked + a.HostBond + a.Deposit
}

func (s *scene) checkMoney() {
	s.t.Helper()
	if sum, wei, err := s.View().Money(); err != nil || sum != s.Genesis().Supply() || wei != 0 {
		s.t.Fatalf("money %d and %d wei of %d: %v", sum, wei, s.Genesis().Supply(), err)
	}
}

// rowsOf reads a result by member.
func (s *scene) rowsOf(c *types.Collation) map[int]types.ResultLine {
	s.t.Helper()
	rows, err := s.View().ResultRows(c)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[int]types.ResultLine{}
	for _, r := range rows {
		for i := range members {
			if chaintest.Account(i).Address() == r.Address {
				out[i] = r
			}
		}
	}
	if len(out) != len(rows) {
		s.t.Fatalf("%d rows of %d members", len(rows), len(out))
	}
	return out
}

// receipt is the payer's word for units from a payee.
func (s *scene) receipt(payer, payee int, e types.Epoch, units uint64) market.Receipt {
	s.t.Helper()
	cost := s.Rules().BandwidthCost
	r := market.Receipt{
		Chain: s.Genesis().Chain(), Payer: chaintest.Account(payer), Payee: chaintest.Account(payee),
		Device: chaintest.Device(payee), Epoch: e, Units: units, Total: new(big.Int).Mul(cost, types.Wei(units)),
	}
	p, err := market.NewPurse(r.Chain, r.Payer, e, cost)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := p.Sign(market.Paid{Payee: r.Payee, Device: r.Device}, units, types.MaxSupply, chaintest.Signer(payer).Sign)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func compareAccounts(a, b types.Account) int { return slices.Compare(a[:], b[:]) }
