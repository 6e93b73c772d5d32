package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

const (
	aheadMost  = 8 << 20 // bytes of a file that are fetched beyond what its reader has taken
	aheadFirst = 1 << 20 // the same before it has taken anything; it grows by what was taken
	aheadStep  = 8       // pieces that are asked for together at least, unless no more are needed
	aheadTime  = 4_000   // ms of a steady reader's own speed that are ahead of it at most
	paceTime   = 4_000   // ms over which that speed is measured
)

// Cat writes length bytes from offset of the file at ref.Path to w; a negative
// length means to the end. Only the pieces that hold them are fetched, at most
// 8 MiB, and at most what a steady reader takes in 4 s, before w has taken what
// lies before them, so that a reader that goes away has cost little. w gets each byte as soon as its piece is here.
func (l *Library) Cat(ctx context.Context, ref Ref, w io.Writer, offset, length int64) (int64, error) {
	if offset < 0 {
		return 0, fmt.Errorf("offset %d below 0", offset)
	}
	if ref.Path == "" {
		return 0, fmt.Errorf("%s: %w: name a file in the dataset", ref, ErrAmbiguous)
	}
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return 0, err
	}
	r, err := d.reader(playing)
	if err != nil {
		return 0, err
	}
	f, err := r.Open(ref.Path)
	if err != nil {
		return 0, err
	}
	end := f.Size()
	if length >= 0 && length <= math.MaxInt64-offset {
		end = min(end, offset+length)
	}
	if offset >= end {
		return 0, nil
	}
	s := &stream{d: d, r: r, name: ref.Path, from: offset, end: end}
	return s.run(f, w)
}

// stream is a part of a file on its way to a writer. One goroutine fetches, the
// other writes; the mutex guards what both look at.
type stream struct {
	d         *dataset // of the writer
	r         *archive.Reader
	name      string
	from, end int64

	mu    sync.Mutex
	at    int64         // first byte that the writer has not taken
	pace  pace          // of the writer
	moved chan struct{} // closed when a piece came, the writer took some, or fetching ended
	over  bool          // fetching has ended
	fault error         // and why
}

// run starts the fetching goroutine and waits for it.
func (s *stream) run(f *archive.FileReader, w io.Writer) (int64, error) {
	s.at, s.moved = s.from, make(chan struct{})
	ctx, cancel := context.WithCancel(s.d.ctx)
	ahead := *s.d // a dataset belongs to one goroutine
	ahead.ctx = ctx
	var work sync.WaitGroup
	work.Go(func() {
		err := s.fetch(&ahead)
		s.change(func() { s.over, s.fault = true, err })
	})
	n, err := s.write(f, w)
	cancel()
	work.Wait()
	return n, err
}

// change changes what is guarded and wakes who waits for it.
func (s *stream) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.moved)
	s.moved = make(chan struct{})
}

// write hands out the bytes in order.
func (s *stream) write(f *archive.FileReader, w io.Writer) (sum int64, err error) {
	buf := make([]byte, min(s.end-s.from, types.PieceSize))
	for at := s.from; at < s.end; {
		n := int(min(int64(len(buf)), s.end-at))
		if err := s.await(at, int64(n)); err != nil {
			return sum, err
		}
		n, err := f.ReadAt(buf[:n], at)
		if err != nil && (err != io.EOF || n == 0) { //nolint:errorlint // io.EOF is bare by contract
			return sum, err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return sum, fmt.Errorf("write: %w", err)
		}
		sum, at = sum+int64(n), at+int64(n)
		now := s.d.l.Now()
		s.change(func() {
			s.at = at
			s.pace.note(at, now)
		})
	}
	return sum, nil
}

// pace is how fast a writer takes bytes.
type pace struct {
	since types.Millis
	from  int64
	rate  int64 // bytes a second over the last span; 0 before the first is over
}

func (p *pace) note(at int64, now types.Millis) {
	if p.since == 0 {
		p.since, p.from = now, at
	}
	if took := int64(now) - int64(p.since); took >= paceTime {
		p.rate = (at - p.from) * 1000 / took
		p.since, p.from = now, at
	}
}

// most is how far ahead of such a writer fetching may be, in bytes: a film that is
// watched takes little, and whoever stops watching has paid for what lay ahead.
func (p *pace) most() int64 {
	if p.rate == 0 {
		return aheadMost
	}
	return min(max(p.rate*aheadTime/1000, aheadFirst), aheadMost)
}

// await returns when the pieces of some bytes are here.
func (s *stream) await(at, n int64) error {
	first, count, err := s.r.PiecesFor(s.name, at, n)
	if err != nil {
		return err
	}
	digests, err := s.d.digests(first, count)
	if err != nil {
		return err
	}
	for _, digest := range digests {
		if err := s.awaitPiece(digest); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) awaitPiece(digest types.Hash) error {
	for {
		s.mu.Lock()
		moved, over, fault := s.moved, s.over, s.fault
		s.mu.Unlock()
		n, err := s.d.l.Pieces.Size(digest)
		if err != nil || n > 0 {
			return err
		}
		if over {
			return errors.Join(fault, s.d.ctx.Err())
		}
		select {
		case <-moved:
		case <-s.d.ctx.Done():
			return context.Cause(s.d.ctx)
		}
	}
}

// fetch brings the pieces from the first to the last, never further than the
// writer's place allows.
func (s *stream) fetch(d *dataset) error {
	first, count, err := s.r.PiecesFor(s.name, s.from, s.end-s.from)
	if err != nil {
		return err
	}
	if err := d.openIndex(); err != nil { // so does an index
		return err
	}
	g := &getter{d: d, tell: func() { s.change(func() {}) }}
	for last := first + count - 1; first <= last; {
		next, err := s.allowed(d.ctx, first, last)
		if err != nil {
			return errors.Join(err, g.close())
		}
		if err := g.get(span{first, next - first + 1}); err != nil {
			return errors.Join(err, g.close())
		}
		s.change(func() {}) // pieces that another stream has brought are here, too
		first = next + 1
	}
	return g.close()
}

// allowed waits until pieces from first on may be fetched, and gives the last.
func (s *stream) allowed(ctx context.Context, first, last uint32) (uint32, error) {
	for {
		s.mu.Lock()
		at, moved, most := s.at, s.moved, s.pace.most()
		s.mu.Unlock()
		need, until, err := s.reach(at, most)
		if err != nil {
			return 0, err
		}
		until = min(until, last)
		if until >= first && (until == last || until-first+1 >= aheadStep || first <= need) {
			return until, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// reach gives the last piece that a writer at a place needs next, and the last
// that may be fetched for it when so many bytes may lie ahead.
func (s *stream) reach(at, most int64) (need, until uint32, err error) {
	first, count, err := s.r.PiecesFor(s.name, at, min(types.PieceSize, s.end-at))
	if err != nil {
		return 0, 0, err
	}
	need = first + count - 1
	ahead := min(aheadFirst+4*(at-s.from), most, s.end-at)
	first, count, err = s.r.PiecesFor(s.name, at, ahead)
	until = first + count - 1
	if at+ahead < s.end { // what is only half allowed waits
		until--
	}
	return need, max(need, until), err
}
