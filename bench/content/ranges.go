package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	random "math/rand/v2"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"

	"github.com/staddle/staddle/bench/ours"
	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
)

func du(dir string) *exec.Cmd { return exec.Command("du", "-sk", dir) }

// ranges reads parts of a file that is elsewhere, and counts what comes over
// the wire for them. Two readers take turns, so that all of it is within what each
// has for nothing.
func (b *bench) ranges() (_ []table.Line, err error) {
	size, count := b.sizes.large, b.sizes.ranges
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	t, err := b.publish(folder, 2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	before, err := t.received()
	if err != nil {
		return nil, err
	}
	u, err := proc.With([]*proc.Daemon{t.from.Daemon, t.readers[0].Daemon, t.readers[1].Daemon}, func() (proc.Use, error) {
		began := time.Now()
		err := b.parts(t, filmIn(folder), count)
		return proc.Use{Wall: time.Since(began)}, err
	})
	if err != nil {
		return nil, err
	}
	after, err := t.received()
	if err != nil {
		return nil, err
	}
	asked := int64(count) * mib
	fetched := func(proc.Use) float64 { return float64(after-before) / float64(asked) }
	return []table.Line{{
		Name: fmt.Sprintf("%d random ranges of 1 MiB of %s", count, mb(size)), Unit: "x", Bar: atMost(1.6),
		Ours: side("staddle", fetched, []proc.Use{u}),
		Note: fmt.Sprintf("%.0f ms a range", u.Wall.Seconds()*1000/float64(count)),
	}}, nil
}

// received is what all readers have had from peers.
func (t *town) received() (sum uint64, err error) {
	for _, r := range t.readers {
		got, err := t.Received(r)
		if err != nil {
			return 0, err
		}
		sum += got
	}
	return sum, nil
}

func (b *bench) parts(t *town, file string, count int) error {
	chance := random.New(random.NewChaCha8([32]byte{2}))
	for i := range count {
		reader := t.readers[i%len(t.readers)]
		offset := chance.Int64N(b.sizes.large - mib)
		var got bytes.Buffer
		q := api.CatRequest{Ref: t.ref + "/film.bin", Offset: offset, Length: mib}
		if err := reader.Client.Bytes(b.ctx, api.CallCat, q, &got); err != nil {
			return err
		}
		if int64(got.Len()) != mib {
			return fmt.Errorf("%d bytes from %d, want %d", got.Len(), offset, mib)
		}
		if err := same(got.Bytes(), file, offset); err != nil {
			return err
		}
	}
	return nil
}

// replicas fetches from the one host, which keeps rsa-chain replicas and decodes
// them for each reader; the publisher is gone. What all cores decode when they do
// nothing else is measured before each run.
func (b *bench) replicas() (_ []table.Line, err error) {
	size := b.sizes.replicas
	t := &town{Net: ours.New(b.ctx, b.staddle, b.dir)}
	defer func() { err = errors.Join(err, t.Close()) }()
	hosts, err := t.hosted(3, 2)
	if err != nil {
		return nil, err
	}
	if t.readers, err = t.Add(numbered("reader", b.runs)...); err != nil {
		return nil, err
	}
	const bond = "2000"
	encoder := api.HostEnableRequest{Encode: true, Bond: bond}
	if err := t.serve(hosts, api.HostEnableRequest{SpaceGiB: 8}, encoder); err != nil {
		return nil, err
	}
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	b.say("   encoding; this takes minutes")
	if t.ref, _, err = t.Put(t.from, folder, kept(1, "rsa-chain")...); err != nil {
		return nil, err
	}
	if err := t.leave(hosts[:1]); err != nil {
		return nil, err
	}
	var limit []float64
	get := b.get(t, size)
	u, err := b.duel(func(run int) (proc.Use, error) {
		v, err := decodeLimit(b.ctx)
		if err != nil {
			return proc.Use{}, err
		}
		limit = append(limit, v)
		return get(run)
	})
	if err != nil {
		return nil, err
	}
	peer := &table.Side{Name: "decode", Runs: limit, Figure: limit[table.Median(limit)]}
	return []table.Line{{
		Name: "get " + mb(size) + " from a host of rsa-chain replicas", Unit: mbs, Bar: ratioAtLeast(0.8),
		Ours: side("staddle", speed(size), u[0]), Peer: peer,
		Note: "decode: what all cores of this machine decode when they do nothing else",
	}}, nil
}

// decodeLimit decodes one piece on every core for two seconds and gives the
// rate of all in MB/s.
func decodeLimit(ctx context.Context) (float64, error) {
	enc, err := replica.ByName("rsa-chain")
	if err != nil {
		return 0, err
	}
	key, err := replica.GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	piece := make([]byte, types.PieceSize)
	_, _ = rand.Read(piece) // never fails
	coded, err := enc.Encode(replica.Tag{}, key, piece)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var pieces atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := enc.Decode(replica.Tag{}, key.Modulus(), coded, len(piece)); err == nil {
					pieces.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(pieces.Load()*types.PieceSize) / 1e6 / time.Since(began).Seconds(), nil
}
