package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/staddle/staddle/store/bucket"
)

// diskFile marks the root directory of a disk that was added.
const diskFile = "disk"

const maxDiskDir = 4096

// States of a disk, as stored.
const (
	diskInUse    = 0
	diskRetiring = 1 // nothing new goes there
	diskLost     = 2 // declared lost; what it held is being written off
)

// diskRow is what is known of an added disk.
type diskRow struct {
	state byte
	id    [16]byte // also in its marker file
	dir   string   // absolute
}

func diskKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixDisk}, number)
}

func (d diskRow) encode() []byte {
	b := append([]byte{d.state}, d.id[:]...)
	return append(b, d.dir...)
}

func parseDiskRow(b []byte) (d diskRow, err error) {
	if len(b) < 18 || len(b) > 17+maxDiskDir || b[0] > diskLost {
		return d, fmt.Errorf("disk row of %d bytes, want 18 to %d", len(b), 17+maxDiskDir)
	}
	return diskRow{b[0], [16]byte(b[1:17]), string(b[17:])}, nil
}

// marker is the content of the disk's own file.
func (d diskRow) marker() []byte {
	head := fmt.Sprintf("staddle disk 1 %x", d.id)
	return fmt.Appendf(nil, "%s %08x\n", head, crc32.Checksum([]byte(head), castagnoli))
}

// parseMarker gives the id in a marker file.
func parseMarker(b []byte) (id [16]byte, err error) {
	words := strings.Split(string(b), " ")
	if len(words) == 5 && len(words[3]) == 32 {
		for i := range id {
			n, err := strconv.ParseUint(words[3][2*i:2*i+2], 16, 8)
			if err != nil {
				break
			}
			id[i] = byte(n)
		}
		if string(diskRow{id: id}.marker()) == string(b) {
			return id, nil
		}
	}
	return id, &CorruptError{What: "disk file", Reason: fmt.Sprintf("%q has no valid id and checksum", clip(string(b), 80))}
}

// disk is a place for segments. The row belongs to who holds records.mu.
type disk struct {
	number uint32 // 0: the directory of the store
	diskRow
	shelf shelf
	down  atomic.Pointer[error] // why it is not there
}

// gone is a GoneError when the disk is not there.
func (d *disk) gone() error {
	if why := d.down.Load(); why != nil {
		return &GoneError{Dir: d.dir, Err: *why}
	}
	return nil
}

// judge finds out whether err means that the disk is not there, and says it. A
// directory stays so until the store is opened again.
func (d *disk) judge(err error) error {
	if d.number == 0 || err == nil || errors.Is(err, ErrDiskGone) {
		return err
	}
	stays, why := d.shelf.judge(err)
	if stays {
		d.down.Store(&why)
	}
	if why != nil {
		return &GoneError{Dir: d.dir, Err: why}
	}
	return err
}

// ErrDiskGone says that the disk that the record stands on is not there.
var ErrDiskGone = errors.New("disk is gone")

// GoneError names a disk that is not there. It is an ErrDiskGone.
type GoneError struct {
	Dir string
	Err error
}

// Error says what to do.
func (e *GoneError) Error() string {
	return fmt.Sprintf("disk %s is gone: %v; bring it back and start again, or declare it lost: staddle disk lost %s", e.Dir, e.Err, e.Dir)
}

// Is makes the error an ErrDiskGone.
func (e *GoneError) Is(target error) bool { return target == ErrDiskGone }

// Unwrap is why the disk counts as gone.
func (e *GoneError) Unwrap() error { return e.Err }

// openDisks finds the disks of the index. One that is not there is no error: what
// stands on it is, when it is read.
func (r *records) openDisks(root string) error {
	home := &folder{fs: r.fs, root: root, dir: r.fs.PathJoin(root, segmentsDir)}
	r.disks = []*disk{{diskRow: diskRow{dir: root}, shelf: home}}
	if row, err := lookup(r.index.db, diskKey(0)); err != nil || row != nil {
		r.disks[0].state = diskRetiring
	}
	prefix := []byte{prefixDisk}
	return scan(r.index.db, prefix, prefix, func(k, v []byte) error {
		row, err := parseDiskRow(v)
		if err != nil || len(k) != 5 {
			return &CorruptError{What: "index", Reason: fmt.Sprintf("disk key of %d bytes: %v", len(k), err)}
		}
		if number := binary.BigEndian.Uint32(k[1:]); number > 0 {
			r.disks = append(r.disks, r.openDisk(number, row))
		}
		return nil
	})
}

func (r *records) shelf(row diskRow) shelf {
	if bucket.IsAddress(row.dir) {
		return &cloud{address: row.dir, marker: row.marker()}
	}
	return &folder{fs: r.fs, root: row.dir, dir: r.fs.PathJoin(row.dir, segmentsDir), marker: row.marker()}
}

func (r *records) openDisk(number uint32, row diskRow) *disk {
	d := &disk{number: number, diskRow: row, shelf: r.shelf(row)}
	err := d.shelf.probe()
	if _, passing := d.shelf.judge(err); err != nil && (!d.shelf.whole() || passing == nil) {
		d.down.Store(&err)
	}
	if row.state == diskLost {
		why := errors.New("declared lost")
		d.down.Store(&why)
	}
	return d
}

func (r *records) diskNumber(number uint32) *disk {
	for _, d := range r.disks {
		if d.number == number {
			return d
		}
	}
	return nil
}

// takes reports whether new segments may go to d.
func (d *disk) takes() bool { return d.state == diskInUse && d.down.Load() == nil }

// choose gives the disk for the next segment: the one with the most room, of those
// that share a device the one with the least on it, and a bucket only when no
// directory has room. The caller holds r.mu.
func (r *records) choose() (*disk, error) {
	used := r.diskUse()
	need := r.room.margin / 4
	var best *disk
	var most room
	var failed error
	for _, d := range r.disks {
		if !d.takes() {
			continue
		}
		have, err := d.shelf.room()
		if err = d.judge(err); err == nil && have.free < need {
			err = &DiskError{Doing: "begin a segment", Dir: d.dir, Free: have.free, Need: need}
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		switch {
		case best == nil, best.shelf.whole() && !d.shelf.whole():
			best, most = d, have
		case d.shelf.whole() && !best.shelf.whole():
		case have.device == most.device && used[d].Disk < used[best].Disk,
			have.device != most.device && have.free > most.free:
			best, most = d, have
		}
	}
	if best == nil {
		return nil, failed
	}
	return best, nil
}

// diskUse adds up the segments of each disk.
func (r *records) diskUse() map[*disk]Usage {
	out := map[*disk]Usage{}
	for _, s := range r.segs.list() {
		u := out[s.disk]
		u.Segments++
		u.Disk += s.end
		u.Count += s.count
		u.Live += s.live - s.count*recordHeader
		u.Dead += s.dead()
		out[s.disk] = u
	}
	return out
}

// hasRoom checks that n bytes more than the reserved ones fit on the disks but
// one, each device counted once and its margin left free.
func (r *records) hasRoom(n int64, but *disk) error {
	seen := map[any]bool{}
	var free, spare, margins uint64
	dirs := 0
	for _, d := range r.disks {
		if d == but || !d.takes() {
			continue
		}
		have, err := d.shelf.room()
		if d.judge(err) != nil || seen[have.device] {
			continue
		}
		seen[have.device] = true
		free, margins, dirs = free+have.free, margins+r.room.margin, dirs+1
		spare += have.free - min(have.free, r.room.margin)
	}
	want := uint64(r.reserved) + uint64(n)
	if dirs == 0 || spare < want {
		return &DiskError{Doing: fmt.Sprintf("reserving %d bytes", n), Dir: r.disks[0].dir, Free: free, Need: margins + want}
	}
	return r.room.floor("reserving")
}
