// Package torrent runs libtorrent for measurements, by its Python module as
// Debian packages it: plaintext BitTorrent v1 over TCP on loopback.
package torrent

import (
	"context"
	_ "embed" // the script below
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/staddle/staddle/bench/proc"
)

//go:embed peer.py
var script []byte

// ErrAbsent is the error where the Python module is not installed.
var ErrAbsent = errors.New("python3-libtorrent is not installed: apt-get update && apt-get install -y python3-libtorrent")

// Peer is the program.
type Peer struct {
	ctx    context.Context
	python string
	script string
	dir    string
}

// Find finds a Python with libtorrent and writes the script into dir.
func Find(ctx context.Context, dir string) (*Peer, error) {
	for _, python := range []string{"/usr/bin/python3", "python3"} { // Debian's own first
		if exec.CommandContext(ctx, python, "-c", "import libtorrent").Run() != nil {
			continue
		}
		p := &Peer{ctx, python, filepath.Join(dir, "peer.py"), dir}
		return p, os.WriteFile(p.script, script, 0o600)
	}
	return nil, ErrAbsent
}

// Version is the library's.
func (p *Peer) Version() (string, error) {
	return proc.Output(exec.CommandContext(p.ctx, p.python, "-c", "import libtorrent; print(libtorrent.__version__)"))
}

// Seed is a session that serves one file. Stop it.
type Seed struct {
	*proc.Daemon
	torrent, port string
}

// Seed serves a file.
func (p *Peer) Seed(file string) (*Seed, error) {
	s := &Seed{torrent: filepath.Join(p.dir, "bench.torrent")}
	port := filepath.Join(p.dir, "port")
	var err error
	c := exec.CommandContext(p.ctx, p.python, p.script, "seed", file, s.torrent, port)
	if s.Daemon, err = proc.Start(c, filepath.Join(p.dir, "seed.log"), nil); err != nil {
		return nil, err
	}
	err = proc.Await(p.ctx, "libtorrent serves", 60*time.Second, func() (bool, error) {
		b, err := os.ReadFile(port)
		s.port = strings.TrimSpace(string(b))
		return err == nil, nil
	})
	if err != nil {
		return nil, errors.Join(err, errors.New(s.Log()), s.Stop())
	}
	return s, nil
}

// Get fetches the file into a folder with a session of its own. The wall time is
// from the connection to the last piece; the processor time has the start of
// Python in it, some hundredths of a second.
func (p *Peer) Get(dir string, from *Seed) (proc.Use, error) {
	return proc.With([]*proc.Daemon{from.Daemon}, func() (proc.Use, error) {
		var out strings.Builder
		c := exec.CommandContext(p.ctx, p.python, p.script, "get", dir, from.torrent, from.port)
		c.Stdout = &out
		u, err := proc.Run(c)
		if err != nil {
			return u, err
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
		u.Wall = time.Duration(seconds * float64(time.Second))
		return u, err
	})
}
