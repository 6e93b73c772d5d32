package lines

import (
	"errors"
	"strings"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// ST2.3: dates are those of the blocks of dataset, plan and activation; rep and
// renewable are the plan's; sig and smash are empty.
func TestST2_3(t *testing.T) {
	s := newScene(t)
	v := s.View()
	d, err := v.Dataset(s.data.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Plan(s.Lot(s.lots[0]).Plan)
	if err != nil {
		t.Fatal(err)
	}
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	total := 0
	for _, host := range []int{hostA, hostB} {
		want := s.literal(host, func(l *types.LotRecord, chunk types.Hash) []byte {
			f := settle.Farmer{
				Farmer: chaintest.Account(host).Address(), Chunk: chunk,
				Born: int64(d.Time) / 1000, Stored: int64(l.Since) / 1000, Rep: 2,
			}
			return f.Append(nil, settle.Grammar{})
		})
		have := gather(t, func(e Emit) error { return src.Farmer(chaintest.Account(host), e) })
		if have != want {
			t.Fatalf("host %d: derived\n%s\nliteral\n%s", host, have, want)
		}
		total += strings.Count(have, "\n")
	}
	if total != 14 {
		t.Fatalf("%d farmer lines, want 14", total)
	}
	var want []string
	for _, r := range s.data.Ranges {
		for _, chunk := range s.data.Digests(r) {
			b := settle.Buyer{
				Buyer: chaintest.Account(sponsor).Address(), Chunk: chunk,
				Born: int64(d.Time) / 1000, Stored: int64(p.Time) / 1000, Rep: 2,
			}
			want = append(want, string(b.Append(nil, settle.Grammar{})))
		}
	}
	have := gather(t, func(e Emit) error { return src.Buyer(chaintest.Account(sponsor), e) })
	if have != sortedLines(want) {
		t.Fatalf("derived\n%s\nliteral\n%s", have, sortedLines(want))
	}
	if have := gather(t, func(e Emit) error { return src.Farmer(chaintest.Account(sponsor), e) }); have != "" {
		t.Fatalf("who keeps nothing claims %s", have)
	}
}

// Passes and shards give the same bytes as one pass over everything.
func TestPassesAndShards(t *testing.T) {
	s := newScene(t)
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	log := func() string {
		return gather(t, func(e Emit) error { return src.Buyer(chaintest.Account(sponsor), e) })
	}
	want := log()
	for held := range uint64(9) {
		src.Held = held
		if have := log(); have != want {
			t.Fatalf("held %d: %s, want %s", held, have, want)
		}
	}
	parts := ""
	for prefix := range uint32(4) {
		src.Shard = types.Shard{Bits: 2, Prefix: prefix}
		parts += log()
	}
	if parts != want {
		t.Fatalf("shards %s, want %s", parts, want)
	}
}

// What does not hash to the range's id, and what nobody can have, gives no
// lines; what is only not here is an error.
func TestDigestsOfOthers(t *testing.T) {
	s := newScene(t)
	s.MineTo(s.Rules().Checkpoint(s.e))
	missing := &types.Missing{CID: types.RawCIDOf(s.data.ID)}
	for name, c := range map[string]struct {
		give func(types.Range) ([]types.Hash, error)
		want error
	}{
		"of another range": {func(types.Range) ([]types.Hash, error) { return s.data.Digests(s.data.Ranges[0])[:1], nil }, nil},
		"none":             {func(types.Range) ([]types.Hash, error) { return nil, nil }, nil},
		"absent":           {func(types.Range) ([]types.Hash, error) { return nil, ErrAbsent }, nil},
		"not held":         {func(types.Range) ([]types.Hash, error) { return nil, missing }, missing},
	} {
		t.Run(name, func(t *testing.T) {
			src := s.source()
			src.Digests = func(_ *types.Attachment, r types.Range) ([]types.Hash, error) { return c.give(r) }
			n := 0
			err := src.Farmer(s.Lot(s.lots[0]).Keeper(), func([]byte) error { n++; return nil })
			if !errors.Is(err, c.want) || n != 0 {
				t.Fatalf("%d lines, error %v, want %v", n, err, c.want)
			}
		})
	}
}

// TestVerdicts: nothing shown, everything shown, one lot missed, not served.
func TestVerdicts(t *testing.T) {
	s := newScene(t)
	host := s.Number(s.Lot(s.lots[0]).Keeper())
	s.claim(host)
	var missedLot types.LotID
	s.bundle(host, func(q *replica.Question) []uint32 {
		missedLot = s.lots[0]
		for k, leaf := range q.Samples {
			if first := s.firstLot(host); leaf < s.Lot(first).Leaves {
				missedLot = first
				return []uint32{uint32(k)}
			}
		}
		t.Fatal("no sample falls on the first lot")
		return nil
	})
	s.MineTo(s.Rules().BundlesDue(s.e) + 1)
	src := s.source()
	chunk := s.data.Digests(s.data.Ranges[0])[0]
	for _, who := range []int{hostA, hostB} {
		all := s.literal(who, verdicts(settle.VerdictActive, who, true))
		audit := s.literal(who, func(l *types.LotRecord, chunk types.Hash) []byte {
			if who == host && types.LotOf(l.Plan, l.Copy, l.Index) != missedLot {
				return nil
			}
			return verdicts(settle.VerdictAudit, who, false)(l, chunk)
		})
		have := gather(t, func(e Emit) error { return src.Verdicts(chaintest.Account(who), Findings{}, e) })
		if have != all+audit || audit == "" && all != "" {
			t.Fatalf("host %d:\n%s\nwant\n%s%s", who, have, all, audit)
		}
		serve := s.literal(who, verdicts(settle.VerdictServe, who, false))
		smash := string(verdicts(settle.VerdictSmash, who, false)(nil, chunk)) + "\n"
		have = gather(t, func(e Emit) error {
			return src.Verdicts(chaintest.Account(who), Findings{NotServed: true, Smash: []types.Hash{chunk, chunk}}, e)
		})
		if have != all+audit+serve+smash {
			t.Fatalf("host %d:\n%s\nwant\n%s%s%s%s", who, have, all, audit, serve, smash)
		}
	}
}

// firstLot is the first lot of a host in the order of its claims.
func (s *scene) firstLot(host int) types.LotID {
	lots, err := s.source().Frozen.Lots(chaintest.Account(host))
	if err != nil || len(lots) == 0 {
		s.t.Fatalf("host %d keeps nothing: %v", host, err)
	}
	return lots[0]
}
