package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/store"
)

const diskLong = `A store keeps its index in one place and its pieces and replicas on as many disks
as there are. These commands work on the store itself: stop the daemon first
(staddle down).`

func (a *app) diskCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "disk", Short: "the disks of the store", Long: diskLong,
		Example: "  staddle disk add /mnt/big/staddle\n  staddle disk ls",
	}
	c.AddCommand(a.diskAdd(), a.diskRetire(), a.diskLost(), a.diskList())
	return c
}

func (a *app) diskAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add DIR", Short: "store on one more disk, or in a bucket", Args: cobra.ExactArgs(1),
		Long: `Store on one more disk: DIR is an empty directory on it, or one that this store
knows under another path. New pieces go where there is the most room.

s3://HOST/BUCKET/PREFIX is a bucket of any S3-compatible server, which takes what
has no room in directories. Its credentials come from AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY or from the file AWS_SHARED_CREDENTIALS_FILE, and the daemon
needs them, too; AWS_REGION names the region. What is stored there is not encrypted
beyond what it was. The daemon must be stopped first (staddle down).`,
		Example: "  staddle disk add /mnt/big/staddle\n  staddle disk add s3://s3.example.org/films/staddle",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDisk(c.Context(), args[0], func(_ context.Context, l *local, dir string) error {
				if err := l.store.AddDisk(dir); err != nil {
					return err
				}
				return a.diskDone("added", dir, 0)
			})
		},
	}
}

func (a *app) diskRetire() *cobra.Command {
	return &cobra.Command{
		Use: "retire DIR", Short: "move everything off a disk and let go of it", Args: cobra.ExactArgs(1),
		Long: `Move everything off a disk to the others, then let go of it. When it is
interrupted, the same command again goes on. The directory of the store itself
keeps its index and takes nothing else until it is added again. The daemon must be
stopped first (staddle down).`,
		Example: "  staddle disk retire /mnt/old/staddle",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDisk(c.Context(), args[0], func(ctx context.Context, l *local, dir string) error {
				if err := l.store.RetireDisk(ctx, dir); err != nil {
					return err
				}
				return a.diskDone("retired", dir, 0)
			})
		},
	}
}

func (a *app) diskLost() *cobra.Command {
	return &cobra.Command{
		Use: "lost DIR", Short: "write off a disk that will not come back", Args: cobra.ExactArgs(1),
		Long: `Write off a disk that will not come back. What was on it counts as missing and is
listed with who counts on it; getting or putting it again heals. The directory is
not touched. The daemon must be stopped first (staddle down).`,
		Example: "  staddle disk lost /mnt/broken/staddle\n  staddle disk lost /mnt/broken/staddle --yes",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDisk(c.Context(), args[0], a.writeOff)
		},
	}
}

func (a *app) writeOff(ctx context.Context, l *local, dir string) error {
	disks, err := l.store.Disks()
	if err != nil {
		return err
	}
	for _, d := range disks {
		if d.Dir != dir || d.Number == 0 {
			continue
		}
		if err := a.confirm(fmt.Sprintf("write off %s on %s?", bytesText(uint64(d.Use.Live)), safe(dir))); err != nil {
			return err
		}
	}
	if err := l.store.LoseDisk(ctx, dir); err != nil {
		return err
	}
	n, err := a.losses(l)
	if err != nil {
		return err
	}
	return a.diskDone("lost", dir, n)
}

// losses lists what is to be fetched again and counts it.
func (a *app) losses(l *local) (n int, err error) {
	err = l.store.Losses(func(lost store.Loss) error {
		n++
		owner := lost.Owner
		if lost.Kind == "replica" {
			owner = "lot " + lost.Lot.String()
		}
		if !a.json {
			_, err := fmt.Fprintln(a.stdout, "lost ", lost.Kind, lost.Key, "of", safe(owner))
			return err
		}
		return a.emit(struct {
			head
			Kind  string `json:"kind"`
			Key   string `json:"key"`
			Owner string `json:"owner"`
		}{item, "lost " + lost.Kind, lost.Key.String(), owner})
	})
	return n, err
}

func (a *app) diskList() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "list the disks, what is on them and how much room they have", Args: cobra.NoArgs,
		Long:    "List the disks, what is on them and how much room they have. The daemon must be\nstopped first (staddle down).",
		Example: "  staddle disk ls\n  staddle disk ls --json",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLocal(c.Context(), func(_ context.Context, l *local) error {
				disks, err := l.store.Disks()
				for _, d := range disks {
					if err == nil {
						err = a.tellDisk(d)
					}
				}
				if err != nil || !a.json {
					return err
				}
				return a.emit(struct {
					head
					Disks int `json:"disks"`
				}{summary, len(disks)})
			})
		},
	}
}

func (a *app) tellDisk(d store.Disk) error {
	why := ""
	if d.Err != nil {
		why = d.Err.Error()
	}
	if a.json {
		return a.emit(struct {
			head
			Number   uint32 `json:"number"`
			Dir      string `json:"dir"`
			State    string `json:"state"`
			Message  string `json:"message,omitempty"`
			Free     uint64 `json:"free"`
			Total    uint64 `json:"total"`
			Live     int64  `json:"live"`
			Disk     int64  `json:"disk"`
			Dead     int64  `json:"dead"`
			Records  int64  `json:"records"`
			Segments int    `json:"segments"`
		}{item, d.Number, d.Dir, d.State, why, d.Free, d.Total, d.Use.Live, d.Use.Disk, d.Use.Dead, d.Use.Count, d.Use.Segments})
	}
	if why != "" {
		why = "  " + safe(why)
	}
	_, err := fmt.Fprintf(a.stdout, "%-8s  %s  %s in use, %s on disk, %s free of %s%s\n", d.State, safe(d.Dir),
		bytesText(uint64(d.Use.Live)), bytesText(uint64(d.Use.Disk)), bytesText(d.Free), bytesText(d.Total), why)
	return err
}

// withDisk runs a job on the store with the directory that was named: absolute,
// or the address of a bucket.
func (a *app) withDisk(ctx context.Context, name string, job func(context.Context, *local, string) error) error {
	dir := name
	if !strings.Contains(name, "://") {
		var err error
		if dir, err = filepath.Abs(name); err != nil {
			return err
		}
	}
	return a.withLocal(ctx, func(ctx context.Context, l *local) error { return job(ctx, l, dir) })
}

func (a *app) diskDone(what, dir string, lost int) error {
	if a.json {
		return a.emit(struct {
			head
			Dir   string `json:"dir"`
			State string `json:"state"`
			Lost  int    `json:"lost"`
		}{summary, dir, what, lost})
	}
	if lost > 0 {
		a.note("%s; getting or putting it again heals; staddle verify  names the datasets", counted(uint64(lost), "record")+" lost")
	}
	a.note("%s  %s", what, safe(dir))
	return nil
}
