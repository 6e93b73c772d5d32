package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/staddle/staddle/bench/kubo"
	"github.com/staddle/staddle/bench/ours"
	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
)

// Chunkers of ipfs add: pieces as long as ours, and the longest that kubo
// recommends.
const (
	like   = "size-262144"
	longer = "size-1048576"
)

// ownPut puts a folder into a fresh home without a daemon.
func (b *bench) ownPut(folder string) func(int) (proc.Use, error) {
	return func(int) (proc.Use, error) {
		home := b.path("home")
		defer os.RemoveAll(home)
		return proc.Run(ours.Command(b.ctx, b.staddle, home, "put", folder, "--offline"))
	}
}

// ipfsAdd adds a folder to a fresh repository without a daemon.
func (b *bench) ipfsAdd(path, chunker string, durable bool) func(int) (proc.Use, error) {
	return func(int) (proc.Use, error) {
		r, err := b.repo("repo")
		if err != nil {
			return proc.Use{}, err
		}
		defer os.RemoveAll(b.path("repo"))
		if durable {
			if err := r.Sync(); err != nil {
				return proc.Use{}, err
			}
		}
		settle()
		_, u, err := r.Add(path, chunker)
		return u, err
	}
}

const durability = "ours and this kubo sync to disk before they return; kubo's default does not, see the line after"

func (b *bench) putBig() ([]table.Line, error) {
	size := b.sizes.file
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	u, err := b.duel(b.ownPut(folder), b.ipfsAdd(folder, like, true), b.ipfsAdd(folder, like, false), b.ipfsAdd(folder, longer, false))
	if err != nil {
		return nil, err
	}
	name := "put " + mb(size)
	fast, lean := speed(size), thrift(size)
	own := side("staddle", fast, u[0])
	return []table.Line{
		{Name: name, Unit: mbs, Ours: own, Peer: side("kubo", fast, u[1]), Bar: ratioAtLeast(1.5), Note: durability},
		{Name: name + ", kubo unsynced", Unit: mbs, Ours: own, Peer: side("kubo", fast, u[2])},
		{Name: name + ", kubo unsynced 1 MiB chunks", Unit: mbs, Ours: own, Peer: side("kubo", fast, u[3])},
		{Name: name + ", CPU", Unit: mbCPU, Ours: side("staddle", lean, u[0]), Peer: side("kubo", lean, u[1]), Bar: atLeast(300)},
	}, nil
}

func (b *bench) putSmall() ([]table.Line, error) {
	folder, bytes, err := b.texts(b.sizes.files)
	if err != nil {
		return nil, err
	}
	u, err := b.duel(b.ownPut(folder), b.ipfsAdd(folder, like, true), b.ipfsAdd(folder, like, false), b.tar(folder))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("put %d files of 10 KiB", b.sizes.files)
	fast := speed(bytes)
	own := side("staddle", fast, u[0])
	return []table.Line{
		{Name: name, Unit: mbs, Ours: own, Peer: side("kubo", fast, u[1]), Bar: ratioAtLeast(1.5), Note: durability},
		{Name: name + ", kubo unsynced", Unit: mbs, Ours: own, Peer: side("kubo", fast, u[2])},
		{Name: name + ", tar+gzip", Unit: mbs, Ours: own, Peer: side("tar", fast, u[3])},
	}, nil
}

// tar packs and compresses a folder with the system's tar and gzip, and syncs.
func (b *bench) tar(folder string) func(int) (proc.Use, error) {
	return func(int) (proc.Use, error) {
		out := b.path("texts.tgz")
		defer os.Remove(out)
		return proc.Run(exec.CommandContext(b.ctx, "sh", "-c", `tar -czf "$1" -C "$0" . && sync -d "$1"`, folder, out))
	}
}

// inPlace puts a folder without copying what is in it.
func (b *bench) inPlace() ([]table.Line, error) {
	size := b.sizes.inPlace
	line := table.Line{Name: "put --in-place of " + mb(size), Unit: "%", Bar: atMost(1)}
	help, err := proc.Output(exec.CommandContext(b.ctx, b.staddle, "put", "--help"))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(help, "--in-place") {
		line.End, line.Note = table.NotYet, "put has no --in-place"
		return []table.Line{line}, nil
	}
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	home := b.path("home")
	u, err := proc.Run(ours.Command(b.ctx, b.staddle, home, "put", folder, "--offline", "--in-place"))
	if err != nil {
		return nil, err
	}
	grown, err := allocated(home)
	if err != nil {
		return nil, err
	}
	line.Ours = side("staddle", func(proc.Use) float64 { return 100 * float64(grown) / float64(size) }, []proc.Use{u})
	line.Note = fmt.Sprintf("%.0f MB/s", speed(size)(u))
	return []table.Line{line}, nil
}

// pair is a repository that has the film and its daemon, and how to make one
// that fetches from it.
func (b *bench) seeded(file, chunker string) (from *kubo.Repo, cid string, err error) {
	if from, err = b.repo("kubo-from"); err != nil {
		return nil, "", err
	}
	if cid, _, err = from.Add(file, chunker); err != nil {
		return nil, "", err
	}
	return from, cid, from.Up()
}
