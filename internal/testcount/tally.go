package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string // empty: the package itself
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// test is what is known of one test function or subtest.
type test struct {
	result string // pass, fail, skip; empty while it runs
	parent bool   // has subtests
	output []string
}

// tally counts results and keeps output until it is known to be wanted.
type tally struct {
	w                       io.Writer
	tests                   map[string]map[string]*test // package, then test name
	loose                   map[string][]string         // output of packages and builds
	broken                  []string                    // packages that failed without a failed test
	passed, failed, skipped int
}

func newTally(w io.Writer) *tally {
	return &tally{w: w, tests: map[string]map[string]*test{}, loose: map[string][]string{}}
}

// Line takes one line of go test's output.
func (t *tally) Line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(t.w, "%s\n", line)
		return
	}
	switch {
	case e.Action == "build-output":
		t.loose[e.ImportPath] = append(t.loose[e.ImportPath], e.Output)
	case e.Action == "build-fail":
	case e.Test == "":
		t.pkg(e)
	default:
		t.test(e)
	}
}

// pkg takes an event of a package as a whole and prints one line when it ends.
func (t *tally) pkg(e event) {
	switch e.Action {
	case "output":
		t.loose[e.Package] = append(t.loose[e.Package], e.Output)
	case "pass":
		fmt.Fprintf(t.w, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
	case "skip":
		fmt.Fprintf(t.w, "-     %s  no tests\n", e.Package)
	case "fail":
		fmt.Fprintf(t.w, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
		t.endPackage(e)
	}
}

// endPackage makes every test without a result a failure: the process died
// under it. A package that failed with no test to blame is kept as broken.
func (t *tally) endPackage(e event) {
	blamed := false
	for _, it := range t.tests[e.Package] {
		if it.result == "" {
			it.result = "fail"
		}
		blamed = blamed || it.result == "fail"
	}
	if !blamed {
		t.broken = append(t.broken, e.Package)
		t.loose[e.Package] = append(t.loose[e.FailedBuild], t.loose[e.Package]...)
	}
}

func (t *tally) test(e event) {
	tests := t.tests[e.Package]
	if tests == nil {
		tests = map[string]*test{}
		t.tests[e.Package] = tests
	}
	it := tests[e.Test]
	if it == nil {
		it = &test{}
		tests[e.Test] = it
		if cut := strings.LastIndexByte(e.Test, '/'); cut > 0 {
			markParents(tests, e.Test[:cut])
		}
	}
	switch e.Action {
	case "output":
		it.output = append(it.output, e.Output)
	case "pass", "fail", "skip":
		it.result = e.Action
		if e.Action == "pass" {
			it.output = nil
		}
	}
}

// markParents marks the nearest known ancestor: a slash may also be part of a
// subtest's own name.
func markParents(tests map[string]*test, name string) {
	for {
		if up := tests[name]; up != nil {
			up.parent = true
			return
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return
		}
		name = name[:cut]
	}
}

// Close prints skips, failures and the count, and returns the count line.
func (t *tally) Close() string {
	var skips, fails []string
	for _, pkg := range sortedKeys(t.tests) {
		for _, name := range sortedKeys(t.tests[pkg]) {
			it := t.tests[pkg][name]
			if it.result == "" {
				it.result = "fail" // go test was cut off
			}
			if it.parent && !t.ownFailure(pkg, name) {
				continue
			}
			switch it.result {
			case "pass":
				t.passed++
			case "skip":
				t.skipped++
				skips = append(skips, fmt.Sprintf("%s %s: %s", pkg, name, reason(it.output)))
			default:
				t.failed++
				fails = append(fails, fmt.Sprintf("%s %s\n%s", pkg, name, strings.Join(it.output, "")))
			}
		}
	}
	for _, pkg := range t.broken {
		t.failed++
		fails = append(fails, fmt.Sprintf("%s\n%s", pkg, strings.Join(t.loose[pkg], "")))
	}
	t.print("skipped", skips)
	t.print("failed", fails)
	line := fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, t.failed, t.skipped)
	fmt.Fprintln(t.w, line)
	return line
}

// ownFailure says whether a parent failed although none of its subtests did.
func (t *tally) ownFailure(pkg, name string) bool {
	if t.tests[pkg][name].result != "fail" {
		return false
	}
	for sub, it := range t.tests[pkg] {
		if strings.HasPrefix(sub, name+"/") && it.result != "pass" && it.result != "skip" {
			return false
		}
	}
	return true
}

func (t *tally) print(title string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(t.w, "\n-- %s\n", title)
	for _, item := range items {
		fmt.Fprintln(t.w, strings.TrimRight(item, "\n"))
	}
}

// reason is what a test said before it skipped: its output without go test's
// own framing.
func reason(output []string) string {
	said := slices.DeleteFunc(slices.Clone(output), func(s string) bool {
		s = strings.TrimSpace(s)
		return strings.HasPrefix(s, "=== ") || strings.HasPrefix(s, "--- ")
	})
	text := strings.Join(strings.Fields(strings.Join(said, " ")), " ")
	if text == "" {
		return "no reason given"
	}
	return text
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
