package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/node"
)

func (a *app) linkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "link REF", Short: "print the link by which others open a dataset", Args: cobra.ExactArgs(1),
		Long: `Print the link by which others open a dataset. Of a private one it ends in #k= and
its key: whoever has the link can read all of it, and the versions that share its
key. Send it as you would send a secret.`,
		Example: "  staddle link films\n  staddle link films --offline",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err != nil {
				return err
			}
			if !a.offline {
				var r api.LinkResult
				if err := a.call(c.Context(), api.CallLink, api.RefRequest{Ref: ref.Link()}, &r); err != nil {
					return err
				}
				return a.printLink(r.Link)
			}
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				ref, err := l.Keyed(ctx, ref)
				if err != nil {
					return err
				}
				return a.printLink(ref.Link())
			})
		},
	}
}

func (a *app) printLink(link string) error {
	if a.json {
		return a.emit(struct {
			head
			api.LinkResult
		}{summary, api.LinkResult{Link: link}})
	}
	_, err := fmt.Fprintln(a.stdout, link)
	return err
}

// ensureIdentity makes the identity of this home when there is none: what is
// private is sealed with its words.
func (a *app) ensureIdentity() error {
	d, err := a.dirs()
	if err != nil {
		return err
	}
	id, err := node.LoadIdentity(d.data)
	if err == nil && id.New {
		a.note("made an identity of 24 words: %s is the only way back to what is private", d.data+"/identity")
	}
	return err
}
