package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/staddle/staddle/types"
)

// MaxPayload is the largest payload of a record in bytes.
const MaxPayload = 1 << 20

// Kinds of record.
const (
	kindPiece   = 1
	kindReplica = 2
)

const (
	recordMagic   = "STDR"
	recordVersion = 1
	recordHeader  = 52
	segmentMagic  = "STADSEG1"
	segmentHeader = 16
)

func kindName(kind byte) string {
	switch kind {
	case kindPiece:
		return "piece"
	case kindReplica:
		return "replica"
	}
	return fmt.Sprintf("record of kind %d", kind)
}

// header stands before each payload.
type header struct {
	kind byte
	key  types.Hash
	n    uint32 // bytes of payload
	sum  uint32 // CRC-32C of the payload
}

func (h header) size() int64 { return recordHeader + int64(h.n) }

func (h header) encode() []byte {
	b := make([]byte, 0, recordHeader)
	b = append(b, recordMagic...)
	b = append(b, recordVersion, h.kind, 0, 0)
	b = append(b, h.key[:]...)
	b = binary.BigEndian.AppendUint32(b, h.n)
	b = binary.BigEndian.AppendUint32(b, h.sum)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads the first recordHeader bytes of b.
func parseHeader(b []byte) (h header, err error) {
	if len(b) < recordHeader {
		return h, fmt.Errorf("record header cut after %d of %d bytes", len(b), recordHeader)
	}
	b = b[:recordHeader]
	if string(b[:4]) != recordMagic {
		return h, fmt.Errorf("no record begins here")
	}
	if sum, want := crc32.Checksum(b[:48], castagnoli), binary.BigEndian.Uint32(b[48:]); sum != want {
		return h, fmt.Errorf("record header has checksum %08x, want %08x", sum, want)
	}
	if b[4] != recordVersion || b[6] != 0 || b[7] != 0 {
		return h, fmt.Errorf("record of version %d, want %d", b[4], recordVersion)
	}
	h.kind, h.key = b[5], types.Hash(b[8:40])
	h.n, h.sum = binary.BigEndian.Uint32(b[40:]), binary.BigEndian.Uint32(b[44:])
	if h.n == 0 || h.n > MaxPayload {
		return header{}, fmt.Errorf("record of %d bytes, want 1 to %d", h.n, MaxPayload)
	}
	return h, nil
}

// checkSum finds what a disk has changed.
func (h header) checkSum(payload []byte) error {
	if sum := crc32.Checksum(payload, castagnoli); sum != h.sum {
		return fmt.Errorf("payload has checksum %08x, want %08x", sum, h.sum)
	}
	return nil
}

// checkPayload says why payload is not the one of h, or nil.
func (h header) checkPayload(payload []byte) error {
	if err := h.checkSum(payload); err != nil {
		return err
	}
	if h.kind == kindPiece && types.Digest(types.RawCID(payload)) != h.key {
		return errors.New("payload has another hash")
	}
	return nil
}

func segmentHead(number uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte(segmentMagic), number)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func checkSegmentHead(b []byte, number uint32) error {
	if !bytes.Equal(b, segmentHead(number)) {
		return fmt.Errorf("segment %d has a wrong header", number)
	}
	return nil
}

// scanner reads the records of a segment one after the other.
type scanner struct {
	f   io.ReaderAt
	off int64 // of the next record
	end int64
	buf []byte
}

// found is a record that a scanner came by.
type found struct {
	header
	off     int64
	payload []byte // until the next call
	bad     error  // the payload is damaged; the header is right
}

// next gives the following record; io.EOF at the end. After another error the
// header at off is damaged or the record is cut: only resync can go on.
func (s *scanner) next() (r found, err error) {
	if s.off == s.end {
		return r, io.EOF
	}
	head := make([]byte, min(recordHeader, s.end-s.off))
	if err := readFull(s.f, head, s.off); err != nil {
		return r, err
	}
	if r.header, err = parseHeader(head); err != nil {
		return r, err
	}
	r.off = s.off
	if s.off+r.size() > s.end {
		return r, fmt.Errorf("record of %d bytes cut after %d", r.size(), s.end-s.off)
	}
	if cap(s.buf) < int(r.n) {
		s.buf = make([]byte, r.n)
	}
	r.payload = s.buf[:r.n]
	if err := readFull(s.f, r.payload, s.off+recordHeader); err != nil {
		return r, err
	}
	r.bad = r.checkPayload(r.payload)
	s.off += r.size()
	return r, nil
}

// resync moves to the next offset above off where a valid header stands, or to
// the end.
func (s *scanner) resync() error {
	const window = 64 << 10
	buf := make([]byte, window+recordHeader)
	for at := s.off + 1; at < s.end; at += window {
		b := buf[:min(int64(len(buf)), s.end-at)]
		if err := readFull(s.f, b, at); err != nil {
			return err
		}
		for i := 0; i < min(window, len(b)); i++ {
			j := bytes.Index(b[i:], []byte(recordMagic))
			if j < 0 {
				break
			}
			i += j
			if _, err := parseHeader(b[i:]); err == nil {
				s.off = at + int64(i)
				return nil
			}
		}
	}
	s.off = s.end
	return nil
}

func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
