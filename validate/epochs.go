package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// keep puts the literal logs of an epoch, its parameters and its rows to their
// place once the result that was computed from them is on chain, and throws
// other tries away.
func (v *Validator) keep(r round, c *types.Collation) error {
	in, err := readInputs(v.epochDir(r))
	if err == nil && in.Root() == c.Input {
		return os.RemoveAll(v.runsDir(r))
	}
	from, err := v.findRun(r, c.Input)
	if err != nil || from == "" {
		return err
	}
	if err := os.RemoveAll(v.epochDir(r)); err != nil {
		return err
	}
	if err := os.Rename(from, v.epochDir(r)); err != nil {
		return fmt.Errorf("keep logs of epoch %s: %w", r, err)
	}
	return os.RemoveAll(v.runsDir(r))
}

// findRun is the folder of logs that lead to a result with that root of inputs;
// empty when it was computed elsewhere.
func (v *Validator) findRun(r round, root types.Hash) (string, error) {
	tries, err := filepath.Glob(filepath.Join(v.runsDir(r), "*", "*", "logs"))
	if err != nil {
		return "", err
	}
	for _, dir := range tries {
		in, err := readInputs(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not the last try, or not done
		}
		if err != nil {
			return "", err
		}
		if in.Root() == root {
			return dir, nil
		}
	}
	return "", nil
}

func readInputs(dir string) (*Inputs, error) {
	raw, err := os.ReadFile(filepath.Join(dir, fileInputs))
	if err != nil {
		return nil, err
	}
	in := new(Inputs)
	if err := types.Unmarshal(raw, in); err != nil {
		return nil, fmt.Errorf("inputs in %s: %w", dir, err)
	}
	return in, nil
}

// giveInputs answers opInputs and opLateInputs: the inputs of the result on chain,
// or of the one that was signed here.
func (v *Validator) giveInputs(r round) ([]byte, error) {
	if in, err := readInputs(v.epochDir(r)); err == nil {
		return types.Marshal(in), nil
	}
	var s signedProposal
	there, err := v.load(r.key(), &s)
	if err != nil || !there {
		return nil, fmt.Errorf("inputs of epoch %s are not held here (%w)", r, errors.Join(err, fs.ErrNotExist))
	}
	return types.Marshal(&s.Proposal.Inputs), nil
}

// Phase is how far an epoch is.
type Phase string

// Phases of an epoch, in order (ST1).
const (
	PhaseRunning  Phase = "running"  // its checkpoint is not there
	PhaseLogs     Phase = "logs"     // logs are committed
	PhaseBeacon   Phase = "beacon"   // waits for its beacon
	PhaseAudit    Phase = "audit"    // hosts show what they keep
	PhaseDispute  Phase = "dispute"  // what they showed may be disputed
	PhaseCollate  Phase = "collate"  // validators settle
	PhaseSigned   Phase = "signed"   // more than 2/3 of the deposits signed a result; signed, not final
	PhaseTransfer Phase = "transfer" // the result is being paid
	PhaseLate     Phase = "late"     // it is paid; its late logs are settled
	PhasePaid     Phase = "paid"
	PhaseGivenUp  Phase = "given up" // no result came in time
)

// EpochInfo is an epoch as a person sees it.
type EpochInfo struct {
	Epoch   types.Epoch
	Phase   Phase
	Beacon  types.Hash   // R_E; zero: not known
	Input   types.Hash   // root of the inputs; zero: no result
	Result  cid.Cid      // undefined: no result
	Rows    uint32       // of the result
	Signed  types.Amount // deposits that signed
	All     types.Amount // all deposits now
	Buckets uint32       // paid so far, of 256
	Local   bool         // its literal logs are here
}

// maxEpochs bounds what Epochs gives.
const maxEpochs = 64

// Epochs describes the newest n epochs, at most 64, newest first.
func (v *Validator) Epochs(n int) ([]EpochInfo, error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	g, err := now.Globals()
	if err != nil {
		return nil, err
	}
	var out []EpochInfo
	for e := now.Epochal(); len(out) < min(n, maxEpochs); e-- {
		info, err := v.epochInfo(now, g, e)
		if err != nil {
			return nil, err
		}
		out = append(out, *info)
		if e == 0 {
			break
		}
	}
	return out, nil
}

func (v *Validator) epochInfo(now *consensus.View, g *types.Globals, e types.Epoch) (*EpochInfo, error) {
	rec, err := now.Epoch(e)
	if err != nil {
		return nil, err
	}
	info := &EpochInfo{Epoch: e, Beacon: rec.Beacon, Signed: rec.Signed, All: g.Deposits, Buckets: rec.Buckets}
	info.Phase = phase(now, g, rec, e)
	if c := rec.Collation; c != nil {
		info.Input, info.Result, info.Rows = c.Input, c.Result, c.Rows
	}
	in, err := readInputs(v.epochDir(round{epoch: e}))
	info.Local = err == nil && in.Root() == info.Input
	return info, nil
}

func phase(now *consensus.View, g *types.Globals, rec *types.EpochRecord, e types.Epoch) Phase {
	h, r := now.Height(), now.Rules
	switch {
	case e < g.Transfer && rec.Collation == nil:
		return PhaseGivenUp
	case e < g.Transfer:
		return PhasePaid
	case rec.Buckets == types.ResultBuckets:
		return PhaseLate
	case rec.Due > 0:
		return PhaseTransfer
	case rec.Collation != nil:
		return PhaseSigned
	case h < r.Checkpoint(e):
		return PhaseRunning
	case h < r.LogsDue(e):
		return PhaseLogs
	case rec.Beacon.IsZero():
		return PhaseBeacon
	case h <= r.BundlesDue(e):
		return PhaseAudit
	case h < r.DisputesDue(e):
		return PhaseDispute
	}
	return PhaseCollate
}

// Report is what a second run of an epoch came to.
type Report struct {
	Epoch     types.Epoch
	Committed cid.Cid // result on chain
	Computed  cid.Cid // result of the second run
	Same      bool    // the two, and all files that were here before
	Rows      int
	Lines     uint64   // of the literal logs
	Differ    []string // files of the epoch's folder that had other bytes
	Dir       string   // with the literal logs
	Late      *Report  // of the epoch's late logs; nil: they have no result. Same holds for both
}

// ErrNoResult is the error of Verify on an epoch that is not settled.
var ErrNoResult = errors.New("epoch has no result")

// Verify runs an epoch again from the chain and the logs, on any node, and
// compares with the result on chain. What is not here it asks of the validators.
// Afterwards the literal logs are here too.
func (v *Validator) Verify(ctx context.Context, e types.Epoch) (*Report, error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	rec, err := now.Epoch(e)
	if err != nil {
		return nil, err
	}
	if rec.Collation == nil {
		return nil, fmt.Errorf("epoch %d: %w", e, ErrNoResult)
	}
	r, err := v.verify(ctx, now, round{epoch: e}, rec.Collation)
	if err != nil {
		return nil, err
	}
	late, err := now.LateRecord(e)
	if err != nil || late == nil || late.Collation == nil {
		return r, err
	}
	r.Late, err = v.verify(ctx, now, round{e, true}, late.Collation)
	if err != nil {
		return nil, err
	}
	r.Same = r.Same && r.Late.Same
	return r, nil
}

// verify runs one result again.
func (v *Validator) verify(ctx context.Context, now *consensus.View, r round, on *types.Collation) (*Report, error) {
	in, err := v.inputsOf(ctx, now, r, on)
	if err != nil {
		return nil, err
	}
	if err := v.logsOf(ctx, now, in); err != nil {
		return nil, err
	}
	v.runs.mu.Lock()
	defer v.runs.mu.Unlock()
	dir := filepath.Join(v.cfg.Dir, "verify", r.String())
	c, err := v.computeIn(ctx, in, dir)
	if err != nil {
		return nil, fmt.Errorf("run epoch %s again: %w", r, err)
	}
	out := &Report{
		Epoch: r.epoch, Committed: on.Result, Computed: c.result, Rows: int(c.rows), Lines: c.lines, Dir: v.epochDir(r),
	}
	err = v.compare(out, c.dir, dir)
	out.Same = err == nil && out.Committed == out.Computed && len(out.Differ) == 0
	return out, err
}

// compare holds the epoch's folder against the second run, or puts that in its
// place when there is none.
func (v *Validator) compare(r *Report, fresh, work string) error {
	if _, err := os.Stat(r.Dir); errors.Is(err, fs.ErrNotExist) && r.Committed == r.Computed {
		if err := os.Rename(fresh, r.Dir); err != nil {
			return err
		}
		return os.RemoveAll(work)
	}
	names := map[string]bool{}
	for _, dir := range []string{fresh, r.Dir} {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, f := range list {
			names[f.Name()] = true
		}
	}
	for name := range names {
		a, errA := os.ReadFile(filepath.Join(fresh, name))
		b, errB := os.ReadFile(filepath.Join(r.Dir, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			r.Differ = append(r.Differ, name)
		}
	}
	slices.Sort(r.Differ)
	return os.RemoveAll(work)
}

// inputsOf finds the inputs whose root is on chain, here or at a validator.
func (v *Validator) inputsOf(ctx context.Context, now *consensus.View, r round, c *types.Collation) (*Inputs, error) {
	if raw, err := v.giveInputs(r); err == nil {
		in := new(Inputs)
		if types.Unmarshal(raw, in) == nil && in.Root() == c.Input {
			return in, nil
		}
	}
	var found *Inputs
	var errs []error
	err := v.eachValidator(now, func(a types.Account) bool {
		raw, err := v.ask(ctx, v.cfg.Patience, a, call{Protocol, &request{Op: r.inputsOp(), Epoch: c.Epoch}, maxAnswer})
		in := new(Inputs)
		if err == nil {
			err = types.Unmarshal(raw, in)
		}
		if err == nil && in.Root() != c.Input {
			err = fmt.Errorf("%w: inputs of another result", ErrFalse)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ask %s: %w", a.Short(), err))
			return false
		}
		found = in
		return true
	})
	if found == nil {
		return nil, errors.Join(append(errs, err, fmt.Errorf("inputs of epoch %d cannot be had", c.Epoch))...)
	}
	return found, err
}

// eachValidator goes through the others until one was enough.
func (v *Validator) eachValidator(now *consensus.View, enough func(types.Account) bool) error {
	list, _, err := now.Committee()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Account != v.me && enough(c.Account) {
			return nil
		}
	}
	return nil
}

// logsOf gets the logs of inputs that are not held, from their accounts or the
// validators.
func (v *Validator) logsOf(ctx context.Context, now *consensus.View, in *Inputs) error {
	for _, u := range in.Logs {
		claim, err := now.Claim(in.Epoch, u.Account)
		if err != nil {
			return err
		}
		if claim == nil || claim.Log.Root != u.Root {
			return fmt.Errorf("%w: log %s of %s is not on chain", ErrFalse, u.Root.Short(), u.Account.Short())
		}
		of := owner{now.Chain, u.Account, &claim.Log}
		if v.holds(in.Epoch, u) || v.collectLog(ctx, of) == nil {
			continue
		}
		err = v.eachValidator(now, func(a types.Account) bool { return v.fetchLog(ctx, a, of) == nil })
		if err != nil {
			return err
		}
		if !v.holds(in.Epoch, u) {
			return fmt.Errorf("log %s of %s cannot be had", u.Root.Short(), u.Account.Short())
		}
	}
	return nil
}
