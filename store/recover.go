package store

import (
	"bytes"
	"errors"
	"fmt"
)

// openRecords brings segments and index together again after whatever happened.
func openRecords(s *Store, room *diskRoom, quota int64) (*records, error) {
	r := &records{
		fs: s.opt.fs, root: s.dir, format: s.format, opt: s.opt, room: room, index: newIndex(s.db), quota: quota,
		failed: s.replace,
		segs:   &segments{max: s.opt.OpenSegments, all: map[uint32]*segment{}},
		dirty:  map[*segment]bool{}, next: 1, grants: map[owner]int{},
	}
	r.clean = newCompactor(r, s.note)
	if err := r.recover(); err != nil {
		return nil, errors.Join(err, r.index.close(), r.segs.close())
	}
	r.clean.start()
	return r, nil
}

func (r *records) recover() error {
	if err := r.openDisks(r.root); err != nil {
		return err
	}
	known, err := r.segmentRows()
	if err != nil {
		return err
	}
	files, err := r.segmentFiles(known)
	if err != nil {
		return err
	}
	for number, at := range files {
		row, ok := known[number]
		if err := r.recoverSegment(number, row, ok, at); err != nil {
			return fmt.Errorf("recover segment %d: %w", number, err)
		}
	}
	for number, row := range known {
		if _, ok := files[number]; !ok {
			if err := r.recoverLost(number, row); err != nil {
				return err
			}
		}
	}
	if err := r.chooseActive(files); err != nil {
		return err
	}
	return r.finishReleases()
}

func (r *records) segmentRows() (map[uint32]segmentRow, error) {
	rows := map[uint32]segmentRow{}
	prefix := []byte{prefixSegment}
	err := scan(r.index.db, prefix, prefix, func(k, v []byte) error {
		if len(k) != 5 {
			return &CorruptError{What: "index", Reason: fmt.Sprintf("segment key of %d bytes", len(k))}
		}
		row, err := parseSegmentRow(v)
		if err != nil {
			return &CorruptError{What: "index", Reason: err.Error()}
		}
		rows[uint32(k[1])<<24|uint32(k[2])<<16|uint32(k[3])<<8|uint32(k[4])] = row
		return nil
	})
	return rows, err
}

// standing is where a segment file was found.
type standing struct {
	disk *disk
	size int64
}

// segmentFiles finds the segment files of all disks that are there.
func (r *records) segmentFiles(known map[uint32]segmentRow) (map[uint32]standing, error) {
	files := map[uint32]standing{}
	for _, d := range r.disks {
		if d.down.Load() != nil {
			continue
		}
		sizes, err := d.shelf.list()
		if err = d.judge(err); errors.Is(err, ErrDiskGone) {
			continue // its segments stay as the index knows them
		}
		if err != nil {
			return nil, err
		}
		for number, size := range sizes {
			at, other := standing{d, size}, files[number]
			if other.disk != nil {
				if row := known[number]; row.disk != d.number {
					at, other = other, at
				}
				// A disk was away when its newest file was not yet indexed, and the
				// number was given again: nobody was promised what is in that one.
				if err := other.disk.shelf.remove(number); err != nil {
					return nil, fmt.Errorf("segment %d stands in %s, too: %w", number, other.disk.dir, err)
				}
			}
			files[number] = at
		}
	}
	return files, nil
}

// recoverSegment brings one file and its row together: a compacted file is
// deleted, records behind the last indexed one are indexed, a torn tail is cut.
func (r *records) recoverSegment(number uint32, row segmentRow, known bool, at standing) error {
	r.next = max(r.next, number+1)
	d, size := at.disk, at.size
	s := &segment{number: number, disk: d, segmentRow: row}
	if row.dead {
		return errors.Join(d.shelf.remove(number), r.index.set(segmentKey(number), nil))
	}
	if !known {
		ok, err := headed(d.shelf, number, size)
		if err != nil || !ok {
			return errors.Join(err, d.shelf.remove(number))
		}
		s.end = segmentHeader
	}
	s.segmentRow.disk = d.number
	r.segs.add(s)
	r.live += s.live - s.count*recordHeader
	r.count += s.count
	if size > s.end {
		if err := r.readTail(s, size); err != nil {
			return err
		}
	}
	r.disk += s.end
	r.files++
	r.touch(s)
	return nil
}

// headed reports whether the file begins as a segment does; a crash while it was
// made leaves less, and nothing in it.
func headed(on shelf, number uint32, size int64) (ok bool, err error) {
	if size < segmentHeader {
		return false, nil
	}
	f, err := on.open(number)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, segmentHeader)
	err = readFull(f, b, 0)
	return err == nil && bytes.Equal(b, segmentHead(number)), err
}

// readTail indexes the whole records behind s.end and cuts what follows them.
// Nobody was told that they are stored, so they have no owner yet.
func (r *records) readTail(s *segment, size int64) (err error) {
	f, err := s.disk.shelf.reopen(s.number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := &scanner{f: f, off: s.end, end: size}
	for {
		rec, err := in.next()
		if err != nil || rec.bad != nil {
			break // whatever it is, nobody was promised it
		}
		if err := r.adopt(s.number, rec); err != nil {
			return err
		}
		s.end = rec.off + rec.size()
	}
	if s.end < size {
		return s.disk.shelf.cut(s.number, s.end)
	}
	return f.SyncData() // before anybody relies on the adopted records
}

func (r *records) adopt(segment uint32, rec found) error {
	i := id{rec.kind, rec.key}
	_, ok, err := r.index.entry(i)
	if err != nil || ok {
		return err
	}
	return r.index.set(i.row(), entry{place: place{segment, rec.off, rec.n}}.encode())
}

// recoverLost handles a row without a file: compaction's last step, or a file
// that somebody deleted, whose records read as corrupt from now on.
func (r *records) recoverLost(number uint32, row segmentRow) error {
	r.next = max(r.next, number+1)
	d := r.diskNumber(row.disk)
	if d == nil {
		return &CorruptError{What: "index", Segment: number, Reason: fmt.Sprintf("it stands on disk %d, which is not known", row.disk)}
	}
	if row.dead {
		if d.down.Load() != nil {
			return nil // the file is deleted when the disk is there again
		}
		return r.index.set(segmentKey(number), nil)
	}
	s := &segment{number: number, disk: d, segmentRow: row, stuck: true}
	r.segs.add(s)
	r.live += s.live - s.count*recordHeader
	r.count += s.count
	r.disk += s.end
	r.files++
	return nil
}

// chooseActive goes on in the newest segment of the disk that is to be filled, when
// that is whole and has room.
func (r *records) chooseActive(files map[uint32]standing) error {
	d, err := r.choose()
	if err != nil || d.shelf.whole() {
		return nil // the first write says why it cannot be
	}
	var s *segment
	for _, other := range r.segs.list() { // by number
		if other.disk == d {
			s = other
		}
	}
	if s == nil || s.stuck || files[s.number].size < s.end || s.end >= r.opt.SegmentSize {
		return nil
	}
	if err := r.segs.reopen(s); err != nil {
		return err
	}
	r.active = s
	return nil
}

// finishReleases ends what a crash interrupted and makes the recovery durable.
func (r *records) finishReleases() error {
	if err := r.syncAll(); err != nil {
		return err
	}
	var owners []owner
	prefix := []byte{prefixReleasing}
	err := scan(r.index.db, prefix, prefix, func(k, _ []byte) error {
		if len(k) > 2 {
			owners = append(owners, owner{k[1], string(k[2:])})
		}
		return nil
	})
	for _, o := range owners {
		err = errors.Join(err, r.releaseOwner(o))
	}
	return err
}

// close makes lazy writes durable and closes the files.
func (r *records) close() error {
	r.clean.interrupt()
	r.clean.done.Wait()
	err := r.syncAll()
	r.mu.Lock()
	err = errors.Join(err, r.seal())
	if late := r.late; late != nil && late.batch != nil {
		err = errors.Join(err, late.batch.Close()) // what could not be stored
	}
	r.mu.Unlock()
	return errors.Join(err, r.index.close(), r.segs.close())
}
