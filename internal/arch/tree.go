package arch

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is the parsed source of one module, nested modules and testdata left out.
type Tree struct {
	Root     string // directory of go.mod
	Module   string // module path
	Packages []Package
	fset     *token.FileSet
}

// Package is one directory with Go files.
type Package struct {
	Path  string // slash-separated, relative to the root; "." for the root
	Files []File
}

// File is one Go file that at least one supported system compiles.
type File struct {
	Name      string // slash-separated, relative to the root
	Syntax    *ast.File
	Lines     int
	Test      bool
	Generated bool
	Here      bool // compiled on the system that runs the check
}

// Offence is one breach of a law.
type Offence struct {
	File string // relative to the root
	Line int
	Law  string // one of the Law constants
	Text string // what was found, with both numbers where there are two
}

// The laws, as they are named in reports and in planted offences.
const (
	LawTable     = "table"
	LawImport    = "import"
	LawVendor    = "vendor"
	LawPurity    = "purity"
	LawMapOrder  = "map order"
	LawFloat     = "float"
	LawGoroutine = "goroutine"
	LawFunction  = "function length"
	LawFile      = "file length"
)

// String formats an offence the way editors understand.
func (o Offence) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", o.File, o.Line, o.Law, o.Text)
}

// systems are those whose files are read; Staddle is released for them.
var systems = []string{"linux", "darwin", "windows"}

// Load parses the module rooted at root.
func Load(root string) (*Tree, error) {
	module, err := modulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: root, Module: module, fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if path != root && skipped(path, d.Name()) {
			return filepath.SkipDir
		}
		return t.readPackage(path)
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", root, err)
	}
	return t, nil
}

// FindRoot returns the nearest directory at or above dir that holds a go.mod.
func FindRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod at or above %s", dir)
		}
	}
}

// skipped says whether a directory is no part of the module's packages.
func skipped(path, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

func modulePath(gomod string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", fmt.Errorf("read module path: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(path), nil
		}
	}
	return "", fmt.Errorf("%s names no module", gomod)
}

func (t *Tree) readPackage(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	p := Package{Path: t.rel(dir)}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		f, err := t.readFile(dir, e.Name())
		if errors.Is(err, errNotBuilt) {
			continue
		} else if err != nil {
			return err
		}
		p.Files = append(p.Files, f)
	}
	if len(p.Files) > 0 {
		t.Packages = append(t.Packages, p)
	}
	return nil
}

var errNotBuilt = errors.New("no system compiles it")

func (t *Tree) readFile(dir, name string) (File, error) {
	built, err := matches(dir, name, systems...)
	if err != nil {
		return File{}, err
	} else if !built {
		return File{}, errNotBuilt
	}
	here, err := matches(dir, name, build.Default.GOOS)
	if err != nil {
		return File{}, err
	}
	path := filepath.Join(dir, name)
	syntax, err := parser.ParseFile(t.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, fmt.Errorf("parse: %w", err)
	}
	return File{
		Name:      t.rel(path),
		Syntax:    syntax,
		Lines:     t.fset.File(syntax.FileStart).LineCount(),
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Here:      here,
	}, nil
}

// matches says whether any of the systems compiles the file; cgo is off, as it
// is in our builds.
func matches(dir, name string, systems ...string) (bool, error) {
	for _, system := range systems {
		c := build.Default
		c.GOOS = system
		c.CgoEnabled = false
		ok, err := c.MatchFile(dir, name)
		if err != nil {
			return false, fmt.Errorf("match %s: %w", name, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

func (t *Tree) rel(path string) string {
	rel, err := filepath.Rel(t.Root, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

func (t *Tree) offence(pos token.Pos, law, format string, args ...any) Offence {
	at := t.fset.Position(pos)
	return Offence{File: t.rel(at.Filename), Line: at.Line, Law: law, Text: fmt.Sprintf(format, args...)}
}

// sortOffences orders by place and drops repetitions of a law on one line.
func sortOffences(found []Offence) []Offence {
	slices.SortStableFunc(found, func(a, b Offence) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Law, b.Law))
	})
	return slices.CompactFunc(found, func(a, b Offence) bool {
		return a.File == b.File && a.Line == b.Line && a.Law == b.Law
	})
}
