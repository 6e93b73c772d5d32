package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Warning names one thing of the folder that the dataset does not hold, or of an
// archive that was not unpacked. Path and Reason may hold hostile characters:
// print them quoted.
type Warning struct {
	Path   string
	Reason string
}

// Error makes a warning an error in strict mode.
func (w *Warning) Error() string { return fmt.Sprintf("%q: %s", w.Path, w.Reason) }

// Member is one gzip member to be made: the tar header of an entry, or a run of
// its payload. What it holds depends on its entry alone, so members may be made
// in any order and by any number of workers.
type Member struct {
	Entry  *Entry
	Header bool  // the tar header; Offset, Size and Pad are 0
	Stored bool  // payload kept as it is (G2), else deflated
	Offset int64 // place of the payload in the file, in bytes
	Size   int64 // payload bytes in this member; 0 when only tar padding is left
	Pad    int64 // tar padding after them, in bytes
	Last   bool  // the entry ends with this member

	media int    // media type of the entry, for its header
	data  []byte // the payload, when the file was small enough to be read at once
}

// Planner walks a folder in order of path bytes and says which members make its
// dataset. It reads whole files up to DeflatedChunk bytes and samples of larger
// ones; memory is bounded by the largest directory.
type Planner struct {
	fsys    fs.FS
	strict  bool
	warn    func(Warning)
	sampler sampler
	stack   []frame

	// The file whose payload members come next; nil between entries.
	entry  *Entry
	stored bool
	data   []byte
	offset int64
}

// frame is one open directory of the walk.
type frame struct {
	dir  string
	rest []fs.DirEntry
}

// NewPlanner plans the folder fsys. What cannot be kept goes to opts.Warn, or is
// an error of Next with opts.Strict.
func NewPlanner(fsys fs.FS, opts Options) (*Planner, error) {
	p := &Planner{fsys: fsys, strict: opts.Strict, warn: opts.Warn, sampler: sampler{z: newDeflater()}}
	list, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the folder: %w", err)
	}
	p.push(".", list)
	return p, nil
}

func (p *Planner) push(dir string, list []fs.DirEntry) {
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	p.stack = append(p.stack, frame{dir, list})
}

// sortName is a directory entry's last part of Entry.key.
func sortName(d fs.DirEntry) string {
	if d.IsDir() {
		return d.Name() + "/"
	}
	return d.Name()
}

// Next gives the next member, or io.EOF after the last.
func (p *Planner) Next() (Member, error) {
	if p.entry != nil {
		return p.payload(), nil
	}
	for len(p.stack) > 0 {
		top := &p.stack[len(p.stack)-1]
		if len(top.rest) == 0 {
			p.stack = p.stack[:len(p.stack)-1]
			continue
		}
		d := top.rest[0]
		top.rest = top.rest[1:]
		m, err := p.visit(path.Join(top.dir, d.Name()), d)
		if w := new(Warning); errors.As(err, &w) && !p.strict {
			p.say(*w)
			continue
		}
		return m, err
	}
	return Member{}, io.EOF
}

func (p *Planner) say(w Warning) {
	if p.warn != nil {
		p.warn(w)
	}
}

// visit gives the header member of one name. A *Warning means that it is left
// out.
func (p *Planner) visit(name string, d fs.DirEntry) (Member, error) {
	if !utf8.ValidString(name) {
		return Member{}, &Warning{name, "the name is not UTF-8"}
	}
	info, err := d.Info()
	if err != nil {
		return Member{}, &Warning{name, "cannot be read: " + reason(err)}
	}
	e := &Entry{Name: name, Mode: info.Mode().Perm(), ModTime: clampTime(info)}
	m := Member{Entry: e, Header: true, Last: true}
	switch mode := info.Mode(); {
	case mode.IsDir():
		err = p.visitDir(e)
	case mode.IsRegular():
		m.media, err = p.visitFile(e)
		m.Last = e.Size == 0
	case mode.Type() == fs.ModeSymlink:
		err = p.visitLink(e)
	default:
		err = &Warning{name, "is a " + kindOf(mode)}
	}
	if err != nil {
		return Member{}, err
	}
	if err := e.check(); err != nil {
		p.forget(e)
		return Member{}, &Warning{name, err.Error()}
	}
	return m, nil
}

// forget takes back what visit prepared for an entry that is left out.
func (p *Planner) forget(e *Entry) {
	p.entry, p.data = nil, nil
	if e.Type == Dir {
		p.stack = p.stack[:len(p.stack)-1]
	}
}

func clampTime(info fs.FileInfo) int64 { return min(max(info.ModTime().Unix(), minTime), maxTime) }

// reason is the cause without the path, which the warning names itself.
func reason(err error) string {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "file of unknown kind"
}

// visitDir opens a directory. One that can be read in part is kept in part.
func (p *Planner) visitDir(e *Entry) error {
	e.Type = Dir
	list, err := fs.ReadDir(p.fsys, e.Name)
	if err != nil {
		w := Warning{e.Name, "the directory cannot be read: " + reason(err)}
		if p.strict {
			return &w
		}
		p.say(w)
	}
	p.push(e.Name, list)
	return nil
}

func (p *Planner) visitLink(e *Entry) (err error) {
	e.Type, e.Mode = Symlink, fs.ModePerm
	if e.Link, err = fs.ReadLink(p.fsys, e.Name); err != nil {
		return &Warning{e.Name, "the link cannot be read: " + reason(err)}
	}
	if !LinkLeadsOut(e.Name, e.Link) {
		return nil
	}
	w := Warning{e.Name, fmt.Sprintf("links to %q, outside the folder; kept as a link, not made when unpacking", e.Link)}
	if p.strict {
		return &w
	}
	p.say(w)
	return nil
}

// visitFile opens a file, reads it or its samples, and decides G2.
func (p *Planner) visitFile(e *Entry) (media int, err error) {
	e.Type, p.data = File, nil
	f, err := p.fsys.Open(e.Name)
	if err != nil {
		return 0, &Warning{e.Name, "cannot be opened: " + reason(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, &Warning{e.Name, "changed while it was opened"}
	}
	e.Size, e.ModTime, e.Mode = info.Size(), clampTime(info), info.Mode().Perm()
	src := source{f: f}
	if e.Size <= DeflatedChunk {
		p.data, err = readWhole(&src, e)
	}
	if err == nil {
		p.stored, err = p.sampler.stored(e.Size, func(b []byte, off int64) error { return p.sample(&src, b, off) })
	}
	if err != nil {
		p.data = nil
		return 0, &Warning{e.Name, "cannot be read: " + reason(err)}
	}
	if e.Size > 0 {
		p.entry, p.offset = e, 0
	}
	return p.mediaOf(e), nil
}

// readWhole reads a small file. Its size in the dataset is what was read.
func readWhole(src *source, e *Entry) ([]byte, error) {
	data := make([]byte, e.Size)
	n, err := src.readAt(data, 0)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	e.Size = int64(n)
	return data[:n], nil
}

func (p *Planner) sample(src *source, b []byte, off int64) error {
	if p.data != nil {
		copy(b, p.data[off:])
		return nil
	}
	_, err := src.readAt(b, off)
	return err
}

// mediaOf looks at the name and at the first bytes: the file itself when it was
// read, else the first sample.
func (p *Planner) mediaOf(e *Entry) int {
	if p.data != nil || e.Size == 0 {
		return mediaIndex(e.Name, p.data)
	}
	return mediaIndex(e.Name, p.sampler.buf[:sampleBytes])
}

// payload gives the next run of the open file: file bytes and tar padding as one
// string, cut at the chunk size.
func (p *Planner) payload() Member {
	e, chunk := p.entry, int64(DeflatedChunk)
	if p.stored {
		chunk = StoredChunk
	}
	total := e.Size + tarPadding(e.Size)
	end := min(p.offset+chunk, total)
	size := max(min(end, e.Size)-p.offset, 0)
	m := Member{
		Entry: e, Stored: p.stored, Offset: p.offset, Size: size, Pad: end - p.offset - size,
		Last: end == total, data: p.data,
	}
	if p.offset = end; m.Last {
		p.entry, p.data = nil, nil
	}
	return m
}
