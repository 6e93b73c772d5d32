package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
)

func (a *app) exportCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "export REF --to DIR", Short: "write a dataset into a directory that a disk can carry", Args: cobra.ExactArgs(1),
		Long: `Write a dataset into a directory of its own: files of pieces, the blocks that name
them, and a manifest. Take it to another machine and give staddle import DIR there.
What is not held here is fetched first. Stopped, the same command goes on.

The pieces of a public dataset, one file after the other, are its .tar.gz:
cat DIR/pieces/* | tar xz. A private one stays encrypted, and its key does not travel
with it.`,
		Example: "  staddle export films --to /media/usb/films\n  staddle export films --to /media/usb/films --offline",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err == nil && ref.Path != "" {
				err = usage(c, "%s is a part of a dataset: only all of it is exported", ref)
			}
			if err == nil && dir == "" {
				err = usage(c, "--to says where")
			}
			if err != nil {
				return err
			}
			return a.carry(c.Context(), carrying{call: api.CallExport, dir: dir, ref: ref, word: "exported"})
		},
	}
	c.Flags().StringVar(&dir, "to", "", "directory to write; it is made, or holds this export already")
	return c
}

func (a *app) importCommand() *cobra.Command {
	inPlace := false
	c := &cobra.Command{
		Use: "import DIR", Short: "take a dataset from a directory that staddle export wrote", Args: cobra.ExactArgs(1),
		Long: `Take a dataset from a directory that staddle export wrote. Every piece and block is
checked before it counts. Stopped, the same command takes only what is missing.

With --in-place the pieces stay where they are, and DIR must stay, too: nothing is
copied, and what is read from there is checked each time.`,
		Example: "  staddle import /media/usb/films\n  staddle import /srv/films --in-place\n  staddle import /media/usb/films --offline",
		RunE: func(c *cobra.Command, args []string) error {
			return a.carry(c.Context(), carrying{call: api.CallImport, dir: args[0], inPlace: inPlace, word: "imported"})
		},
	}
	c.Flags().BoolVar(&inPlace, "in-place", false, "leave the pieces in DIR, which must stay")
	return c
}

// carrying is an export or an import.
type carrying struct {
	call    string
	dir     string
	ref     library.Ref // of an export
	inPlace bool        // of an import
	word    string      // past tense, for the note
}

func (a *app) carry(ctx context.Context, q carrying) (err error) {
	if q.dir, err = filepath.Abs(q.dir); err != nil {
		return err
	}
	if a.offline {
		return a.withLocal(ctx, func(ctx context.Context, l *local) error { return a.carryHere(ctx, l, q) })
	}
	req := api.CarryRequest{Dir: q.dir, InPlace: q.inPlace}
	if q.call == api.CallExport {
		req.Ref = q.ref.Link()
	}
	var r api.CarryResult
	if err := a.call(ctx, q.call, req, &r); err != nil {
		return err
	}
	return a.printCarried(q, &r)
}

func (a *app) carryHere(ctx context.Context, l *local, q carrying) error {
	m := a.meter()
	var c library.Carried
	var err error
	if q.call == api.CallExport {
		c, err = l.ExportTo(ctx, q.ref, q.dir, m.watch())
	} else {
		c, err = l.ImportFrom(ctx, q.dir, library.ImportOptions{InPlace: q.inPlace}, m.watch())
	}
	m.end()
	if err != nil {
		return err
	}
	return a.printCarried(q, node.CarryResult(&c))
}

func (a *app) printCarried(q carrying, r *api.CarryResult) error {
	if a.json {
		return a.emit(struct {
			head
			*api.CarryResult
		}{summary, r})
	}
	name := safe(r.Name)
	if name == "" {
		name = "(sealed)"
	}
	a.note("%s  %s  %s in %s, %s written", q.word, name, bytesText(r.Size), counted(uint64(r.Pieces), "piece"), bytesText(uint64(r.Moved)))
	if r.InPlace > 0 {
		a.note("in place  %s stay in %s", bytesText(uint64(r.InPlace)), safe(q.dir))
	}
	result := r.Ref
	if q.call == api.CallExport {
		result = safe(q.dir)
	}
	_, err := fmt.Fprintln(a.stdout, result)
	return err
}
