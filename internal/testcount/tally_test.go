package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// count feeds events (one JSON object a line) and returns the closing line and
// everything printed before it.
func count(t *testing.T, lines ...string) (line, report string) {
	t.Helper()
	var b strings.Builder
	tl := newTally(&b)
	if err := feed(strings.NewReader(strings.Join(lines, "\n")), tl); err != nil {
		t.Fatal(err)
	}
	line = tl.Close()
	return line, strings.TrimSuffix(b.String(), line+"\n")
}

func TestCounts(t *testing.T) {
	tests := map[string]struct {
		lines []string
		want  string
	}{
		"nothing ran": {nil, "0 passed, 0 failed, 0 skipped"},
		"one of each": {[]string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p","Test":"TestB"}`,
			`{"Action":"skip","Package":"p","Test":"TestC"}`,
			`{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed, 1 skipped"},
		"a parent is not counted beside its subtests": {[]string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestA/x"}`,
			`{"Action":"run","Package":"p","Test":"TestA/y/z"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
			`{"Action":"fail","Package":"p","Test":"TestA/y/z"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed, 0 skipped"},
		"a parent that fails by itself is": {[]string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed, 0 skipped"},
		"a package that does not build": {[]string{
			`{"Action":"build-output","ImportPath":"p [p.test]","Output":"p.go:1: no\n"}`,
			`{"Action":"build-fail","ImportPath":"p [p.test]"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
		}, "0 passed, 1 failed, 0 skipped"},
		"a process that dies under a test": {[]string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestB"}`,
			`{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed, 0 skipped"},
		"output cut off": {[]string{
			`{"Action":"run","Package":"p","Test":"TestB"}`,
		}, "0 passed, 1 failed, 0 skipped"},
		"a failing TestMain": {[]string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed, 0 skipped"},
		"the same name in two packages": {[]string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"q","Test":"TestA"}`,
		}, "2 passed, 0 failed, 0 skipped"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, _ := count(t, tt.lines...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	_, got := count(
		t,
		`not json`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: fee 3 below minimum 10\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:2: no network\n"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestB"}`,
		`{"Action":"skip","Package":"p","Test":"TestC"}`,
		`{"Action":"fail","Package":"p","Elapsed":1.25}`,
		`{"Action":"skip","Package":"q"}`,
		`{"Action":"output","Package":"r","Test":"TestQuiet","Output":"chatter\n"}`,
		`{"Action":"pass","Package":"r","Test":"TestQuiet"}`,
		`{"Action":"pass","Package":"r","Elapsed":0.5}`,
		`{"Action":"build-output","ImportPath":"s [s.test]","Output":"s.go:1: no\n"}`,
		`{"Action":"fail","Package":"s","FailedBuild":"s [s.test]"}`,
	)
	want := `not json
FAIL  p  1.2s
-     q  no tests
ok    r  0.5s
FAIL  s  0.0s

-- skipped
p TestB: b_test.go:2: no network
p TestC: no reason given

-- failed
p TestA
=== RUN   TestA
    a_test.go:9: fee 3 below minimum 10
s
s.go:1: no
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRun runs the real go test over a module with one test of each kind.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/planted\n\ngo 1.26\n")
	write("a_test.go", `package planted

import "testing"

func TestPass(t *testing.T) {
	t.Run("one", func(t *testing.T) {})
	t.Run("two", func(t *testing.T) {})
}
func TestSkip(t *testing.T) { t.Skip("why") }
`)
	t.Chdir(dir)
	summary := filepath.Join(dir, "count")
	check := func(wantCode int, wantLine string) {
		t.Helper()
		code, err := run(t.Output(), []string{"./..."}, summary)
		if err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(summary)
		if err != nil {
			t.Fatal(err)
		}
		if code != wantCode || string(line) != wantLine {
			t.Errorf("got %d %q, want %d %q", code, line, wantCode, wantLine)
		}
	}
	check(0, "2 passed, 0 failed, 1 skipped\n")
	write("b_test.go", "package planted\n\nimport \"testing\"\n\nfunc TestFail(t *testing.T) { t.Fatal(\"no\") }\n")
	check(1, "2 passed, 1 failed, 1 skipped\n")
	write("c.go", "package planted\n\nfunc broken() int { return \"\" }\n")
	check(1, "0 passed, 1 failed, 0 skipped\n")
}
