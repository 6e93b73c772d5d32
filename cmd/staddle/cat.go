package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
)

func (a *app) catCommand() *cobra.Command {
	var offset, length int64
	c := &cobra.Command{
		Use: "cat REF/path", Short: "write a file of a dataset, or a part of it, to stdout", Args: cobra.ExactArgs(1),
		Example: "  staddle cat films/notes.txt\n  staddle cat films/harvest.mkv --offset 1048576 --length 4096 | xxd\n  staddle cat films/notes.txt --offline",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := library.ParseRef(args[0])
			if err == nil && ref.Path == "" {
				err = usage(c, "%s names no file in the dataset", ref)
			}
			if err == nil && offset < 0 {
				err = usage(c, "--offset %d is below 0", offset)
			}
			if err != nil {
				return err
			}
			if !a.offline {
				return a.bytes(c.Context(), api.CallCat, api.CatRequest{Ref: args[0], Offset: offset, Length: length}, a.resultWriter())
			}
			return a.withLocal(c.Context(), func(ctx context.Context, l *local) error {
				_, err := l.Cat(ctx, ref, a.resultWriter(), offset, length)
				return err
			})
		},
	}
	c.Flags().Int64Var(&offset, "offset", 0, "first byte, from 0")
	c.Flags().Int64Var(&length, "length", -1, "number of bytes; -1 to the end")
	return c
}
