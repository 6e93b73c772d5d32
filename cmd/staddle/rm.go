package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/library"
)

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm REF", Short: "let go of a dataset held here", Args: cobra.ExactArgs(1),
		Long: `Let go of a dataset held here. What others hold stays, and so do plans. Works on
the local store only: stop the daemon (staddle down) and add --offline.`,
		Example: "  staddle rm films --offline\n  staddle rm films --offline --yes",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err == nil && ref.Path != "" {
				err = usage(c, "%s is a part of a dataset: only all of it can go", ref)
			}
			if err == nil {
				err = a.needDaemon()
			}
			if err != nil {
				return err
			}
			return a.withLocal(c.Context(), func(_ context.Context, l *local) error { return a.remove(l, ref) })
		},
	}
}

func (a *app) remove(l *local, ref library.Ref) error {
	ref, err := l.Resolve(ref)
	if err != nil {
		return err
	}
	h, err := l.Held(ref.Dataset)
	if err != nil {
		return err
	}
	if err := a.confirm(fmt.Sprintf("remove %s (%s)?", safe(h.Name), bytesText(h.Attachment.Size))); err != nil {
		return err
	}
	if err := l.Remove(ref); err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			head
			Ref string `json:"ref"`
		}{summary, ref.String()})
	}
	a.note("removed  %s", safe(h.Name))
	return nil
}
