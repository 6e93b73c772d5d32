package lines

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Members of the community of these tests.
const (
	sponsor = iota
	hostA
	hostB
	validator // and two more
	members   = validator + 3
)

// scene is a community in which two hosts keep a dataset each.
type scene struct {
	*chaintest.World
	t    testing.TB
	data *chaintest.Dataset
	lots []types.LotID
	e    types.Epoch // the first with all lots active
}

// newScene publishes 7 pieces in ranges of two and has two copies of them kept.
func newScene(t testing.TB) *scene {
	t.Helper()
	w := chaintest.New(t, members, func(g *types.Genesis) {
		chaintest.Validators(g, validator, 3, 2000*types.Coin)
	})
	for i := validator; i < members; i++ {
		w.Register(i, types.RoleValidator)
	}
	w.Register(sponsor, types.RoleSponsor)
	w.Register(hostA, types.RoleHost)
	w.Register(hostB, types.RoleHost)
	s := &scene{World: w, t: t, data: w.Publish(sponsor, "data", 6*types.PieceSize+99, 2)}
	s.lots = w.Plan(sponsor, s.data, 2, 0)
	for _, id := range s.lots {
		s.activate(id)
	}
	s.e = w.Rules().EpochOf(w.Tip().Header.Height)
	return s
}

func (s *scene) activate(id types.LotID) {
	s.t.Helper()
	s.Until("lot is drawn", 0, func(v *consensus.View) bool {
		l, err := v.Lot(id)
		return err == nil && l.Status == types.LotDrawn
	})
	l := s.Lot(id)
	host := s.Number(l.Host)
	s.Do(host, types.KindDuty, &types.Duty{Action: types.DutyAccept, Lots: []types.LotAttempt{{Lot: id, Attempt: l.Attempt}}})
	var c types.Commitments
	for r := range l.Count {
		root := types.H("staddle/test/root", types.Be32(r))
		c.List = append(c.List, types.Commitment{Lot: id, Attempt: l.Attempt, Range: r, Encoded: root, Plain: root})
	}
	s.Do(host, types.KindHosted, &c)
	s.Attest(id)
}

// digests is the index of the one dataset.
func (s *scene) digests(_ *types.Attachment, r types.Range) ([]types.Hash, error) {
	return s.data.Digests(r), nil
}

// source freezes the scene's epoch; the cut is the newest state.
func (s *scene) source() *Source {
	s.t.Helper()
	cut := s.View()
	frozen, err := cut.Frozen(s.e)
	if err != nil {
		s.t.Fatal(err)
	}
	return &Source{Epoch: s.e, Frozen: frozen, Cut: cut, Digests: s.digests}
}

// claim commits the logs of a host in time.
func (s *scene) claim(host int) {
	s.t.Helper()
	s.MineTo(s.Rules().Checkpoint(s.e))
	claims, err := s.View().Claims(chaintest.Account(host))
	if err != nil {
		s.t.Fatal(err)
	}
	tree, err := replica.ClaimTree(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Do(host, types.KindLog, &types.LogCommitment{
		Epoch: s.e, SumRoot: tree.Root().Hash, Leaves: tree.Root().Leaves, Lots: uint32(len(claims)),
	})
}

// bundle posts a host's bundle, signed by its checkers.
func (s *scene) bundle(host int, missed func(*replica.Question) []uint32) {
	s.t.Helper()
	s.MineTo(s.Rules().Checkpoint(s.e + 1))
	v, a := s.View(), chaintest.Account(host)
	rec, err := v.Epoch(s.e)
	if err != nil {
		s.t.Fatal(err)
	}
	claim, err := v.Claim(s.e, a)
	if err != nil || claim == nil {
		s.t.Fatalf("no claim: %v", err)
	}
	frozen := s.source().Frozen
	q, err := frozen.Question(a, &claim.Log, rec.Beacon)
	if err != nil {
		s.t.Fatal(err)
	}
	b := &types.BundlePost{Epoch: s.e, Root: types.H("staddle/test/bundle"), Proofs: uint32(q.Places()), Size: 1}
	if missed != nil {
		b.Missed = missed(q)
	}
	drawn, err := frozen.Checkers(a, rec.Beacon)
	if err != nil {
		s.t.Fatal(err)
	}
	digest := b.Digest(v.Chain, a, rec.Beacon)
	for _, c := range drawn {
		sig := chaintest.Signer(s.Number(c)).Sign(digest[:])
		b.Checkers = append(b.Checkers, types.Signed{By: c, Signature: sig})
	}
	s.Do(host, types.KindBundle, b)
}

// gather is the bytes of a log.
func gather(t testing.TB, derive func(Emit) error) string {
	t.Helper()
	var b bytes.Buffer
	tally := Tally{W: &b}
	if err := derive(tally.Add); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sortedLines(list []string) string {
	slices.Sort(list)
	var b bytes.Buffer
	for _, line := range slices.Compact(list) {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// literal writes a host's farmerlog from its lots, one piece after another.
func (s *scene) literal(host int, line func(l *types.LotRecord, chunk types.Hash) []byte) string {
	s.t.Helper()
	var out []string
	for _, id := range s.lots {
		l := s.Lot(id)
		if l.Keeper() != chaintest.Account(host) {
			continue
		}
		for _, r := range s.data.Ranges[l.First : l.First+l.Count] {
			for _, chunk := range s.data.Digests(r) {
				if b := line(l, chunk); b != nil {
					out = append(out, string(b))
				}
			}
		}
	}
	return sortedLines(out)
}

func verdicts(kind settle.VerdictKind, host int, ok bool) func(*types.LotRecord, types.Hash) []byte {
	return func(_ *types.LotRecord, chunk types.Hash) []byte {
		v := settle.Verdict{Kind: kind, Chunk: chunk, Farmer: chaintest.Account(host).Address(), OK: ok}
		return v.Append(nil, settle.Grammar{})
	}
}
