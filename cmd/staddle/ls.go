package main

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/types"
)

func (a *app) lsCommand() *cobra.Command {
	var list listing
	mine := false
	c := &cobra.Command{
		Use: "ls [REF[/path]]", Short: "list what is held, or what a dataset holds", Args: cobra.MaximumNArgs(1),
		Example: "  staddle ls\n  staddle ls films -R\n  staddle ls films/summer --offline\n  staddle ls --mine",
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			text := ""
			if len(args) > 0 {
				text = args[0]
				list.ref, err = library.ParseRef(text)
			}
			if err != nil {
				return err
			}
			if mine && (len(args) > 0 || a.offline) {
				return usage(c, "--mine asks the community: leave out REF and --offline")
			}
			if !a.offline {
				return a.listByDaemon(c.Context(), api.RefRequest{Ref: text, Recursive: list.recursive, Mine: mine})
			}
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				if len(args) == 0 {
					return a.listDatasets(l)
				}
				return a.listEntries(ctx, l, list)
			})
		},
	}
	c.Flags().BoolVarP(&list.recursive, "recursive", "R", false, "all that is below, with whole paths")
	c.Flags().BoolVar(&mine, "mine", false, "what hosts keep for you, held here or not: after a restore from your words")
	return c
}

func (a *app) listDatasets(l *local) error {
	all, err := l.Datasets()
	if err != nil {
		return err
	}
	for i := range all {
		risks, err := l.AtRisk(&all[i])
		if err != nil {
			return err
		}
		if err := a.listDataset(&all[i], len(risks)); err != nil {
			return err
		}
	}
	if a.json {
		return a.emit(struct {
			head
			Count int `json:"count"`
		}{summary, len(all)})
	}
	if len(all) == 0 {
		a.note("nothing is held here yet; next: staddle put FOLDER")
	}
	return nil
}

func (a *app) listDataset(h *library.Held, risks int) error {
	at := &h.Attachment
	ref := library.Ref{Dataset: at.Dataset()}.String()
	if a.json {
		return a.emit(struct {
			head
			Ref    string `json:"ref"`
			Name   string `json:"name"`
			Size   uint64 `json:"size"`
			Pieces uint32 `json:"pieces"`
			For    string `json:"for"`
			Whole  bool   `json:"whole"`
			Added  int64  `json:"added_ms"`

			InPlace bool `json:"in_place"`
			AtRisk  int  `json:"at_risk"`
		}{item, ref, h.Name, at.Size, at.Pieces, at.Visibility.String(), h.Whole, int64(h.Added), h.InPlace(), risks})
	}
	if a.isTerminal(a.stdout) {
		ref = library.Scheme + shortRoot(ref[len(library.Scheme):])
	}
	added := time.UnixMilli(int64(h.Added)).Format("2006-01-02 15:04")
	_, err := fmt.Fprintf(a.stdout, "%s  %10s  %-5s  %s  %s\n", ref, bytesText(at.Size), stateText(h.Whole, h.InPlace(), risks), added, datasetName(h.Name, at.Visibility.String()))
	return err
}

// datasetName is how a list shows a dataset: its name, and who can read it unless
// all can.
func datasetName(name, readers string) string {
	switch {
	case readers == "" || readers == types.VisibilityPublic.String():
		return safe(name)
	case name == "":
		return "(sealed)"
	}
	return safe(name) + "  (" + readers + ")"
}

// stateText is how much of a dataset is here, and how.
func stateText(whole, inPlace bool, risks int) string {
	switch {
	case risks > 0:
		return "RISK"
	case !whole:
		return "part"
	case inPlace:
		return "place"
	}
	return "whole"
}

// shortRoot is enough of a root to tell it from others by eye.
func shortRoot(s string) string { return s[:8] + "…" + s[len(s)-5:] }

// listing says which entries to show.
type listing struct {
	ref       library.Ref
	recursive bool
}

func (a *app) listEntries(ctx context.Context, l *local, list listing) error {
	count := 0
	show := func(e archive.Entry) error { count++; return a.listEntry(e) }
	if err := list.each(ctx, l, show); err != nil || !a.json {
		return err
	}
	return a.emit(struct {
		head
		Count int `json:"count"`
	}{summary, count})
}

func (list listing) each(ctx context.Context, l *local, show func(archive.Entry) error) error {
	if list.recursive {
		return l.ListAll(ctx, list.ref, show)
	}
	found, err := l.List(ctx, list.ref)
	if err != nil {
		return err
	}
	for _, e := range found {
		if err := show(e); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) listEntry(e archive.Entry) error {
	if a.json {
		return a.emit(struct {
			head
			Path  string `json:"path"`
			Kind  string `json:"kind"`
			Mode  string `json:"mode"`
			Size  int64  `json:"size"`
			MTime int64  `json:"mtime"`
			Link  string `json:"link,omitempty"`
		}{item, e.Name, kindOf(e.Type), fmt.Sprintf("%04o", e.Mode), e.Size, e.ModTime, e.Link})
	}
	mode, name := e.Mode, safe(e.Name)
	switch e.Type {
	case archive.Dir:
		mode, name = mode|fs.ModeDir, name+"/"
	case archive.Symlink:
		mode, name = mode|fs.ModeSymlink, name+" -> "+safe(e.Link)
	}
	when := time.Unix(e.ModTime, 0).Format("2006-01-02 15:04")
	_, err := fmt.Fprintf(a.stdout, "%s  %12d  %s  %s\n", mode, e.Size, when, name)
	return err
}

func kindOf(t archive.Type) string {
	switch t {
	case archive.Dir:
		return "dir"
	case archive.Symlink:
		return "symlink"
	}
	return "file"
}
