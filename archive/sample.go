package archive

import (
	"errors"
	"io"
	"io/fs"

	"github.com/klauspost/compress/flate"
)

// The sample that decides whether a file is stored (G2).
const (
	storedFrom  = 65536 // smaller files are never stored
	samples     = 8
	sampleBytes = 4096
)

// sampler decides G2. It keeps its buffers between files.
type sampler struct {
	z   *flate.Writer
	buf [samples * sampleBytes]byte
	out appender
}

// stored reports whether a file is kept as it is (G2): eight samples of 4,096
// bytes, deflated as one stream, give more than 15/16 of their sum. Integers
// only, fixed offsets, so every machine decides alike.
func (s *sampler) stored(size int64, readAt func(p []byte, off int64) error) (bool, error) {
	if size < storedFrom {
		return false, nil
	}
	for k := range int64(samples) {
		part := s.buf[k*sampleBytes : (k+1)*sampleBytes]
		if err := readAt(part, k*(size-sampleBytes)/(samples-1)); err != nil {
			return false, err
		}
	}
	s.out.b = s.out.b[:0]
	s.z.Reset(&s.out)
	if _, err := s.z.Write(s.buf[:]); err != nil {
		return false, err
	}
	if err := s.z.Close(); err != nil {
		return false, err
	}
	return len(s.out.b)*16 > len(s.buf)*15, nil
}

// newDeflater makes the one compressor of this packer (G2).
func newDeflater() *flate.Writer {
	z, err := flate.NewWriter(io.Discard, deflateLevel)
	if err != nil {
		panic(err) // the level is a constant that the library knows
	}
	return z
}

// source reads one file of an fs.FS at rising offsets; files that can seek or
// read at an offset may be read in any order.
type source struct {
	f   fs.File
	pos int64
}

// readAt fills p from off. io.ErrUnexpectedEOF means that the file ends before.
func (s *source) readAt(p []byte, off int64) (n int, err error) {
	if r, ok := s.f.(io.ReaderAt); ok {
		n, err = r.ReadAt(p, off)
		if n == len(p) {
			return n, nil
		}
		return n, short(err)
	}
	if err := s.seek(off); err != nil {
		return 0, err
	}
	n, err = io.ReadFull(s.f, p)
	s.pos += int64(n)
	return n, short(err)
}

// reaches reports whether the byte at off can still be read.
func (s *source) reaches(off int64) bool {
	if s.f == nil || off >= s.pos {
		return s.f != nil
	}
	_, at := s.f.(io.ReaderAt)
	_, seek := s.f.(io.Seeker)
	return at || seek
}

func (s *source) seek(off int64) error {
	if s.pos == off {
		return nil
	}
	if r, ok := s.f.(io.Seeker); ok {
		_, err := r.Seek(off, io.SeekStart)
		s.pos = off
		return err
	}
	n, err := io.CopyN(io.Discard, s.f, off-s.pos)
	s.pos += n
	return short(err)
}

// short makes the two ends of a file that is too short one.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
