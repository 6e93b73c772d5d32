package validate

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// TestH5 tests service: drawn testers fetch drawn pieces, say what came in a
// signed statement, and two of three who say "not served" deny the pay.
func TestH5(t *testing.T) {
	s, e, vs := audited(t)
	s.hosts[hostB].refuses.Store(true)
	rec, err := s.View().Epoch(e)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := s.View().Frozen(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if err := v.serve(t.Context(), s.View()); err != nil {
			t.Fatal(err)
		}
	}
	s.MineTo(s.Rules().BundlesDue(e))
	for range 2 {
		for _, v := range vs {
			if err := v.serve(t.Context(), s.View()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, i := range []int{hostA, hostB} {
		host := chaintest.Account(i)
		drawn, err := frozen.Testers(host, rec.Beacon)
		if err != nil || len(drawn) != 3 {
			t.Fatalf("%d testers: %v", len(drawn), err)
		}
		for k, v := range vs {
			list, err := v.statements(e)
			if err != nil {
				t.Fatal(err)
			}
			var of []types.Account
			for _, st := range list {
				if st.Host != host {
					continue
				}
				of = append(of, st.Validator)
				if st.Served() != (i == hostA) || st.Drawn != drawnPieces || !st.verify(s.View().Chain) {
					t.Errorf("statement on host %d: %+v", i, st)
				}
			}
			slices.SortFunc(of, compareAccounts)
			want := slices.SortedFunc(slices.Values(drawn), compareAccounts)
			if !slices.Equal(of, want) {
				t.Errorf("validator %d has statements of %d testers on host %d, want %d", k, len(of), i, len(want))
			}
			if f := findings(list, host, len(drawn)); f.NotServed != (i == hostB) || f.Smash != nil {
				t.Errorf("findings on host %d: %+v", i, f)
			}
		}
	}
}

// TestVotesNeeded has the bars of H5 and those between.
func TestVotesNeeded(t *testing.T) {
	for drawn, want := range []int{1, 1, 2, 2, 3, 4, 4, 5} {
		if n := votesNeeded(drawn); n != want {
			t.Errorf("%d of %d, want %d", n, drawn, want)
		}
	}
}

// TestDrawnPieces fixes the derivation: the same on every node, other for every
// tester, of pieces that the host keeps.
func TestDrawnPieces(t *testing.T) {
	s, e, _ := audited(t)
	rec, err := s.View().Epoch(e)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := s.View().Frozen(e)
	if err != nil {
		t.Fatal(err)
	}
	digests := func(_ *types.Attachment, r types.Range) ([]types.Hash, error) { return s.data.Digests(r), nil }
	kept, err := s.open(validator).chunksOf(t.Context(), s.View(), testKey{epoch: e, host: chaintest.Account(hostA)})
	if err != nil || len(kept) != len(s.data.Pieces) {
		t.Fatalf("%d chunks, want %d: %v", len(kept), len(s.data.Pieces), err)
	}
	seen := map[string]bool{}
	for i := validator; i < validator+4; i++ {
		by := Draw{rec.Beacon, chaintest.Account(i)}
		a, err := DrawnPieces(frozen, digests, chaintest.Account(hostA), by)
		if err != nil {
			t.Fatal(err)
		}
		b, err := DrawnPieces(frozen, digests, chaintest.Account(hostA), by)
		if err != nil || !slices.Equal(a, b) {
			t.Fatalf("second draw differs: %v", err)
		}
		for _, d := range a {
			if _, found := slices.BinarySearchFunc(kept, d, compareHashes); !found {
				t.Errorf("piece %s is not kept by the host", d.Short())
			}
		}
		seen[types.H("staddle/test/draw", a[0][:], a[1][:], a[2][:], a[3][:]).String()] = true
	}
	if len(seen) < 3 {
		t.Errorf("%d different draws of four testers", len(seen))
	}
}

// TestHear refuses statements that are no drawn tester's, and keeps the first of two.
func TestHear(t *testing.T) {
	s, e, vs := audited(t)
	v := vs[validator]
	frozen, err := s.View().Frozen(e)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.View().Epoch(e)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := frozen.Testers(chaintest.Account(hostA), rec.Beacon)
	if err != nil {
		t.Fatal(err)
	}
	by := slices.IndexFunc(drawn, func(a types.Account) bool { return a != v.me })
	state := func(a types.Account, came uint8) *Statement {
		st := &Statement{Epoch: e, Host: chaintest.Account(hostA), Validator: a, Drawn: 4, Came: came}
		d := st.Digest(s.View().Chain)
		st.Signature = chaintest.Signer(s.Number(a)).Sign(d[:])
		return st
	}
	good := state(drawn[by], 4)
	forged := state(drawn[by], 4)
	forged.Came = 0
	if err := v.hear(s.View(), forged); err == nil {
		t.Error("forged statement was kept")
	}
	for i := validator; i < validator+4; i++ {
		if a := chaintest.Account(i); !slices.Contains(drawn, a) {
			if err := v.hear(s.View(), state(a, 0)); err == nil {
				t.Error("statement of a validator that was not drawn was kept")
			}
		}
	}
	for _, st := range []*Statement{good, state(drawn[by], 0), good} {
		if err := v.hear(s.View(), st); err != nil {
			t.Fatal(err)
		}
	}
	list, err := v.statements(e)
	if err != nil || len(list) != 1 || !list[0].Served() {
		t.Errorf("%d statements: %v", len(list), err)
	}
}

// TestSmash asks for secrets that a buyer published: a wrong answer is found, a
// false mask is not held against the host.
func TestSmash(t *testing.T) {
	for _, c := range []struct {
		name               string
		wrong, lie, refuse bool
		found              bool
	}{
		{name: "right answer"},
		{name: "wrong answer, piece there", wrong: true, found: true},
		{name: "wrong answer, no piece", wrong: true, refuse: true, found: true},
		{name: "false mask", lie: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			h := s.hosts[hostA]
			h.wrong.Store(c.wrong)
			h.refuses.Store(c.refuse)
			piece := s.data.Pieces[1]
			chunk := types.Digest(types.RawCID(piece))
			root, err := replica.ChunkRoot(piece)
			if err != nil {
				t.Fatal(err)
			}
			seed := replica.NewSmashSeed([]byte("master"), root, 1)
			answer, err := replica.ASH(piece, seed)
			if err != nil {
				t.Fatal(err)
			}
			if c.lie {
				answer[0] ^= 1
			}
			x := secret{chunk: chunk, smash: replica.Smash{Seed: seed, Mask: replica.Mask(answer)}}
			if found, _ := s.open(validator).smashWrong(t.Context(), h.me, &x); found != c.found {
				t.Errorf("found %t, want %t", found, c.found)
			}
		})
	}
}

// TestSmashInEpoch publishes a secret in a buyer's log and has a lying host lose
// the chunk's pay by the testers' word.
func TestSmashInEpoch(t *testing.T) {
	s := newScene(t)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.activate(2, true)
	e := s.epoch() + 1
	s.MineTo(s.Rules().Checkpoint(e))
	chunk := s.publishSecret(e)
	s.claims(e)
	s.MineTo(s.Rules().LogsDue(e) + 1)
	for _, v := range vs {
		if err := v.collect(t.Context(), s.View()); err != nil {
			t.Fatal(err)
		}
	}
	s.MineTo(s.Rules().Checkpoint(e + 1))
	s.hosts[hostA].wrong.Store(true)
	for _, v := range vs {
		if err := v.serve(t.Context(), s.View()); err != nil {
			t.Fatal(err)
		}
	}
	list, err := vs[validator].statements(e)
	if err != nil {
		t.Fatal(err)
	}
	if f := findings(list, chaintest.Account(hostA), 3); !slices.Equal(f.Smash, []types.Hash{chunk}) || f.NotServed {
		t.Errorf("findings on the liar: %+v", f)
	}
	if f := findings(list, chaintest.Account(hostB), 3); f.Smash != nil {
		t.Errorf("findings on the honest host: %+v", f)
	}
}

// publishSecret commits the sponsor's log of an epoch with the SMASH of a piece.
func (s *scene) publishSecret(e types.Epoch) types.Hash {
	s.t.Helper()
	piece := s.data.Pieces[1]
	chunk := types.Digest(types.RawCID(piece))
	root, err := replica.ChunkRoot(piece)
	if err != nil {
		s.t.Fatal(err)
	}
	seed := replica.NewSmashSeed([]byte("master"), root, 1)
	answer, err := replica.ASH(piece, seed)
	if err != nil {
		s.t.Fatal(err)
	}
	other := types.H("staddle/test/mask")
	list, err := replica.NewSmashList([]types.Hash{other, replica.Mask(answer)})
	if err != nil {
		s.t.Fatal(err)
	}
	smash, err := list.Smash(seed)
	if err != nil {
		s.t.Fatal(err)
	}
	h := s.newPayer(sponsor)
	frozen, err := s.View().Frozen(e)
	if err != nil {
		s.t.Fatal(err)
	}
	src := &lines.Source{Epoch: e, Frozen: frozen, Digests: func(_ *types.Attachment, r types.Range) ([]types.Hash, error) { return s.data.Digests(r), nil }}
	err = src.Buyer(h.me, func(line []byte) error {
		b, err := settle.ParseBuyer(line, settle.Grammar{})
		if err == nil && b.Chunk == chunk {
			b.Smash = hex.EncodeToString(types.Marshal(&smash))
			h.exceptions = append(h.exceptions, lines.Exception{Role: types.LogBuyer, Op: lines.OpReplace, Line: b.Append(nil, settle.Grammar{})})
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	h.claim(e)
	return chunk
}
