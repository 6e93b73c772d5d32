package arch

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// Imports returns the breaches of the import table in non-test files.
func Imports(t *Tree, laws Laws) []Offence {
	var found []Offence
	for _, p := range t.Packages {
		entry, ok := laws.entry(p.Path)
		if !ok {
			found = append(found, t.offence(p.Files[0].Syntax.Package, LawTable, "package %s is not in the import table", p.Path))
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, spec := range f.Syntax.Imports {
				found = append(found, laws.checkImport(t, p.Path, entry, spec)...)
			}
		}
	}
	return sortOffences(found)
}

// entry finds the line of the table for a package; "internal/*" stands for each
// package directly below internal.
func (l Laws) entry(pkg string) (Entry, bool) {
	if e, ok := l.Table[pkg]; ok {
		return e, true
	}
	if dir, name, ok := strings.Cut(pkg, "/"); ok && !strings.Contains(name, "/") {
		e, ok := l.Table[dir+"/*"]
		return e, ok
	}
	return Entry{}, false
}

func (l Laws) checkImport(t *Tree, pkg string, e Entry, spec *ast.ImportSpec) []Offence {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return []Offence{t.offence(spec.Pos(), LawImport, "unreadable import %s", spec.Path.Value)}
	}
	law := ""
	switch own, isOurs := strings.CutPrefix(path, t.Module+"/"); {
	case isOurs:
		if !e.mayUse(own) {
			law = LawImport
		}
	case isStandard(path):
		if e.Layer == Pure && l.waits(pkg, path) {
			law = LawPurity
		}
	case !hasPrefixPath(path, e.Modules) && !hasPrefixPath(path, l.Everywhere):
		law = LawVendor
	}
	if law == "" {
		return nil
	}
	return []Offence{t.offence(spec.Pos(), law, "%s package %s may not import %s", e.Layer, pkg, path)}
}

func (e Entry) mayUse(own string) bool {
	return slices.Contains(e.May, "*") || slices.Contains(e.May, own)
}

func (l Laws) waits(pkg, path string) bool {
	if l.MayWait[pkg] == path {
		return false
	}
	return slices.ContainsFunc(l.Waiting, func(w string) bool {
		dir, deep := strings.CutSuffix(w, "/...")
		return path == dir || deep && strings.HasPrefix(path, dir+"/")
	})
}

// isStandard holds for the standard library and for "C": no dot before the
// first slash.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func hasPrefixPath(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+"/")
	})
}
