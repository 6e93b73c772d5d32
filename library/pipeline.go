package library

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/staddle/staddle/archive"
)

// Bounds of the pipeline.
const (
	mostFlight  = 64 << 20 // bytes of members that are planned and not yet assembled, at most
	stepsAhead  = 512      // of those members
	largeMember = 64 << 10 // bytes from which buffers are used again
	smallHead   = 256      // bytes that a deflated header takes, or the frame of a small file
)

// pipeline packs a folder on all cores: one goroutine plans, several make
// members, one puts them together in the planner's order. So the bytes do not
// depend on the number of cores.
type pipeline struct {
	planner   *archive.Planner
	assembler *archive.Assembler
	fsys      fs.FS
	warned    []archive.Warning // by the planner since its last member

	most  int64               // bytes of members that are planned and not yet assembled
	held  *semaphore.Weighted // of those
	steps chan *step          // in order, for the assembler
	work  chan *step          // for whoever is free
	free  chan []byte         // buffers of large members
}

// step is one member on its way.
type step struct {
	member archive.Member
	warned []archive.Warning // what the planner said before it
	weight int64
	made   chan archive.Packed // holds one
}

// pack is archive.Pack, spread over the cores. A sink with a method members is told
// when all members have come and the table of contents follows.
func pack(ctx context.Context, fsys fs.FS, o archive.Options, sink archive.Sink) (archive.Manifest, error) {
	cores := runtime.GOMAXPROCS(0)
	p := &pipeline{
		fsys: fsys, most: min(int64(cores+2)*archive.StoredMember, mostFlight),
		steps: make(chan *step, stepsAhead), work: make(chan *step), free: make(chan []byte, cores+2),
	}
	p.held = semaphore.NewWeighted(p.most)
	var err error
	if p.assembler, err = archive.NewAssembler(o, sink); err != nil {
		return archive.Manifest{}, err
	}
	o.Warn = func(w archive.Warning) { p.warned = append(p.warned, w) }
	if p.planner, err = archive.NewPlanner(fsys, o); err != nil {
		return archive.Manifest{}, err
	}
	if err := p.run(ctx); err != nil {
		return archive.Manifest{}, err
	}
	for _, w := range p.warned {
		p.assembler.Warn(w)
	}
	if s, ok := sink.(interface{ members() }); ok {
		s.members()
	}
	return p.assembler.Finish()
}

func (p *pipeline) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.plan(ctx) })
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error { return p.compress() })
	}
	g.Go(func() error { return p.assemble(ctx) })
	return g.Wait()
}

// plan sends members to both channels until there are no more.
func (p *pipeline) plan(ctx context.Context) error {
	defer close(p.work)
	defer close(p.steps)
	for {
		m, err := p.planner.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s := &step{member: m, weight: min(weigh(m), p.most), made: make(chan archive.Packed, 1)}
		s.warned, p.warned = p.warned, nil
		if err := p.held.Acquire(ctx, s.weight); err != nil {
			return context.Cause(ctx)
		}
		for _, to := range []chan *step{p.steps, p.work} {
			select {
			case to <- s:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// weigh is how many bytes a member takes. Those of a large stored one are read
// where they stay; of others, the file's bytes are in memory, too.
func weigh(m archive.Member) int64 {
	n := m.Size + m.Pad
	if !m.Stored || m.Entry.Size <= archive.DeflatedChunk {
		n *= 2
	}
	return n + 4096
}

// compress makes members until there are no more.
func (p *pipeline) compress() error {
	c := archive.NewCompressor(p.fsys)
	defer c.Close()
	for s := range p.work {
		packed, err := c.Compress(p.buffer(s), s.member)
		if err != nil {
			return err
		}
		s.made <- packed
	}
	return nil
}

func (p *pipeline) buffer(s *step) []byte {
	if s.member.Size < largeMember { // no more than fits: it grows at most once
		return make([]byte, 0, s.member.Size+smallHead)
	}
	select {
	case b := <-p.free:
		return b[:0]
	default:
		return nil
	}
}

// assemble takes members in order as they are made.
func (p *pipeline) assemble(ctx context.Context) error {
	for s := range p.steps {
		for _, w := range s.warned {
			p.assembler.Warn(w)
		}
		select {
		case packed := <-s.made:
			if err := p.assembler.Add(s.member, packed); err != nil {
				return err
			}
			p.recycle(packed.Bytes)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.held.Release(s.weight)
	}
	return context.Cause(ctx)
}

func (p *pipeline) recycle(b []byte) {
	if cap(b) < largeMember {
		return
	}
	select {
	case p.free <- b:
	default:
	}
}
