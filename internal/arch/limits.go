package arch

import (
	"go/ast"
	"slices"
)

// Limits of the style, in lines. A function is measured between its braces.
const (
	maxFunction = 70
	maxFile     = 600
)

// Limits returns the non-test functions and files that are too long.
func Limits(t *Tree) []Offence {
	var found []Offence
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			if f.Lines > maxFile {
				found = append(found, t.offence(f.Syntax.Package, LawFile, "%d lines, more than %d", f.Lines, maxFile))
			}
			for _, fn := range t.functions(f) {
				if fn.lines > maxFunction {
					found = append(found, t.offence(fn.decl.Pos(), LawFunction, "%s has %d lines, more than %d",
						fn.decl.Name.Name, fn.lines, maxFunction))
				}
			}
		}
	}
	return sortOffences(found)
}

type function struct {
	decl  *ast.FuncDecl
	lines int
}

func (t *Tree) functions(f File) []function {
	var all []function
	for _, d := range f.Syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines := t.fset.Position(fn.Body.Rbrace).Line - t.fset.Position(fn.Body.Lbrace).Line - 1
		all = append(all, function{fn, max(lines, 1)})
	}
	return all
}

// Size is what one package weighs.
type Size struct {
	Package           string
	Code, Tests       int // lines
	P50, P90, Longest int // lines of its non-test functions
}

// Sizes measures every package, and the whole tree as the last row.
func Sizes(t *Tree) []Size {
	var rows []Size
	total := Size{Package: "all"}
	var every []int
	for _, p := range t.Packages {
		row := Size{Package: p.Path}
		var lengths []int
		for _, f := range p.Files {
			if f.Test {
				row.Tests += f.Lines
				continue
			}
			row.Code += f.Lines
			for _, fn := range t.functions(f) {
				lengths = append(lengths, fn.lines)
			}
		}
		every = append(every, lengths...)
		total.Code += row.Code
		total.Tests += row.Tests
		rows = append(rows, row.withLengths(lengths))
	}
	return append(rows, total.withLengths(every))
}

func (s Size) withLengths(lengths []int) Size {
	if len(lengths) == 0 {
		return s
	}
	slices.Sort(lengths)
	s.P50 = lengths[len(lengths)/2]
	s.P90 = lengths[len(lengths)*9/10]
	s.Longest = lengths[len(lengths)-1]
	return s
}
