package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store begins with firstFormat and moves forward when it first needs more, so
// that an older program refuses it; formatVersion is the newest that we read.
const (
	firstFormat   = 1
	formatVersion = 2 // disks, and records that were lost
)

const (
	formatFile = "format"
	lockFile   = "lock"
	category   = vfs.WriteCategoryUnspecified
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// claim makes dir ours: the lock is taken and the format file read or written.
// The lock is returned also with an error, for the caller to close.
func claim(fsys vfs.FS, dir string) (lock io.Closer, version int, err error) {
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, diskError("make directory", dir, err)
	}
	if err := refuseForeign(fsys, dir, formatFile, lockFile); err != nil {
		return nil, 0, err
	}
	lock, err = fsys.Lock(fsys.PathJoin(dir, lockFile))
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return nil, 0, diskError("make lock file", dir, err)
		}
		return nil, 0, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	version, err = ratchet(fsys, dir)
	return lock, version, err
}

// refuseForeign keeps a wrong path from filling somebody's directory: without the
// file named mark it holds nothing but what is also fine.
func refuseForeign(fsys vfs.FS, dir, mark string, fine ...string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if slices.Contains(names, mark) {
		return nil
	}
	for _, n := range names {
		if n != mark+".new" && !slices.Contains(fine, n) {
			return fmt.Errorf("%w: found %q in %s", ErrNotStore, n, dir)
		}
	}
	return nil
}

func ratchet(fsys vfs.FS, dir string) (version int, err error) {
	name := fsys.PathJoin(dir, formatFile)
	b, err := readFile(fsys, name, 256)
	if errors.Is(err, fs.ErrNotExist) {
		return firstFormat, writeFile(fsys, dir, formatFile, formatLine(firstFormat))
	}
	if err != nil {
		return 0, err
	}
	if version, err = parseFormat(b); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	if version > formatVersion {
		return 0, fmt.Errorf("%w: format %d above %d; update staddle", ErrNewer, version, formatVersion)
	}
	return version, nil
}

// raise makes older programs refuse the store, before the first row that they
// would not understand.
func (r *records) raise() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.format >= formatVersion {
		return nil
	}
	if err := writeFile(r.fs, r.root, formatFile, formatLine(formatVersion)); err != nil {
		return err
	}
	r.format = formatVersion
	return nil
}

func formatLine(version int) []byte {
	head := fmt.Sprintf("staddle store %d", version)
	return fmt.Appendf(nil, "%s %08x\n", head, crc32.Checksum([]byte(head), castagnoli))
}

// parseFormat reads "staddle store <version> <crc-32c>\n".
func parseFormat(b []byte) (version int, err error) {
	words := strings.Split(string(b), " ")
	if len(words) != 4 {
		return 0, &CorruptError{What: "format file", Reason: fmt.Sprintf("%d words, want 4", len(words))}
	}
	version, err = strconv.Atoi(words[2])
	if err != nil || version < 1 || string(formatLine(version)) != string(b) {
		return 0, &CorruptError{What: "format file", Reason: fmt.Sprintf("%q has no valid version and checksum", clip(string(b), 60))}
	}
	return version, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

func readFile(fsys vfs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return b, errors.Join(err, f.Close())
}

// writeFile replaces dir/name atomically and durably.
func writeFile(fsys vfs.FS, dir, name string, b []byte) error {
	tmp := fsys.PathJoin(dir, name+".new")
	f, err := fsys.Create(tmp, category)
	if err != nil {
		return diskError("create "+name, dir, err)
	}
	_, err = f.Write(slices.Clone(b)) // the file system may scribble on its argument
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return diskError("write "+name, dir, err)
	}
	if err := fsys.Rename(tmp, fsys.PathJoin(dir, name)); err != nil {
		return diskError("rename "+name, dir, err)
	}
	return syncDir(fsys, dir)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return diskError("sync directory", dir, err)
	}
	return nil
}

// diskRoom asks the file system how much is free.
type diskRoom struct {
	fs     vfs.FS
	dir    string
	margin uint64
}

// check is a DiskError when fewer than need bytes are free.
func (d *diskRoom) check(doing string, need uint64) error {
	u, err := d.fs.GetDiskUsage(d.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for free space in %s: %w", d.dir, err)
	}
	if u.AvailBytes < need {
		return &DiskError{Doing: doing, Dir: d.dir, Free: u.AvailBytes, Need: need}
	}
	return nil
}

// floor is what a write must find free: below it the key-value store itself
// could fail half-way.
func (d *diskRoom) floor(doing string) error { return d.check(doing, d.margin/4) }
