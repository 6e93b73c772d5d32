package library

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/staddle/staddle/types"
)

// folder is what a put reads.
type folder struct {
	fsys fs.FS
	path string // absolute
	base string // the directory that fsys shows
	name string // of the dataset unless told otherwise
	root *os.Root
}

// openFolder opens a directory so that nothing outside it can be read, or one
// regular file as if it were alone in its directory.
func openFolder(name string) (*folder, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	f := &folder{path: abs, base: abs, name: nameOf(abs)}
	switch {
	case info.IsDir():
		f.root, err = os.OpenRoot(abs)
	case info.Mode().IsRegular():
		if abs, err = filepath.EvalSymlinks(abs); err == nil {
			f.base = filepath.Dir(abs)
			f.root, err = os.OpenRoot(f.base)
		}
	default:
		err = fmt.Errorf("%s is neither a folder nor a regular file", abs)
	}
	if err != nil {
		return nil, err
	}
	if f.fsys = f.root.FS(); !info.IsDir() {
		f.fsys = oneFile{f.fsys, filepath.Base(abs)}
	}
	return f, nil
}

// Close lets go of the folder.
func (f *folder) Close() error {
	if f.root == nil {
		return nil
	}
	return f.root.Close()
}

// nameOf is the last part of a path, made a name that a dataset may have.
func nameOf(abs string) string {
	name := strings.ToValidUTF8(filepath.Base(abs), "_")
	if name = strings.TrimPrefix(name, Scheme); CheckName(name) != nil {
		return "dataset"
	}
	return name
}

// oneFile shows only one entry of a directory.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir lists the one file.
func (o oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(o.FS, o.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}

// What a dataset needs beside the bytes of its files, for an estimate: headers
// and the line in the table of contents for each entry, and padding.
const (
	perEntry    = 512
	paddingPart = 25 // 4 %
)

// estimate adds up the sizes that the folder shows: bytes of files, and bytes of
// pieces at most if no file changes. What cannot be read is reported by packing.
func estimate(ctx context.Context, fsys fs.FS) (content uint64, pieces int64, err error) {
	entries := int64(0)
	err = fs.WalkDir(fsys, ".", func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if entries++; err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // packing meets the same error and names it
		}
		if info, err := d.Info(); err == nil {
			content += uint64(info.Size())
		}
		return nil
	})
	pieces = int64(content) + int64(content)/paddingPart + entries*perEntry + types.PieceSize
	return content, pieces, err
}
