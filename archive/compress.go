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
	payload, changed, err := c.read(m)
	if err != nil {
		return out, fmt.Errorf("read %q: %w", m.Entry.Name, err)
	}
	out.Digest, out.Changed = sha256.Sum256(payload[:m.Size]), changed
	if m.Stored {
		out.Bytes = AppendStored(dst, payload)
		return out, nil
	}
	out.Bytes, err = appendDeflated(dst, payload, c.z)
	return out, err
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
