package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// Rule is one line of rules.txt: a rule of the protocol and the package that
// keeps it, in one function, with a test that carries the rule's name. A rule
// with parts in two packages has a line for each.
type Rule struct {
	ID       string // "C2.2"
	Package  string
	Required bool // the test exists and must not be lost
}

var ruleID = regexp.MustCompile(`^[A-Z]{1,2}[0-9]+(\.[0-9]+)?$`)

// TestName is the name of the rule's test: C2.2 is TestC2_2.
func (r Rule) TestName() string {
	return "Test" + strings.ReplaceAll(r.ID, ".", "_")
}

// ParseRules reads lines "id package [required]"; # begins a comment.
func ParseRules(text string) ([]Rule, error) {
	var rules []Rule
	seen := map[Rule]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		r, err := parseRule(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		key := Rule{ID: r.ID, Package: r.Package}
		if seen[key] {
			return nil, fmt.Errorf("line %d: rule %s of %s is listed twice", number, r.ID, r.Package)
		}
		seen[key] = true
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(words []string) (Rule, error) {
	if len(words) < 2 || len(words) > 3 {
		return Rule{}, fmt.Errorf("%d words, want 2 or 3: id package [required]", len(words))
	}
	r := Rule{ID: words[0], Package: words[1]}
	if !ruleID.MatchString(r.ID) {
		return Rule{}, fmt.Errorf("%q is no rule id", r.ID)
	}
	if len(words) == 3 {
		if words[2] != "required" {
			return Rule{}, fmt.Errorf("third word is %q, want required", words[2])
		}
		r.Required = true
	}
	return r, nil
}

// Untested returns the rules whose package has no test of their name.
func Untested(t *Tree, rules []Rule) []Rule {
	tests := testsByName(t)
	var missing []Rule
	for _, r := range rules {
		if !tests[r.TestName()][r.Package] {
			missing = append(missing, r)
		}
	}
	return missing
}

// Stray returns "package test" for tests that are named like a rule which the
// list does not have, or has for another package.
func Stray(t *Tree, rules []Rule) []string {
	home := map[string]bool{}
	for _, r := range rules {
		home[r.Package+" "+r.TestName()] = true
	}
	var stray []string
	eachTest(t, func(pkg, name string) {
		id := strings.ReplaceAll(strings.TrimPrefix(name, "Test"), "_", ".")
		if at := pkg + " " + name; ruleID.MatchString(id) && !home[at] {
			stray = append(stray, at)
		}
	})
	return stray
}

func testsByName(t *Tree) map[string]map[string]bool {
	tests := map[string]map[string]bool{}
	eachTest(t, func(pkg, name string) {
		if tests[name] == nil {
			tests[name] = map[string]bool{}
		}
		tests[name][pkg] = true
	})
	return tests
}

func eachTest(t *Tree, do func(pkg, name string)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Test {
				continue
			}
			for _, d := range f.Syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
					do(p.Path, fn.Name.Name)
				}
			}
		}
	}
}
