package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Target is a folder that an archive is unpacked into. Names are clean and
// relative; a directory is made before what it holds. Whoever implements it
// must not follow a symlink out of the folder (os.Root does not).
//
// An error that wraps ErrSkip leaves one entry out; any other ends unpacking.
type Target interface {
	// Mkdir makes a directory that may be written to; one that is there is kept,
	// anything else of that name is an error, also a link to a directory.
	Mkdir(name string) error
	// Create makes a new file in place of a file or link of that name, never
	// writes through one; a directory of that name is an error.
	Create(name string) (io.WriteCloser, error)
	// Symlink makes a link; something else of that name stays, with an error.
	Symlink(target, name string) error
	// Set sets permission bits and modification time (Unix seconds) of a file or
	// directory.
	Set(name string, mode fs.FileMode, modTime int64) error
}

// Linker is a Target that can also make hard links, which only foreign archives
// hold. Without it they are left out with a warning.
type Linker interface {
	// Link makes name another name of the file old, which was unpacked before.
	Link(old, name string) error
}

// ErrSkip in a Target's error leaves one entry out.
var ErrSkip = errors.New("left out")

// Limits of unpacking; zero fields mean the default.
type Limits struct {
	Bytes   int64 // of all files; default 2^46
	Entries int64 // default 2^26
	Pending int64 // bytes of directory and link names kept until the end; default 2^28
}

// UnpackOptions say what to unpack.
type UnpackOptions struct {
	Limits  Limits
	Include func(name string, t Type) bool // nil means everything
	Warn    func(Warning)                  // may be nil
	// Progress is told after each entry what is done so far; may be nil. The name
	// is hostile text.
	Progress func(name string, done Unpacked)
}

// Unpacked counts what was made.
type Unpacked struct {
	Files, Dirs, Symlinks int64
	Bytes                 int64 // of files
	Skipped               int64 // entries left out with a warning
}

// maxDrain is how many bytes may follow the end of a tar.
const maxDrain = 64 << 20

// unpacker makes entries in a Target. Directories get their times and links are
// made at the end: until then nothing of the archive can redirect a write.
type unpacker struct {
	to      Target
	opts    UnpackOptions
	done    Unpacked
	seen    int64
	pending int64
	made    map[string]bool // directories
	dirs    []Entry
	links   []Entry
	buf     []byte
}

func newUnpacker(to Target, opts UnpackOptions) *unpacker {
	l := &opts.Limits
	for _, d := range []struct {
		field *int64
		value int64
	}{{&l.Bytes, 1 << 46}, {&l.Entries, 1 << 26}, {&l.Pending, 1 << 28}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return &unpacker{to: to, opts: opts, made: map[string]bool{".": true}}
}

// Unpack reads a .tar.gz as a stream, ours or any other, and makes its entries
// in to. What an archive may not do is left out with a warning; a broken archive
// or one above the limits is an error, and what was made stays.
func Unpack(r io.Reader, to Target, opts UnpackOptions) (Unpacked, error) {
	u := newUnpacker(to, opts)
	z, err := gzip.NewReader(r)
	if err != nil {
		return u.done, fmt.Errorf("not a .tar.gz: %w", err)
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.done, fmt.Errorf("read the archive: %w", short(err))
		}
		if h.Name == TOCName && h.Uname == Packer {
			continue
		}
		if err := u.header(h, t); err != nil {
			return u.done, err
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(z, maxDrain)); err != nil || n == maxDrain {
		return u.done, fmt.Errorf("%d bytes after the end of the archive: %w", n, errors.Join(err, fs.ErrInvalid))
	}
	return u.done, u.finish()
}

// header makes one entry of a tar stream.
func (u *unpacker) header(h *tar.Header, body io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return u.skip(h.Name, err.Error())
	}
	e := Entry{
		Name: name, Mode: fs.FileMode(h.Mode) & fs.ModePerm, Size: h.Size,
		ModTime: min(max(h.ModTime.Unix(), minTime), maxTime), Link: h.Linkname,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Type = File
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		e.Type = Symlink
	case tar.TypeLink:
		return u.hardlink(e)
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return u.skip(name, fmt.Sprintf("is of tar type %q", h.Typeflag))
	}
	return u.entry(e, func(w io.Writer) (int64, error) {
		u.buf = resize(u.buf, 1<<16)
		return io.CopyBuffer(onlyWriter{w}, io.LimitReader(body, e.Size), u.buf)
	})
}

// onlyWriter hides ReadFrom, which would bypass the buffer.
type onlyWriter struct{ io.Writer }

// UnpackTo makes entries of the dataset in to, each chunk verified before it is
// written. Only what opts.Include names is read.
func (r *Reader) UnpackTo(to Target, opts UnpackOptions) (Unpacked, error) {
	u := newUnpacker(to, opts)
	var f FileReader
	for i := range r.nodes {
		n := &r.nodes[i]
		f.r, f.n, f.held = r, n, -1
		if err := u.entry(n.Entry, f.WriteTo); err != nil {
			return u.done, err
		}
	}
	return u.done, u.finish()
}

// entry makes one entry; write gives the content of a file.
func (u *unpacker) entry(e Entry, write func(io.Writer) (int64, error)) error {
	if u.seen++; u.seen > u.opts.Limits.Entries {
		return fmt.Errorf("more than %d entries", u.opts.Limits.Entries)
	}
	if e.Name != "." && u.opts.Include != nil && !u.opts.Include(e.Name, e.Type) {
		return nil
	}
	err := u.make(e, write)
	if err == nil && u.opts.Progress != nil {
		u.opts.Progress(e.Name, u.done)
	}
	return err
}

func (u *unpacker) make(e Entry, write func(io.Writer) (int64, error)) error {
	switch {
	case e.Type == Dir:
		return u.dir(e)
	case e.Type == Symlink:
		return u.link(e)
	case e.Name == ".":
		return u.skip(e.Name, "is a file without a name")
	}
	return u.file(e, write)
}

// skip warns and goes on.
func (u *unpacker) skip(name, reason string) error {
	u.done.Skipped++
	if u.opts.Warn != nil {
		u.opts.Warn(Warning{name, reason})
	}
	return nil
}

// settle turns an error of the Target that wraps ErrSkip into a warning.
func (u *unpacker) settle(name string, err error) error {
	if errors.Is(err, ErrSkip) {
		return u.skip(name, err.Error())
	}
	return fmt.Errorf("unpack %q: %w", name, err)
}

// keep accounts for a name that stays in memory until the end.
func (u *unpacker) keep(e Entry) error {
	u.pending += int64(len(e.Name)+len(e.Link)) + 128
	if u.pending > u.opts.Limits.Pending {
		return fmt.Errorf("names of directories and links take more than %d bytes", u.opts.Limits.Pending)
	}
	return nil
}

func (u *unpacker) dir(e Entry) error {
	if err := u.mkdir(e.Name); err != nil {
		return u.settle(e.Name, err)
	}
	u.done.Dirs++
	if e.Name == "." {
		return nil
	}
	u.dirs = append(u.dirs, e)
	return u.keep(e)
}

// mkdir makes a directory and those above it, once.
func (u *unpacker) mkdir(name string) error {
	if u.made[name] {
		return nil
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.to.Mkdir(name); err != nil {
		return err
	}
	u.made[name] = true
	return u.keep(Entry{Name: name})
}

func (u *unpacker) file(e Entry, write func(io.Writer) (int64, error)) error {
	if e.Size < 0 || e.Size > u.opts.Limits.Bytes-u.done.Bytes {
		return fmt.Errorf("unpack %q: %d bytes after %d are above limit %d", e.Name, e.Size, u.done.Bytes, u.opts.Limits.Bytes)
	}
	if err := u.mkdir(path.Dir(e.Name)); err != nil {
		return u.settle(e.Name, err)
	}
	w, err := u.to.Create(e.Name)
	if err != nil {
		return u.settle(e.Name, err)
	}
	n, err := write(w)
	u.done.Bytes += n
	if err == nil && n != e.Size {
		err = fmt.Errorf("%d of %d bytes: %w", n, e.Size, io.ErrUnexpectedEOF)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("unpack %q: %w", e.Name, err)
	}
	if err := u.to.Set(e.Name, e.Mode, e.ModTime); err != nil {
		return u.settle(e.Name, err)
	}
	u.done.Files++
	return nil
}

// link checks a symlink and keeps it for the end.
func (u *unpacker) link(e Entry) error {
	if e.Name == "." || LinkLeadsOut(e.Name, e.Link) {
		return u.skip(e.Name, fmt.Sprintf("links to %q, outside the folder", e.Link))
	}
	u.links = append(u.links, e)
	return u.keep(e)
}

// hardlink makes another name of a file of the archive.
func (u *unpacker) hardlink(e Entry) error {
	if u.opts.Include != nil && !u.opts.Include(e.Name, File) {
		return nil
	}
	old, err := cleanName(e.Link)
	if err != nil {
		return u.skip(e.Name, fmt.Sprintf("is a hard link to %q: %v", e.Link, err))
	}
	to, ok := u.to.(Linker)
	if !ok || e.Name == "." || old == "." || old == e.Name {
		return u.skip(e.Name, fmt.Sprintf("is a hard link to %q", e.Link))
	}
	if err := u.mkdir(path.Dir(e.Name)); err != nil {
		return u.settle(e.Name, err)
	}
	if err := to.Link(old, e.Name); err != nil {
		return u.settle(e.Name, err)
	}
	u.done.Files++
	return nil
}

// finish makes the links, then gives directories their modes and times, the
// deepest first: later writes would change times and need permission.
func (u *unpacker) finish() error {
	for _, e := range u.links {
		err := u.mkdir(path.Dir(e.Name))
		if err == nil {
			err = u.to.Symlink(e.Link, e.Name)
		}
		if err == nil {
			u.done.Symlinks++
			continue
		}
		if err := u.settle(e.Name, err); err != nil {
			return err
		}
	}
	slices.SortStableFunc(u.dirs, func(a, b Entry) int { return strings.Compare(b.Name, a.Name) })
	for _, e := range u.dirs {
		if err := u.to.Set(e.Name, e.Mode, e.ModTime); err != nil {
			if err := u.settle(e.Name, err); err != nil {
				return err
			}
		}
	}
	return nil
}
