package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

var link = regexp.MustCompile(`\]\(([^)#:]+)\)`)

// SpecIndex compares the links of dir/README.md with the pages in dir and the
// files in dir/vectors. It returns what is only on one side.
func SpecIndex(dir string) (unlisted, absent []string, err error) {
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return nil, nil, fmt.Errorf("read index: %w", err)
	}
	var listed []string
	for _, m := range link.FindAllSubmatch(index, -1) {
		listed = append(listed, string(m[1]))
	}
	var present []string
	for _, pattern := range []string{"*.md", "vectors/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", pattern, err)
		}
		for _, path := range paths {
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return nil, nil, fmt.Errorf("list %s: %w", pattern, err)
			}
			if rel != "README.md" {
				present = append(present, filepath.ToSlash(rel))
			}
		}
	}
	return without(present, listed), without(listed, present), nil
}

// without returns what of a is not in b, in order.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
