package arch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// ours loads the tree that the test stands in.
func ours(t *testing.T) *Tree {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := FindRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 2 {
		t.Fatalf("%d packages found below %s", len(tree.Packages), root)
	}
	return tree
}

func report(t *testing.T, found []Offence) {
	t.Helper()
	for _, o := range found {
		t.Error(o)
	}
}

func TestImportTable(t *testing.T) {
	report(t, Imports(ours(t), Staddle))
}

func TestExactPackages(t *testing.T) {
	found, err := Exact(ours(t), Staddle)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}

func TestLimits(t *testing.T) {
	tree := ours(t)
	report(t, Limits(tree))
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "package\tlines\ttest lines\tfunction p50\tp90\tlongest\t")
	for _, s := range Sizes(tree) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", s.Package, s.Code, s.Tests, s.P50, s.P90, s.Longest)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("sizes\n%s", b.String())
}

// TestNamedRules fails for a rule that is marked required and has lost its
// test; rules that wait for theirs are printed with -v.
func TestNamedRules(t *testing.T) {
	text, err := os.ReadFile("rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := ParseRules(string(text))
	if err != nil {
		t.Fatal(err)
	}
	tree := ours(t)
	var waiting []string
	for _, r := range Untested(tree, rules) {
		if r.Required {
			t.Errorf("rule %s: package %s has no %s", r.ID, r.Package, r.TestName())
			continue
		}
		waiting = append(waiting, r.ID+" "+r.Package)
	}
	t.Logf("%d rules, %d without a named test: %s", len(rules), len(waiting), strings.Join(waiting, ", "))
	if stray := Stray(tree, rules); len(stray) > 0 {
		t.Logf("named like a rule, but not listed there: %s", strings.Join(stray, ", "))
	}
}

// TestTableKeepsLaws holds the table itself to the three laws.
func TestTableKeepsLaws(t *testing.T) {
	may := map[Layer][]Layer{
		Pure:    {Pure},
		Adapter: {Pure},
		Engine:  {Pure},
	}
	for _, pkg := range slices.Sorted(maps.Keys(Staddle.Table)) {
		e := Staddle.Table[pkg]
		for _, own := range e.May {
			if own == "*" {
				if e.Layer != Wiring && e.Layer != Edge && e.Layer != Inside {
					t.Errorf("%s package %s may use everything", e.Layer, pkg)
				}
				continue
			}
			used, ok := Staddle.Table[own]
			if !ok {
				t.Errorf("%s may use %s, which is not in the table", pkg, own)
			}
			part := strings.HasPrefix(own, pkg+"/") // an adapter's own codec, for instance
			if layers, bound := may[e.Layer]; bound && !part && !slices.Contains(layers, used.Layer) {
				t.Errorf("%s package %s may use %s package %s", e.Layer, pkg, used.Layer, own)
			}
		}
		for module, at := range homes {
			if slices.Contains(e.Modules, module) && !slices.Contains(at, pkg) {
				t.Errorf("%s may use %s, whose home is %v", pkg, module, at)
			}
		}
	}
}

// planted is the table of testdata/planted.
var planted = Laws{
	Everywhere: Staddle.Everywhere,
	Waiting:    Staddle.Waiting,
	MayWait:    Staddle.MayWait,
	Table: map[string]Entry{
		"types":       {Layer: Pure},
		"trie":        {Layer: Pure, May: []string{"types"}},
		"draw":        {Layer: Pure, May: []string{"types"}},
		"store":       {Layer: Adapter, May: []string{"types"}, Modules: []string{"github.com/cockroachdb/pebble/v2"}},
		"chain":       {Layer: Engine, May: []string{"types", "trie"}},
		"host":        {Layer: Engine, May: []string{"types"}},
		"node":        {Layer: Wiring, May: everything},
		"api":         {Layer: Edge, May: []string{"types"}},
		"cmd/planted": {Layer: Edge, May: everything, Modules: []string{"github.com/spf13"}},
		"internal/*":  {Layer: Inside, May: everything},
	},
}

func loadPlanted(t *testing.T) *Tree {
	t.Helper()
	tree, err := Load(filepath.Join("testdata", "planted"))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestPlantedOffences compares what the checks find in testdata/planted with
// the "want:" comments there: all of it, and nothing else.
func TestPlantedOffences(t *testing.T) {
	tree := loadPlanted(t)
	found := Imports(tree, planted)
	more, err := Exact(tree, planted)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, o := range append(found, more...) {
		got[fmt.Sprintf("%s:%d: %s", o.File, o.Line, o.Law)] = true
	}
	want := wanted(t, tree)
	for _, at := range slices.Sorted(maps.Keys(want)) {
		if !got[at] {
			t.Errorf("missed %s", at)
		}
	}
	for _, at := range slices.Sorted(maps.Keys(got)) {
		if !want[at] {
			t.Errorf("false alarm %s", at)
		}
	}
	if len(want) < 25 {
		t.Errorf("only %d offences planted", len(want))
	}
}

func wanted(t *testing.T, tree *Tree) map[string]bool {
	t.Helper()
	want := map[string]bool{}
	for _, p := range tree.Packages {
		for _, f := range p.Files {
			text, err := os.ReadFile(filepath.Join(tree.Root, f.Name))
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				if _, law, ok := strings.Cut(line, "// want: "); ok {
					want[fmt.Sprintf("%s:%d: %s", f.Name, i+1, law)] = true
				}
			}
		}
	}
	return want
}

func TestExactNeedsCompilingPackages(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "go.mod", "module example.org/planted\n\ngo 1.26\n")
	plant(t, dir, "types/a.go", "package types\n\nfunc broken() int { return \"\" }\n")
	tree, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := Exact(tree, planted); err == nil {
		t.Errorf("no error, found %v", found)
	}
}

func TestLengths(t *testing.T) {
	body := func(lines int) string { return "func f() {\n" + strings.Repeat("\t_ = 0\n", lines) + "}\n" }
	tests := map[string]struct {
		file, text string
		want       []string
	}{
		"function at the limit": {"a.go", "package a\n\n" + body(70), nil},
		"function above it":     {"a.go", "package a\n\n" + body(71), []string{"a.go:3: function length: f has 71 lines, more than 70"}},
		"file at the limit":     {"a.go", "package a\n" + strings.Repeat("//\n", 598) + "//", nil},
		"file above it":         {"a.go", "package a\n" + strings.Repeat("//\n", 599) + "//", []string{"a.go:1: file length: 601 lines, more than 600"}},
		"tests are free":        {"a_test.go", "package a\n\n" + body(71), nil},
		"generated code is":     {"a.go", "// Code generated by x. DO NOT EDIT.\n\npackage a\n\n" + body(71), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plant(t, dir, "go.mod", "module example.org/planted\n")
			plant(t, dir, tt.file, tt.text)
			tree, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range Limits(tree) {
				got = append(got, o.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "go.mod", "module example.org/planted\n")
	plant(t, dir, "a/a.go", "package a\n\nfunc f() {}\n\nfunc g() {\n\tf()\n\tf()\n\tf()\n}\n")
	plant(t, dir, "a/a_test.go", "package a\n")
	plant(t, dir, "b/b.go", "package b\n")
	tree, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Size{
		{Package: "a", Code: 9, Tests: 1, P50: 3, P90: 3, Longest: 3},
		{Package: "b", Code: 1},
		{Package: "all", Code: 10, Tests: 1, P50: 3, P90: 3, Longest: 3},
	}
	if got := Sizes(tree); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseRules(t *testing.T) {
	tests := map[string]struct {
		text string
		want []Rule
		err  string
	}{
		"a list": {
			text: "# comment\n\nC2.2 consensus required # why\nST1  settle\n",
			want: []Rule{{"C2.2", "consensus", true}, {"ST1", "settle", false}},
		},
		"no package":   {text: "C1\n", err: "line 1: 1 words, want 2 or 3: id package [required]"},
		"four words":   {text: "\nC1 a required b\n", err: "line 2: 4 words, want 2 or 3: id package [required]"},
		"no rule":      {text: "rule1 a\n", err: `line 1: "rule1" is no rule id`},
		"wrong marker": {text: "C1 a needed\n", err: `line 1: third word is "needed", want required`},
		"twice":        {text: "C1 a\nC1 b\nC1 a required\n", err: "line 3: rule C1 of a is listed twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRules(tt.text)
			if text := errorText(err); text != tt.err || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %q; want %v, %q", got, text, tt.want, tt.err)
			}
		})
	}
}

func TestUntestedAndStray(t *testing.T) {
	tree := loadPlanted(t) // has TestT1 in types
	t1, t2 := Rule{ID: "T1", Package: "types"}, Rule{ID: "T2", Package: "types"}
	elsewhere := Rule{ID: "T1", Package: "trie"}
	tests := map[string]struct {
		rules, untested []Rule
		stray           []string
	}{
		"tested":       {[]Rule{t1}, nil, nil},
		"one is not":   {[]Rule{t1, t2}, []Rule{t2}, nil},
		"wrong home":   {[]Rule{elsewhere}, []Rule{elsewhere}, []string{"types TestT1"}},
		"not a rule":   {nil, nil, []string{"types TestT1"}},
		"only another": {[]Rule{t2}, []Rule{t2}, []string{"types TestT1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Untested(tree, tt.rules); !slices.Equal(got, tt.untested) {
				t.Errorf("untested: got %v, want %v", got, tt.untested)
			}
			if got := Stray(tree, tt.rules); !slices.Equal(got, tt.stray) {
				t.Errorf("stray: got %v, want %v", got, tt.stray)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func plant(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
