package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"strconv"

	"github.com/klauspost/compress/flate"

	"github.com/staddle/staddle/types"
)

// The table of contents is JSON with one entry a line, written by this one
// function family, so that its bytes are a function of what it says.
const (
	tocStart = `{"version":1,"packer":"` + Packer + `","entries":[` + "\n"
	tocEnd   = "]}\n"
)

// record is one line of the table of contents: an entry, or with chunk set a
// further chunk of the file before it. Times and digests are in their text form.
type record struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Size        int64  `json:"size"`
	ModTime     string `json:"modtime"`
	LinkName    string `json:"linkName"`
	Mode        int64  `json:"mode"`
	Offset      int64  `json:"offset"`
	ChunkOffset int64  `json:"chunkOffset"`
	ChunkSize   int64  `json:"chunkSize"`
	Digest      string `json:"digest"`
	ChunkDigest string `json:"chunkDigest"`
	Stored      bool   `json:"stored"`
	PackedSize  int64  `json:"packedSize"`
}

const chunkType = "chunk"

// append appends the line without its separator. Fields that are zero are left
// out, as eStargz does.
func (r *record) append(dst []byte) []byte {
	text := func(key, value string) {
		if value != "" {
			dst = append(dst, `,"`+key+`":`...)
			dst = appendString(dst, value)
		}
	}
	number := func(key string, value int64) {
		if value != 0 {
			dst = append(dst, `,"`+key+`":`...)
			dst = strconv.AppendInt(dst, value, 10)
		}
	}
	dst = appendString(append(dst, `{"name":`...), r.Name)
	text("type", r.Type)
	number("size", r.Size)
	text("modtime", r.ModTime)
	text("linkName", r.LinkName)
	number("mode", r.Mode)
	number("offset", r.Offset)
	number("chunkOffset", r.ChunkOffset)
	number("chunkSize", r.ChunkSize)
	text("digest", r.Digest)
	text("chunkDigest", r.ChunkDigest)
	if r.Stored {
		dst = append(dst, `,"stored":true`...)
	}
	number("packedSize", r.PackedSize)
	return append(dst, '}')
}

// appendString appends a JSON string (RFC 8259): only what must be escaped is.
func appendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}

func digestText(h types.Hash) string { return "sha256:" + hex.EncodeToString(h[:]) }

// headRecord is the line of an entry without payload.
func headRecord(e *Entry) record {
	return record{
		Name: e.key(), Type: e.Type.String(), Size: e.Size, ModTime: formatDate(e.ModTime),
		LinkName: e.Link, Mode: int64(e.Mode),
	}
}

// chunkRecord is the line of a payload member that begins at offset in the TGZ.
func chunkRecord(m Member, offset int64, digest types.Hash) record {
	r := record{Name: m.Entry.key(), Type: chunkType}
	if m.Offset == 0 {
		r = headRecord(m.Entry)
		r.Stored = m.Stored
	}
	r.Offset, r.ChunkOffset, r.ChunkDigest = offset, m.Offset, digestText(digest)
	if m.Size == m.Entry.Size {
		r.Digest = r.ChunkDigest
		return r
	}
	r.ChunkSize = m.Size
	return r
}

// tocWriter collects the table of contents as it grows, already deflated, so
// that a folder of a million files takes some 50 MB.
type tocWriter struct {
	z    *flate.Writer
	out  spool
	sum  hash.Hash
	crc  uint32
	size int64 // bytes of JSON
	rows int64
	line []byte
}

func newTOCWriter() *tocWriter {
	t := &tocWriter{z: newDeflater(), sum: sha256.New()}
	t.z.Reset(&t.out)
	return t
}

func (t *tocWriter) write(p []byte) error {
	t.crc = crc32.Update(t.crc, crc32.IEEETable, p)
	_, err := t.z.Write(p)
	return err
}

func (t *tocWriter) json(p []byte) error {
	t.sum.Write(p)
	t.size += int64(len(p))
	return t.write(p)
}

func (t *tocWriter) add(r record) error {
	t.line = t.line[:0]
	if t.rows == 0 {
		t.line = append(t.line, tocStart...)
	} else {
		t.line = append(t.line, ",\n"...)
	}
	t.rows++
	t.line = r.append(t.line)
	return t.json(t.line)
}

// finish closes the JSON and gives its digest. emit receives the gzip member:
// the tar header as a stored block, because it holds the length of the JSON,
// then the deflated JSON and the end of the tar.
func (t *tocWriter) finish(emit func([]byte) error) (digest types.Hash, err error) {
	end := "\n" + tocEnd
	if t.rows == 0 {
		end = tocStart + tocEnd
	}
	if err := t.json([]byte(end)); err != nil {
		return digest, err
	}
	tail := make([]byte, tarPadding(t.size)+2*tarBlock)
	if err := t.write(tail); err != nil {
		return digest, err
	}
	if err := t.z.Close(); err != nil {
		return digest, err
	}
	t.sum.Sum(digest[:0])
	header := ustar{name: TOCName, mode: 0o444, size: t.size, typeflag: '0', uname: Packer}.append(nil)
	first := appendBlockHead(appendGzipHead(nil, 0), len(header), moreBlocks)
	if err := emit(append(first, header...)); err != nil {
		return digest, err
	}
	for _, part := range t.out.parts {
		if err := emit(part); err != nil {
			return digest, err
		}
	}
	rest := t.size + int64(len(tail))
	crc := joinCRC(crc32.ChecksumIEEE(header), t.crc, rest)
	return digest, emit(appendGzipTail(nil, crc, tarBlock+rest))
}

// spool keeps what is written in parts that are never copied again.
type spool struct{ parts [][]byte }

const spoolPart = 1 << 18

func (s *spool) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		last := len(s.parts) - 1
		if last < 0 || len(s.parts[last]) == cap(s.parts[last]) {
			s.parts = append(s.parts, make([]byte, 0, spoolPart))
			last++
		}
		n := min(len(rest), cap(s.parts[last])-len(s.parts[last]))
		s.parts[last] = append(s.parts[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}
