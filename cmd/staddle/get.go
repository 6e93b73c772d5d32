package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
)

const getLong = `Fetch a dataset and unpack it. -o names the folder (default: the dataset's name
here); a name that ends in .tgz or .tar.gz, or - for stdout, gets the archive
itself. REF/path gets one file, or one directory with its path.

What is not held here comes from the publisher and from the hosts of the dataset,
several at once; each piece is checked before it counts. It costs coins once a
host's free share is used up: at most four times the price at the community's
start, locked for this epoch and the next. The price of the whole is said first;
--max-price refuses what would cost more. What was fetched stays held here.`

func (a *app) getCommand() *cobra.Command {
	var out, maxPrice string
	var o library.GetOptions
	c := &cobra.Command{
		Use: "get REF", Short: "fetch a dataset, a directory or a file of it", Long: getLong, Args: cobra.ExactArgs(1),
		Example: "  staddle get staddle:ROOT -o /tmp/films\n  staddle get films/harvest.mkv\n  staddle get films -o films.tgz --offline",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err != nil {
				return err
			}
			o.Replace = a.yes
			if !a.offline {
				return a.getByDaemon(c.Context(), ref, getWish{out, maxPrice, o})
			}
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				g := &getting{a: a, l: l, ctx: ctx, ref: ref, out: out, o: o, m: a.meter()}
				return g.run()
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "folder, file or - to write")
	c.Flags().StringArrayVar(&o.Include, "include", nil, "only what this pattern matches, such as '*.txt' or 'docs'")
	c.Flags().StringArrayVar(&o.Exclude, "exclude", nil, "all but what this pattern matches")
	c.Flags().StringVar(&maxPrice, "max-price", "", "the most coins that the whole may cost")
	return c
}

// getting is one get.
type getting struct {
	a   *app
	l   *local
	ctx context.Context
	ref library.Ref
	out string
	o   library.GetOptions
	m   *meter
}

// run chooses what -o means.
func (g *getting) run() error {
	ref, err := g.l.Resolve(g.ref)
	if err != nil {
		return err
	}
	g.ref = ref
	if ref.Path != "" {
		e, err := g.l.Stat(g.ctx, ref)
		if err != nil {
			return err
		}
		if e.Type == archive.File {
			return g.file(e)
		}
	}
	if g.out == "-" || isTGZ(g.out) {
		return g.archive()
	}
	return g.folder()
}

// isTGZ reports whether a name means the archive: by its ending, unless a folder
// of that name is there.
func isTGZ(name string) bool {
	info, err := os.Stat(name)
	return (strings.HasSuffix(name, ".tgz") || strings.HasSuffix(name, ".tar.gz")) && (err != nil || !info.IsDir())
}

func (g *getting) folder() error {
	if g.out == "" {
		h, _, err := g.l.Describe(g.ctx, g.ref)
		if err != nil {
			return err
		}
		g.out = localName(h.Name, g.ref)
	}
	got, err := g.l.Get(g.ctx, g.ref, g.out, g.o, g.m.watch())
	g.m.end()
	if err != nil {
		return err
	}
	u := &got.Unpacked
	err = g.done(got, fmt.Sprintf("%s of %s", bytesText(uint64(u.Bytes)), counted(uint64(u.Files), "file")))
	if err == nil && u.Skipped > 0 {
		err = &marked{errPartial, counted(uint64(u.Skipped), "entry") + " left out, each with a warning"}
	}
	return err
}

// localName is a name of the dataset's own that is safe here.
func localName(name string, ref library.Ref) string {
	if name == "" || safe(name) != name || !filepath.IsLocal(name) || name == "." || strings.HasPrefix(name, "-") {
		return "dataset-" + ref.Dataset.Short()
	}
	return name
}

// archive gets the TGZ itself.
func (g *getting) archive() error {
	if g.ref.Path != "" || len(g.o.Include)+len(g.o.Exclude) > 0 {
		return &failure{&marked{errUsage, "the archive is whole: it cannot leave anything out"}, "-o FOLDER"}
	}
	if g.out == "-" && g.a.isTerminal(g.a.stdout) {
		return errBinary
	}
	var got library.Fetched
	err := g.write(func(w io.Writer) (err error) {
		got, err = g.l.Export(g.ctx, g.ref, w, g.m.watch())
		return err
	})
	g.m.end()
	if err != nil || g.out == "-" {
		return err
	}
	return g.done(got, bytesText(got.Attachment.Size))
}

// file gets one file.
func (g *getting) file(e archive.Entry) error {
	if info, err := os.Stat(g.out); g.out == "" || err == nil && info.IsDir() {
		g.out = filepath.Join(g.out, localName(path.Base(e.Name), g.ref))
	}
	err := g.write(func(w io.Writer) error {
		_, err := g.l.Cat(g.ctx, g.ref, w, 0, -1)
		return err
	})
	if err != nil || g.out == "-" {
		return err
	}
	when := time.Unix(e.ModTime, 0)
	if err := errors.Join(os.Chmod(g.out, e.Mode.Perm()), os.Chtimes(g.out, when, when)); err != nil {
		return err
	}
	h, err := g.l.Held(g.ref.Dataset)
	if err != nil {
		return err
	}
	return g.done(library.Fetched{Attachment: h.Attachment, Name: h.Name, Unpacked: archive.Unpacked{Files: 1, Bytes: e.Size}}, bytesText(uint64(e.Size)))
}

// write is output where -o says.
func (g *getting) write(fill func(io.Writer) error) error {
	return g.a.output(g.out, g.o.Replace, fill)
}

// output lets fill write stdout, or a file that appears when it is whole.
func (a *app) output(name string, replace bool, fill func(io.Writer) error) error {
	if name == "-" {
		return fill(a.resultWriter())
	}
	if _, err := os.Lstat(name); err == nil && !replace {
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".staddle-*.part")
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// done tells the result.
func (g *getting) done(got library.Fetched, size string) error {
	if !g.a.json {
		g.a.note("got  %s  %s  verified", safe(got.Name), size)
		_, err := fmt.Fprintln(g.a.stdout, safe(g.out))
		return err
	}
	u := &got.Unpacked
	return g.a.emit(struct {
		head
		Ref      string `json:"ref"`
		Name     string `json:"name"`
		Output   string `json:"output"`
		Files    int64  `json:"files"`
		Dirs     int64  `json:"dirs"`
		Symlinks int64  `json:"symlinks"`
		Bytes    int64  `json:"bytes"`
		Skipped  int64  `json:"skipped"`
		Fetched  int64  `json:"fetched"`
	}{summary, g.ref.String(), got.Name, g.out, u.Files, u.Dirs, u.Symlinks, u.Bytes, u.Skipped, got.Bytes})
}
