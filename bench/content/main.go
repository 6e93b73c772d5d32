// Content measures publishing and fetching side by side with the programs that
// people use today: kubo, libtorrent, tar and gzip. Each row runs real processes
// on loopback in temporary homes, ours and the peer in turn, and shows the
// median; ratios are within one run.
//
// It needs Linux, root for the rows with a slow line (a network namespace), and
// Debian's python3-libtorrent for one row. What is missing is said in the row.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
)

// bench is one run of the program.
type bench struct {
	ctx     context.Context
	sizes   sizes
	runs    int
	dir     string // of all that is made; gone at the end
	staddle string // our program
	ipfs    string // kubo's
	say     func(format string, args ...any)
}

// row is one job; it may give several lines.
type row struct {
	name string
	what string
	run  func(*bench) ([]table.Line, error)
}

func rows() []row {
	return []row{
		{"put", "publish one incompressible file", (*bench).putBig},
		{"put-small", "publish many small files", (*bench).putSmall},
		{"get", "fetch from one peer that holds plain pieces, against bitswap", (*bench).getBitswap},
		{"get-torrent", "the same against libtorrent in plaintext", (*bench).getTorrent},
		{"four-peers", "fetch from four slow peers", (*bench).fourPeers},
		{"delay", "fetch over a long line", (*bench).delay},
		{"ranges", "random ranges of a large dataset", (*bench).ranges},
		{"replicas", "fetch from a host that has to decode", (*bench).replicas},
		{"in-place", "publish without a second copy on disk", (*bench).inPlace},
		{"memory", "peak memory while putting and getting", (*bench).memory},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "content:", err)
		os.Exit(1)
	}
}

type options struct {
	rows  string
	quick bool
	runs  int
	json  string
	dir   string
	own   string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var names []string
	for _, r := range rows() {
		names = append(names, r.name)
	}
	f := flag.NewFlagSet("content", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.rows, "row", "", "only these rows, by comma: "+strings.Join(names, ", "))
	f.BoolVar(&o.quick, "quick", false, "smaller sizes, one run: to see that everything works")
	f.IntVar(&o.runs, "runs", 0, "runs of each side, of which the median is shown (default 3)")
	f.StringVar(&o.json, "json", "", "file for the result as lines of JSON; - is stdout, in place of the table")
	f.StringVar(&o.dir, "dir", "", "folder for homes and data, of which up to 30 GB are used (default: the system's temporary one)")
	f.StringVar(&o.own, "staddle", "", "our program, such as that of another version (default: built from this tree)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for _, name := range split(o.rows) {
		if !slices.Contains(names, name) {
			return o, fmt.Errorf("no row %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	if o.runs == 0 {
		o.runs = 3
		if o.quick {
			o.runs = 1
		}
	}
	return o, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "staddle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, sizes: full, runs: o.runs, dir: dir, staddle: o.own}
	if o.quick {
		b.sizes = quick
	}
	b.say = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	if err := b.build(); err != nil {
		return err
	}
	var lines []table.Line
	for _, r := range rows() {
		if chosen := split(o.rows); len(chosen) == 0 || slices.Contains(chosen, r.name) {
			lines = append(lines, b.row(r)...)
		}
	}
	return show(lines, o.json, stdout)
}

func show(lines []table.Line, to string, stdout io.Writer) error {
	if to == "-" {
		return table.JSON(stdout, lines)
	}
	if err := table.Text(stdout, lines); err != nil || to == "" {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	return table.JSON(f, lines)
}

// row runs one row in a folder of its own. A row that fails is a line that says
// so; the others go on.
func (b *bench) row(r row) []table.Line {
	b.say("== %s: %s", r.name, r.what)
	of := *b
	of.dir = filepath.Join(b.dir, r.name)
	lines, err := []table.Line(nil), os.Mkdir(of.dir, 0o700)
	if err == nil {
		lines, err = r.run(&of)
	}
	if err != nil {
		lines = append(lines, table.Line{Name: r.what, End: table.Failed, Note: err.Error()})
	}
	for i := range lines {
		lines[i].Row = r.name
		lines[i].Judge()
	}
	if err := os.RemoveAll(of.dir); err != nil {
		b.say("%v", err)
	}
	var text strings.Builder
	_ = table.Text(&text, lines) // a Builder takes everything
	b.say("%s", text.String())
	return lines
}

// build makes our program and kubo.
func (b *bench) build() error {
	root, err := proc.Output(b.goCommand("", "list", "-m", "-f", "{{.Dir}}", "github.com/staddle/staddle"))
	if err != nil {
		return err
	}
	if b.staddle == "" {
		b.say("building staddle")
		b.staddle = filepath.Join(b.dir, "staddle")
		if _, err := proc.Run(b.goCommand(root, "build", "-trimpath", "-o", b.staddle, "./cmd/staddle")); err != nil {
			return err
		}
	}
	// Kept beside the other tools: the first build takes minutes.
	b.ipfs = filepath.Join(root, ".tools", "ipfs")
	b.say("building kubo")
	_, err = proc.Run(b.goCommand(filepath.Join(root, "bench", "peers"), "build", "-o", b.ipfs, "github.com/ipfs/kubo/cmd/ipfs"))
	return err
}
