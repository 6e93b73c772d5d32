package transport

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	// MaxFrame is the longest frame that any protocol may allow, in bytes.
	MaxFrame = 16 << 20

	frameHead = 4         // be32 length
	frameStep = 64 << 10  // first allocation for a frame, in bytes
	frameRest = 448 << 10 // the next, when it was filled: a piece needs no third
)

// writeFrame sends the be32 length and b. A short frame goes out in one write,
// so that it is one packet.
func writeFrame(w io.Writer, b []byte) error {
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: %d bytes above limit %d", ErrTooLong, len(b), MaxFrame)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	if len(b) <= frameStep {
		_, err := w.Write(append(head, b...))
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// readFrame reads a frame of at most limit bytes. A longer one is refused on
// its length alone. Memory grows with the bytes that have come, at most twofold
// or to 512 KiB, so that a length without its bytes costs little. io.EOF means that no
// frame follows; io.ErrUnexpectedEOF that one was cut.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if limit = min(limit, MaxFrame); n > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes above limit %d", ErrTooLong, n, limit)
	}
	size := int(n)
	frame := make([]byte, 0, min(size, frameStep))
	for len(frame) < size {
		if len(frame) == cap(frame) {
			frame = slices.Grow(frame, min(size-len(frame), max(len(frame), frameRest)))
		}
		next := frame[len(frame):min(cap(frame), size)]
		k, err := io.ReadFull(r, next)
		frame = frame[:len(frame)+k]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return frame, nil
}
