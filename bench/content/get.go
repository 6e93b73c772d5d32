package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/staddle/staddle/bench/kubo"
	"github.com/staddle/staddle/bench/ours"
	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
	"github.com/staddle/staddle/bench/torrent"
)

// town is a community with one publisher and readers of which each fetches
// once: what a host gives to an account for nothing is 1 GiB.
type town struct {
	*ours.Net
	from       *ours.Node
	validators []*ours.Node
	readers    []*ours.Node
	ends       []*ours.Node // who sends
	ref        string
}

// publish starts a community and publishes a folder in it.
func (b *bench) publish(folder string, readers int) (*town, error) {
	t := &town{Net: ours.New(b.ctx, b.staddle, b.dir)}
	nodes, err := t.Add(append([]string{"publisher"}, numbered("reader", readers)...)...)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.from, t.ends, t.readers = nodes[0], nodes[:1], nodes[1:]
	if err = t.Found(); err == nil {
		t.ref, _, err = t.Put(t.from, folder)
	}
	if err == nil {
		err = t.Follow(2)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// get fetches on the reader of that run, and looks that all has come.
func (b *bench) get(t *town, size int64) func(int) (proc.Use, error) {
	return func(run int) (proc.Use, error) {
		to := b.path(fmt.Sprintf("got%d", run))
		defer os.RemoveAll(to)
		u, err := t.Get(t.readers[run], t.ref, to, t.ends...)
		if err != nil {
			return u, err
		}
		return u, whole(filmIn(to), size)
	}
}

func whole(name string, size int64) error {
	info, err := os.Stat(name)
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%s has %d bytes, want %d", name, info.Size(), size)
	}
	return err
}

const unsynced = "kubo by its default, without sync; ours syncs the pieces it stores"

func (b *bench) getBitswap() (_ []table.Line, err error) {
	size := b.sizes.file
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	t, err := b.publish(folder, b.runs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	from, cid, err := b.seeded(filmIn(folder), like)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Stop()) }()
	u, err := b.duel(b.get(t, size), b.bitswap(from, cid, size))
	if err != nil {
		return nil, err
	}
	name := "get " + mb(size) + " from one peer"
	fast, lean := speed(size), thrift(size)
	return []table.Line{
		{Name: name, Unit: mbs, Ours: side("staddle", fast, u[0]), Peer: side("bitswap", fast, u[1]), Bar: ratioAtLeast(2), Note: unsynced},
		{Name: name + ", CPU", Unit: mbCPU, Ours: side("staddle", lean, u[0]), Peer: side("bitswap", lean, u[1]), Bar: ratioAtLeast(1.5)},
	}, nil
}

// bitswap fetches into a fresh repository that is connected to the one that has
// it, and on into a file.
func (b *bench) bitswap(from *kubo.Repo, cid string, size int64) func(int) (proc.Use, error) {
	return func(int) (u proc.Use, err error) {
		r, err := b.repo("kubo-to")
		if err != nil {
			return u, err
		}
		out := b.path("kubo-got")
		defer os.RemoveAll(b.path("kubo-to"))
		defer os.Remove(out)
		if err := r.Up(); err != nil {
			return u, err
		}
		defer func() { err = errors.Join(err, r.Stop()) }()
		if err := r.Connect(from); err != nil {
			return u, err
		}
		settle()
		if u, err = r.Get(cid, out, from); err != nil {
			return u, err
		}
		return u, whole(out, size)
	}
}

func (b *bench) getTorrent() (_ []table.Line, err error) {
	size := b.sizes.file
	line := table.Line{Name: "get " + mb(size) + " from one peer, plaintext peer", Unit: mbs, Bar: ratioAtLeast(1)}
	peer, err := torrent.Find(b.ctx, b.dir)
	if errors.Is(err, torrent.ErrAbsent) {
		line.End, line.Note = table.Skipped, err.Error()
		return []table.Line{line}, nil
	}
	if err != nil {
		return nil, err
	}
	version, err := peer.Version()
	if err != nil {
		return nil, err
	}
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	t, err := b.publish(folder, b.runs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	from, err := peer.Seed(filmIn(folder))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Stop()) }()
	u, err := b.duel(b.get(t, size), func(int) (proc.Use, error) {
		to := b.path("torrent-got")
		defer os.RemoveAll(to)
		u, err := peer.Get(to, from)
		return u, errors.Join(err, whole(filmIn(to), size))
	})
	if err != nil {
		return nil, err
	}
	line.Ours, line.Peer = side("staddle", speed(size), u[0]), side("libtorrent", speed(size), u[1])
	line.Note = "libtorrent " + version + ", BitTorrent v1 over TCP, not encrypted, not synced to disk"
	return []table.Line{line}, nil
}
