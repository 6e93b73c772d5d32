package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/store"
)

const doctorLong = `Read the whole store and check every hash and checksum. Changes nothing without
--repair, which lets go of what interrupted puts have left behind. The daemon must
be stopped first (staddle down).`

func (a *app) doctorCommand() *cobra.Command {
	repair := false
	c := &cobra.Command{
		Use: "doctor", Short: "check the whole store", Long: doctorLong, Args: cobra.NoArgs,
		Example: "  staddle doctor\n  staddle doctor --repair",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				e := &examination{a: a, ctx: ctx, l: l}
				if err := e.run(); err != nil || !repair {
					return err
				}
				return l.Tidy()
			})
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "let go of what interrupted puts have left behind")
	return c
}

// examination is one run of doctor.
type examination struct {
	a    *app
	ctx  context.Context
	l    *local
	bad  int
	left []library.Leftover
}

func (e *examination) run() (err error) {
	if e.left, err = e.l.Leftovers(); err != nil {
		return err
	}
	seen, err := e.l.store.Verify(e.problem)
	if err != nil {
		return err
	}
	use, err := e.l.store.Usage()
	if err != nil {
		return err
	}
	if err := e.tell(seen, use); err != nil {
		return err
	}
	if e.bad > 0 {
		return &failure{&marked{library.ErrBad, counted(uint64(e.bad), "problem") + " in " + e.l.dir}, "staddle verify  names the datasets; getting or putting them again heals"}
	}
	return nil
}

// problem tells one thing that is wrong. What nobody counts on, such as the old
// place of a piece that was healed, is only noted.
func (e *examination) problem(p store.Problem) error {
	if err := context.Cause(e.ctx); err != nil {
		return err
	}
	if !p.Owned {
		e.a.note("harmless: %s (nobody counts on it)", safe(p.Error()))
		return nil
	}
	e.bad++
	if !e.a.json {
		_, err := fmt.Fprintln(e.a.stdout, "bad ", safe(p.Error()))
		return err
	}
	return e.a.emit(struct {
		head
		Kind    string `json:"kind"`
		Key     string `json:"key"`
		Message string `json:"message"`
	}{item, p.Kind, p.Key.String(), p.Error()})
}

func (e *examination) tell(seen store.Verified, use store.Usage) error {
	if e.a.json {
		return e.a.emit(struct {
			head
			Store    string `json:"store"`
			Records  int64  `json:"records"`
			Blocks   int64  `json:"blocks"`
			Live     int64  `json:"live"`
			Disk     int64  `json:"disk"`
			Dead     int64  `json:"dead"`
			Problems int    `json:"problems"`
			Leftover int    `json:"leftover"`
		}{summary, e.l.dir, seen.Records, seen.Blocks, use.Live, use.Disk, use.Dead, e.bad, len(e.left)})
	}
	for _, j := range e.left {
		e.a.note("left by an interrupted put of %s; next: the same put again, or staddle doctor --repair", safe(j.Folder))
	}
	state := "ok"
	if e.bad > 0 {
		state = "BAD"
	}
	_, err := fmt.Fprintf(e.a.stdout, "%s  %s  %s and %s  %s in use, %s on disk\n", state, e.l.dir,
		counted(uint64(seen.Records), "record"), counted(uint64(seen.Blocks), "block"), bytesText(uint64(use.Live)), bytesText(uint64(use.Disk)))
	return err
}
