package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

const nameLong = `Names of datasets, on the community's chain. A name belongs to the account that
sets it and stands for one dataset; setting it again makes a new version, and the
old ones stay readable. Everybody in the community can then say

  staddle get films                            the newest, if nothing of that name is held
  staddle get staddle:TAUT/films               the same, wherever it is said
  staddle get staddle:TAUT/films@2026-11-20    as it was at the end of that day (UTC)
  staddle get staddle:TAUT/ACCOUNT/films       the one of that account

A name alone means the one of the account that took it first and has it still.`

func (a *app) nameCommand() *cobra.Command {
	c := &cobra.Command{Use: "name", Short: "names of datasets and their versions", Long: nameLong, Example: "  staddle name set films staddle:ROOT\n  staddle name ls\n  staddle name show films"}
	c.AddCommand(a.nameSet(), a.nameDrop(), a.nameList(), a.nameShow())
	return c
}

func (a *app) nameSet() *cobra.Command {
	return &cobra.Command{
		Use: "set NAME REF", Short: "let a name stand for a dataset", Args: cobra.ExactArgs(2),
		Long:    "Let a name stand for a dataset that is published in the community, and wait for\nthe block that says so. It costs a fee.",
		Example: "  staddle name set films staddle:ROOT",
		RunE: func(c *cobra.Command, args []string) error {
			return a.setName(c, api.NameRequest{Name: args[0], Ref: args[1]})
		},
	}
}

func (a *app) nameDrop() *cobra.Command {
	return &cobra.Command{
		Use: "drop NAME", Short: "give a name up", Args: cobra.ExactArgs(1),
		Long:    "Give a name up: it stands for nothing, until it is set again. Its versions stay\nreadable with a date.",
		Example: "  staddle name drop films",
		RunE: func(c *cobra.Command, args []string) error {
			return a.setName(c, api.NameRequest{Name: args[0]})
		},
	}
}

func (a *app) setName(c *cobra.Command, q api.NameRequest) error {
	var r api.Name
	if err := a.call(c.Context(), api.CallNameSet, q, &r); err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			head
			api.Name
		}{summary, r})
	}
	_, err := fmt.Fprintf(a.stdout, "%s  version %d in block %d\n", safe(r.Ref), r.Version, r.Height)
	return err
}

func (a *app) nameList() *cobra.Command {
	return &cobra.Command{
		Use: "ls [ACCOUNT]", Short: "the names of an account", Args: cobra.MaximumNArgs(1),
		Long:    "List the names of an account, by default of this node's.",
		Example: "  staddle name ls",
		RunE: func(c *cobra.Command, args []string) error {
			var q api.NameQuery
			if len(args) > 0 {
				q.Account = args[0]
			}
			var r api.Names
			if err := a.call(c.Context(), api.CallNameList, q, &r); err != nil {
				return err
			}
			return a.printNames(r.Names, func(n *api.Name) string { return safe(n.Name) })
		},
	}
}

func (a *app) nameShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "the versions of a name", Args: cobra.ExactArgs(1),
		Long:    "List the versions of a name, newest first, at most 100. NAME may also be a full\nreference, staddle:COMMUNITY/ACCOUNT/NAME.",
		Example: "  staddle name show films",
		RunE: func(c *cobra.Command, args []string) error {
			var r api.Names
			if err := a.call(c.Context(), api.CallNameShow, api.NameQuery{Ref: args[0]}, &r); err != nil {
				return err
			}
			return a.printNames(r.Names, func(n *api.Name) string { return fmt.Sprintf("version %d", n.Version) })
		},
	}
}

func (a *app) printNames(names []api.Name, first func(*api.Name) string) error {
	for i := range names {
		n := &names[i]
		if a.json {
			if err := a.emit(struct {
				head
				*api.Name
			}{item, n}); err != nil {
				return err
			}
			continue
		}
		what := n.Dataset
		if what == "" {
			what = "given up"
		}
		at := time.UnixMilli(int64(n.Time)).UTC().Format("2006-01-02 15:04 UTC")
		if _, err := fmt.Fprintf(a.stdout, "%-24s  %s  %s\n", first(n), at, what); err != nil {
			return err
		}
	}
	return nil
}
