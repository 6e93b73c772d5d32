package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestBadInputTable: every test that docs/bad-input.md names exists.
func TestBadInputTable(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "bad-input.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+): ((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllSubmatch(text, -1)
	if len(named) < 50 {
		t.Fatalf("the table names %d tests", len(named))
	}
	sources := map[string]string{}
	for _, n := range named {
		pkg, name := string(n[1]), string(n[2])
		if sources[pkg] == "" {
			sources[pkg] = testSource(t, filepath.Join(root, filepath.FromSlash(pkg)))
		}
		if !regexp.MustCompile(`(?m)^func ` + name + `\(`).MatchString(sources[pkg]) {
			t.Errorf("package %s has no %s", pkg, name)
		}
	}
}

// testSource is the text of all test files below a package's directory.
func testSource(t *testing.T, dir string) string {
	t.Helper()
	all := "\n"
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !regexp.MustCompile(`_test\.go$`).MatchString(name) {
			return err
		}
		b, err := os.ReadFile(name)
		all += string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
