package validate

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// bought is a scene in which member reader downloaded from host A in epoch e for
// a lock, and both hosts keep a copy of everything.
func bought(t *testing.T, units uint64) (*scene, types.Epoch) {
	t.Helper()
	s := newScene(t)
	s.activate(2, true)
	e := s.epoch() + 1
	s.Do(reader, types.KindLock, &types.Lock{Epoch: e, Amount: types.Coin})
	if units > 0 {
		s.receipts = append(s.receipts, s.receipt(reader, hostA, e, units))
	}
	return s, e
}

// TestST9_1 settles an epoch from end to end: four validators run, a result with
// zero sums is signed and paid, balances move, no coin is made or lost; whoever
// runs the epoch again gets the same bytes.
func TestST9_1(t *testing.T) {
	s, e := bought(t, 5)
	var stops []func()
	for i := validator; i < validator+4; i++ {
		_, stop := s.start(i)
		stops = append(stops, stop)
	}
	before := map[int]types.Amount{}
	s.ready(e)
	for i := range members {
		before[i] = s.pay(i)
	}
	rec := s.collated(e)
	rows := s.rowsOf(rec.Collation)
	pieces := int64(len(s.data.Pieces))
	want := map[int]types.ResultLine{
		hostA: s.row(hostA, pieces, 5), hostB: s.row(hostB, pieces, 0), sponsor: s.row(sponsor, -2*pieces, 0), reader: s.row(reader, 0, -5),
	}
	if !equalRows(rows, want) {
		t.Fatalf("rows %v, want %v", rows, want)
	}
	s.until("epoch is paid", func(v *consensus.View) bool {
		g, err := v.Globals()
		return err == nil && g.Transfer > e
	})
	for _, i := range []int{hostA, hostB} {
		if earned := s.pay(i) - before[i]; earned == 0 || earned > types.MaxSupply {
			t.Errorf("host %d earned %d", i, int64(earned))
		}
	}
	if after := s.pay(sponsor); after >= before[sponsor] {
		t.Errorf("sponsor has %s, had %s", after, before[sponsor])
	}
	s.checkMoney()
	for _, stop := range stops {
		stop()
	}
	t.Run("verify", func(t *testing.T) { verifyAgain(t, s, e) })
	t.Run("info", func(t *testing.T) { epochInfos(t, s, e) })
}

// row is what a member gets by the epoch's prices.
func (s *scene) row(i int, pieces, units int64) types.ResultLine {
	net := settle.Net{ID: chaintest.Account(i).Address(), S: pieces, B: units}
	return settle.Collate(net, s.Rules().StorageCost, s.Rules().BandwidthCost)
}

func equalRows(have, want map[int]types.ResultLine) bool {
	if len(have) != len(want) {
		return false
	}
	for i, w := range want {
		h := have[i]
		if h.T == nil || h.S != w.S || h.B != w.B || h.T.Cmp(w.T) != 0 || h.Address != w.Address {
			return false
		}
	}
	return true
}

// verifyAgain runs the epoch on a node that has nothing, and on a validator that
// has files, right and damaged ones.
func verifyAgain(t *testing.T, s *scene, e types.Epoch) {
	stranger := s.open(reader)
	for i := validator; i < validator+4; i++ {
		s.open(i) // answers again
	}
	r, err := stranger.Verify(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same || r.Rows != 4 || r.Lines == 0 {
		t.Fatalf("stranger's run: %+v", r)
	}
	v := s.open(validator)
	if r, err = v.Verify(t.Context(), e); err != nil || !r.Same {
		t.Fatalf("validator's run: %+v: %v", r, err)
	}
	literal(t, r.Dir)
	path := filepath.Join(r.Dir, fileVerdict)
	if err := os.WriteFile(path, []byte("damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = v.Verify(t.Context(), e); err != nil || r.Same || !slices.Equal(r.Differ, []string{fileVerdict}) {
		t.Fatalf("run over a damaged file: %+v: %v", r, err)
	}
	if _, err := v.Verify(t.Context(), s.epoch()); !errors.Is(err, ErrNoResult) {
		t.Errorf("running epoch: %v, want ErrNoResult", err)
	}
}

// literal puts the files of an epoch through the filters by hand, as a shell
// pipe does, and compares with its rows.
func literal(t *testing.T, dir string) {
	t.Helper()
	read := func(pattern string) (all []byte) {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return all
	}
	flags := map[string]string{}
	for line := range strings.Lines(string(read(fileParams))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		flags[strings.TrimPrefix(name, "--")] = value
	}
	p, err := settle.ParseParams(func(name string) string { return flags[name] })
	if err != nil {
		t.Fatal(err)
	}
	stage := func(name string, in []byte) []byte {
		s, err := settle.StageByName(name)
		if err != nil {
			t.Fatal(err)
		}
		var facts, rows bytes.Buffer
		if _, err := s.Map(p, bytes.NewReader(in), &facts); err != nil {
			t.Fatal(err)
		}
		list := strings.SplitAfter(facts.String(), "\n")
		slices.Sort(list)
		if _, err := s.Reduce(p, strings.NewReader(strings.Join(list, "")), &rows); err != nil {
			t.Fatal(err)
		}
		return rows.Bytes()
	}
	claims := slices.Concat(read("buyerlog*"), read("farmerlog*"), read(fileVerdict))
	kept := stage(settle.StageStorage, stage(settle.StageJoin, claims))
	sent := stage(settle.StageBandwidth, read("bandwidthlog*"))
	if have, want := stage(settle.StageCollate, slices.Concat(kept, sent)), read(fileResult); !bytes.Equal(have, want) {
		t.Errorf("filters give\n%s, the epoch's rows are\n%s", have, want)
	}
}

func epochInfos(t *testing.T, s *scene, e types.Epoch) {
	list, err := s.open(validator).Epochs(64)
	if err != nil {
		t.Fatal(err)
	}
	if list[0].Epoch != s.epoch() && list[0].Epoch != s.epoch()+1 || list[0].Phase != PhaseRunning {
		t.Errorf("newest epoch: %+v", list[0])
	}
	i := slices.IndexFunc(list, func(x EpochInfo) bool { return x.Epoch == e })
	if i < 0 || list[i].Phase != PhasePaid || list[i].Rows != 4 || list[i].Buckets != types.ResultBuckets || !list[i].Local {
		t.Errorf("settled epoch: %+v", list[max(i, 0)])
	}
	st, err := s.open(validator + 1).Status()
	if err != nil || !st.Active || st.Deposit != 2000*types.Coin || slices.Contains(st.Unsettled, e) {
		t.Errorf("status %+v: %v", st, err)
	}
}

// TestST7 has one of four validators down: the others settle, and they alone
// share the levy.
func TestST7(t *testing.T) {
	s, e := bought(t, 0)
	for i := validator; i < validator+3; i++ {
		s.start(i)
	}
	s.ready(e)
	rec := s.collated(e)
	if rec.Signed != 6000*types.Coin {
		t.Errorf("deposits of %s signed, want 6000", rec.Signed)
	}
	s.until("epoch is being paid", func(v *consensus.View) bool {
		g, err := v.Globals()
		return err == nil && g.Transfer > e
	})
	for i := validator; i < validator+4; i++ {
		// Tips are whole base units: only the levy leaves a carry.
		if a := s.account(i); (a.Carry > 0) != (i < validator+3) {
			t.Errorf("validator %d carries %d wei of the levy", i, a.Carry)
		}
	}
	s.checkMoney()
}

// TestST3 decides about availability: a log that one validator alone could
// fetch is fetched from it by the proposer; a proposal that leaves out what its
// proposer was told is refused; a log that nobody has is left out.
func TestST3(t *testing.T) {
	s, e := bought(t, 5)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.ready(e)
	holder := vs[validator]
	if err := holder.collect(t.Context(), s.View()); err != nil {
		t.Fatal(err)
	}
	if n := len(holder.heldLogs(e)); n != 2 {
		t.Fatalf("%d logs held, want 2", n)
	}
	p := s.propose(e, vs)
	now := s.View()
	c, err := p.poll(t.Context(), now, e)
	if err != nil {
		t.Fatal(err)
	}
	full, err := p.draft(t.Context(), now, e, c)
	if err != nil || len(full.Inputs.Logs) != 2 {
		t.Fatalf("draft with %d logs: %v", len(full.Inputs.Logs), err)
	}
	short := *full
	short.Inputs.Logs = full.Inputs.Logs[:1]
	s.fill(p, &short)
	if err := verdictOf(t, holder, p, &short, opCheck); !errors.Is(err, errSaid("left out")) {
		t.Errorf("proposal without a log that was told: %v", err)
	}
	if err := verdictOf(t, vs[validator+3], p, &short, opCheck); err != nil {
		t.Errorf("proposal without a log that this one does not hold: %v", err)
	}
	s.fill(p, full)
	if err := verdictOf(t, holder, p, full, opCheck); err != nil {
		t.Errorf("full proposal: %v", err)
	}
	for _, r := range s.rowsAt(p, full) {
		if r.Address == chaintest.Account(reader).Address() && r.B != -5 {
			t.Errorf("reader's row %+v", r)
		}
	}
}

// TestST1 holds the time table: no proposal before disputes are over, the first
// proposer first, the next two blocks later.
func TestST1(t *testing.T) {
	s, e := bought(t, 0)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.claims(e)
	s.bundles(e)
	due := s.Rules().DisputesDue(e)
	s.MineTo(due - 1)
	if _, err := Proposers(s.View(), e); !errors.Is(err, ErrTooEarly) {
		t.Errorf("while bundles may be disputed: %v, want ErrTooEarly", err)
	}
	phases := map[types.Height]Phase{due - 1: PhaseDispute, due: PhaseCollate}
	for h := due - 1; h <= due; h++ {
		s.MineTo(h)
		if list, err := vs[validator].Epochs(4); err != nil || list[s.epoch()-e].Phase != phases[h] {
			t.Errorf("block %d: epochs %+v, want %s: %v", h, list, phases[h], err)
		}
	}
	for h := due; h < due+10; h++ {
		s.MineTo(h)
		list, err := Proposers(s.View(), e)
		if err != nil || len(list) != 4 {
			t.Fatalf("%d proposers: %v", len(list), err)
		}
		for rank, a := range list {
			may, err := mayPropose(s.View(), e, a)
			if err != nil {
				t.Fatal(err)
			}
			// the proposal enters the block after this one at the earliest
			if want := h+1 >= due+1+types.Height(2*rank); may != want {
				t.Errorf("block %d: proposer %d may %t, want %t", h, rank, may, want)
			}
		}
	}
	if may, err := mayPropose(s.View(), e, chaintest.Account(reader)); err != nil || may {
		t.Errorf("a stranger may propose: %v", err)
	}
	if ready, err := inTurn(s.View(), e); err != nil || ready {
		t.Errorf("epoch %d may be decided before epoch 0: %v", e, err)
	}
}

// TestLyingProposer refuses other rows, a block of another fork, a log that is
// not on chain, a statement that nobody made.
func TestLyingProposer(t *testing.T) {
	s, e := bought(t, 5)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.ready(e)
	s.giveUpBefore(e)
	p := s.propose(e, vs)
	honest := s.drafted(p, e)
	var other *Validator
	for _, v := range vs {
		if v != p {
			other = v
		}
	}
	for name, lie := range map[string]func(*Proposal){
		"rows":      func(x *Proposal) { x.Rows++ },
		"result":    func(x *Proposal) { x.Result = types.NodeCID([]byte{0x80}) },
		"block":     func(x *Proposal) { x.Inputs.Block = s.View().Head.Previous },
		"too early": func(x *Proposal) { x.Inputs.Height = s.Rules().DisputesDue(e) - 1 },
		"too late":  func(x *Proposal) { x.Inputs.Height = s.View().Height() + 1 },
		"epoch":     func(x *Proposal) { x.Inputs.Epoch = e + 1 },
		"log":       func(x *Proposal) { x.Inputs.Logs = []Used{{chaintest.Account(hostA), types.H("staddle/test/log")}} },
		"dataset":   func(x *Proposal) { x.Inputs.Absent = []types.Hash{s.data.ID} },
		"statement": func(x *Proposal) {
			x.Inputs.Statements = []Statement{{Epoch: e, Host: chaintest.Account(hostA), Validator: chaintest.Account(validator), Drawn: 4}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := *honest
			lie(&x)
			if err := verdictOf(t, other, p, &x, opSign); !errors.Is(err, ErrRefused) {
				t.Errorf("%v, want a refusal", err)
			}
		})
	}
	if err := verdictOf(t, other, p, honest, opSign); err != nil {
		t.Errorf("honest proposal: %v", err)
	}
}

// TestOneResult signs one result for an epoch: not a second one, not after a
// restart, not when the first cannot be written; the same one again and again,
// whatever the order of messages.
func TestOneResult(t *testing.T) {
	s, e := bought(t, 5)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	s.ready(e)
	s.giveUpBefore(e)
	p := s.propose(e, vs)
	first := s.drafted(p, e)
	k := validator
	if vs[k] == p {
		k++
	}
	second := *first
	second.Inputs.Logs = nil
	s.fill(p, &second)

	s.rows[k].full = true
	if err := verdictOf(t, vs[k], p, first, opSign); !errors.Is(err, ErrRefused) {
		t.Errorf("signed although nothing can be written: %v", err)
	}
	s.rows[k].full = false
	for _, o := range []op{opSign, opCheck, opSign, opSign} { // before it was asked to check, twice
		if err := verdictOf(t, vs[k], p, first, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := verdictOf(t, vs[k], p, &second, opSign); !errors.Is(err, errSaid("another one was signed")) {
		t.Errorf("second result: %v", err)
	}
	again := s.open(k)
	if err := verdictOf(t, again, p, &second, opSign); !errors.Is(err, ErrRefused) {
		t.Errorf("second result after a restart: %v", err)
	}
	if err := verdictOf(t, again, p, first, opSign); err != nil {
		t.Errorf("first result after a restart: %v", err)
	}
	s.Reorg(int(s.View().Height()-s.Rules().BundlesDue(e)) + 1)
	if old, err := again.signedResult(round{epoch: e}); err != nil || old != nil {
		t.Errorf("a result of another fork still binds: %v", err)
	}
}

// TestRestart stops all validators when an epoch waits for its result and starts
// them again from what they wrote.
func TestRestart(t *testing.T) {
	s, e := bought(t, 5)
	var stops []func()
	for i := validator; i < validator+4; i++ {
		_, stop := s.start(i)
		stops = append(stops, stop)
	}
	s.walk(s.Rules().Checkpoint(e))
	for _, i := range []int{hostA, hostB} {
		s.hosts[i].claim(e)
	}
	s.walk(s.Rules().LogsDue(e) + 1)
	for _, stop := range stops {
		stop()
	}
	for _, h := range s.hosts {
		clear(h.logs) // from now on the logs are with the validators alone
	}
	for i := validator; i < validator+4; i++ {
		s.start(i)
	}
	s.walk(s.Rules().Checkpoint(e + 1))
	for _, i := range []int{hostA, hostB} {
		s.hosts[i].post(e)
	}
	rec := s.collated(e)
	if rows := s.rowsOf(rec.Collation); rows[reader].B != -5 || rows[hostA].S != int64(len(s.data.Pieces)) {
		t.Errorf("rows %v", rows)
	}
	s.checkMoney()
}

// TestShortPayer settles an epoch in which a payer signed more than it locked:
// the result debits what is there (ST8.2), never more (ST9.1).
func TestShortPayer(t *testing.T) {
	s := newScene(t)
	s.activate(2, true)
	e := s.epoch() + 1
	s.Do(reader, types.KindLock, &types.Lock{Epoch: e, Amount: 1_000_000}) // base units
	units := new(big.Int).Mul(types.Wei(1_000_000), types.Wei(types.WeiPerBase))
	units.Quo(units, s.Rules().BandwidthCost)
	s.receipts = append(s.receipts, s.receipt(reader, hostA, e, units.Uint64()+1000))
	for i := validator; i < validator+4; i++ {
		s.start(i)
	}
	s.ready(e)
	rows := s.rowsOf(s.collated(e).Collation)
	if rows[reader].B != -units.Int64() || rows[hostA].B != units.Int64() {
		t.Errorf("rows %v, want %s units", rows, units)
	}
}

// TestNoIndex leaves out a dataset whose index nobody gives, instead of waiting
// for ever.
func TestNoIndex(t *testing.T) {
	s, e := bought(t, 5)
	s.mu.Lock()
	s.lost = true
	s.mu.Unlock()
	for i := validator; i < validator+4; i++ {
		s.start(i)
	}
	s.ready(e)
	rows := s.rowsOf(s.collated(e).Collation)
	if len(rows) != 2 || rows[hostA].S != 0 || rows[hostA].B != 5 {
		t.Errorf("rows %v, want traffic alone", rows)
	}
}
