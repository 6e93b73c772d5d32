package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/klauspost/compress/flate"

	"github.com/staddle/staddle/types"
)

// The exact sizes of spec/tgz.md.
const (
	// Packer names the format in the table of contents (G1).
	Packer = "staddle/tgz/1"
	// TOCName is the tar entry that holds the table of contents.
	TOCName = "stargz.index.json"
	// FooterSize is the length of the last gzip member, which points at the
	// table of contents.
	FooterSize = 51

	// StoredMember is the length of a full stored member: 16 pieces (G3).
	StoredMember = 4194304
	// StoredChunk is the number of payload bytes in a full stored member (G3).
	StoredChunk = 4193966
	// DeflatedChunk is the number of payload bytes in a full deflated member.
	DeflatedChunk = 1048576
	// AlignedSize is the least size of a file whose payload starts a piece (G4).
	AlignedSize = 4194304

	storedBlock  = 65531 // payload bytes of a stored block; 65,536 with its head
	blockHead    = 5     // bytes before them
	gzipHead     = 10    // bytes of a gzip header without extra field
	gzipTail     = 8     // CRC-32 and length
	minPadding   = gzipHead + 2 + 4 + blockHead + gzipTail
	maxPadding   = 65535
	deflateLevel = 6
	tarBlock     = 512
)

// appendGzipHead appends the fixed header: no time, no name, unknown system.
func appendGzipHead(dst []byte, flags byte) []byte {
	return append(dst, 0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255)
}

func appendGzipTail(dst []byte, crc uint32, size int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, crc)
	return binary.LittleEndian.AppendUint32(dst, uint32(size))
}

// First byte of a stored block: more blocks follow, or none.
const (
	moreBlocks = 0
	lastBlock  = 1
)

// appendBlockHead begins a stored block of n bytes, at most 65,535 (RFC 1951,
// 3.2.4).
func appendBlockHead(dst []byte, n int, flag byte) []byte {
	return append(dst, flag, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
}

// AppendStored appends data as one stored gzip member (G3). With StoredChunk
// bytes of data the member is StoredMember bytes long; more are refused by
// nobody, but never written by the Planner.
func AppendStored(dst, data []byte) []byte {
	return appendStored(dst, int64(len(data)), func(p []byte, off int64) { copy(p, data[off:]) })
}

// appendStored appends a stored member of size bytes (G3). fill puts the bytes
// from off where they stay, block by block in order, so that they are moved once.
func appendStored(dst []byte, size int64, fill func(p []byte, off int64)) []byte {
	dst = appendGzipHead(slices.Grow(dst, int(storedLength(size))), 0)
	crc := uint32(0)
	for off := int64(0); off == 0 || off < size; off += storedBlock {
		n, flag := min(size-off, storedBlock), byte(moreBlocks)
		if off+n == size {
			flag = lastBlock
		}
		dst = appendBlockHead(dst, int(n), flag)
		block := dst[len(dst) : len(dst)+int(n)]
		fill(block, off)
		crc = crc32.Update(crc, crc32.IEEETable, block)
		dst = dst[:len(dst)+int(n)]
	}
	return appendGzipTail(dst, crc, size)
}

// appendDeflated appends data as one deflated gzip member (G1, G2).
func appendDeflated(dst, data []byte, z *flate.Writer) ([]byte, error) {
	out := appender{appendGzipHead(dst, 0)}
	z.Reset(&out)
	if _, err := z.Write(data); err != nil {
		return dst, err
	}
	if err := z.Close(); err != nil {
		return dst, err
	}
	return appendGzipTail(out.b, crc32.ChecksumIEEE(data), int64(len(data))), nil
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// appendPadding appends empty gzip members of gap bytes in all (G4). A gap that
// no member fits in has been widened by paddingTo.
func appendPadding(dst []byte, gap int64) []byte {
	for gap > maxPadding {
		dst = appendEmpty(dst, "SP", make([]byte, 32768-minPadding))
		gap -= 32768
	}
	if gap == 0 {
		return dst
	}
	return appendEmpty(dst, "SP", make([]byte, gap-minPadding))
}

// paddingTo is the number of padding bytes from offset to a piece boundary (G4):
// to the next one, or to the one after when the gap is too small for a member.
func paddingTo(offset int64) int64 {
	gap := (types.PieceSize - offset%types.PieceSize) % types.PieceSize
	if gap > 0 && gap < minPadding {
		gap += types.PieceSize
	}
	return gap
}

// appendEmpty appends an empty gzip member with one extra subfield (RFC 1952,
// 2.3.1.1).
func appendEmpty(dst []byte, id string, field []byte) []byte {
	dst = appendGzipHead(dst, 4)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(4+len(field)))
	dst = append(dst, id...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(field)))
	dst = append(dst, field...)
	dst = appendBlockHead(dst, 0, lastBlock)
	return appendGzipTail(dst, 0, 0)
}

// appendFooter appends the eStargz footer: the offset of the table of contents.
func appendFooter(dst []byte, tocOffset int64) []byte {
	return appendEmpty(dst, "SG", fmt.Appendf(nil, "%016xSTARGZ", tocOffset))
}

// parseFooter reads the footer; anything but the exact bytes is refused.
func parseFooter(b []byte) (tocOffset int64, err error) {
	if len(b) != FooterSize {
		return 0, fmt.Errorf("footer of %d bytes, want %d", len(b), FooterSize)
	}
	n, err := strconv.ParseUint(string(b[16:32]), 16, 63)
	if err != nil {
		return 0, fmt.Errorf("footer holds no offset: %w", err)
	}
	if string(appendFooter(nil, int64(n))) != string(b) {
		return 0, fmt.Errorf("last %d bytes are no footer of %s", FooterSize, Packer)
	}
	return int64(n), nil
}
