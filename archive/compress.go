package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/flate"

	"github.com/staddle/staddle/types"
)

// Packed is a member's gzip bytes.
type Packed struct {
	Bytes   []byte
	Digest  types.Hash // SHA-256 of the payload bytes without padding; zero for a header
	Changed bool       // the file was shorter than planned; zeros stand for the rest

	pieces []types.Hash // of the whole pieces, where the member begins one; else nil
}

// Compressor makes the bytes of members. A worker owns one; it keeps the file
// that it read last open until the next file or Close.
type Compressor struct {
	fsys fs.FS
	z    *flate.Writer
	buf  []byte
	name string
	src  source
}

// NewCompressor reads files of the folder that the Planner walks.
func NewCompressor(fsys fs.FS) *Compressor {
	return &Compressor{fsys: fsys, z: newDeflater()}
}

// Compress appends the member's bytes to dst, which the caller owns.
func (c *Compressor) Compress(dst []byte, m Member) (out Packed, err error) {
	if m.Header {
		c.buf = appendTarHeader(c.buf[:0], m.Entry)
		out.Bytes, err = appendDeflated(dst, c.buf, c.z)
		return out, err
	}
	if m.Stored {
		out, err = c.store(dst, m)
		return out, readError(m, err)
	}
	payload, changed, err := c.read(m)
	if err != nil {
		return out, readError(m, err)
	}
	out.Digest, out.Changed = sha256.Sum256(payload[:m.Size]), changed
	out.Bytes, err = appendDeflated(dst, payload, c.z)
	return out, err
}

func readError(m Member, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %q: %w", m.Entry.Name, err)
}

// store makes a stored member. The payload of a large file begins a piece (G4)
// and its full members are whole pieces (G3), so their digests are known here,
// where many cores are at work.
func (c *Compressor) store(dst []byte, m Member) (out Packed, err error) {
	sum, base := sha256.New(), len(dst)
	out.Bytes = appendStored(dst, m.Size+m.Pad, func(p []byte, off int64) {
		p, pad := p[:min(max(m.Size-off, 0), int64(len(p)))], p
		got := 0
		if err == nil && !out.Changed && len(p) > 0 {
			got, err = c.readAt(p, m, off)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			out.Changed, err = true, nil
		}
		clear(pad[got:])
		sum.Write(p)
	})
	sum.Sum(out.Digest[:0])
	if m.Entry.aligned() {
		for b := out.Bytes[base:]; len(b) >= types.PieceSize; b = b[types.PieceSize:] {
			out.pieces = append(out.pieces, PieceDigest(b[:types.PieceSize]))
		}
	}
	return out, err
}

// readAt reads bytes of m's payload from off.
func (c *Compressor) readAt(p []byte, m Member, off int64) (int, error) {
	if m.data != nil {
		return copy(p, m.data[m.Offset+off:]), nil
	}
	m.Offset += off
	return c.readFile(p, m)
}

// read gives the member's payload and its tar padding, valid until the next call.
func (c *Compressor) read(m Member) (payload []byte, changed bool, err error) {
	n := int(m.Size + m.Pad)
	if cap(c.buf) < n {
		c.buf = make([]byte, max(n, DeflatedChunk+tarBlock))
	}
	payload = c.buf[:n]
	got := 0
	switch {
	case m.Size == 0:
	case m.data != nil:
		got = copy(payload, m.data[m.Offset:m.Offset+m.Size])
	default:
		got, err = c.readFile(payload[:m.Size], m)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		changed, err = true, nil
	}
	clear(payload[got:])
	return payload, changed, err
}

func (c *Compressor) readFile(p []byte, m Member) (n int, err error) {
	if c.name != m.Entry.Name || !c.src.reaches(m.Offset) {
		if err := c.open(m.Entry.Name); err != nil {
			return 0, err
		}
	}
	return c.src.readAt(p, m.Offset)
}

func (c *Compressor) open(name string) (err error) {
	if err := c.Close(); err != nil {
		return err
	}
	c.src.f, err = c.fsys.Open(name)
	c.name = name
	return err
}

// Close closes the file that was read last.
func (c *Compressor) Close() error {
	f := c.src.f
	c.src = source{}
	if f == nil {
		return nil
	}
	return f.Close()
}
