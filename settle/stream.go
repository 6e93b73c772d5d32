package settle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Sizes of buffers in bytes.
const (
	readBuffer  = 64 << 10 // longest physical line of a log that is still looked into
	writeBuffer = 64 << 10
)

// lineReader cuts a stream into lines. It holds one buffer, so the memory does
// not depend on the input.
type lineReader struct {
	r     *bufio.Reader
	limit int
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, max(readBuffer, limit+2)), limit: limit}
}

// next gives the next line without its LF, or io.EOF. A line that does not fit
// the buffer is read to its end and reported by long. The last line may lack its
// LF. The slice is good until the following call.
func (l *lineReader) next() (line []byte, long bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			err = nil // the next call says so
		}
		return nil, true, err
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return line, len(line) > l.limit, nil
	}
	if err != nil {
		return nil, false, err
	}
	line = line[:len(line)-1]
	return line, len(line) > l.limit, nil
}

// lineWriter collects whole lines and passes them on in large writes; each write
// ends with a line.
type lineWriter struct {
	w   io.Writer
	buf []byte
	n   uint64 // lines
}

func newLineWriter(w io.Writer) *lineWriter {
	return &lineWriter{w: w, buf: make([]byte, 0, writeBuffer+4<<10)}
}

// end closes the line that the caller appended to buf.
func (o *lineWriter) end() error {
	o.buf = append(o.buf, '\n')
	o.n++
	if len(o.buf) < writeBuffer {
		return nil
	}
	return o.flush()
}

func (o *lineWriter) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// mapper turns one line of input into lines of facts.
type mapper interface {
	line(line []byte, out *lineWriter) (legacy bool, code Code, err error)
}

// runMap feeds a mapper with all lines of a stream.
func runMap(m mapper, limit int, r io.Reader, w io.Writer) (Counts, error) {
	in := newLineReader(r, limit)
	run := mapRun{m: m, limit: limit, out: newLineWriter(w)}
	for {
		line, long, err := in.next()
		if errors.Is(err, io.EOF) {
			err = run.out.flush()
			run.c.Out = run.out.n
			return run.c, err
		}
		if err == nil {
			err = run.line(line, long)
		}
		if err != nil {
			return run.c, fmt.Errorf("after line %d: %w", run.c.In, err)
		}
	}
}

type mapRun struct {
	m     mapper
	limit int
	out   *lineWriter
	c     Counts
}

func (r *mapRun) line(line []byte, long bool) error {
	code, legacy := ErrLong, false
	if !long {
		var err error
		if legacy, code, err = r.m.line(line, r.out); err != nil {
			return err
		}
	}
	if (code == ErrLong || code == ErrGrammar) && bytes.Contains(line, []byte(seam)) {
		return r.glued(line)
	}
	r.c.In++
	if code != Accepted {
		r.c.Rejected[code]++
	} else if legacy {
		r.c.Legacy++
	}
	return nil
}

// seam is where two files were glued whose first had no LF at its end: strings
// of accepted lines hold no braces.
const seam = "}{"

func (r *mapRun) glued(line []byte) error {
	for len(line) > 0 {
		part := line
		if at := bytes.Index(line, []byte(seam)); at >= 0 {
			part = line[:at+1]
		}
		line = line[len(part):]
		if err := r.line(part, len(part) > r.limit); err != nil {
			return err
		}
	}
	return nil
}

// ErrUnsorted marks input of a reducer whose keys do not ascend.
var ErrUnsorted = errors.New("input is not sorted by bytes (use LC_ALL=C sort)")

// reducer takes the facts of one key after another.
type reducer interface {
	add(key, fact []byte) error // both are good until it returns
	flush(key []byte) error     // after the last fact of a key
	close() error               // after the last key
}

// runReduce groups the lines of a sorted stream by their first width bytes, which
// a TAB or the end of the line follows.
func runReduce(r io.Reader, width int, red reducer) (lines uint64, err error) {
	in := newLineReader(r, MaxRow+256)
	last := make([]byte, 0, width)
	for {
		line, long, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			lines++
			last, err = reduceLine(red, last, line, long, width)
		}
		if err != nil {
			return lines, fmt.Errorf("line %d: %w", lines, err)
		}
	}
	if len(last) > 0 {
		if err := red.flush(last); err != nil {
			return lines, err
		}
	}
	return lines, red.close()
}

func reduceLine(red reducer, last, line []byte, long bool, width int) ([]byte, error) {
	if long || len(line) <= width || line[width] != '\t' {
		return last, fmt.Errorf("%.80q is no fact of this stage: want a key of %d bytes and a TAB", line, width)
	}
	key := line[:width]
	switch order := bytes.Compare(last, key); {
	case order > 0:
		return last, fmt.Errorf("key %q after %q: %w", key, last, ErrUnsorted)
	case order < 0:
		if len(last) > 0 {
			if err := red.flush(last); err != nil {
				return last, err
			}
		}
		last = append(last[:0], key...)
	}
	if err := red.add(last, line[width+1:]); err != nil {
		return last, fmt.Errorf("%.80q: %w", line, err)
	}
	return last, nil
}
