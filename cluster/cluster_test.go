package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// The test binary is also the program that pipe starts, and the run that gets
// killed: the first word or a variable says so.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "mr":
		exit(filterMain(os.Args[2:]))
	case os.Getenv("CLUSTER_TEST_RUN") != "":
		exit(runMain(os.Getenv("CLUSTER_TEST_RUN")))
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// filterMain is `staddle mr` as far as a pipe needs it.
func filterMain(words []string) error {
	stage, err := settle.StageByName(words[0])
	if err != nil {
		return err
	}
	p, err := settle.ParseParams(func(name string) string { return os.Getenv(settle.EnvName(name)) })
	if err != nil {
		return err
	}
	do := stage.Map
	if words[1] == "reduce" {
		do = stage.Reduce
		f, err := os.Create(os.Getenv("STADDLE_REPORT"))
		if err != nil {
			return err
		}
		p.Report = f
	}
	c, err := do(p, os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	return os.WriteFile(os.Getenv("STADDLE_COUNTS"), []byte(c.String()), 0o600)
}

// runners lists the implementations that the conformance suite holds to the same
// bytes.
func runners(t testing.TB) map[string]Runner {
	t.Helper()
	list := map[string]Runner{}
	for name, o := range map[string]Options{
		"pipe":                  {Mem: 64 << 20, Binary: os.Args[0]},
		"local":                 {},
		"local one worker":      {Workers: 1},
		"local five workers":    {Workers: 5},
		"local with little mem": {Mem: 1, Workers: 3},
	} {
		kind, _, _ := strings.Cut(name, " ")
		r, err := New(kind, o)
		if err != nil {
			t.Fatal(err)
		}
		list[name] = r
	}
	return list
}

var allSteps = []string{settle.StepJoin, settle.StepStorageNet, settle.StepBandNet, settle.StepResult}

// outcome is what must not depend on the runner.
type outcome struct {
	Rows    map[string]string
	Reports map[string]string
	Map     map[string]settle.Counts
	Dups    map[string]uint64
}

func runAll(t testing.TB, r Runner, plan settle.Plan, dir string) outcome {
	t.Helper()
	result, err := r.Run(t.Context(), plan, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return outcomeOf(t, result)
}

func outcomeOf(t testing.TB, result Result) outcome {
	t.Helper()
	o := outcome{map[string]string{}, map[string]string{}, map[string]settle.Counts{}, map[string]uint64{}}
	for _, name := range allSteps {
		o.Rows[name], _ = stepRows(t, result, name)
	}
	for _, name := range []string{settle.StepJoin, settle.StepStorage, settle.StepBand} {
		_, o.Reports[name] = stepRows(t, result, name)
		s, _ := result.Step(name)
		o.Map[name] = s.Map
		o.Dups[name] = s.Reduce.Rejected[settle.ErrDup]
	}
	return o
}

func sameOutcome(t testing.TB, have, want outcome) {
	t.Helper()
	for _, pair := range [][2]map[string]string{{have.Rows, want.Rows}, {have.Reports, want.Reports}} {
		for name := range pair[1] {
			sameText(t, name, pair[0][name], pair[1][name])
		}
	}
	if diff := cmp.Diff(want.Map, have.Map) + cmp.Diff(want.Dups, have.Dups); diff != "" {
		t.Error(diff)
	}
}

func sameText(t testing.TB, name, have, want string) {
	t.Helper()
	if have == want {
		return
	}
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("%s: row %d is %.300q, want %.300q", name, i+1, a[i], b[i])
			return
		}
	}
	t.Errorf("%s: %d rows, want %d", name, len(a), len(b))
}

// Conformance: every runner makes of one epoch the same rows, feedback and
// counts, byte for byte.
func TestRunnersConform(t *testing.T) {
	owner := address("farmer", 0)
	cases := []struct {
		name   string
		epoch  *epoch
		params func(*settle.Params)
		inputs func([]settle.Input)
	}{
		{name: "100,000 lines with garbage", epoch: func() *epoch {
			e := newEpoch(100_000, 1)
			e.garbage(1)
			return e
		}()},
		{name: "small"},
		{name: "without verdicts", params: func(p *settle.Params) { p.Verdicts = false }},
		{name: "one shard", params: func(p *settle.Params) { p.Shard = types.Shard{Bits: 1, Prefix: 1} }},
		{name: "owned logs", inputs: func(list []settle.Input) {
			for i := range list {
				if i%2 == 0 {
					list[i].Owner = &owner
				}
			}
		}},
		{name: "nothing", epoch: &epoch{}},
		{name: "empty files", epoch: &epoch{logs: map[string][]string{"buyer-00": {}, "farmer-01": {""}, "bandwidth-02": {}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.epoch == nil {
				c.epoch = newEpoch(2_000, 2)
			}
			inputs := c.epoch.write(t, t.TempDir())
			p := testParams()
			if c.params != nil {
				c.params(&p)
			}
			if c.inputs != nil {
				c.inputs(inputs)
			}
			plan := testPlan(t, inputs, p, c.epoch.n)
			list := runners(t)
			oracle := "pipe"
			if raceDetector && c.name != "small" {
				// A program with the race detector takes a second to start, a pipe
				// starts dozens, and has no threads of its own to look at.
				oracle = "local one worker"
				delete(list, "pipe")
			}
			want := runAll(t, list[oracle], plan, t.TempDir())
			for name, r := range list {
				t.Run(name, func(t *testing.T) { sameOutcome(t, runAll(t, r, plan, t.TempDir()), want) })
			}
		})
	}
}

// The result does not depend on how the lines are ordered, repeated or dealt to
// files, nor on garbage between them.
func TestResultIsAFunctionOfTheSetOfLines(t *testing.T) {
	e := newEpoch(6_000, 3)
	local := runners(t)["local with little mem"]
	rows := func(e *epoch) map[string]string {
		return runAll(t, local, testPlan(t, e.write(t, t.TempDir()), testParams(), e.n), t.TempDir()).Rows
	}
	want := rows(e)
	for seed := range uint64(3) {
		other := e.shuffled(seed)
		if seed == 2 {
			other.garbage(seed)
		}
		for name, have := range rows(other) {
			sameText(t, name, have, want[name])
		}
	}
	if strings.Count(want[settle.StepResult], "\n") < 300 {
		t.Fatalf("the epoch pays too few: %d rows", strings.Count(want[settle.StepResult], "\n"))
	}
}

// Spilling really happens under a small limit.
func TestSpillsToDisk(t *testing.T) {
	e := newEpoch(40_000, 4)
	plan := testPlan(t, e.write(t, t.TempDir()), testParams(), e.n)
	task, err := newTask(plan, plan.Steps[0], t.TempDir(), Result{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	task.progress = func(Progress) {}
	l := &local{Options{Mem: 1, Workers: 1}}
	s := newShuffle(task, l.Mem, l.Workers)
	if _, err := l.mapAll(t.Context(), task, s); err != nil {
		t.Fatal(err)
	}
	onDisk := 0
	for _, r := range s.runs {
		if r.file != nil {
			onDisk++
		}
	}
	if onDisk < 3 || onDisk != len(s.runs) {
		t.Fatalf("%d of %d runs are on disk", onDisk, len(s.runs))
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the spilled runs are still there: %v", err)
	}
}

// A second run takes what is whole and makes only what is missing, of another
// key, or damaged.
func TestResume(t *testing.T) {
	for name, r := range map[string]Runner{"pipe": runners(t)["pipe"], "local": runners(t)["local"]} {
		t.Run(name, func(t *testing.T) {
			e := newEpoch(3_000, 5)
			dir := t.TempDir()
			plan := testPlan(t, e.write(t, t.TempDir()), testParams(), e.n)
			want := runAll(t, r, plan, dir)
			made := func(plan settle.Plan) (steps []string) {
				result, err := r.Run(t.Context(), plan, dir, func(p Progress) {
					if p.Phase == PhaseReduce {
						steps = append(steps, fmt.Sprint(p.Step, " ", p.Done, "/", p.Total))
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if plan.Params.Beacon == testParams().Beacon {
					sameOutcome(t, outcomeOf(t, result), want)
				}
				return steps
			}
			if have := made(plan); have != nil {
				t.Fatalf("a whole run was made again: %v", have)
			}
			total := map[string]int{"pipe": 1, "local": 4}[name]
			last := total - 1
			damage := map[string]func(path func(kind string) string) error{
				"part lost":       func(path func(string) string) error { return os.Remove(path("part")) },
				"sidecar lost":    func(path func(string) string) error { return os.Remove(path("done")) },
				"sidecar garbage": func(path func(string) string) error { return os.WriteFile(path("done"), []byte("{"), 0o600) },
				"part cut":        func(path func(string) string) error { return os.Truncate(path("part"), 100) },
				"bit flipped":     func(path func(string) string) error { return flip(path("part")) },
				"report lost":     func(path func(string) string) error { return os.Remove(path("report")) },
			}
			for what, do := range damage {
				path := func(kind string) string {
					return filepath.Join(dir, settle.StepJoin, fmt.Sprintf("%s-%03d", kind, last))
				}
				if err := do(path); err != nil {
					t.Fatal(what, err)
				}
				if diff := cmp.Diff([]string{fmt.Sprintf("%s %d/%d", settle.StepJoin, total, total)}, made(plan)); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
			plan.Params.Beacon = types.H("staddle/test/another")
			if have := made(plan); len(have) < len(plan.Steps) {
				t.Errorf("another beacon made only %v again", have)
			}
		})
	}
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// runMain runs local in a process of its own and says each part that is done.
func runMain(dir string) error {
	r, err := New("local", Options{Workers: 1, Mem: 1})
	if err != nil {
		return err
	}
	plan, err := killPlan(dir)
	if err != nil {
		return err
	}
	_, err = r.Run(context.Background(), plan, filepath.Join(dir, "run"), func(p Progress) {
		fmt.Println(p.Step, p.Phase, p.Done)
	})
	return err
}

func killPlan(dir string) (settle.Plan, error) {
	var inputs []settle.Input
	for _, kind := range []types.LogRole{types.LogBuyer, types.LogFarmer, types.LogBandwidth, types.LogVerdict} {
		paths, err := filepath.Glob(filepath.Join(dir, "logs", "*"+kind.String()+"-*"))
		if err != nil {
			return settle.Plan{}, err
		}
		for _, p := range paths {
			inputs = append(inputs, settle.Input{Path: p, Log: kind})
		}
	}
	return settle.NewPlan(inputs, testParams(), 1)
}

// A run that is killed in the middle goes on where it was and ends with the same
// bytes.
func TestKilledRunResumes(t *testing.T) {
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	newEpoch(20_000, 6).write(t, logs)
	plan, err := killPlan(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := runners(t)["local"]
	want := runAll(t, l, plan, t.TempDir())
	for _, until := range []string{"1j map", "1j reduce 2", "1s reduce 1", "1b-net reduce 1"} {
		killAt(t, dir, until)
	}
	var again []string
	result, err := l.Run(t.Context(), plan, filepath.Join(dir, "run"), func(p Progress) {
		if p.Phase == PhaseReduce {
			again = append(again, p.Step)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	sameOutcome(t, outcomeOf(t, result), want)
	for _, step := range again {
		if step == settle.StepJoin || step == settle.StepStorage {
			t.Errorf("step %s was whole and is made again", step)
		}
	}
}

// killAt starts the run and kills it once it has said something.
func killAt(t *testing.T, dir, said string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_RUN="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	for lines := bufio.NewScanner(out); !found && lines.Scan(); {
		found = strings.HasPrefix(lines.Text(), said)
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
	if !found {
		t.Fatalf("the run never said %q", said)
	}
}

func TestCancel(t *testing.T) {
	e := newEpoch(5_000, 7)
	plan := testPlan(t, e.write(t, t.TempDir()), testParams(), e.n)
	for name, r := range runners(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := r.Run(ctx, plan, t.TempDir(), func(p Progress) {
				if p.Step == settle.StepStorage {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		})
	}
}

func TestPipeSaysWhatFailed(t *testing.T) {
	e := newEpoch(500, 8)
	plan := testPlan(t, e.write(t, t.TempDir()), testParams(), e.n)
	r, err := New("pipe", Options{Binary: "/nonexistent/staddle"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Run(t.Context(), plan, t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "map") || !strings.Contains(err.Error(), "/nonexistent/staddle") {
		t.Fatal(err)
	}
}

func TestInputThatIsMissing(t *testing.T) {
	plan := testPlan(t, []settle.Input{{Path: filepath.Join(t.TempDir(), "none"), Log: types.LogFarmer}}, testParams(), 1)
	for name, r := range runners(t) {
		if _, err := r.Run(t.Context(), plan, t.TempDir(), nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, name := range []string{"hadoop", "spark", "slurm"} {
		if _, err := New(name, Options{}); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "pipe", "flink"} {
		if r, err := New(name, Options{}); err == nil || errors.Is(err, ErrNotYet) {
			t.Errorf("%q gives %v, %v", name, r, err)
		}
	}
	for _, name := range []string{"local", "pipe"} {
		if r, err := New(name, Options{Binary: "x"}); err != nil || r.Name() != name {
			t.Errorf("%s gives %v, %v", name, r, err)
		}
	}
}

// Parts of local in order are the sorted whole, and its result makes blocks.
func TestRowsAndBlocks(t *testing.T) {
	e := newEpoch(3_000, 9)
	plan := testPlan(t, e.write(t, t.TempDir()), testParams(), e.n)
	result, err := runners(t)["local"].Run(t.Context(), plan, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := result.Rows(settle.Grammar{})
	if err != nil {
		t.Fatal(err)
	}
	built, nodes, err := settle.Build(rows)
	if err != nil {
		t.Fatal(err)
	}
	net, credit, err := built.Totals()
	if err != nil || !net.IsZero() || credit.T.Sign() <= 0 || int(built.Lines()) != len(rows) || len(nodes) < 2 {
		t.Fatalf("net %v, credit %v, %d lines, %d blocks, %v", net, credit, built.Lines(), len(nodes), err)
	}
}

func TestCutFile(t *testing.T) {
	for _, text := range []string{"", "\n", "a", "a\n", "a\nb", "aaaaaaaaaaaaaaaaaaaaaaaa\nb\nc\n", strings.Repeat("ab\n", 50), strings.Repeat("x", 200_000) + "\ny\n"} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{1, 2, 3, 7, 100, 1 << 20} {
			blocks, err := split([]source{{path: path, size: int64(len(text))}}, size)
			if err != nil {
				t.Fatal(err)
			}
			whole := ""
			for _, b := range blocks {
				part := text[b.start:b.end]
				if part == "" || b.end < int64(len(text)) && !strings.HasSuffix(part, "\n") {
					t.Fatalf("%.20q in blocks of %d: %v", text, size, blocks)
				}
				whole += part
			}
			if whole != text {
				t.Fatalf("%.20q in blocks of %d: %v", text, size, blocks)
			}
		}
	}
}

func FuzzSidecar(f *testing.F) {
	f.Add([]byte(`{"version":1,"key":"` + strings.Repeat("0", 64) + `","bytes":5,"sha256":"` + strings.Repeat("a", 64) + `","report":true,"map":"in=5 out=3","reduce":"in=3 out=2 E_DUP=1"}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSidecar(b)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "done")
		if err := writeSidecar(path, s); err != nil {
			t.Fatal(err)
		}
		b, err = os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseSidecar(bytes.TrimSpace(b))
		if err != nil || again.sum != s.sum || again.mapped != s.mapped || again.reduced != s.reduced {
			t.Fatalf("%v became %v, %v", s, again, err)
		}
	})
}
