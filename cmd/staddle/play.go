package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
)

func (a *app) playCommand() *cobra.Command {
	return &cobra.Command{
		Use: "play REF[/path]", Short: "print the address at which a player of this machine finds a file", Args: cobra.ExactArgs(1),
		Long: `Print an http address for a browser or player on this machine: of a file, or of a
directory as a list of links. Nothing is fetched before it is played, and then
only what is played, with 8 MiB read ahead. The address is the daemon's
(staddle up --play), on loopback only; pages of other sites cannot use it.`,
		Example: "  staddle play films/harvest.mkv\n  mpv $(staddle play films/harvest.mkv)\n  staddle play films --json",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err != nil {
				return err
			}
			var r api.PlayResult
			if err := a.call(c.Context(), api.CallPlay, api.RefRequest{Ref: ref.String()}, &r); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.PlayResult
				}{summary, r})
			}
			_, err = fmt.Fprintln(a.stdout, r.URL)
			return err
		},
	}
}
