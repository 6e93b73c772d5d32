package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Exact returns what in pure packages could make two machines disagree or wait:
// ranges over maps (sort the keys: slices.Sorted(maps.Keys(m))), floating
// point, goroutines. The packages must compile; types of their imports come from
// the build cache through the go command.
func Exact(t *Tree, laws Laws) ([]Offence, error) {
	var pure []Package
	for _, p := range t.Packages {
		if e, ok := laws.entry(p.Path); ok && e.Layer == Pure {
			pure = append(pure, p)
		}
	}
	if len(pure) == 0 {
		return nil, nil
	}
	imports, err := exportedTypes(t, pure)
	if err != nil {
		return nil, err
	}
	var found []Offence
	for _, p := range pure {
		more, err := exactPackage(t, p, imports)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return sortOffences(found), nil
}

// exportedTypes builds the packages and returns an importer of what they and
// their imports export.
func exportedTypes(t *Tree, pkgs []Package) (types.Importer, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}\t{{.Export}}{{end}}"}
	for _, p := range pkgs {
		args = append(args, "./"+p.Path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = t.Root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -export: %w\n%s", err, stderr.Bytes())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			exports[path] = file
		}
	}
	return importer.ForCompiler(t.fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	}), nil
}

func exactPackage(t *Tree, p Package, imports types.Importer) ([]Offence, error) {
	var files []*ast.File
	for _, f := range p.Files {
		if !f.Test && f.Here {
			files = append(files, f.Syntax)
		}
	}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Defs:  map[*ast.Ident]types.Object{},
		Uses:  map[*ast.Ident]types.Object{},
	}
	conf := types.Config{Importer: imports}
	if _, err := conf.Check(t.Module+"/"+p.Path, t.fset, files, info); err != nil {
		return nil, fmt.Errorf("type-check %s: %w", p.Path, err)
	}
	c := &exactCheck{tree: t, info: info, sorted: map[ast.Expr]bool{}}
	for _, f := range files {
		ast.Inspect(f, c.visit)
	}
	return c.found, nil
}

// exactCheck walks one package. Parents are visited before children, so that a
// sorting call can excuse its argument.
type exactCheck struct {
	tree   *Tree
	info   *types.Info
	sorted map[ast.Expr]bool // arguments of slices.Sorted and its kin
	found  []Offence
}

func (c *exactCheck) add(pos token.Pos, law, format string, args ...any) {
	c.found = append(c.found, c.tree.offence(pos, law, format, args...))
}

func (c *exactCheck) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		c.add(n.Pos(), LawGoroutine, "starts a goroutine")
	case *ast.RangeStmt:
		if t := c.info.TypeOf(n.X); t != nil && isMap(t) {
			c.add(n.Pos(), LawMapOrder, "ranges over %s; sort the keys", types.TypeString(t, (*types.Package).Name))
		}
	case *ast.CallExpr:
		c.call(n)
	}
	if e, ok := n.(ast.Expr); ok {
		c.float(e)
	}
	if id, ok := n.(*ast.Ident); ok {
		if o := c.info.Defs[id]; o != nil && o.Type() != nil && isFloat(o.Type()) {
			c.add(id.Pos(), LawFloat, "%s is %s", id.Name, o.Type())
		}
	}
	return true
}

// call refuses iterators over maps unless they go straight into a sorting call.
func (c *exactCheck) call(n *ast.CallExpr) {
	switch pkg, name := c.callee(n.Fun); {
	case pkg == "slices" && strings.HasPrefix(name, "Sorted"):
		c.sorted[ast.Unparen(n.Args[0])] = true
	case pkg == "maps" && (name == "Keys" || name == "Values" || name == "All"):
		if !c.sorted[n] {
			c.add(n.Pos(), LawMapOrder, "maps.%s outside slices.Sorted", name)
		}
	}
}

// callee names the package-level function that fun denotes, if it is one.
func (c *exactCheck) callee(fun ast.Expr) (pkg, name string) {
	switch f := ast.Unparen(fun).(type) {
	case *ast.IndexExpr:
		return c.callee(f.X)
	case *ast.IndexListExpr:
		return c.callee(f.X)
	case *ast.SelectorExpr:
		if o, ok := c.info.Uses[f.Sel].(*types.Func); ok && o.Pkg() != nil {
			return o.Pkg().Path(), o.Name()
		}
	}
	return "", ""
}

func (c *exactCheck) float(e ast.Expr) {
	if tv, ok := c.info.Types[e]; ok && tv.Type != nil && isFloat(tv.Type) {
		c.add(e.Pos(), LawFloat, "%s", tv.Type)
	}
}

// isMap also holds for a type parameter that a map may instantiate.
func isMap(t types.Type) bool {
	p, ok := types.Unalias(t).(*types.TypeParam)
	if !ok {
		_, ok := t.Underlying().(*types.Map)
		return ok
	}
	limits, ok := p.Constraint().Underlying().(*types.Interface)
	if !ok {
		return false
	}
	for i := range limits.NumEmbeddeds() {
		union, ok := limits.EmbeddedType(i).(*types.Union)
		if !ok {
			if isMap(limits.EmbeddedType(i)) {
				return true
			}
			continue
		}
		for j := range union.Len() {
			if isMap(union.Term(j).Type()) {
				return true
			}
		}
	}
	return false
}

// isFloat holds for floating and complex numbers, untyped constants included,
// and for math/big's Float, whose rounding depends on its precision.
func isFloat(t types.Type) bool {
	if b, ok := t.Underlying().(*types.Basic); ok {
		return b.Info()&(types.IsFloat|types.IsComplex) != 0
	}
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "math/big" && n.Obj().Name() == "Float"
}
