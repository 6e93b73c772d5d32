package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/node"
)

func (a *app) denyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "deny", Short: "keep content from leaving this machine",
		Long: `Keep content from leaving this machine, whoever asks for it. Rules stand in files
of the deny-list format of IPFS, below deny/ in the data directory; those that deny
add writes hold hashes of what is denied only. The last rule that matches decides,
and the own list comes last. What is held stays held: see also staddle rm.`,
		Example: "  staddle deny add films\n  staddle deny add bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/secret\n  staddle deny import ~/badbits.deny\n  staddle deny ls",
	}
	c.AddCommand(
		a.denyVerb(&cobra.Command{
			Use: "add ITEM...", Short: "deny a dataset, a CID or a path", Args: cobra.MinimumNArgs(1),
			Example: "  staddle deny add films\n  staddle deny add /ipfs/CID/path\n  staddle deny add '/ipfs/CID/*'",
		}, api.DenyAdd),
		a.denyVerb(&cobra.Command{
			Use: "rm ITEM...", Short: "let it leave again, also when an imported list denies it", Args: cobra.MinimumNArgs(1),
			Example: "  staddle deny rm films",
		}, api.DenyRemove),
		a.denyVerb(&cobra.Command{
			Use: "import FILE", Short: "take a copy of a list", Args: cobra.ExactArgs(1),
			Example: "  staddle deny import badbits.deny",
		}, api.DenyImport),
		a.denyVerb(&cobra.Command{
			Use: "ls", Short: "show the lists in force and the own rules", Args: cobra.NoArgs,
			Example: "  staddle deny ls\n  staddle deny ls --offline",
		}, api.DenyList),
	)
	return c
}

// denyVerb gives a verb what it does.
func (a *app) denyVerb(c *cobra.Command, do string) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		q := api.DenyRequest{Do: do, Items: args}
		if do == api.DenyImport {
			abs, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			q.Items = []string{abs}
		}
		if a.offline {
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error { return a.denyHere(ctx, l, q) })
		}
		var r api.DenyResult
		if err := a.call(c.Context(), api.CallDeny, q, &r); err != nil {
			return err
		}
		return a.printDenied(q.Do, &r)
	}
	return c
}

func (a *app) denyHere(ctx context.Context, l *local, q api.DenyRequest) error {
	d, err := a.dirs()
	if err != nil {
		return err
	}
	var warnings []string
	lists, err := node.OpenDenials(d.data, func(w string) { warnings = append(warnings, w) })
	if err != nil {
		return err
	}
	r, err := lists.Change(ctx, l.Library, q)
	if err != nil {
		return err
	}
	r.Warnings = append(warnings, r.Warnings...)
	return a.printDenied(q.Do, r)
}

func (a *app) printDenied(do string, r *api.DenyResult) error {
	if a.json {
		return a.emit(struct {
			head
			*api.DenyResult
		}{summary, r})
	}
	a.warnAll(r.Warnings)
	if do != api.DenyList {
		a.note("%s  %s", map[string]string{api.DenyAdd: "denied", api.DenyRemove: "let go", api.DenyImport: "imported"}[do], counted(uint64(r.Changed), "rule"))
		return nil
	}
	var err error
	for _, f := range r.Lists {
		_, e := fmt.Fprintf(a.stdout, "%s  %s\n", counted(uint64(f.Rules), "rule"), safe(f.File))
		err = errors.Join(err, e)
	}
	for _, rule := range r.Rules {
		_, e := fmt.Fprintln(a.stdout, safe(rule))
		err = errors.Join(err, e)
	}
	return err
}
