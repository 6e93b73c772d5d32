package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/library"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify [REF...]", Short: "read and check every piece and root of datasets held here (default: of all)",
		Example: "  staddle verify\n  staddle verify films",
		RunE: func(c *cobra.Command, args []string) error {
			var refs []library.Ref
			for _, s := range args {
				ref, err := library.ParseRef(s)
				if err != nil {
					return err
				}
				refs = append(refs, ref)
			}
			if !a.offline {
				err := a.verifyByDaemon(c.Context(), args)
				if !errors.Is(err, errNoDaemon) {
					return err
				}
			}
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error { return a.verify(ctx, l, refs) })
		},
	}
}

// verify looks at all datasets before it fails for one.
func (a *app) verify(ctx context.Context, l *local, refs []library.Ref) error {
	if len(refs) == 0 {
		all, err := l.Datasets()
		if err != nil {
			return err
		}
		for i := range all {
			refs = append(refs, library.Ref{Dataset: all[i].Attachment.Dataset()})
		}
	}
	var worst error
	for _, ref := range refs {
		m := a.meter()
		r, err := l.Verify(ctx, ref, m.watch())
		m.end()
		if err == nil {
			err = a.verified(&r)
		}
		if err != nil {
			return err
		}
		if err := r.Err(); worst == nil || errors.Is(err, library.ErrBad) && !errors.Is(worst, library.ErrBad) {
			worst = err
		}
	}
	if a.json {
		if err := a.emit(struct {
			head
			Count int  `json:"count"`
			OK    bool `json:"ok"`
		}{summary, len(refs), worst == nil}); err != nil {
			return err
		}
	}
	return worst
}

// sealedText is said of a private dataset without a key here.
const sealedText = "sealed: bytes whole, contents not readable here"

// verified tells what was found in one dataset.
func (a *app) verified(r *library.Report) error {
	at := &r.Attachment
	ref := library.Ref{Dataset: at.Dataset()}.String()
	if a.json {
		problems := make([]string, len(r.Problems))
		for i := range r.Problems {
			problems[i] = r.Problems[i].Error()
		}
		return a.emit(struct {
			head
			Ref      string   `json:"ref"`
			Name     string   `json:"name"`
			Sealed   bool     `json:"sealed"`
			Pieces   uint32   `json:"pieces"`
			Good     uint32   `json:"good"`
			Missing  uint32   `json:"missing"`
			Bad      uint32   `json:"bad"`
			Problems []string `json:"problems"`
			AtRisk   uint32   `json:"at_risk"`
		}{item, ref, r.Name, r.Sealed, at.Pieces, r.Good, r.Missing, r.Bad, problems, r.AtRisk})
	}
	for i := range r.Problems {
		if _, err := fmt.Fprintf(a.stdout, "bad  %s  %s\n", safe(r.Name), safe(r.Problems[i].Error())); err != nil {
			return err
		}
	}
	state := "ok"
	switch {
	case r.AtRisk > 0 && r.AtRisk == r.Bad:
		state = fmt.Sprintf("AT RISK (%s)", counted(uint64(r.AtRisk), "piece"))
	case r.Bad > 0:
		state = fmt.Sprintf("BAD (%s)", counted(uint64(r.Bad), "problem"))
	case r.Missing > 0:
		state = fmt.Sprintf("part (%d missing)", r.Missing)
	}
	if r.Sealed {
		state += "  " + sealedText
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %d/%d pieces  %s\n", ref, safe(r.Name), r.Good, at.Pieces, state)
	return err
}
