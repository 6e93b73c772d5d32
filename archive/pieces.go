package archive

import (
	"crypto/sha256"
	"fmt"

	"github.com/staddle/staddle/types"
)

// cutter cuts a stream into pieces (G6).
type cutter struct {
	buf    []byte
	number uint32
	emit   func(number uint32, digest types.Hash, piece []byte) error
}

func newCutter(emit func(number uint32, digest types.Hash, piece []byte) error) *cutter {
	return &cutter{buf: make([]byte, 0, types.PieceSize), emit: emit}
}

// write takes the next bytes; whole pieces leave without being copied. known are
// the digests of the pieces in p when p begins one; it may be short or nil.
func (c *cutter) write(p []byte, known []types.Hash) error {
	if len(c.buf) > 0 {
		known = nil
	}
	for len(p) > 0 {
		if len(c.buf) == 0 && len(p) >= types.PieceSize {
			if len(known) == 0 {
				known = []types.Hash{PieceDigest(p[:types.PieceSize])}
			}
			if err := c.piece(known[0], p[:types.PieceSize]); err != nil {
				return err
			}
			p, known = p[types.PieceSize:], known[1:]
			continue
		}
		n := min(len(p), types.PieceSize-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		p = p[n:]
		if len(c.buf) == types.PieceSize {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush emits what is left as the last, shorter piece.
func (c *cutter) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	err := c.piece(PieceDigest(c.buf), c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *cutter) piece(digest types.Hash, p []byte) error {
	if c.number++; c.number == 0 {
		return fmt.Errorf("more than %d pieces", ^uint32(0))
	}
	return c.emit(c.number, digest, p)
}

// PieceDigest is the address of a piece: its SHA-256 (G6).
func PieceDigest(piece []byte) types.Hash { return sha256.Sum256(piece) }

// PieceCount is the number of pieces of a dataset of size bytes (G6).
func PieceCount(size int64) int64 { return (size + types.PieceSize - 1) / types.PieceSize }

// PieceLength is the length of a piece, number from 1, of a dataset of size
// bytes; 0 when there is no such piece.
func PieceLength(number uint32, size int64) int {
	start := (int64(number) - 1) * types.PieceSize
	if number == 0 || start >= size {
		return 0
	}
	return int(min(size-start, types.PieceSize))
}
