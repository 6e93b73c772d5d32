package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/staddle/staddle/archive"
)

// target is a folder to unpack into. Nothing outside it can be written: every
// name goes through an os.Root.
type target struct {
	dir   string // as the user named it
	work  string // where files are made: dir itself, or a folder beside it
	fresh bool   // dir does not exist or is empty: work becomes dir at the end
	root  *os.Root
	temps int
}

// openTarget looks at dir and writes nothing yet.
func openTarget(dir string, o GetOptions) (*target, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir, work: dir}
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0:
		t.fresh = true
		t.work = filepath.Join(filepath.Dir(dir), "."+shorten(filepath.Base(dir))+".staddle-part")
	case err != nil:
		return nil, fmt.Errorf("open target: %w", err)
	case !o.Replace:
		return nil, fmt.Errorf("%s: %w", dir, ErrOccupied)
	}
	return t, nil
}

// shorten leaves room for more in a name of at most 255 bytes.
func shorten(name string) string { return name[:min(len(name), 200)] }

// unpack makes the chosen entries.
func (d *dataset) unpack(r *archive.Reader, t *target, pick func(string, archive.Type) bool) (archive.Unpacked, error) {
	if err := t.begin(); err != nil {
		return archive.Unpacked{}, fmt.Errorf("prepare target: %w", err)
	}
	total := uint64(0)
	for e := range r.All() {
		if pick == nil || pick(e.Name, e.Type) {
			total += uint64(e.Size)
		}
	}
	p := Progress{Phase: Unpacking, Total: total}
	wrote := func(name string, n int) {
		p.Name, p.Done = name, p.Done+uint64(n)
		d.watch.progress(p)
	}
	out, err := r.UnpackTo(watched{t, d.ctx, wrote}, archive.UnpackOptions{Include: pick, Warn: d.watch.Warn})
	return out, errors.Join(err, t.end(err))
}

func (t *target) begin() (err error) {
	if t.fresh {
		err = os.RemoveAll(t.work) // of a get that was killed
	}
	if err == nil {
		err = os.MkdirAll(t.work, 0o755)
	}
	if err == nil {
		t.root, err = os.OpenRoot(t.work)
	}
	return err
}

// end puts a fresh folder in its place, or removes it after a failure.
func (t *target) end(failure error) error {
	err := t.root.Close()
	if !t.fresh {
		return err
	}
	if failure != nil {
		return errors.Join(err, os.RemoveAll(t.work))
	}
	if err == nil {
		err = os.Remove(t.dir) // empty, or not there
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(t.work, t.dir)
	}
	return err
}

// watched ends unpacking at the next file or write when ctx ends, and tells of
// every write.
type watched struct {
	*target
	ctx   context.Context
	wrote func(name string, n int)
}

// Create makes a file.
func (w watched) Create(name string) (io.WriteCloser, error) {
	if w.ctx.Err() != nil {
		return nil, context.Cause(w.ctx)
	}
	f, err := w.create(name)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w}, nil
}

type watchedFile struct {
	*file
	by watched
}

// Write writes and tells.
func (f watchedFile) Write(p []byte) (int, error) {
	if f.by.ctx.Err() != nil {
		f.failed = true
		return 0, context.Cause(f.by.ctx)
	}
	n, err := f.file.Write(p)
	f.by.wrote(f.name, n)
	return n, err
}

// Mkdir makes a directory; one that is there is kept and made writable.
func (t *target) Mkdir(name string) error {
	err := t.root.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return skippable(err)
	}
	info, err := t.root.Lstat(name)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%w: something else of that name is there", archive.ErrSkip)
	}
	if err == nil && info.Mode().Perm()&0o700 != 0o700 {
		err = t.root.Chmod(name, info.Mode().Perm()|0o700)
	}
	return skippable(err)
}

// file is written under a temporary name and gets its own on Close.
type file struct {
	*os.File
	t          *target
	temp, name string
	failed     bool
}

func (t *target) create(name string) (*file, error) {
	info, err := t.root.Lstat(name)
	if err == nil && info.IsDir() {
		return nil, fmt.Errorf("%w: a directory of that name is there", archive.ErrSkip)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, skippable(err) // such as a name that is too long for this disk
	}
	for {
		temp := path.Join(path.Dir(name), ".staddle-"+strconv.Itoa(t.temps)+".part")
		t.temps++
		f, err := t.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, skippable(err)
		}
		return &file{File: f, t: t, temp: temp, name: name}, nil
	}
}

// Write writes to the temporary file.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.failed = f.failed || err != nil
	return n, err
}

// Close gives the file its name in place of whatever file or link has it.
func (f *file) Close() error {
	err := f.File.Close()
	if err == nil && !f.failed {
		if err = f.t.root.Rename(f.temp, f.name); err == nil {
			return nil
		}
	}
	return errors.Join(err, f.t.root.Remove(f.temp))
}

// Symlink makes a link. The archive has checked that it does not lead out.
func (t *target) Symlink(to, name string) error {
	if old, err := t.root.Readlink(name); err == nil && old == to {
		return nil
	}
	return skippable(t.root.Symlink(to, name))
}

// Set sets permission bits, no others, and the time.
func (t *target) Set(name string, mode fs.FileMode, modTime int64) error {
	if err := t.root.Chmod(name, mode&fs.ModePerm); err != nil {
		return err
	}
	when := time.Unix(modTime, 0)
	return t.root.Chtimes(name, when, when)
}

// skippable marks errors that concern one name only; a full disk, for one, is not
// among them.
func skippable(err error) error {
	for _, e := range []error{
		syscall.EEXIST, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EILSEQ,
		syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, fs.ErrInvalid,
	} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", archive.ErrSkip, err)
		}
	}
	return err
}
