package library

import (
	"fmt"
	"io"

	"github.com/staddle/staddle/types"
)

const (
	readAhead = 32 // pieces that are fetched after one that is missing: 8 MiB
	cached    = 16 // pieces in memory while a TGZ is unpacked: 4 MiB
	playing   = 2  // and while one file is read in order
)

// tgz reads the bytes of a dataset at any offset. What is not held is fetched,
// with some pieces after it. It belongs to one goroutine.
type tgz struct {
	d     *dataset
	cache []slot
}

type slot struct {
	number uint32 // of the piece; 0 for none
	bytes  []byte
}

func newTGZ(d *dataset, slots int) *tgz { return &tgz{d, make([]slot, slots)} }

// ReadAt reads verified bytes.
func (t *tgz) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at byte %d", off)
	}
	for n < len(p) && off < t.d.plainSize() {
		b, err := t.piece(uint32(off/types.PieceSize) + 1)
		if err != nil {
			return n, err
		}
		got := copy(p[n:], b[off%types.PieceSize:])
		n, off = n+got, off+int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (t *tgz) piece(number uint32) ([]byte, error) {
	slot := &t.cache[int(number)%len(t.cache)]
	if slot.number == number {
		return slot.bytes, nil
	}
	b, err := t.d.plain(number)
	if err != nil {
		return nil, err
	}
	slot.number, slot.bytes = number, b
	return b, nil
}

// piece gives a verified piece, from here or, when it is missing or damaged,
// from the source.
func (d *dataset) piece(number uint32) ([]byte, error) {
	digests, err := d.digests(number, 1)
	if err != nil {
		return nil, err
	}
	b, err := d.l.Pieces.Get(digests[0])
	if err != nil {
		b, err = d.pieceAgain(number, digests[0], err)
	}
	if err != nil {
		return nil, err
	}
	if want := d.length(number); int64(len(b)) != want {
		return nil, &BadError{fmt.Sprintf("piece %d", number), fmt.Errorf("%d bytes, want %d", len(b), want)}
	}
	return b, nil
}

func (d *dataset) pieceAgain(number uint32, digest types.Hash, why error) ([]byte, error) {
	if _, missing := isMissing(why); missing {
		ahead := min(readAhead, d.held.Attachment.Pieces-number+1)
		if _, err := d.fetch([]span{{number, ahead}}); err != nil {
			return nil, d.l.why(digest, err)
		}
		return d.l.Pieces.Get(digest)
	}
	if err := d.heal(number, digest); err != nil {
		if d.ctx.Err() != nil {
			return nil, err
		}
		return nil, &BadError{fmt.Sprintf("piece %d", number), why}
	}
	return d.l.Pieces.Get(digest)
}
