package cluster

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
)

// cursor walks through one partition of one run.
type cursor struct {
	hi, lo uint64
	line   []byte // with LF

	run     *run
	entries []entry       // in memory
	disk    *bufio.Reader // on disk
}

// next goes to the following fact, or gives io.EOF.
func (c *cursor) next() (err error) {
	if c.disk == nil {
		if len(c.entries) == 0 {
			return io.EOF
		}
		e := c.entries[0]
		c.entries = c.entries[1:]
		c.hi, c.lo, c.line = e.hi, e.lo, c.run.line(e)
		return nil
	}
	if c.line, err = readLine(c.disk); err != nil {
		return err
	}
	c.hi, c.lo = prefix(c.line[:len(c.line)-1])
	return nil
}

// readLine reads a line with its LF. It is good until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(long) <= minArena {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

func (c *cursor) compare(o *cursor) int {
	if c.hi != o.hi {
		return cmp.Compare(c.hi, o.hi)
	}
	if c.lo != o.lo {
		return cmp.Compare(c.lo, o.lo)
	}
	return compareLines(c.line, o.line)
}

// merged reads the facts of one partition from all runs in order.
type merged struct {
	ctx  context.Context
	heap []*cursor // the smallest first
	rest []byte    // of the line that did not fit the last Read
}

// partition opens a partition; all map tasks have ended.
func (s *shuffle) partition(ctx context.Context, p int) (*merged, error) {
	m := &merged{ctx: ctx}
	for _, r := range s.runs {
		c := &cursor{run: r}
		if r.file == nil {
			c.entries = r.entries[r.bounds[p]:r.bounds[p+1]]
		} else {
			c.disk = bufio.NewReaderSize(io.NewSectionReader(r.file, r.offsets[p], r.offsets[p+1]-r.offsets[p]), cursorBuffer)
		}
		switch err := c.next(); {
		case errors.Is(err, io.EOF):
		case err != nil:
			return nil, err
		default:
			m.heap = append(m.heap, c)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
	return m, nil
}

func (m *merged) sift(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.heap[child].compare(m.heap[least]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// advance moves on from the smallest line.
func (m *merged) advance() error {
	switch err := m.heap[0].next(); {
	case errors.Is(err, io.EOF):
		last := len(m.heap) - 1
		m.heap[0], m.heap = m.heap[last], m.heap[:last]
	case err != nil:
		return err
	}
	m.sift(0)
	return nil
}

// Read gives facts as a stream of lines.
func (m *merged) Read(b []byte) (n int, err error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	for n < len(b) {
		if len(m.rest) == 0 {
			if len(m.heap) == 0 {
				break
			}
			m.rest = m.heap[0].line
		}
		k := copy(b[n:], m.rest)
		n += k
		if m.rest = m.rest[k:]; len(m.rest) > 0 {
			break
		}
		if err := m.advance(); err != nil {
			return n, err
		}
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
