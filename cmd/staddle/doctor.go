package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/store"
)

const doctorLong = `Read the whole store, check every hash and checksum, and say what --repair would
do about each problem. Changes nothing without --repair.

--repair reads everything, too. It cuts and indexes anew, leaves files with damage,
lets go of what interrupted puts have left behind, and lists the pieces that are to
be fetched again: getting or putting their datasets heals.

With --verify=false only the disks and the index are looked at, not the bytes. The
daemon must be stopped first (staddle down).`

func (a *app) doctorCommand() *cobra.Command {
	repair, verify := false, true
	c := &cobra.Command{
		Use: "doctor", Short: "check the whole store, and repair it", Long: doctorLong, Args: cobra.NoArgs,
		Example: "  staddle doctor\n  staddle doctor --verify=false\n  staddle doctor --repair",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				e := &examination{a: a, ctx: ctx, l: l}
				if repair {
					return e.repair()
				}
				return e.run(verify)
			})
		},
	}
	c.Flags().BoolVar(&verify, "verify", true, "read and check every byte")
	c.Flags().BoolVar(&repair, "repair", false, "put in order what is wrong and list what is to be fetched again")
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

// run looks at everything, or at disks and index only.
func (e *examination) run(verify bool) (err error) {
	if e.left, err = e.l.Leftovers(); err != nil {
		return err
	}
	var seen store.Verified
	if verify {
		seen, err = e.l.store.Verify(e.problem)
	} else {
		err = e.disks()
	}
	if err != nil {
		return err
	}
	if seen.Lost > 0 {
		e.a.note("%s lost before; staddle doctor --repair  lists what is to be fetched again", counted(uint64(seen.Lost), "record"))
	}
	use, err := e.l.store.Usage()
	if err != nil {
		return err
	}
	if err := e.tell(seen, use); err != nil {
		return err
	}
	if e.bad > 0 {
		return &failure{&marked{library.ErrBad, counted(uint64(e.bad), "problem") + " in " + e.l.dir}, "staddle doctor --repair     or     getting or putting the datasets again, which staddle verify  names"}
	}
	return nil
}

// disks reports those that are not there.
func (e *examination) disks() error {
	disks, err := e.l.store.Disks()
	if err != nil {
		return err
	}
	for _, d := range disks {
		if d.Err == nil {
			continue
		}
		if err := e.problem(store.Problem{Kind: "disk", Owned: true, Err: &store.GoneError{Dir: d.Dir, Err: d.Err}}); err != nil {
			return err
		}
	}
	return nil
}

// repair puts in order what is wrong and lists what is lost.
func (e *examination) repair() error {
	done, err := e.l.store.Repair(e.ctx, func(store.Problem) error { return nil }) // listed below, with the owners
	if err == nil {
		err = e.l.Tidy()
	}
	if err != nil {
		return err
	}
	if err := e.disks(); err != nil {
		return err
	}
	lost, err := e.a.losses(e.l)
	if err != nil {
		return err
	}
	if err := e.tellRepaired(done, lost); err != nil {
		return err
	}
	if lost > 0 || e.bad > 0 {
		return &failure{&marked{errPartial, "repaired; " + counted(uint64(lost), "record") + " to be fetched again"}, "staddle verify  names the datasets; getting or putting them again heals"}
	}
	return nil
}

func (e *examination) tellRepaired(done store.Repaired, lost int) error {
	if e.a.json {
		return e.a.emit(struct {
			head
			Store    string `json:"store"`
			Damaged  int64  `json:"damaged"`
			Found    int64  `json:"found"`
			Counted  int64  `json:"counted"`
			Blocks   int64  `json:"blocks"`
			Segments int    `json:"segments"`
			Lost     int    `json:"lost"`
		}{summary, e.l.dir, done.Lost, done.Found, done.Counted, done.Blocks, done.Segments, lost})
	}
	_, err := fmt.Fprintf(e.a.stdout, "repaired  %s  %s damaged, %d found again, %s counted anew, %s forgotten, %s left\n", e.l.dir,
		counted(uint64(done.Lost), "record"), done.Found, counted(uint64(done.Counted), "row"),
		counted(uint64(done.Blocks), "block"), counted(uint64(done.Segments), "file"))
	return err
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
		line := "bad  " + safe(p.Error())
		if fix := p.Fix(); fix != "" {
			line += "; --repair would " + fix
		}
		_, err := fmt.Fprintln(e.a.stdout, line)
		return err
	}
	return e.a.emit(struct {
		head
		Kind    string `json:"kind"`
		Key     string `json:"key"`
		Message string `json:"message"`
		Fix     string `json:"fix,omitempty"`
	}{item, p.Kind, p.Key.String(), p.Error(), p.Fix()})
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
