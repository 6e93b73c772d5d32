package validate

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

// sleeper is the member that misses the time for logs.
const sleeper = reader + 1

// lateScene is a scene whose epoch has its result. Reader had 5 units of host A and
// 7 of the sleeper; its own log showed 4 of the latter in time, and the sleeper
// committed all 7 two epochs later.
func lateScene(t *testing.T) (s *scene, e types.Epoch, stop func()) {
	t.Helper()
	s, e = bought(t, 5)
	s.Register(sleeper, types.RoleHost)
	s.Do(sleeper, types.KindDuty, &types.Duty{Action: types.DutyPause})
	s.newPayer(reader)
	s.newPayer(sleeper).asleep.Store(true)
	s.receipts = append(s.receipts, s.receipt(reader, sleeper, e, 4))
	stop = s.startAll()
	s.ready(e)
	rows := s.rowsOf(s.collated(e).Collation)
	if rows[reader].B != -9 || rows[hostA].B != 5 || rows[sleeper].B != 4 {
		t.Fatalf("rows %v", rows)
	}
	s.walk(s.Rules().Checkpoint(e+2) + 1)
	s.receipts = append(s.receipts, s.receipt(reader, sleeper, e, 7))
	s.hosts[sleeper].claimLate(e)
	return s, e, stop
}

// startAll runs all validators; stop ends them.
func (s *scene) startAll() (stop func()) {
	s.t.Helper()
	var stops []func()
	for i := validator; i < validator+4; i++ {
		_, stop := s.start(i)
		stops = append(stops, stop)
	}
	return func() {
		for _, f := range stops {
			f()
		}
	}
}

func (s *scene) late(e types.Epoch) *types.EpochRecord {
	s.t.Helper()
	rec, err := s.View().LateRecord(e)
	if err != nil || rec == nil {
		s.t.Fatalf("no late logs: %v", err)
	}
	return rec
}

// ST1: what a late log adds to the epoch's result is settled by all validators when
// the time for late logs is over, paid behind the epoch's own result, each unit
// once, and the rest of the lock returns; anybody can run it again.
func TestST1Late(t *testing.T) {
	s, e, stop := lateScene(t)
	due := consensus.LateLogsDue(s.Rules(), e)
	s.walk(due - 1)
	if s.late(e).Collation != nil {
		t.Fatal("settled before the time for late logs was over")
	}
	stop()
	t.Run("proposals", func(t *testing.T) { lateProposals(t, s, e) })
	stop = s.startAll()
	locked := s.account(reader).Locked
	before := s.pay(sleeper)
	s.until("late logs have a result", func(v *consensus.View) bool {
		if v.Height() > s.Rules().Checkpoint(e+7) {
			t.Fatalf("no result of the late logs until block %d", v.Height())
		}
		return s.late(e).Collation != nil
	})
	rows := s.rowsOf(s.late(e).Collation)
	if want := map[int]types.ResultLine{reader: s.row(reader, 0, -3), sleeper: s.row(sleeper, 0, 3)}; !equalRows(rows, want) {
		t.Fatalf("rows %v, want %v", rows, want)
	}
	s.until("epoch is paid", func(v *consensus.View) bool {
		g, err := v.Globals()
		return err == nil && g.Transfer > e
	})
	price := s.Rules().BandwidthCost.Int64()
	if earned, most := s.pay(sleeper)-before, types.Amount(7*price/types.WeiPerBase+1); earned == 0 || earned > most || earned < most-most/31-2 {
		t.Errorf("the sleeper earned %d, 7 units cost %d", earned, most)
	}
	if lock, err := s.View().Lock(chaintest.Account(reader), e); err != nil || lock != nil || s.account(reader).Locked >= locked {
		t.Errorf("lock %+v, %s locked: %v", lock, s.account(reader).Locked, err)
	}
	s.checkMoney()
	s.walk(s.View().Height() + 2)
	stop()
	lateAgain(t, s, e)
}

// lateAgain runs the epoch on a node that has nothing, and on a validator.
func lateAgain(t *testing.T, s *scene, e types.Epoch) {
	for i := validator; i < validator+4; i++ {
		s.open(i) // answers again
	}
	for _, i := range []int{hostB, validator} {
		r, err := s.open(i).Verify(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Same || r.Late == nil || !r.Late.Same || r.Late.Rows != 2 || r.Late.Lines != 2 {
			t.Fatalf("run %+v, late %+v", r, r.Late)
		}
		files, err := os.ReadDir(r.Late.Dir)
		if err != nil || !strings.HasSuffix(r.Late.Dir, "-late") {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, role := range []string{"farmer", "buyer", "verdict"} {
				if strings.HasPrefix(f.Name(), role) {
					t.Errorf("late logs have a file %s", f.Name())
				}
			}
		}
	}
}

// lateProposals refuses a result of late logs that reads anything else, that comes
// early, or whose signature is taken for the other result's.
func lateProposals(t *testing.T, s *scene, e types.Epoch) {
	due := consensus.LateLogsDue(s.Rules(), e)
	vs := map[int]*Validator{}
	for i := validator; i < validator+4; i++ {
		vs[i] = s.open(i)
	}
	if _, err := Proposers(s.View(), e); !errors.Is(err, ErrTooEarly) {
		t.Errorf("before late logs were due: %v, want ErrTooEarly", err)
	}
	s.Mine()
	for _, v := range vs {
		if err := v.collect(t.Context(), s.View()); err != nil {
			t.Fatal(err)
		}
	}
	p := s.propose(e, vs)
	honest := s.drafted(p, e)
	if in := honest.Inputs; len(in.Logs) != 1 || in.Logs[0].Account != chaintest.Account(sleeper) || len(in.Statements) != 0 || in.Height != due {
		t.Fatalf("inputs %+v", in)
	}
	var other *Validator
	for _, v := range vs {
		if v != p {
			other = v
		}
	}
	inTime, err := other.inputsOf(t.Context(), s.View(), round{epoch: e}, s.epochRecord(e).Collation)
	if err != nil {
		t.Fatal(err)
	}
	for name, lie := range map[string]func(*Proposal){
		"rows":             func(x *Proposal) { x.Rows++ },
		"nothing late":     func(x *Proposal) { x.Inputs.Logs = nil },
		"log in time":      func(x *Proposal) { x.Inputs.Logs = inTime.Logs },
		"statement":        func(x *Proposal) { x.Inputs.Statements = inTime.Statements },
		"dataset":          func(x *Proposal) { x.Inputs.Absent = []types.Hash{s.data.ID} },
		"the first inputs": func(x *Proposal) { x.Inputs = *inTime },
		"block":            func(x *Proposal) { x.Inputs.Height--; x.Inputs.Block = s.View().Head.Previous },
	} {
		x := *honest
		lie(&x)
		if err := verdictOf(t, other, p, &x, opSign); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if err := verdictOf(t, other, p, honest, opSign); err != nil {
		t.Errorf("honest proposal: %v", err)
	}
	chain := s.Genesis().Chain()
	if (round{epoch: e}).digest(chain, honest) == (round{e, true}).digest(chain, honest) {
		t.Error("a signature for the one result is good for the other")
	}
	if info := s.infoOf(vs[validator], e); info.Phase != PhaseSigned {
		t.Errorf("phase %s", info.Phase)
	}
}

func (s *scene) epochRecord(e types.Epoch) *types.EpochRecord {
	s.t.Helper()
	rec, err := s.View().Epoch(e)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

func (s *scene) infoOf(v *Validator, e types.Epoch) EpochInfo {
	s.t.Helper()
	list, err := v.Epochs(maxEpochs)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range list {
		if list[i].Epoch == e {
			return list[i]
		}
	}
	s.t.Fatalf("no info of epoch %d", e)
	return EpochInfo{}
}
