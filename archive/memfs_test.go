package archive

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// memFS is an in-memory folder with symlinks, modes and times. (fstest.MapFS
// walks its whole map for each directory, too slow for many files.)
type memFS struct{ nodes map[string]*memNode }

type memNode struct {
	file
	kids []string
}

func build(files []file) map[string]*memNode {
	nodes := map[string]*memNode{".": {file: file{name: ".", dir: true}}}
	var add func(f file)
	add = func(f file) {
		if old := nodes[f.name]; old != nil {
			old.file = f
			return
		}
		nodes[f.name] = &memNode{file: f}
		up := path.Dir(f.name)
		if nodes[up] == nil {
			add(file{name: up, dir: true})
		}
		nodes[up].kids = append(nodes[up].kids, f.name)
	}
	for _, f := range files {
		add(f)
	}
	return nodes
}

func (m memFS) node(op, name string) (*memNode, error) {
	n := m.nodes[name]
	if n == nil || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (m memFS) Open(name string) (fs.File, error) {
	n, err := m.node("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode&0o400 == 0 && n.mode != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return &memFile{n, bytes.NewReader(n.data)}, nil
}

func (m memFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := m.node("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode&0o400 == 0 && n.mode != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	var out []fs.DirEntry
	for _, kid := range n.kids {
		out = append(out, fs.FileInfoToDirEntry(memInfo{m.nodes[kid]}))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (m memFS) ReadLink(name string) (string, error) {
	n, err := m.node("readlink", name)
	if err != nil {
		return "", err
	}
	return n.link, nil
}

func (m memFS) Lstat(name string) (fs.FileInfo, error) {
	n, err := m.node("lstat", name)
	return memInfo{n}, err
}

type memFile struct {
	n *memNode
	r *bytes.Reader
}

func (f *memFile) Stat() (fs.FileInfo, error)              { return memInfo{f.n}, nil }
func (f *memFile) Read(p []byte) (int, error)              { return f.r.Read(p) }
func (f *memFile) ReadAt(p []byte, o int64) (int, error)   { return f.r.ReadAt(p, o) }
func (f *memFile) Seek(o int64, whence int) (int64, error) { return f.r.Seek(o, whence) }
func (f *memFile) Close() error                            { return nil }

// plainFS hides everything but Read from files.
type plainFS struct{ memFS }

type plainFile struct {
	f fs.File
	r io.Reader
}

func (p plainFS) Open(name string) (fs.File, error) {
	f, err := p.memFS.Open(name)
	if err != nil {
		return nil, err
	}
	return plainFile{f, f}, nil
}

func (p plainFile) Stat() (fs.FileInfo, error) { return p.f.Stat() }
func (p plainFile) Read(b []byte) (int, error) { return p.r.Read(b) }
func (p plainFile) Close() error               { return p.f.Close() }

type memInfo struct{ n *memNode }

func (i memInfo) Name() string { return path.Base(i.n.name) }
func (i memInfo) Size() int64  { return int64(len(i.n.data)) }
func (i memInfo) IsDir() bool  { return i.n.dir }
func (i memInfo) Sys() any     { return nil }

func (i memInfo) ModTime() time.Time {
	if i.n.time != 0 {
		return time.Unix(i.n.time, 5)
	}
	return testTime
}

func (i memInfo) Mode() fs.FileMode {
	mode := i.n.mode
	switch {
	case mode.Type() != 0:
		return mode
	case i.n.link != "":
		return fs.ModeSymlink | 0o777
	case i.n.dir && mode == 0:
		return fs.ModeDir | 0o755
	case i.n.dir:
		return fs.ModeDir | mode
	case mode == 0:
		return 0o644
	}
	return mode
}
