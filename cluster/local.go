package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/settle"
)

// local runs the stages inside this process on several cores.
type local struct{ Options }

// Name is "local".
func (*local) Name() string { return "local" }

// Run maps blocks of the inputs in parallel, sorts the facts by partition within
// the memory limit and reduces the partitions in parallel.
func (l *local) Run(ctx context.Context, plan settle.Plan, dir string, progress func(Progress)) (Result, error) {
	parts := func(s settle.Step) int { return min(max(s.Partitions, 1), 256) }
	return way{parts, l.execute}.run(ctx, plan, dir, progress)
}

func (l *local) execute(ctx context.Context, t *task) (err error) {
	s := newShuffle(t, l.Mem, l.Workers)
	if err := os.RemoveAll(s.dir); err != nil { // of a run that was killed
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	mapped, err := l.mapAll(ctx, t, s)
	if err != nil {
		return err
	}
	return l.reduceAll(ctx, t, s, mapped)
}

// blockSize is what one map task reads, in bytes.
const blockSize = 8 << 20

func (l *local) mapAll(ctx context.Context, t *task, s *shuffle) (total settle.Counts, err error) {
	blocks, err := split(t.sources, blockSize)
	if err != nil {
		return total, err
	}
	var size int64
	for _, b := range blocks {
		size += b.end - b.start
	}
	var next atomic.Int64
	var mu sync.Mutex // guards total, done and the progress function
	var done int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(l.Workers, len(blocks)) {
		g.Go(func() error {
			out := s.collector()
			for i := next.Add(1) - 1; i < int64(len(blocks)); i = next.Add(1) - 1 {
				b := blocks[i]
				c, err := t.mapBlock(ctx, b, out)
				if err != nil {
					return fmt.Errorf("map %s: %w", t.sources[b.source].path, err)
				}
				mu.Lock()
				total.Add(c)
				done += b.end - b.start
				t.tell(PhaseMap, done, size)
				mu.Unlock()
			}
			return out.seal()
		})
	}
	return total, g.Wait()
}

func (t *task) mapBlock(ctx context.Context, b block, out io.Writer) (settle.Counts, error) {
	src := t.sources[b.source]
	f, err := os.Open(src.path)
	if err != nil {
		return settle.Counts{}, err
	}
	defer f.Close() // only read
	in := &contextReader{ctx: ctx, r: io.NewSectionReader(f, b.start, b.end-b.start)}
	return t.stage.Map(src.params, in, out)
}

// contextReader ends a stream when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read passes on.
func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

func (l *local) reduceAll(ctx context.Context, t *task, s *shuffle, mapped settle.Counts) error {
	missing := t.missing()
	total := int64(len(t.done))
	done := total - int64(missing)
	var mu sync.Mutex // guards done and the progress function
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.Workers)
	for p := range t.done {
		if !s.want[p] {
			continue
		}
		g.Go(func() error {
			if err := t.reducePart(ctx, s, p, mapped); err != nil {
				return fmt.Errorf("reduce partition %d: %w", p, err)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			t.tell(PhaseReduce, done, total)
			return nil
		})
	}
	return g.Wait()
}

func (t *task) reducePart(ctx context.Context, s *shuffle, p int, mapped settle.Counts) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	in, err := s.partition(ctx, p)
	if err != nil {
		return err
	}
	rows, err := newPartWriter(t.path("part", p) + ".tmp")
	if err != nil {
		return err
	}
	report := &reportWriter{path: t.path("report", p) + ".tmp"}
	params := t.params
	params.Report = report
	reduced, err := t.stage.Reduce(params, in, rows)
	if err != nil {
		err = errors.Join(err, rows.f.Close())
		if report.f != nil {
			err = errors.Join(err, report.f.Close())
		}
		return err
	}
	return t.commit(p, rows, report, mapped, reduced)
}

// block is a piece of a source that begins and ends with a line.
type block struct {
	source     int
	start, end int64
}

// split cuts the sources into blocks of about size bytes.
func split(sources []source, size int64) (blocks []block, err error) {
	for i, src := range sources {
		cuts, err := cutFile(src, size)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", src.path, err)
		}
		for k := 1; k < len(cuts); k++ {
			blocks = append(blocks, block{source: i, start: cuts[k-1], end: cuts[k]})
		}
	}
	return blocks, nil
}

func cutFile(src source, size int64) ([]int64, error) {
	if src.size == 0 {
		return nil, nil
	}
	f, err := os.Open(src.path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	cuts := []int64{0}
	for at := size; at < src.size; at += size {
		if at, err = afterLF(f, at); err != nil {
			return nil, err
		}
		if at < src.size {
			cuts = append(cuts, at)
		}
	}
	return append(cuts, src.size), nil
}

// afterLF is the place after the first LF at or after at-1; the end of the file
// when there is none.
func afterLF(f io.ReaderAt, at int64) (int64, error) {
	buf := make([]byte, 64<<10)
	at--
	for {
		n, err := f.ReadAt(buf, at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
