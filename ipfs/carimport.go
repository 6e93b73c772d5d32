package ipfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// Imported says what a CAR held: its roots, and the count and bytes of the
// blocks that were stored. A CAR may name roots that it does not hold, and hold
// blocks below none of them.
type Imported struct {
	Version CARVersion
	Roots   []cid.Cid
	Blocks  int
	Bytes   int64
}

// Import reads a CAR of version 1 or 2 and stores each block after its hash was
// checked; identity blocks are checked and left out. It holds one block at a
// time, however many there are; the index of version 2 is not read. What was
// stored before an error stays stored, and is counted. Errors: ErrCAR with the
// offset, ErrHash, ErrIdentity, ErrTooBig, ErrMismatch, those of r and put.
func Import(ctx context.Context, r io.Reader, put Put) (Imported, error) {
	im := importer{in: &carReader{r: bufio.NewReaderSize(r, 64<<10), left: -1}, put: put}
	err := im.open()
	for err == nil {
		if err = context.Cause(ctx); err == nil {
			err = im.section(ctx)
		}
	}
	if !errors.Is(err, errCAREnd) {
		return im.done, fmt.Errorf("read CAR: %w", err)
	}
	return im.done, nil
}

// errCAREnd ends a CAR where it should.
var errCAREnd = errors.New("end of CAR")

// carReader counts bytes, and ends where the data of version 2 end.
type carReader struct {
	r    *bufio.Reader
	at   int64 // bytes read
	left int64 // bytes until the end of the data; below 0: no such end
	fail error // what broke the stream, other than its end
}

// ReadByte implements io.ByteReader.
func (c *carReader) ReadByte() (byte, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	b, err := c.r.ReadByte()
	if err == nil {
		c.count(1)
	}
	return b, c.note(err)
}

// Read implements io.Reader.
func (c *carReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.left > 0 && int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.count(int64(n))
	return n, c.note(err)
}

func (c *carReader) note(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		c.fail = err
	}
	return err
}

func (c *carReader) count(n int64) {
	c.at += n
	if c.left > 0 {
		c.left -= n
	}
}

// damaged is an error of the format at an offset. What broke the stream itself
// passes as it is.
func (c *carReader) damaged(at int64, what string, err error) error {
	switch {
	case c.fail != nil:
		return fmt.Errorf("%s at byte %d: %w", what, at, c.fail)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s at byte %d: cut short", ErrCAR, what, at)
	}
	return fmt.Errorf("%w: %s at byte %d: %w", ErrCAR, what, at, err)
}

// uvarint reads a length in its shortest form. io.EOF means that nothing is left.
func (c *carReader) uvarint() (uint64, error) {
	start := c.at
	n, err := binary.ReadUvarint(c)
	switch {
	case errors.Is(err, io.EOF) && c.at == start:
		return 0, io.EOF
	case err != nil:
		return 0, err
	case c.at-start != int64(len(binary.AppendUvarint(nil, n))):
		return 0, fmt.Errorf("length %d in %d bytes, not the shortest form", n, c.at-start)
	}
	return n, nil
}

// frame reads a length and as many bytes.
func (c *carReader) frame(limit uint64) ([]byte, error) {
	n, err := c.uvarint()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("length 0")
	}
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooBig, n, limit)
	}
	if c.left >= 0 && int64(n) > c.left {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if have, err := io.ReadFull(c, b); err != nil {
		return nil, fmt.Errorf("%w (%d of %d bytes)", err, have, n)
	}
	return b, nil
}

type importer struct {
	in   *carReader
	put  Put
	done Imported
}

// open reads the headers.
func (im *importer) open() error {
	im.done.Version = CARv1
	if start, err := im.in.r.Peek(len(carPragma)); err == nil && bytes.Equal(start, carPragma) {
		im.done.Version = CARv2
		if err := im.unwrap(); err != nil {
			return err
		}
	}
	at := im.in.at
	header, err := im.in.frame(MaxCARHeader)
	if err != nil {
		return im.in.damaged(at, "header", err)
	}
	if im.done.Roots, err = parseCARHeader(header); err != nil {
		return im.in.damaged(at, "header", err)
	}
	return nil
}

// unwrap goes to the payload of a CAR of version 2.
func (im *importer) unwrap() error {
	var b [carV2Size]byte
	if _, err := io.CopyN(io.Discard, im.in, int64(len(carPragma))); err != nil {
		return im.in.damaged(0, "pragma", err)
	}
	at := im.in.at
	if _, err := io.ReadFull(im.in, b[:]); err != nil {
		return im.in.damaged(at, "header of version 2", err)
	}
	h, err := parseCARv2(b[:])
	if err != nil {
		return im.in.damaged(at, "header of version 2", err)
	}
	if _, err := io.CopyN(io.Discard, im.in, int64(h.dataStart)-im.in.at); err != nil {
		return im.in.damaged(im.in.at, "padding", err)
	}
	im.in.left = int64(h.dataSize)
	return nil
}

// section reads one block and stores it.
func (im *importer) section(ctx context.Context) error {
	at := im.in.at
	frame, err := im.in.frame(maxSection)
	if errors.Is(err, io.EOF) && im.in.at == at {
		if im.in.left > 0 {
			return im.in.damaged(at, "data", io.ErrUnexpectedEOF)
		}
		return errCAREnd
	}
	if err != nil {
		return im.in.damaged(at, "section", err)
	}
	n, c, err := cid.CidFromBytes(frame)
	if err != nil {
		return im.in.damaged(at, "section", fmt.Errorf("CID: %w", err))
	}
	block := frame[n:]
	if err := Check(c, block); err != nil {
		return im.in.damaged(at, "section", err)
	}
	if isIdentity(c) {
		return nil
	}
	if err := im.put(ctx, c, block); err != nil {
		return fmt.Errorf("store block %s: %w", c, err)
	}
	im.done.Blocks++
	im.done.Bytes += int64(len(block))
	return nil
}
