package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/staddle/staddle/types"
)

// MemoryAgain opens a store in memory on the files of a closed one, or on none.
func MemoryAgain(o Options, from *Store) (*Store, error) {
	o.fs = vfs.NewMem()
	if from != nil {
		o.fs = from.opt.fs
	}
	return Open("/memory", o)
}

// killOptions are those of the process that is killed.
var killOptions = Options{SegmentSize: 256 << 10, Margin: 1, Quota: 64 << 20}

// ChildMain is the process that the tests kill: it opens dir, says what it has
// acknowledged, one line each, and goes on until it dies.
func ChildMain(dir string) int {
	s, err := Open(dir, killOptions)
	if errors.Is(err, ErrLocked) {
		fmt.Println("locked")
		return 3
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("open")
	if err := churn(s, uint64(os.Getpid())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// churn puts pieces, replicas and blocks from several goroutines and releases
// some, printing "+<piece>", "n<block>", "r<lot>/<piece>" only after the
// acknowledgement and "-<owner>" before a release begins.
func churn(s *Store, seed uint64) error {
	lines := make(chan string, 64)
	failed := make(chan error, 4)
	for w := range uint64(4) {
		go func() { failed <- churnOne(s, seed*4+w, lines) }()
	}
	out := bufio.NewWriter(os.Stdout)
	for {
		select {
		case err := <-failed:
			return err
		case l := <-lines:
			fmt.Fprintln(out, l)
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

func churnOne(s *Store, seed uint64, lines chan<- string) error {
	for round := uint64(0); ; round++ {
		owner := fmt.Sprintf("%d-%d", seed, round)
		res, err := s.Pieces().Reserve(owner, 1<<17)
		if err != nil {
			return err
		}
		for i := range uint64(6) {
			h, err := res.Put(noise(seed, round*6+i, 1000+int(i)*3000))
			if err != nil {
				return err
			}
			lines <- fmt.Sprintf("+%s %s", h, owner)
		}
		if err := res.Commit(); err != nil {
			return err
		}
		if err := churnState(s, seed, round, lines); err != nil {
			return err
		}
		if round%8 != 0 { // most go again, so that compaction runs all the time
			lines <- "-" + owner
			if err := s.Pieces().Release(owner); err != nil {
				return err
			}
		}
	}
}

func churnState(s *Store, seed, round uint64, lines chan<- string) error {
	n := types.NewNode(noise(seed, round, 500))
	b := s.Batch()
	b.PutNode(n)
	b.Set("tip", "x", n.CID.Bytes())
	if err := b.Commit(); err != nil {
		return err
	}
	lines <- "n" + n.CID.String()
	if round%8 != 0 {
		return nil
	}
	lot := types.H("lot", types.Be64(seed), types.Be64(round))
	res, err := s.Replicas().Reserve(lot, 5000)
	if err != nil {
		return err
	}
	if err := res.Put(1, 2, noise(seed, round, 5000)); err != nil {
		return err
	}
	lines <- "r" + lot.String()
	return res.Commit()
}

func noise(seed, i uint64, n int) []byte {
	out := make([]byte, 0, n+32)
	for j := uint64(0); len(out) < n; j++ {
		h := types.H("noise", types.Be64(seed), types.Be64(i), types.Be64(j))
		out = append(out, h[:]...)
	}
	return out[:n]
}
