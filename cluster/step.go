package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// source is a file that a step reads, with the parameters for its lines.
type source struct {
	path   string
	params settle.Params
	size   int64
	digest types.Hash // names the content
}

// task is one step of a run on its way.
type task struct {
	step     settle.Step
	stage    settle.Stage
	params   settle.Params
	dir      string // of this step
	key      types.Hash
	sources  []source
	done     []*sidecar // by partition; nil: missing
	progress func(Progress)
}

// way is what the runners differ in.
type way struct {
	parts   func(settle.Step) int                    // partitions it makes of a step
	execute func(ctx context.Context, t *task) error // makes a task's missing parts
}

// run takes the steps one after another.
func (w way) run(ctx context.Context, plan settle.Plan, dir string, progress func(Progress)) (Result, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	var result Result
	for _, step := range plan.Steps {
		t, err := newTask(plan, step, dir, result, w.parts(step))
		if err != nil {
			return result, fmt.Errorf("prepare step %s: %w", step.Name, err)
		}
		t.progress = progress
		if t.missing() == 0 {
			progress(Progress{Step: step.Name, Phase: PhaseReused, Done: int64(len(t.done)), Total: int64(len(t.done))})
		} else if err := w.execute(ctx, t); err != nil {
			return result, fmt.Errorf("step %s: %w", step.Name, err)
		}
		result.Steps = append(result.Steps, t.result())
	}
	return result, nil
}

func newTask(plan settle.Plan, step settle.Step, dir string, earlier Result, parts int) (*task, error) {
	stage, err := settle.StageByName(step.Stage)
	if err != nil {
		return nil, err
	}
	t := &task{step: step, stage: stage, params: plan.Params, dir: filepath.Join(dir, step.Name)}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return nil, err
	}
	if t.sources, err = sourcesOf(plan, step, earlier); err != nil {
		return nil, err
	}
	t.key = t.name(parts)
	t.done = make([]*sidecar, parts)
	for p := range t.done {
		t.done[p] = t.load(p)
	}
	return t, nil
}

func sourcesOf(plan settle.Plan, step settle.Step, earlier Result) (list []source, err error) {
	for _, in := range step.Inputs {
		info, err := os.Stat(in.Path)
		if err != nil {
			return nil, err
		}
		s := source{path: in.Path, params: plan.Params, size: info.Size(), digest: in.Digest}
		if in.Log != types.LogVerdict {
			s.params.Owner = in.Owner
		}
		if s.digest.IsZero() {
			s.digest = types.H("staddle/settle/file/1", []byte(in.Path), types.Be64(uint64(info.Size())), types.Be64(uint64(info.ModTime().UnixNano())))
		}
		list = append(list, s)
	}
	for _, name := range step.From {
		from, ok := earlier.Step(name)
		if !ok {
			return nil, fmt.Errorf("step %s comes later or not at all", name)
		}
		for _, p := range from.Parts {
			list = append(list, source{path: p.Path, params: plan.Params, size: p.Bytes, digest: p.SHA256})
		}
	}
	return list, nil
}

// name is the key of the step's parts: equal keys mean equal rows.
func (t *task) name(parts int) types.Hash {
	var b []byte
	text := func(s string) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) }
	settings := func(p settle.Params) {
		for _, s := range p.Settings() {
			text(s.Name)
			text(s.Value)
		}
		text("")
	}
	text(t.step.Stage)
	settings(t.params)
	for _, s := range t.sources {
		settings(s.params)
		b = append(b, s.digest[:]...)
	}
	return types.H("staddle/settle/step/1", types.Be32(settle.CodeVersion), types.Be32(uint32(parts)), b)
}

func (t *task) missing() (n int) {
	for _, d := range t.done {
		if d == nil {
			n++
		}
	}
	return n
}

func (t *task) tell(phase Phase, done, total int64) {
	t.progress(Progress{Step: t.step.Name, Phase: phase, Done: done, Total: total})
}

func (t *task) result() StepResult {
	r := StepResult{Name: t.step.Name}
	for p, d := range t.done {
		part := Part{Path: t.path("part", p), Bytes: d.Bytes, SHA256: d.sum}
		if d.Report {
			part.Report = t.path("report", p)
		}
		r.Parts = append(r.Parts, part)
		r.Map = d.mapped
		r.Reduce.Add(d.reduced)
	}
	return r
}

func (t *task) path(kind string, p int) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s-%03d", kind, p))
}
