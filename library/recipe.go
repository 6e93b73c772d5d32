package library

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// Bounds of a recipe. With them a piece that is kept in place costs less than a
// hundredth of its bytes.
const (
	maxLiteral = 2048 // bytes of a piece that the recipe holds itself
	maxParts   = 128
	maxFiles   = 8
	leastZeros = 64 // shorter runs of zeros are literal
)

// recipe says how to make a piece from files that stay where they are.
type recipe struct {
	folder string // absolute; hostile bytes
	files  []recipeFile
	parts  []part
}

// recipeFile is a file as it was when its bytes were read.
type recipeFile struct {
	name  string // below the folder, slash-separated
	size  int64
	mtime int64 // Unix nanoseconds
}

// part is a run of a piece: n bytes of file number file, from 1, at off; or, with
// file 0, n zeros or else the bytes themselves.
type part struct {
	file  int
	off   int64
	n     int64
	bytes []byte
}

func (p *part) size() int64 { return p.n + int64(len(p.bytes)) }

// EncodeTo appends [1, folder, [[name, size, mtime], ...], [[file, offset, count,
// bytes], ...]].
func (r *recipe) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(rowVersion)
	e.Bytes([]byte(r.folder))
	e.Array(len(r.files))
	for _, f := range r.files {
		e.Array(3)
		e.Text(f.name)
		e.Int(f.size)
		e.Int(f.mtime)
	}
	e.Array(len(r.parts))
	for _, p := range r.parts {
		e.Array(4)
		e.Uint(uint64(p.file))
		e.Int(p.off)
		e.Int(p.n)
		e.Bytes(p.bytes)
	}
}

// DecodeFrom reads the tuple.
func (r *recipe) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	version(d)
	r.folder = string(d.Bytes(maxFolder))
	r.files = make([]recipeFile, d.Array(maxFiles))
	for i := range r.files {
		d.Tuple(3)
		r.files[i] = recipeFile{d.Text(archive.MaxPath), d.Int(), d.Int()}
	}
	r.parts = make([]part, d.Array(maxParts))
	for i := range r.parts {
		d.Tuple(4)
		r.parts[i] = part{int(d.Limit(maxFiles)), d.Int(), d.Int(), d.Bytes(maxLiteral)}
	}
	if err := r.check(); err != nil && d.Err() == nil {
		d.Fail("recipe: %v", err)
	}
}

// check says why r makes no piece.
func (r *recipe) check() error {
	if r.folder == "" {
		return errors.New("no folder")
	}
	for _, f := range r.files {
		if !fs.ValidPath(f.name) || f.name == "." || f.size < 1 || f.size > archive.MaxFile {
			return fmt.Errorf("file %q of %d bytes", clip(f.name), f.size)
		}
	}
	total, literal := int64(0), 0
	for i := range r.parts {
		p := &r.parts[i]
		if err := p.check(r.files); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		total, literal = total+p.size(), literal+len(p.bytes)
	}
	if total < 1 || total > types.PieceSize || literal > maxLiteral {
		return fmt.Errorf("a piece of %d bytes, %d of them literal; limits %d and %d", total, literal, types.PieceSize, maxLiteral)
	}
	return nil
}

func (p *part) check(files []recipeFile) error {
	switch {
	case p.n < 0 || p.n > types.PieceSize || p.off < 0 || p.off > archive.MaxFile:
		return fmt.Errorf("%d bytes at %d", p.n, p.off)
	case (p.n > 0) == (len(p.bytes) > 0):
		return fmt.Errorf("%d bytes and %d literal ones", p.n, len(p.bytes))
	case p.file == 0 && p.off != 0, p.file > 0 && p.n == 0:
		return fmt.Errorf("file %d with offset %d and count %d", p.file, p.off, p.n)
	case p.file > len(files):
		return fmt.Errorf("file %d of %d", p.file, len(files))
	case p.file > 0 && p.off+p.n > files[p.file-1].size:
		return fmt.Errorf("%d bytes at %d of a file of %d", p.n, p.off, files[p.file-1].size)
	}
	return nil
}

func (r *recipe) size() (n int64) {
	for i := range r.parts {
		n += r.parts[i].size()
	}
	return n
}

// changed is the reason why a file no longer gives its part of a piece.
type changed struct{ file, reason string }

// Error names file and reason.
func (c *changed) Error() string { return fmt.Sprintf("%s %s", c.file, c.reason) }

// make reads the piece from its files; nothing outside the folder is read. What
// it gives is to be held against the digest.
func (r *recipe) make() ([]byte, error) {
	m := making{r: r, out: make([]byte, 0, r.size())}
	defer m.close()
	for i := range r.parts {
		if err := m.part(&r.parts[i]); err != nil {
			return nil, err
		}
	}
	return m.out, nil
}

// making is a recipe at work, with the file that it reads.
type making struct {
	r    *recipe
	out  []byte
	root *os.Root
	file *os.File
	open int // number of file
}

func (m *making) close() {
	_ = m.file.Close() // was only read; nil gives an error
	if m.root != nil {
		_ = m.root.Close()
	}
}

func (m *making) part(p *part) error {
	m.out = append(m.out, p.bytes...)
	to := m.out[len(m.out) : len(m.out)+int(p.n)]
	m.out = m.out[:len(m.out)+len(to)]
	if p.file == 0 {
		clear(to)
		return nil
	}
	err := m.turn(p.file)
	if err == nil {
		_, err = m.file.ReadAt(to, p.off)
	}
	if err == nil || errors.As(err, new(*changed)) {
		return err
	}
	return &changed{m.r.path(p.file), reason(err)}
}

// turn opens a file.
func (m *making) turn(file int) (err error) {
	if m.open == file {
		return nil
	}
	if m.root == nil {
		if m.root, err = os.OpenRoot(m.r.folder); err != nil {
			return &changed{m.r.folder, reason(err)}
		}
	}
	_ = m.file.Close() // was only read; nil gives an error
	m.file, err = openPlain(m.root, m.r.files[file-1].name)
	m.open = file
	return err
}

func (r *recipe) path(file int) string {
	return filepath.Join(r.folder, filepath.FromSlash(r.files[file-1].name))
}

// errOther: something else stands in the place of a file.
var errOther = errors.New("is no regular file any more")

// openPlain opens a regular file, not what a symlink in its place points to.
func openPlain(root *os.Root, name string) (*os.File, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, errOther
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(before, now) {
		_ = f.Close() // was only read
		return nil, errOther
	}
	return f, nil
}

func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is gone"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "is shorter"
	case errors.Is(err, errOther):
		return errOther.Error()
	}
	return "cannot be read: " + err.Error()
}

// untouched reports whether size and time of every file are as they were.
func (r *recipe) untouched() bool {
	for i := range r.files {
		info, err := os.Lstat(r.path(i + 1))
		if err != nil || !info.Mode().IsRegular() || info.Size() != r.files[i].size || info.ModTime().UnixNano() != r.files[i].mtime {
			return false
		}
	}
	return true
}

// literals appends b, with long runs of zeros as such.
func literals(parts []part, b []byte) []part {
	start := 0
	for i := 0; i < len(b); {
		zeros := len(b[i:]) - len(bytes.TrimLeft(b[i:], "\x00"))
		if zeros < leastZeros {
			i += zeros + 1
			continue
		}
		if i > start {
			parts = append(parts, part{bytes: bytes.Clone(b[start:i])})
		}
		parts = append(parts, part{n: int64(zeros)})
		i += zeros
		start = i
	}
	if start < len(b) {
		parts = append(parts, part{bytes: bytes.Clone(b[start:])})
	}
	return parts
}
