package validate

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// computed is the result of one set of inputs.
type computed struct {
	dir    string // with the literal logs, the parameters, the rows
	result cid.Cid
	rows   uint32
	lines  uint64 // of the literal logs
	nodes  []types.Node
}

// runs holds results by the root of their inputs; one is computed at a time.
type runs struct {
	mu    sync.Mutex
	byIn  map[types.Hash]*computed
	order []types.Hash
}

const keepRuns = 16

func newRuns() *runs { return &runs{byIn: map[types.Hash]*computed{}} }

// runDir is where inputs are worked on until their result is on chain.
func (v *Validator) runDir(r round, in *Inputs) string {
	root := in.Root()
	return filepath.Join(v.runsDir(r), hex.EncodeToString(root[:8]))
}

func (v *Validator) runsDir(r round) string { return filepath.Join(v.cfg.Dir, "runs", r.String()) }

// compute gives the result of inputs, whose logs are held. Equal inputs on one
// fork give equal results everywhere.
func (v *Validator) compute(ctx context.Context, in *Inputs) (*computed, error) {
	v.runs.mu.Lock()
	defer v.runs.mu.Unlock()
	root := in.Root()
	if c := v.runs.byIn[root]; c != nil {
		return c, nil
	}
	c, err := v.computeRound(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("settle epoch %d: %w", in.Epoch, err)
	}
	v.runs.byIn[root] = c
	if v.runs.order = append(v.runs.order, root); len(v.runs.order) > keepRuns {
		delete(v.runs.byIn, v.runs.order[0])
		v.runs.order = v.runs.order[1:]
	}
	return c, nil
}

func (v *Validator) computeRound(ctx context.Context, in *Inputs) (*computed, error) {
	base, err := v.stateOf(in)
	if err != nil {
		return nil, err
	}
	r, err := roundOf(base, in.Epoch)
	if err != nil {
		return nil, err
	}
	return v.computeIn(ctx, in, v.runDir(r, in))
}

// ErrFork marks a state that is not of this node's fork, or not yet.
var ErrFork = errors.New("not on this fork")

// stateOf opens the state that inputs name, on this node's fork.
func (v *Validator) stateOf(in *Inputs) (*consensus.View, error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	if in.Height > now.Height() {
		return nil, fmt.Errorf("%w: block %d, here is %d", ErrFork, in.Height, now.Height())
	}
	if first := now.Rules.DisputesDue(in.Epoch); in.Height < first {
		return nil, fmt.Errorf("%w: inputs at block %d, wanted from %d on", ErrTooEarly, in.Height, first)
	}
	base, err := now.At(in.Height)
	if in.Height == now.Height() {
		base, err = now, nil
	}
	if err != nil {
		return nil, err
	}
	if base.Root() != in.Block {
		return nil, fmt.Errorf("%w: block %d is %s here, inputs name %s", ErrFork, in.Height, base.Root(), in.Block)
	}
	r, err := roundOf(base, in.Epoch)
	if err == nil && in.Height < r.due(now.Rules) {
		err = fmt.Errorf("%w: inputs of late logs at block %d, wanted from %d on", ErrTooEarly, in.Height, r.due(now.Rules))
	}
	return base, err
}

// computeIn writes the logs and runs the stages. Payers whose locks do not cover
// their debts are left out, first their plans, then their receipts, and the
// epoch is run again: no result may debit more than is locked (ST9.1).
func (v *Validator) computeIn(ctx context.Context, in *Inputs, dir string) (*computed, error) {
	base, err := v.stateOf(in)
	if err != nil {
		return nil, err
	}
	w, err := v.newScribe(ctx, base, in)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		out, params, err := v.run(ctx, w, filepath.Join(dir, strconv.Itoa(try)))
		if err != nil {
			return nil, err
		}
		more, err := w.uncovered(out.Rows)
		if err != nil {
			return nil, err
		}
		if more {
			continue
		}
		c, err := build(out.Rows)
		if err != nil {
			return nil, err
		}
		c.dir, c.lines = w.dir, w.lines
		return c, w.finish(out, params)
	}
}

// run writes the logs below dir and runs all stages over them.
func (v *Validator) run(ctx context.Context, w *scribe, dir string) (out Outcome, p settle.Params, err error) {
	if err := w.write(filepath.Join(dir, "logs")); err != nil {
		return out, p, err
	}
	rec, err := w.src.Cut.Epoch(w.inputs.Epoch)
	if err != nil {
		return out, p, err
	}
	p = settle.Params{
		Beacon: rec.Beacon, StorageCost: rec.Storage, BandwidthCost: rec.Bandwidth,
		Verdicts: true, EpochEnd: int64(rec.Seconds),
	}
	if len(w.files) == 0 {
		return out, p, nil
	}
	plan, err := settle.NewPlan(w.files, p, w.lines)
	if err != nil {
		return out, p, err
	}
	out, err = v.cfg.Runner.Run(ctx, plan, filepath.Join(dir, "steps"))
	return out, p, err
}

// uncovered finds payers whose debt is above their locks and notes what is left
// out of them next.
func (w *scribe) uncovered(rows []settle.Row) (more bool, err error) {
	for i := range rows {
		if rows[i].T.Sign() >= 0 {
			continue
		}
		a, ok, err := w.src.Cut.ByAddress(rows[i].Address)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, fmt.Errorf("address %s owes and is not known", rows[i].Address)
		}
		need := types.BaseCeil(new(big.Int).Neg(rows[i].T))
		lock, plans, err := w.src.Cut.Backing(w.inputs.Epoch, a, &rows[i])
		if err != nil {
			return false, err
		}
		if need.IsUint64() && need.Uint64() <= uint64(lock+plans) {
			continue
		}
		if w.short[a] == leftAll {
			return false, fmt.Errorf("debt of %s base units of %s, with nothing left to leave out", need, a.Short())
		}
		w.short[a]++
		more = true
	}
	return more, nil
}

// build makes the blocks of a result and holds its sums.
func build(rows []settle.Row) (*computed, error) {
	res, nodes, err := settle.Build(rows)
	if err != nil {
		return nil, err
	}
	net, _, err := res.Totals()
	if err != nil {
		return nil, err
	}
	if !net.IsZero() {
		return nil, fmt.Errorf("sums of the result are %d, %d, %s, want zero", net.S, net.B, net.T)
	}
	return &computed{result: nodes[0].CID, rows: res.Lines(), nodes: nodes}, nil
}

// finish writes parameters, inputs, rows and feedback beside the logs.
func (w *scribe) finish(out Outcome, p settle.Params) error {
	feedback, err := reports(out.Reports)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(w.dir, fileParams), paramsText(p)),
		writeFile(filepath.Join(w.dir, fileInputs), types.Marshal(w.inputs)),
		writeFile(filepath.Join(w.dir, fileResult), rowsText(out.Rows)),
		writeFile(filepath.Join(w.dir, fileFeedback), feedback),
	)
}

// reports reads the feedback lines of a run, sorted, as far as they are sent.
func reports(paths []string) ([]byte, error) {
	var list [][]byte
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(io.LimitReader(f, maxFeedbackBytes))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		for line := range bytes.Lines(raw) {
			if line[len(line)-1] == '\n' {
				list = append(list, line)
			}
		}
	}
	slices.SortFunc(list, bytes.Compare)
	list = slices.CompactFunc(list, bytes.Equal)
	return bytes.Join(list[:min(len(list), maxFeedback)], nil), nil
}
