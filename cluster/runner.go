package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Runner runs a plan. The directory keeps the results and everything that is
// needed to resume; progress may be nil and is called by one goroutine at a time.
// An error of the context means that the run can be resumed by the same call.
type Runner interface {
	Name() string
	Run(ctx context.Context, plan settle.Plan, dir string, progress func(Progress)) (Result, error)
}

// Progress says how far a step is.
type Progress struct {
	Step  string
	Phase Phase
	Done  int64 // bytes read (map) or parts written (reduce)
	Total int64
}

// Phase is a half of a step.
type Phase string

// Halves of a step.
const (
	PhaseMap    Phase = "map"
	PhaseReduce Phase = "reduce"
	PhaseReused Phase = "reused" // all parts were there already
)

// Part is one file of rows of a step.
type Part struct {
	Path   string
	Report string // file of feedback lines, "" when there are none
	Bytes  int64
	SHA256 types.Hash // of the rows
}

// StepResult is what a step left. Its parts in order are its rows, ascending.
type StepResult struct {
	Name   string
	Parts  []Part
	Map    settle.Counts
	Reduce settle.Counts
}

// Result is what a run left, step by step.
type Result struct{ Steps []StepResult }

// Step finds a step's result by its name.
func (r Result) Step(name string) (StepResult, bool) {
	for _, s := range r.Steps {
		if s.Name == name {
			return s, true
		}
	}
	return StepResult{}, false
}

// Open reads the rows of all parts.
func (s StepResult) Open() io.ReadCloser {
	return openFiles(s.Parts, func(p Part) string { return p.Path })
}

// OpenReport reads the feedback lines of all parts.
func (s StepResult) OpenReport() io.ReadCloser {
	return openFiles(s.Parts, func(p Part) string { return p.Report })
}

// files reads one file after another.
type files struct {
	paths []string
	f     *os.File
}

func openFiles(parts []Part, path func(Part) string) io.ReadCloser {
	var r files
	for _, p := range parts {
		if path(p) != "" {
			r.paths = append(r.paths, path(p))
		}
	}
	return &r
}

// Read reads on.
func (r *files) Read(b []byte) (n int, err error) {
	for {
		if r.f == nil {
			if len(r.paths) == 0 {
				return 0, io.EOF
			}
			if r.f, err = os.Open(r.paths[0]); err != nil {
				return 0, err
			}
			r.paths = r.paths[1:]
		}
		n, err := r.f.Read(b)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := r.Close(); err != nil {
			return n, err
		}
	}
}

// Close ends reading.
func (r *files) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f = nil
	return err
}

// Rows reads the result of the last step.
func (r Result) Rows(g settle.Grammar) (rows []settle.Row, err error) {
	last, ok := r.Step(settle.StepResult)
	if !ok {
		return nil, errors.New("the run has no result")
	}
	in := last.Open()
	defer func() { err = errors.Join(err, in.Close()) }()
	return settle.ReadRows(in, settle.MaxRows, g)
}

// Options configure a runner.
type Options struct {
	Mem     int64  // bytes for sorting; 0: 1 GiB
	Workers int    // parallel tasks of local; 0: one a core
	Binary  string // program that pipe starts as "<Binary> mr <stage> map|reduce"
}

// DefaultMem is the memory for sorting unless Options say otherwise, in bytes.
const DefaultMem = 1 << 30

// ErrNotYet marks a runner that is planned and not in this version.
var ErrNotYet = errors.New("not yet in this version (use local or pipe)")

// New gives the runner of that name: local or pipe. hadoop, spark and slurm fail
// with ErrNotYet.
func New(name string, o Options) (Runner, error) {
	if o.Mem <= 0 {
		o.Mem = DefaultMem
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch name {
	case "local":
		return &local{Options: o}, nil
	case "pipe":
		if o.Binary == "" {
			return nil, errors.New("runner pipe needs the path of the staddle program")
		}
		if strings.ContainsRune(o.Binary, filepath.Separator) { // the steps run in folders of their own
			path, err := filepath.Abs(o.Binary)
			if err != nil {
				return nil, err
			}
			o.Binary = path
		}
		return &pipe{Options: o}, nil
	case "hadoop", "spark", "slurm":
		return nil, fmt.Errorf("runner %s: %w", name, ErrNotYet)
	}
	return nil, fmt.Errorf("runner %.20q is not one of local, pipe, hadoop, spark, slurm", name)
}
