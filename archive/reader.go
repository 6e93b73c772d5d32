package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/staddle/staddle/types"
)

// Reader reads files of a dataset at random. It does not change after Open and
// may be used by many goroutines, if the io.ReaderAt below it may.
type Reader struct {
	r         io.ReaderAt
	size      int64
	tocOffset int64
	tocDigest types.Hash
	nodes     []node
}

// Open reads the footer and the table of contents of a dataset of size bytes.
// tocLimit bounds the table of contents in bytes of JSON; 0 means
// DefaultTOCLimit. Errors wrap ErrForeign when the file is an archive of
// another kind.
func Open(r io.ReaderAt, size, tocLimit int64) (*Reader, error) {
	if tocLimit == 0 {
		tocLimit = DefaultTOCLimit
	}
	if size < FooterSize || size > MaxFile {
		return nil, fmt.Errorf("%d bytes, want %d to %d: %w", size, FooterSize, int64(MaxFile), ErrForeign)
	}
	footer := make([]byte, FooterSize)
	if err := readFull(r, footer, size-FooterSize); err != nil {
		return nil, fmt.Errorf("read the footer: %w", err)
	}
	at, err := parseFooter(footer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if at > size-FooterSize {
		return nil, fmt.Errorf("table of contents at offset %d of %d bytes", at, size)
	}
	nodes, digest, err := readTOC(io.NewSectionReader(r, at, size-FooterSize-at), at, tocLimit)
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, size: size, tocOffset: at, tocDigest: digest, nodes: nodes}, nil
}

// TOCDigest is the SHA-256 of the table of contents.
func (r *Reader) TOCDigest() types.Hash { return r.tocDigest }

// TOCOffset is where the table of contents begins.
func (r *Reader) TOCOffset() int64 { return r.tocOffset }

// Len is the number of entries.
func (r *Reader) Len() int { return len(r.nodes) }

// All gives the entries in the order of the archive: by path bytes, a directory
// before what it holds.
func (r *Reader) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range r.nodes {
			if !yield(r.nodes[i].Entry) {
				return
			}
		}
	}
}

// Content is the number of bytes of all files, for reserving space.
func (r *Reader) Content() (sum int64) {
	for i := range r.nodes {
		if sum += r.nodes[i].Size; sum > MaxFile*1024 { // only a lie is that large
			return MaxFile * 1024
		}
	}
	return sum
}

// find gives the place of the first entry whose key is not below key.
func (r *Reader) find(key string) int {
	return sort.Search(len(r.nodes), func(i int) bool { return r.nodes[i].key() >= key })
}

func (r *Reader) lookup(name string) (*node, error) {
	for _, key := range []string{name, name + "/"} {
		if i := r.find(key); i < len(r.nodes) && r.nodes[i].key() == key {
			return &r.nodes[i], nil
		}
	}
	return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
}

// Stat gives the entry of that name; the error wraps fs.ErrNotExist.
func (r *Reader) Stat(name string) (Entry, error) {
	n, err := r.lookup(name)
	if err != nil {
		return Entry{}, err
	}
	return n.Entry, nil
}

// List gives the entries directly in a directory; "." is the top.
func (r *Reader) List(dir string) (out []Entry, err error) {
	prefix := ""
	if dir != "." {
		n, err := r.lookup(dir)
		if err != nil {
			return nil, err
		}
		if n.Type != Dir {
			return nil, fmt.Errorf("%q is no directory", dir)
		}
		prefix = n.key()
	}
	for i := r.find(prefix); i < len(r.nodes); {
		n := &r.nodes[i]
		if !strings.HasPrefix(n.key(), prefix) {
			break
		}
		if i++; n.key() == prefix {
			continue
		}
		out = append(out, n.Entry)
		if n.Type == Dir { // skip what it holds: '0' follows '/'
			i = r.find(n.Name + "0")
		}
	}
	return out, nil
}

// FileReader reads one file of a dataset. It keeps the last deflated chunk and
// belongs to one goroutine.
type FileReader struct {
	r     *Reader
	n     *node
	held  int // chunk in buf; -1 for none
	buf   []byte
	z     *gzip.Reader
	input []byte
}

// Open gives random access to a regular file.
func (r *Reader) Open(name string) (*FileReader, error) {
	n, err := r.lookup(name)
	if err != nil {
		return nil, err
	}
	if n.Type != File {
		return nil, fmt.Errorf("%q is a %v, not a file", name, n.Type)
	}
	return r.open(n), nil
}

func (r *Reader) open(n *node) *FileReader { return &FileReader{r: r, n: n, held: -1} }

// Size is the file's length in bytes.
func (f *FileReader) Size() int64 { return f.n.Size }

// ReadAt reads at a byte of the file. Deflated chunks are verified against the
// table of contents; of stored ones only the bytes asked for are read, whose
// pieces the source below has verified.
func (f *FileReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read %q at byte %d", f.n.Name, off)
	}
	for n < len(p) && off < f.n.Size {
		got, err := f.readSome(p[n:], off)
		if err != nil {
			return n, fmt.Errorf("read %q at byte %d: %w", f.n.Name, off, err)
		}
		n, off = n+got, off+int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *FileReader) readSome(p []byte, off int64) (int, error) {
	if f.n.stored {
		at, left := f.n.storedAt(off)
		n := int(min(int64(len(p)), left, f.n.Size-off))
		return n, readFull(f.r.r, p[:n], at)
	}
	i := int(off / DeflatedChunk)
	if err := f.load(i); err != nil {
		return 0, err
	}
	return copy(p, f.buf[off-int64(i)*DeflatedChunk:]), nil
}

// storedAt maps a byte of a stored file to its place in the TGZ, and says how
// many bytes of the file follow without a gap (G3).
func (n *node) storedAt(off int64) (at, left int64) {
	member, rest := off/StoredChunk, off%StoredChunk
	block, inside := rest/storedBlock, rest%storedBlock
	at = n.chunks[0].offset + member*StoredMember + gzipHead + block*(storedBlock+blockHead) + blockHead + inside
	return at, min(storedBlock-inside, StoredChunk-rest)
}

// length is the number of file bytes in a chunk.
func (n *node) length(i int) int {
	return int(min(n.chunkSize(), n.Size-int64(i)*n.chunkSize()))
}

// extent is where a chunk's member lies in the TGZ.
func (n *node) extent(i int) (start, end int64) {
	if i+1 < len(n.chunks) {
		return n.chunks[i].offset, n.chunks[i+1].offset
	}
	return n.chunks[i].offset, n.end
}

// load unpacks and verifies one chunk into buf.
func (f *FileReader) load(i int) error {
	if f.held == i {
		return nil
	}
	f.held = -1
	start, end := f.n.extent(i)
	if limit := storedLength(f.n.chunkSize()+tarBlock) + 1024; end-start > limit {
		return fmt.Errorf("chunk %d takes %d bytes of the archive, limit %d", i, end-start, limit)
	}
	f.input = resize(f.input, int(end-start))
	if err := readFull(f.r.r, f.input, start); err != nil {
		return err
	}
	f.buf = resize(f.buf, f.n.length(i))
	if err := f.unzip(); err != nil {
		return fmt.Errorf("chunk %d: %w", i, err)
	}
	if digest := types.Hash(sha256.Sum256(f.buf)); digest != f.n.chunks[i].digest {
		return fmt.Errorf("chunk %d hashes to %s, want %s", i, digest.Short(), f.n.chunks[i].digest.Short())
	}
	f.held = i
	return nil
}

// unzip fills buf from input, and drains the rest to check the CRC.
func (f *FileReader) unzip() (err error) {
	in := bytes.NewReader(f.input)
	if f.z == nil {
		f.z, err = gzip.NewReader(in)
	} else {
		err = f.z.Reset(in)
	}
	if err != nil {
		return err
	}
	f.z.Multistream(false)
	if _, err := io.ReadFull(f.z, f.buf); err != nil {
		return short(err)
	}
	rest, err := io.Copy(io.Discard, io.LimitReader(f.z, tarBlock))
	if err != nil || rest >= tarBlock || in.Len() > 0 {
		return fmt.Errorf("%d bytes too many, %d unread (%w)", rest, in.Len(), types.ErrTrailing)
	}
	return nil
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// readFull fills p from off or gives an error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("%d of %d bytes at offset %d: %w", n, len(p), off, short(err))
}

// WriteTo writes the whole file to w and verifies every chunk before it is
// written.
func (f *FileReader) WriteTo(w io.Writer) (sum int64, err error) {
	for i := range f.n.chunks {
		if err := f.chunk(i); err != nil {
			return sum, fmt.Errorf("read %q: %w", f.n.Name, err)
		}
		n, err := w.Write(f.buf)
		sum += int64(n)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// chunk reads and verifies one chunk of either kind into buf.
func (f *FileReader) chunk(i int) error {
	if !f.n.stored {
		return f.load(i)
	}
	f.held = -1
	f.buf = resize(f.buf, f.n.length(i))
	if _, err := f.ReadAt(f.buf, int64(i)*StoredChunk); err != nil {
		return short(err)
	}
	if digest := types.Hash(sha256.Sum256(f.buf)); digest != f.n.chunks[i].digest {
		return fmt.Errorf("chunk %d hashes to %s, want %s", i, digest.Short(), f.n.chunks[i].digest.Short())
	}
	return nil
}

// PiecesFor says which pieces a reader of length bytes at offset of a file
// needs: count pieces from number first. Bytes behind the end are not counted;
// count is 0 when nothing is left.
func (r *Reader) PiecesFor(name string, offset, length int64) (first, count uint32, err error) {
	n, err := r.lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if n.Type != File || offset < 0 || length < 0 {
		return 0, 0, fmt.Errorf("%d bytes at %d of %v %q", length, offset, n.Type, name)
	}
	if length = min(length, n.Size-offset); length <= 0 {
		return 0, 0, nil
	}
	start, end := n.span(offset, length)
	first = uint32(start/types.PieceSize) + 1
	return first, uint32((end-1)/types.PieceSize) + 2 - first, nil
}

// span is the part of the TGZ that holds length bytes at off, at least one.
func (n *node) span(off, length int64) (start, end int64) {
	if n.stored {
		start, _ = n.storedAt(off)
		end, _ = n.storedAt(off + length - 1)
		return start, end + 1
	}
	start, _ = n.extent(int(off / DeflatedChunk))
	_, end = n.extent(int((off + length - 1) / DeflatedChunk))
	return start, end
}

// TOCPieces says which pieces hold the table of contents and the footer.
func (r *Reader) TOCPieces() (first, count uint32) {
	first = uint32(r.tocOffset/types.PieceSize) + 1
	return first, uint32(PieceCount(r.size)) + 1 - first
}
