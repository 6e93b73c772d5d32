package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/staddle/staddle/types"
)

// DefaultTOCLimit is how much table of contents a Reader accepts unless told
// otherwise, in bytes of JSON: some million files.
const DefaultTOCLimit = 256 << 20

const (
	// maxRow is the longest line of a table of contents: two paths of which each
	// byte is written as \u00xx, and the rest.
	maxRow = 2*6*MaxPath + 1024
	// minMember is the shortest gzip member that holds anything. Each line of a
	// table of contents stands for one, which bounds the lines of a small file.
	minMember = gzipHead + 2 + gzipTail
)

// ErrForeign marks a file that is not of this packer; Unpack may still read it.
var ErrForeign = errors.New("not a " + Packer + " archive")

// chunk is one payload member.
type chunk struct {
	offset int64 // of its gzip header in the TGZ
	digest types.Hash
}

// node is an entry with the place of its payload.
type node struct {
	Entry
	chunks []chunk
	end    int64 // of the payload in the TGZ
	stored bool
}

// chunkSize is the number of file bytes in every chunk but the last.
func (n *node) chunkSize() int64 {
	if n.stored {
		return StoredChunk
	}
	return DeflatedChunk
}

// tocParser reads a table of contents line by line and believes nothing: lines
// are canonical, names clean and sorted with their directories before them,
// chunks contiguous, members in order and within the payload.
type tocParser struct {
	limit int64 // offset of the table of contents: where members end
	nodes []node
	dirs  []string // keys of the open directories
	last  string   // key of the last entry
	open  bool     // the last file still lacks chunks
	have  int64    // file bytes of it so far
	end   int64    // least offset of the next member
	rows  int64
}

// readTOC reads the member at tocOffset and gives the entries and the digest of
// the JSON.
func readTOC(r io.Reader, tocOffset, limit int64) (nodes []node, digest types.Hash, err error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, digest, fmt.Errorf("table of contents: %w", err)
	}
	z.Multistream(false)
	size, err := readTOCHeader(z, limit)
	if err != nil {
		return nil, digest, err
	}
	sum := sha256.New()
	p := tocParser{limit: tocOffset}
	lines := bufio.NewReaderSize(io.TeeReader(io.LimitReader(z, size), sum), maxRow)
	if err := p.parse(lines); err != nil {
		return nil, digest, err
	}
	tail := int(tarPadding(size)) + 2*tarBlock
	rest, err := io.ReadAll(io.LimitReader(z, int64(tail)+1))
	if err != nil {
		return nil, digest, fmt.Errorf("end of the table of contents: %w", err)
	}
	if len(rest) != tail || !bytes.Equal(rest, make([]byte, tail)) {
		return nil, digest, fmt.Errorf("%d bytes after the table of contents, want %d zeros", len(rest), tail)
	}
	sum.Sum(digest[:0])
	return p.nodes, digest, nil
}

// readTOCHeader reads the tar header before the JSON, which has one form only.
func readTOCHeader(r io.Reader, limit int64) (size int64, err error) {
	var block [tarBlock]byte
	if _, err := io.ReadFull(r, block[:]); err != nil {
		return 0, fmt.Errorf("header of the table of contents: %w", short(err))
	}
	if _, err := fmt.Sscanf(string(block[124:135]), "%o", &size); err != nil {
		return 0, fmt.Errorf("size of the table of contents: %w", err)
	}
	want := ustar{name: TOCName, mode: 0o444, size: size, typeflag: '0', uname: Packer}.append(nil)
	if !bytes.Equal(block[:], want) {
		return 0, fmt.Errorf("header of the table of contents: %w", ErrForeign)
	}
	if size < 0 || size > limit {
		return 0, fmt.Errorf("table of contents of %d bytes above limit %d", size, limit)
	}
	return size, nil
}

func (p *tocParser) parse(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil || string(line) != tocStart {
		return fmt.Errorf("start of the table of contents: %w", ErrForeign)
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("line %d of the table of contents: %w", p.rows+1, short(err))
		}
		if string(line) == tocEnd {
			break
		}
		if err := p.row(line); err != nil {
			return fmt.Errorf("line %d of the table of contents: %w", p.rows, err)
		}
	}
	if p.open {
		return fmt.Errorf("file %q has %d of %d bytes", p.last, p.have, p.nodes[len(p.nodes)-1].Size)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("table of contents: %w", types.ErrTrailing)
	}
	return nil
}

// row reads one line. Writing it again must give the same bytes, with the comma
// that separates it from a line before.
func (p *tocParser) row(line []byte) error {
	if p.rows++; p.rows*minMember > p.limit {
		return fmt.Errorf("more lines than %d bytes can hold", p.limit)
	}
	text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte(","))
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if !bytes.Equal(r.append(nil), text) {
		return errors.New("not in its canonical form")
	}
	if r.Type == chunkType {
		return p.chunk(&r)
	}
	if err := p.entry(&r); err != nil {
		return err
	}
	return p.payload(&r)
}

// entry checks everything of a line but the payload.
func (p *tocParser) entry(r *record) error {
	if p.open {
		return fmt.Errorf("file %q has %d of %d bytes", p.last, p.have, p.nodes[len(p.nodes)-1].Size)
	}
	e := Entry{Name: r.Name, Size: r.Size, Link: r.LinkName, Mode: fs.FileMode(r.Mode)}
	switch r.Type {
	case "reg":
		e.Type = File
	case "dir":
		e.Type, e.Name = Dir, strings.TrimSuffix(r.Name, "/")
	case "symlink":
		e.Type = Symlink
	}
	var err error
	if e.ModTime, err = parseDate(r.ModTime); err != nil {
		return err
	}
	if int64(e.Mode) != r.Mode {
		return fmt.Errorf("mode %d is out of range", r.Mode)
	}
	if err := e.check(); err != nil {
		return err
	}
	if err := p.place(&e, r.Name); err != nil {
		return err
	}
	p.nodes = append(p.nodes, node{Entry: e})
	return nil
}

// place checks the order: sorted by key, each entry directly below a directory
// that was announced and is still open.
func (p *tocParser) place(e *Entry, name string) error {
	key := e.key()
	if key != name {
		return fmt.Errorf("name %q of a %v, want %q", name, e.Type, key)
	}
	if p.last != "" && key <= p.last {
		return fmt.Errorf("%q after %q is out of order", key, p.last)
	}
	for len(p.dirs) > 0 && !strings.HasPrefix(key, p.dirs[len(p.dirs)-1]) {
		p.dirs = p.dirs[:len(p.dirs)-1]
	}
	above := 0
	if len(p.dirs) > 0 {
		above = len(p.dirs[len(p.dirs)-1])
	}
	if strings.Contains(e.Name[above:], "/") {
		return fmt.Errorf("%q comes without its directory", e.Name)
	}
	if p.last = key; e.Type == Dir {
		p.dirs = append(p.dirs, key)
	}
	return nil
}

// payload takes the first chunk of a file, or checks that there is none.
func (p *tocParser) payload(r *record) error {
	if r.Size == 0 {
		if r.Offset|r.ChunkOffset|r.ChunkSize|r.PackedSize != 0 || r.Digest+r.ChunkDigest != "" || r.Stored {
			return errors.New("payload fields without payload")
		}
		return nil
	}
	n := &p.nodes[len(p.nodes)-1]
	n.stored = r.Stored
	if n.aligned() && r.Offset%types.PieceSize != 0 {
		return fmt.Errorf("payload of %d bytes at offset %d is not on a piece boundary", n.Size, r.Offset)
	}
	p.open, p.have = true, 0
	single := n.Size <= n.chunkSize()
	if single != (r.Digest != "") || single && r.Digest != r.ChunkDigest {
		return errors.New("digest and chunks do not agree")
	}
	return p.addChunk(n, r)
}

// chunk takes a further chunk of the open file.
func (p *tocParser) chunk(r *record) error {
	if !p.open || r.Name != p.last {
		return fmt.Errorf("chunk of %q without its file", r.Name)
	}
	if r.Size|r.Mode != 0 || r.ModTime+r.LinkName+r.Digest != "" || r.Stored {
		return errors.New("chunk with fields of a file")
	}
	return p.addChunk(&p.nodes[len(p.nodes)-1], r)
}

func (p *tocParser) addChunk(n *node, r *record) error {
	size := min(n.chunkSize(), n.Size-p.have)
	want := size
	if size == n.Size { // the only chunk does not say how long it is
		want = 0
	}
	if r.ChunkOffset != p.have || r.ChunkSize != want {
		return fmt.Errorf("chunk of %d at %d, want %d at %d", r.ChunkSize, r.ChunkOffset, want, p.have)
	}
	digest, err := parseDigest(r.ChunkDigest)
	if err != nil {
		return err
	}
	if err := p.member(n, r.Offset); err != nil {
		return err
	}
	n.chunks = append(n.chunks, chunk{r.Offset, digest})
	p.have += size
	p.open = p.have < n.Size
	return p.close(n, r)
}

// member checks where a payload member begins: behind the one before, and for
// stored payload exactly where arithmetic says.
func (p *tocParser) member(n *node, offset int64) error {
	if offset < p.end || offset > p.limit-minMember {
		return fmt.Errorf("member at offset %d, want %d to %d", offset, p.end, p.limit-minMember)
	}
	if n.stored && len(n.chunks) > 0 && offset != p.end {
		return fmt.Errorf("stored member at offset %d, want %d", offset, p.end)
	}
	p.end = offset + minMember
	if n.stored {
		left := n.Size + tarPadding(n.Size) - p.have
		p.end = offset + storedLength(min(left, StoredChunk))
	}
	return nil
}

// close takes the end of the payload with the last chunk of a file.
func (p *tocParser) close(n *node, r *record) error {
	if p.open || n.stored {
		if r.PackedSize != 0 {
			return fmt.Errorf("packed size %d where none stands", r.PackedSize)
		}
	} else {
		if r.PackedSize < p.end-n.chunks[0].offset || r.PackedSize > p.limit-n.chunks[0].offset {
			return fmt.Errorf("packed size %d of %q is out of bounds", r.PackedSize, n.Name)
		}
		p.end = n.chunks[0].offset + r.PackedSize
	}
	if !p.open {
		n.end = p.end
	}
	if p.end > p.limit {
		return fmt.Errorf("payload ends at %d, behind %d", p.end, p.limit)
	}
	return nil
}

// storedLength is the length of a stored member of n bytes (G3).
func storedLength(n int64) int64 {
	blocks := max(1, (n+storedBlock-1)/storedBlock)
	return gzipHead + blocks*blockHead + n + gzipTail
}

func parseDigest(s string) (h types.Hash, err error) {
	text, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(text) != hex.EncodedLen(len(h)) {
		return h, fmt.Errorf("digest %.80q is not sha256: and 64 hex digits", s)
	}
	_, err = hex.Decode(h[:], []byte(text))
	return h, err
}
