package gateway

import (
	"bytes"
	"context"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/logbook"
	"github.com/staddle/staddle/types"
)

var _ Logs = (*logbook.Logbook)(nil)

// traffic is receipts by epoch.
type traffic map[types.Epoch][]logbook.Evidence

func (r traffic) Traffic(e types.Epoch) ([]logbook.Evidence, error) { return r[e], nil }

// noIndex holds no dataset.
type noIndex struct{}

func (noIndex) Digests(context.Context, *types.Attachment, types.Range) ([]types.Hash, error) {
	return nil, lines.ErrAbsent
}

// A validator reads what a node's logbook committed on the chain, in time and
// late, and derives the same bandwidth lines from the evidence in it.
func TestLogbookBehindTheGateway(t *testing.T) {
	s := newTown(t, nil)
	receipt := []byte("receipt")
	proof := lines.Traffic{Payee: chaintest.Account(owner), Payer: chaintest.Account(second), Units: 5, Receipt: types.Digest(types.RawCID(receipt))}
	evidence := []logbook.Evidence{{Traffic: proof, Receipt: receipt}}
	e := s.View().Epochal()
	book, err := logbook.Open(logbook.Config{
		Dir: t.TempDir(), Account: chaintest.Account(owner), Device: device(owner).ID(), Chain: s.Node(owner),
		Index: noIndex{}, Traffic: traffic{e - 2: evidence, e: evidence}, Report: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.gate.cfg
	cfg.Logs = book
	s.gate = New(cfg)
	s.addr = serve(t, s.gate)
	s.MineTo(s.Rules().Checkpoint(e) + 1)
	if err := book.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Mine()
	var want bytes.Buffer
	tally := lines.Tally{W: &want}
	if err := lines.Bandwidth(chaintest.Account(owner), []lines.Traffic{proof}, tally.Add); err != nil || want.Len() == 0 {
		t.Fatal(err)
	}
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			do := as(validator)
			for _, of := range []types.Epoch{e, e - 2} {
				s.readLog(do, of, want.String(), receipt)
			}
			if have := call(t, do, Call{Target: "/bandwidthlog"}); have.body != want.String() {
				t.Fatalf("newest log %q", have.body)
			}
		})
	}
	if have := call(t, s.as(validator), Call{Target: (&target{endpoint: getHeaders, seconds: s.seconds}).String()}); have.code != 404 {
		t.Fatalf("epoch without logs: %d", have.code)
	}
}

// readLog reads what owner committed for an epoch as a validator does.
func (s *town) readLog(do Do, e types.Epoch, want string, receipt []byte) {
	s.t.Helper()
	claim, err := s.View().Claim(e, chaintest.Account(owner))
	if err != nil || claim == nil {
		s.t.Fatalf("no claim in epoch %d: %v", e, err)
	}
	head, err := do.Headers(s.t.Context(), s.time(e), &claim.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	var have bytes.Buffer
	tally := lines.Tally{W: &have}
	if err := do.Log(s.t.Context(), s.time(e), head.Find(types.LogBandwidth), tally.Add); err != nil || want != have.String() {
		s.t.Fatalf("%s, want %s: %v", have.String(), want, err)
	}
	block, err := do.Exceptions(s.t.Context(), s.time(e), &claim.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	x, err := lines.ParseExceptions(claim.Log.Exceptions, block)
	if err != nil || !bytes.Equal(x.Of(types.LogBandwidth, lines.OpReceipt)[0], receipt) {
		s.t.Fatalf("evidence: %v", err)
	}
}
