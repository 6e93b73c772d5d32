package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

const carLong = `CAR files, the archives of the IPFS world. An exported dataset is one file there,
the TGZ, under its UnixFS root; what is imported is kept as blocks under their own
CIDs, for the gateway and bitswap of this node (staddle up --ipfs-gateway, --ipfs).`

func (a *app) carCommand() *cobra.Command {
	c := &cobra.Command{Use: "car", Short: "import and export CAR files", Long: carLong, Example: "  staddle car export films -o films.car\n  staddle car import other.car\n  staddle car ls"}
	c.AddCommand(a.carExport(), a.carImport(), a.carList(), a.carRemove())
	return c
}

func (a *app) carExport() *cobra.Command {
	var out string
	var q api.CARExport
	c := &cobra.Command{
		Use: "export REF|CID", Short: "write a dataset, or an imported DAG, as a CAR", Args: cobra.ExactArgs(1),
		Long: `Write a dataset that is held here as a CAR: each block once, parents before
children. --root unixfs is the dataset as one file, which any reader of CARs
understands; --root index is Staddle's own index of the pieces.`,
		Example: "  staddle car export films -o films.car\n  staddle car export films --car-version 2 -o - | wc -c",
		RunE: func(c *cobra.Command, args []string) error {
			q.Ref = args[0]
			if q.Version != 1 && q.Version != 2 {
				return usage(c, "--car-version %d: want 1 or 2", q.Version)
			}
			if out == "" {
				return usage(c, "where to? -o FILE or -o -")
			}
			return a.exportCAR(c.Context(), q, out)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write, or - for stdout")
	c.Flags().StringVar(&q.Root, "root", "unixfs", "what a dataset's CAR begins with: unixfs, index or both")
	c.Flags().Uint64Var(&q.Version, "car-version", 1, "1, or 2 with an index")
	return c
}

func (a *app) exportCAR(ctx context.Context, q api.CARExport, out string) error {
	if out == "-" && a.isTerminal(a.stdout) {
		return errBinary
	}
	return a.output(out, a.yes, func(w io.Writer) error { return a.bytes(ctx, api.CallCARExport, q, w) })
}

func (a *app) carImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "take in the blocks of a CAR", Args: cobra.ExactArgs(1),
		Long: `Take in the blocks of a CAR of version 1 or 2, each checked before it is kept.
Blocks have SHA-256 and at most 2 MiB. Importing the same file again keeps one.`,
		Example: "  staddle car import other.car",
		RunE: func(c *cobra.Command, args []string) error {
			name, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			var r api.Imported
			if err := a.call(c.Context(), api.CallCARImport, api.CARImport{Path: name}, &r); err != nil {
				return err
			}
			return a.printImport(&r, summary)
		},
	}
}

func (a *app) printImport(r *api.Imported, h head) error {
	if a.json {
		return a.emit(struct {
			head
			*api.Imported
		}{h, r})
	}
	first := "no root"
	if len(r.Roots) > 0 {
		first = r.Roots[0]
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %10s  %s  %s  %s\n", first, bytesText(r.Bytes), counted(r.Blocks, "block"),
		time.UnixMilli(r.Added).Format("2006-01-02 15:04"), safe(r.Name))
	return err
}

func (a *app) carList() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "list what was imported", Args: cobra.NoArgs, Example: "  staddle car ls",
		Long: "List what was imported, newest first: first root, size, blocks, time, source.",
		RunE: func(c *cobra.Command, _ []string) error {
			var r api.Imports
			if err := a.call(c.Context(), api.CallCARList, api.None{}, &r); err != nil {
				return err
			}
			for i := range r.Imports {
				if err := a.printImport(&r.Imports[i], item); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) carRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm CID", Short: "let go of what was imported under a root", Args: cobra.ExactArgs(1), Example: "  staddle car rm bafy...",
		Long: "Let go of what was imported under a root. Blocks that something else uses stay.",
		RunE: func(c *cobra.Command, args []string) error {
			return a.call(c.Context(), api.CallCARRemove, api.RefRequest{Ref: args[0]}, new(api.None))
		},
	}
}

func (a *app) ipfsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "ipfs", Short: "fetch from the IPFS world",
		Long: `Fetch from the IPFS world. A node that is started with --ipfs speaks bitswap and
graphsync there, under a key of its own, and serves what it holds of public
datasets and imports; --ipfs-gateway serves the same over HTTP.`,
		Example: "  staddle ipfs fetch bafy... --from /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...",
	}
	c.AddCommand(a.ipfsFetch())
	return c
}

func (a *app) ipfsFetch() *cobra.Command {
	var q api.IPFSFetch
	var pieces string
	c := &cobra.Command{
		Use: "fetch CID", Short: "get all blocks below a CID from its peers", Args: cobra.ExactArgs(1),
		Long: `Get all blocks below a CID from the peers that --from names, by bitswap, and keep
them like an import. --graphsync asks the first peer for the whole DAG at once, or
for pieces FIRST:END of TOTAL of a dataset's UnixFS root, counted from 0.`,
		Example: "  staddle ipfs fetch bafy... --from /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...\n  staddle ipfs fetch bafy... --graphsync --pieces 0:100/4096 --from /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...",
		RunE: func(c *cobra.Command, args []string) error {
			q.CID = args[0]
			if len(q.From) == 0 {
				return usage(c, "from whom? --from takes a multiaddr that ends in /p2p/ID")
			}
			if pieces != "" {
				if _, err := fmt.Sscanf(pieces, "%d:%d/%d", &q.First, &q.End, &q.Total); err != nil || !q.GraphSync {
					return usage(c, "--pieces %q: want FIRST:END/TOTAL, with --graphsync", pieces)
				}
			}
			var r api.Imported
			if err := a.call(c.Context(), api.CallIPFSFetch, q, &r); err != nil {
				return err
			}
			return a.printImport(&r, summary)
		},
	}
	c.Flags().StringSliceVar(&q.From, "from", nil, "multiaddr of a peer, with /p2p/ID; may be repeated")
	c.Flags().BoolVar(&q.GraphSync, "graphsync", false, "by graphsync instead of bitswap")
	c.Flags().StringVar(&pieces, "pieces", "", "only pieces FIRST:END of TOTAL, by graphsync")
	return c
}
