package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/staddle/staddle/bench/kubo"
	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// sizes are what the rows work on.
type sizes struct {
	file     int64 // put, get
	files    int   // of 10 KiB
	four     int64 // from four peers
	large    int64 // ranges and memory
	ranges   int
	replicas int64
	inPlace  int64
}

var (
	full  = sizes{file: 512 * mib, files: 20_000, four: 128 * mib, large: 4 * gib, ranges: 1000, replicas: 24 * mib, inPlace: 10 * gib}
	quick = sizes{file: 64 * mib, files: 2000, four: 32 * mib, large: 256 * mib, ranges: 60, replicas: 8 * mib, inPlace: gib}
)

func (b *bench) goCommand(dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(b.ctx, "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	return c
}

func (b *bench) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

// film makes a folder with one file that no compressor makes smaller, always the
// same, and gives the folder.
func (b *bench) film(size int64) (string, error) {
	folder := b.path("film")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", err
	}
	f, err := os.Create(filmIn(folder))
	if err != nil {
		return "", err
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, mib)
	for left := size; left > 0; left -= int64(len(buf)) {
		buf = buf[:min(left, mib)]
		_, _ = random.Read(buf) // never fails
		if _, err := f.Write(buf); err != nil {
			return "", err
		}
	}
	return folder, nil
}

func filmIn(folder string) string { return filepath.Join(folder, "film.bin") }

// texts makes a folder of files of 10 KiB in 100 directories, of words drawn by
// chance: they compress to about a third.
func (b *bench) texts(files int) (folder string, bytes int64, err error) {
	const size = 10 << 10
	folder = b.path("texts")
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	words := make([]string, 2000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", random.Uint64N(1<<(8+random.Uint64N(32))))
	}
	var text strings.Builder
	for i := range files {
		text.Reset()
		for text.Len() < size {
			text.WriteString(words[random.IntN(len(words))])
			text.WriteByte(' ')
		}
		dir := filepath.Join(folder, fmt.Sprintf("%02d", i%100))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.txt", i)), []byte(text.String()[:size]), 0o600); err != nil {
			return "", 0, err
		}
	}
	return folder, int64(files) * size, nil
}

// repo makes a fresh repository of kubo.
func (b *bench) repo(name string) (*kubo.Repo, error) { return kubo.Init(b.ctx, b.ipfs, b.path(name)) }

// duel runs both sides in turn, once to warm up and then as often as asked.
func (b *bench) duel(sides ...func(run int) (proc.Use, error)) ([][]proc.Use, error) {
	uses := make([][]proc.Use, len(sides))
	for run := range b.runs {
		for i, side := range sides {
			settle()
			u, err := side(run)
			if err != nil {
				return nil, err
			}
			b.say("   run %d side %d: %.2f s, %.2f CPU s, %d MB", run+1, i+1, u.Wall.Seconds(), u.CPU.Seconds(), u.RSS/1_000_000)
			uses[i] = append(uses[i], u)
		}
	}
	return uses, nil
}

// settle lets the disk finish what was written before, so that nobody pays for
// it but who caused it.
func settle() {
	syscall.Sync()
	time.Sleep(200 * time.Millisecond)
}

// figure turns what a run cost into a figure.
type figure func(proc.Use) float64

// speed is MB a second.
func speed(bytes int64) figure {
	return func(u proc.Use) float64 { return float64(bytes) / 1e6 / u.Wall.Seconds() }
}

// thrift is MB per CPU-second.
func thrift(bytes int64) figure {
	return func(u proc.Use) float64 { return float64(bytes) / 1e6 / u.CPU.Seconds() }
}

// side is the median run of one program.
func side(name string, of figure, uses []proc.Use) *table.Side {
	s := &table.Side{Name: name}
	for _, u := range uses {
		s.Runs = append(s.Runs, of(u))
		s.RSS = max(s.RSS, u.RSS)
	}
	m := table.Median(s.Runs)
	s.Figure, s.CPUSeconds = s.Runs[m], uses[m].CPU.Seconds()
	return s
}

func ratioAtLeast(v float64) table.Bar {
	return table.Bar{Of: table.Ratio, Sense: table.AtLeast, Value: v}
}

func atLeast(v float64) table.Bar {
	return table.Bar{Of: table.Ours, Sense: table.AtLeast, Value: v}
}
func atMost(v float64) table.Bar { return table.Bar{Of: table.Ours, Sense: table.AtMost, Value: v} }

const (
	mbs   = "MB/s"
	mbCPU = "MB/CPU-s"
)

// mb names a size in a row.
func mb(n int64) string {
	if n >= gib {
		return fmt.Sprintf("%d GiB", n/gib)
	}
	return fmt.Sprintf("%d MiB", n/mib)
}
