package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// shelf is where the segment files of one disk stand.
type shelf interface {
	// list gives the sizes of the files by number; foreign names are left alone.
	list() (map[uint32]int64, error)
	// open opens a file for reading, create makes one and reopen opens it for
	// writing at its end.
	open(number uint32) (segmentFile, error)
	create(number uint32) (segmentFile, error)
	reopen(number uint32) (segmentFile, error)
	remove(number uint32) error
	// cut shortens a file to end bytes.
	cut(number uint32, end int64) error
	// room gives the free and all bytes of what it stands on, and a name of that.
	room() (room, error)
	// probe is an error when the disk is not there; it asks for the marker.
	probe() error
	// judge says why the disk is not there, if that is what an error of another
	// method means, and whether it stays so until the store is opened again.
	judge(err error) (stays bool, why error)
	// prepare makes a new disk ready, id reads its marker, clear takes away what
	// prepare made.
	prepare() error
	id() ([]byte, error)
	clear() error
	// whole reports that a file cannot be appended to once it was synced.
	whole() bool
}

// segmentFile is a file of a shelf. Writes are at the end only.
type segmentFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// SyncData returns when all that was written is durable.
	SyncData() error
}

// room is the space of a device, in bytes. Two shelves of the same device share
// it.
type room struct {
	free, total uint64
	device      any // comparable
}

// unlimited is the room of what does not tell: memory, a bucket.
func unlimited(device any) room { return room{1 << 50, 1 << 50, device} }

// folder is the shelf in a directory.
type folder struct {
	fs     vfs.FS
	root   string // of the disk
	dir    string // of the segments
	marker []byte // what the disk's own file must hold; nil: none
}

func (f *folder) path(number uint32) string { return f.fs.PathJoin(f.dir, segmentName(number)) }

func (f *folder) list() (map[uint32]int64, error) {
	names, err := f.fs.List(f.dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	sizes := map[uint32]int64{}
	for _, name := range names {
		number, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		info, err := f.fs.Stat(f.fs.PathJoin(f.dir, name))
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", number, err)
		}
		sizes[number] = info.Size()
	}
	return sizes, nil
}

func (f *folder) open(number uint32) (segmentFile, error) {
	return f.fs.Open(f.path(number), vfs.RandomReadsOption)
}

func (f *folder) create(number uint32) (segmentFile, error) {
	file, err := f.fs.OpenReadWrite(f.path(number), category)
	if err != nil {
		return nil, diskError("create a segment", f.dir, err)
	}
	if _, err = file.WriteAt(segmentHead(number), 0); err == nil {
		err = syncDir(f.fs, f.dir)
	}
	if err != nil {
		return nil, errors.Join(diskError("begin a segment", f.dir, err), file.Close(), f.remove(number))
	}
	return file, nil
}

func (f *folder) reopen(number uint32) (segmentFile, error) {
	file, err := f.fs.OpenReadWrite(f.path(number), category)
	if err != nil {
		return nil, diskError("open a segment", f.dir, err)
	}
	return file, nil
}

func (f *folder) remove(number uint32) error { return f.fs.Remove(f.path(number)) }

func (f *folder) cut(number uint32, end int64) error {
	name := f.path(number)
	if f.fs == vfs.Default {
		return truncate(name, end) // syncs what stays, too
	}
	if err := vfs.LimitedCopy(f.fs, name, name+".new", end); err != nil {
		return err
	}
	if err := f.fs.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(f.fs, f.dir)
}

func (f *folder) room() (room, error) {
	info, err := f.fs.Stat(f.dir)
	if err != nil {
		return room{}, fmt.Errorf("ask for free space in %s: %w", f.dir, err)
	}
	use, err := f.fs.GetDiskUsage(f.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return unlimited(info.DeviceID()), nil
	}
	if err != nil {
		return room{}, fmt.Errorf("ask for free space in %s: %w", f.dir, err)
	}
	return room{use.AvailBytes, use.TotalBytes, info.DeviceID()}, nil
}

func (f *folder) probe() error {
	if f.marker == nil {
		return nil
	}
	name := f.fs.PathJoin(f.root, diskFile)
	b, err := readFile(f.fs, name, 256)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no file %q in %s", diskFile, f.root)
	}
	if err != nil {
		return err
	}
	if string(b) != string(f.marker) {
		return fmt.Errorf("%s holds another disk", f.root)
	}
	return nil
}

func (f *folder) judge(error) (stays bool, why error) {
	why = f.probe()
	return why != nil, why
}

func (f *folder) whole() bool { return false }

func (f *folder) prepare() error {
	if err := f.fs.MkdirAll(f.root, 0o700); err != nil {
		return diskError("make directory", f.root, err)
	}
	if err := refuseForeign(f.fs, f.root, diskFile, "lost+found"); err != nil {
		return err
	}
	if err := f.fs.MkdirAll(f.dir, 0o700); err != nil {
		return diskError("make directory", f.dir, err)
	}
	names, err := f.fs.List(f.dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: it is a disk of another store, or was declared lost; found %q", ErrNotStore, names[0])
	}
	if err := writeFile(f.fs, f.root, diskFile, f.marker); err != nil {
		return err
	}
	return syncDir(f.fs, f.fs.PathDir(f.root))
}

func (f *folder) id() ([]byte, error) { return readFile(f.fs, f.fs.PathJoin(f.root, diskFile), 256) }

func (f *folder) clear() error {
	return errors.Join(f.fs.Remove(f.dir), f.fs.Remove(f.fs.PathJoin(f.root, diskFile)))
}
