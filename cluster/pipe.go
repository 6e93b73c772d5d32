package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/staddle/staddle/settle"
)

// pipe runs each step as the line that document 003 shows:
//
//	cat LOGS | staddle mr STAGE map | sort | staddle mr STAGE reduce
type pipe struct{ Options }

// Name is "pipe".
func (*pipe) Name() string { return "pipe" }

// Run starts sh, cat, sort and the program for each step. The scripts stay in
// the folders of the steps, to be read or run by hand.
func (p *pipe) Run(ctx context.Context, plan settle.Plan, dir string, progress func(Progress)) (Result, error) {
	parts := func(settle.Step) int { return 1 }
	return way{parts, p.execute}.run(ctx, plan, dir, progress)
}

func (p *pipe) execute(ctx context.Context, t *task) error {
	job, err := p.script(t)
	if err != nil {
		return err
	}
	script := filepath.Join(t.dir, "run.sh")
	if err := os.WriteFile(script, []byte(job.text), 0o644); err != nil {
		return err
	}
	if err := removeAll(append([]string{job.failed, job.report, job.reduce}, job.maps...)); err != nil {
		return err
	}
	var total int64
	for _, s := range t.sources {
		total += s.size
	}
	t.tell(PhaseMap, 0, total)
	if err := runScript(ctx, script, job.failed); err != nil {
		return err
	}
	if err := p.collect(t, job); err != nil {
		return err
	}
	t.tell(PhaseReduce, 1, 1)
	return nil
}

func removeAll(paths []string) error {
	for _, f := range paths {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// job is a script with the files that it writes.
type job struct {
	text   string
	rows   string
	report string
	failed string   // lists the commands that failed
	reduce string   // counts
	maps   []string // counts
}

// script writes the step as text for sh. Logs of different owners go through
// mappers of their own, so that each knows whose lines it reads.
func (p *pipe) script(t *task) (job, error) {
	dir, err := filepath.Abs(t.dir)
	if err != nil {
		return job{}, err
	}
	j := job{
		rows: t.path("part", 0) + ".tmp", report: t.path("report", 0) + ".tmp",
		failed: filepath.Join(t.dir, "failed"), reduce: filepath.Join(t.dir, "counts-reduce"),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# step %s\nLC_ALL=C\nexport LC_ALL\ncd %s || exit 1\n", t.step.Name, quote(dir))
	fmt.Fprintf(&b, "fail() { echo \"$1\" >>failed; }\n")
	for _, s := range t.params.Settings() {
		fmt.Fprintf(&b, "%s=%s\nexport %s\n", settle.EnvName(s.Name), quote(s.Value), settle.EnvName(s.Name))
	}
	b.WriteString("{ :\n")
	for n, group := range byOwner(t.sources) {
		counts := fmt.Sprintf("counts-map-%d", n)
		j.maps = append(j.maps, filepath.Join(t.dir, counts))
		if err := writeGroup(&b, group); err != nil {
			return job{}, err
		}
		if owner := group[0].params.Owner; owner != nil {
			fmt.Fprintf(&b, "%s=%s ", settle.EnvName(settle.NameOwner), owner)
		}
		fmt.Fprintf(&b, "STADDLE_COUNTS=%s %s || fail map; }\n", counts, p.command(t.step.Map))
	}
	fmt.Fprintf(&b, "} | { sort -S %db -T . || fail sort; } |\n", p.Mem)
	fmt.Fprintf(&b, "{ STADDLE_COUNTS=counts-reduce STADDLE_REPORT=report-000.tmp %s || fail reduce; } >part-000.tmp\n", p.command(t.step.Reduce))
	b.WriteString("test ! -e failed\n")
	j.text = b.String()
	return j, nil
}

func (p *pipe) command(words []string) string {
	quoted := []string{quote(p.Binary)}
	for _, w := range words {
		quoted = append(quoted, quote(w))
	}
	return strings.Join(quoted, " ")
}

// catFiles is the number of files of one cat, so that no command line is too long.
const catFiles = 200

// writeGroup writes the cat of some files up to the mapper. A file without LF at
// its end is followed by one, so that no two lines are glued.
func writeGroup(b *strings.Builder, group []source) error {
	b.WriteString("{ { :\n")
	open := 0
	for _, s := range group {
		path, err := filepath.Abs(s.path)
		if err != nil {
			return err
		}
		ends, err := endsWithLF(s)
		if err != nil {
			return err
		}
		if open == 0 {
			b.WriteString("cat --")
		}
		b.WriteString(" " + quote(path))
		if open++; !ends {
			b.WriteString(" || fail cat\necho")
		}
		if open == catFiles || !ends {
			b.WriteString(" || fail cat\n")
			open = 0
		}
	}
	if open > 0 {
		b.WriteString(" || fail cat\n")
	}
	b.WriteString("} | ")
	return nil
}

func endsWithLF(s source) (bool, error) {
	if s.size == 0 {
		return true, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return false, err
	}
	defer f.Close() // only read
	var last [1]byte
	_, err = f.ReadAt(last[:], s.size-1)
	return last[0] == '\n', err
}

// byOwner groups neighbours with the same owner.
func byOwner(sources []source) (groups [][]source) {
	for i, s := range sources {
		if i > 0 && sameOwner(s, sources[i-1]) {
			last := len(groups) - 1
			groups[last] = append(groups[last], s)
			continue
		}
		groups = append(groups, []source{s})
	}
	return groups
}

func sameOwner(a, b source) bool {
	if a.params.Owner == nil || b.params.Owner == nil {
		return a.params.Owner == b.params.Owner
	}
	return *a.params.Owner == *b.params.Owner
}

// quote makes one word of any text for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// maxStderr is how much of the children's words goes into an error, in bytes.
const maxStderr = 2000

func runScript(ctx context.Context, script, failed string) error {
	cmd := exec.CommandContext(ctx, "sh", script)
	ownGroup(cmd)
	var stderr tail
	cmd.Stderr = &stderr
	cmd.Env = cleanEnv(os.Environ())
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	which, _ := os.ReadFile(failed) // a hint for the reader of the error, may be missing
	return fmt.Errorf("%s: %w: failed: %s: %s", script, err, strings.Join(strings.Fields(string(which)), ", "), bytes.TrimSpace(stderr.b))
}

// cleanEnv drops parameters that the caller's own environment may hold.
func cleanEnv(env []string) (clean []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, "STADDLE_") {
			clean = append(clean, e)
		}
	}
	return clean
}

// tail keeps the last bytes of a stream.
type tail struct{ b []byte }

// Write keeps the end.
func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if extra := len(t.b) - maxStderr; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(b), nil
}

// collect turns what the script left into the step's one part.
func (p *pipe) collect(t *task, j job) error {
	var mapped settle.Counts
	for _, path := range j.maps {
		c, err := readCounts(path)
		if err != nil {
			return err
		}
		mapped.Add(c)
	}
	reduced, err := readCounts(j.reduce)
	if err != nil {
		return err
	}
	rows, err := openPart(j.rows)
	if err != nil {
		return err
	}
	report := &reportWriter{}
	if info, err := os.Stat(j.report); err == nil && info.Size() > 0 {
		if report.f, err = os.OpenFile(j.report, os.O_RDWR, 0); err != nil {
			return errors.Join(err, rows.f.Close())
		}
	}
	return t.commit(0, rows, report, mapped, reduced)
}

func readCounts(path string) (settle.Counts, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return settle.Counts{}, err
	}
	return settle.ParseCounts(string(b))
}

// openPart takes over rows that another process wrote.
func openPart(path string) (*partWriter, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &partWriter{f: f, hash: sha256.New()}
	if w.bytes, err = io.Copy(w.hash, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}
