package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/staddle/staddle/store/bucket"
	"github.com/staddle/staddle/types"
)

// Disk is one place for segments and what stands there.
type Disk struct {
	Number uint32 // 0: the directory of the store, which also has the index
	Dir    string
	State  string // "in use", "retiring", "lost", "gone", or "index" when only that stays
	Err    error  // why it is gone
	Free   uint64 // bytes; 0 when it is gone
	Total  uint64 // bytes; 0 when it is gone
	Use    Usage  // of its segments; no quota
}

// ErrNoDisk says that no disk of the store has this directory.
var ErrNoDisk = errors.New("no disk of this store")

// Disks lists the disks by number.
func (s *Store) Disks() ([]Disk, error) {
	if err := s.gate.enter(); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	r := s.records()
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.diskUse()
	var out []Disk
	for _, d := range r.disks {
		info := Disk{Number: d.number, Dir: d.dir, State: "in use", Use: use[d]}
		switch why := d.down.Load(); {
		case d.state == diskLost:
			info.State = "lost"
		case why != nil:
			info.State, info.Err = "gone", *why
		case d.state == diskRetiring && d.number == 0:
			info.State = "index"
		case d.state == diskRetiring:
			info.State = "retiring"
		}
		if d.down.Load() == nil {
			if have, err := d.shelf.room(); err == nil {
				info.Free, info.Total = have.free, have.total
			}
		}
		out = append(out, info)
	}
	return out, nil
}

// AddDisk makes dir one more place for segments; the index stays where it is. It
// is an absolute path of a directory that is empty, or that this store knows under
// another path and that moved; or the address of a bucket (see bucket.Open), which
// takes what has no room in directories. Errors: ErrNotStore when it holds other
// things, ErrDiskFull, those of the bucket.
func (s *Store) AddDisk(dir string) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	r := s.records()
	r.clean.work.Lock() // no other change of the disks meanwhile
	defer r.clean.work.Unlock()
	if err := r.addDisk(cleanDir(dir)); err != nil {
		if errors.Is(err, bucket.ErrAddress) {
			return fmt.Errorf("add disk: %w", err) // the address may hold what is secret
		}
		return fmt.Errorf("add disk %s: %w", dir, err)
	}
	return nil
}

func cleanDir(dir string) string {
	if bucket.IsAddress(dir) {
		return strings.TrimRight(dir, "/")
	}
	return filepath.Clean(dir)
}

func (r *records) addDisk(dir string) error {
	if !filepath.IsAbs(dir) && !bucket.IsAddress(dir) || len(dir) > maxDiskDir {
		return fmt.Errorf("want an absolute path of at most %d bytes, or s3://HOST/BUCKET/PREFIX", maxDiskDir)
	}
	if dir == r.root {
		return r.useHome()
	}
	for _, d := range r.diskList() {
		if d.dir == dir && d.down.Load() == nil {
			return errors.New("it is in use already")
		}
	}
	row := diskRow{dir: dir}
	if moved := r.knows(dir); moved != nil {
		return r.moveDisk(moved, dir)
	}
	if _, err := rand.Read(row.id[:]); err != nil {
		return err
	}
	if err := r.shelf(row).prepare(); err != nil {
		return err
	}
	if err := r.raise(); err != nil {
		return err
	}
	r.mu.Lock()
	number := uint32(1)
	for _, d := range r.disks {
		number = max(number, d.number+1)
	}
	err := r.index.set(diskKey(number), row.encode())
	if err == nil {
		r.disks = append(slices.Clone(r.disks), r.openDisk(number, row))
	}
	r.mu.Unlock()
	return errors.Join(err, r.syncAll())
}

// useHome takes back that the directory of the store was retired.
func (r *records) useHome() error {
	r.mu.Lock()
	if r.disks[0].state == diskInUse {
		r.mu.Unlock()
		return errors.New("it is in use already")
	}
	r.disks[0].state = diskInUse
	err := r.index.set(diskKey(0), nil)
	r.mu.Unlock()
	return errors.Join(err, r.syncAll())
}

// diskList is a copy that stays as it is.
func (r *records) diskList() []*disk {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.disks)
}

// knows gives the disk whose marker stands in dir; nil when it is none of ours.
func (r *records) knows(dir string) *disk {
	b, err := r.shelf(diskRow{dir: dir}).id()
	if err != nil {
		return nil
	}
	id, err := parseMarker(b)
	for _, d := range r.diskList()[1:] {
		if err == nil && d.id == id {
			return d
		}
	}
	return nil
}

// moveDisk notes the new path of a disk; its segments are found at the next start.
func (r *records) moveDisk(d *disk, dir string) error {
	there := d.down.Load() == nil && d.shelf.probe() == nil
	r.mu.Lock()
	row := d.diskRow
	if row.dir = dir; d.state == diskLost || there {
		r.mu.Unlock()
		return fmt.Errorf("it is a copy of %s, which is in use or was declared lost", d.dir)
	}
	err := r.index.set(diskKey(d.number), row.encode())
	r.mu.Unlock()
	return errors.Join(err, r.syncAll())
}

// find gives the added disk of a directory and sets its state durably.
func (r *records) find(dir string, state byte) (*disk, error) {
	dir = cleanDir(dir)
	r.mu.Lock()
	i := slices.IndexFunc(r.disks, func(d *disk) bool { return d.dir == dir })
	if i < 0 || i == 0 && state == diskLost {
		r.mu.Unlock()
		if i == 0 {
			return nil, fmt.Errorf("%s holds the index and cannot be lost alone", dir)
		}
		return nil, fmt.Errorf("%w: %s", ErrNoDisk, dir)
	}
	d := r.disks[i]
	d.state = max(d.state, state)
	err := r.index.set(diskKey(d.number), d.encode())
	if r.active != nil && r.active.disk == d {
		err = errors.Join(err, r.seal())
	}
	r.mu.Unlock()
	return d, errors.Join(err, r.syncAll())
}

// RetireDisk moves all that stands on a disk to the others and lets go of it; the
// directory of the store keeps the index and takes nothing else, until AddDisk. It
// goes on where it stopped when it is called again; nothing new goes there from
// the first call on. Errors: ErrNoDisk, ErrDiskFull when the others have no room,
// ErrDiskGone, ErrCorrupt when damage stands in the way (Repair first).
func (s *Store) RetireDisk(ctx context.Context, dir string) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	r := s.records()
	err := r.fitsElsewhere(cleanDir(dir))
	if err != nil {
		return fmt.Errorf("retire disk: %w", err)
	}
	d, err := r.find(dir, diskRetiring)
	if err != nil {
		return fmt.Errorf("retire disk: %w", err)
	}
	if err = d.gone(); err == nil {
		err = r.empty(ctx, d)
	}
	if err == nil && d.number > 0 {
		err = r.forget(d)
	}
	if err != nil {
		return fmt.Errorf("retire disk %s: %w", dir, err)
	}
	if d.number == 0 {
		return nil
	}
	return d.shelf.clear()
}

// fitsElsewhere checks, before a disk is retired, that the others have room.
func (r *records) fitsElsewhere(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.diskUse()
	for _, d := range r.disks {
		if d.dir == dir {
			return r.hasRoom(use[d].Live+use[d].Count*recordHeader, d)
		}
	}
	return nil // find says that there is none
}

// empty compacts every segment of d.
func (r *records) empty(ctx context.Context, d *disk) error {
	r.mu.Lock()
	for _, s := range r.segs.list() {
		if s.disk == d {
			s.stuck = false // once more
		}
	}
	r.mu.Unlock()
	if err := r.clean.run(ctx, func(s *segment, _ bool) bool { return s.disk == d }); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if use := r.diskUse()[d]; use.Segments > 0 {
		return fmt.Errorf("%w: %d records in %d segments cannot be moved; see `staddle doctor --repair`", ErrCorrupt, use.Count, use.Segments)
	}
	return nil
}

func (r *records) forget(d *disk) error {
	r.mu.Lock()
	err := r.index.set(diskKey(d.number), nil)
	r.disks = slices.DeleteFunc(slices.Clone(r.disks), func(x *disk) bool { return x == d })
	r.mu.Unlock()
	return errors.Join(err, r.syncAll())
}

// LoseDisk writes a disk off: what stood there counts as missing, its owners
// stay, and putting it again heals; Losses lists it. The directory is not
// touched. After a crash the same call goes on. Errors: ErrNoDisk.
func (s *Store) LoseDisk(ctx context.Context, dir string) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	r := s.records()
	if err := r.raise(); err != nil {
		return err
	}
	d, err := r.find(dir, diskLost)
	if err != nil {
		return fmt.Errorf("declare disk lost: %w", err)
	}
	why := errors.New("declared lost")
	d.down.Store(&why)
	r.clean.work.Lock()
	defer r.clean.work.Unlock()
	if err := r.writeOff(ctx, func(s *segment) bool { return s.disk == d }); err != nil {
		return fmt.Errorf("write off disk %s: %w", dir, err)
	}
	for _, seg := range r.segs.list() {
		if seg.disk == d {
			if err := r.strike(seg); err != nil {
				return err
			}
		}
	}
	return r.forget(d)
}

// writeOff turns every record in the chosen segments into a lost one.
func (r *records) writeOff(ctx context.Context, in func(*segment) bool) error {
	err := r.eachRow(ctx, []byte{prefixIndex}, func(i id) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		e, ok, err := r.index.entry(i)
		if s := r.segs.get(e.segment); err == nil && ok && s != nil && in(s) {
			err = r.lose(i, e)
		}
		return err
	})
	return errors.Join(err, r.syncAll())
}

// lose takes the place of a record away; who owns it still does. The caller
// holds r.mu and has raised the format.
func (r *records) lose(i id, e entry) error {
	if e.lost() {
		return nil
	}
	if e.refs == 0 {
		return r.index.set(i.row(), nil)
	}
	r.account(e.place, -1)
	return r.index.set(i.row(), entry{refs: e.refs}.encode())
}

// strike forgets a segment that nothing points to, and leaves its file.
func (r *records) strike(s *segment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.live != 0 || s.count != 0 {
		return &CorruptError{What: "index", Segment: s.number, Reason: fmt.Sprintf("%d bytes live after all were written off", s.live)}
	}
	s.segmentRow.dead = true // no flush writes its row again
	r.disk -= s.end
	r.files--
	r.segs.drop(s)
	return r.index.set(segmentKey(s.number), nil)
}

// drop forgets a segment; who has it open goes on.
func (g *segments) drop(s *segment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.gone = true
	delete(g.all, s.number)
	if s.users == 0 {
		_ = g.closeFile(s) // of a file that is written off
	}
}

// Loss is a record that somebody counts on and that is not here any more: its
// disk was lost, or a repair found it damaged.
type Loss struct {
	Kind  string // "piece" or "replica"
	Key   types.Hash
	Owner string      // of a piece
	Lot   types.LotID // of a replica; Have tells which pieces are there
}

// Losses calls fn with every lost record and each of its owners, so that they can
// be told; a record that was put again is none. An error of fn ends the walk and
// is given back.
func (s *Store) Losses(fn func(Loss) error) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	r := s.records()
	prefix := []byte{prefixOwned}
	return scan(r.index.db, prefix, prefix, func(k, _ []byte) error {
		if len(k) < 3 || len(k) != 3+int(k[2])+types.HashSize {
			return &CorruptError{What: "index", Reason: fmt.Sprintf("owner's key of %d bytes", len(k))}
		}
		i := id{k[1], types.Hash(k[len(k)-types.HashSize:])}
		e, ok, err := r.index.entry(i)
		if err != nil || !ok || !e.lost() {
			return err
		}
		loss := Loss{Kind: kindName(i.kind), Key: i.key, Owner: string(k[3 : 3+int(k[2])])}
		if i.kind == kindReplica && len(loss.Owner) == types.HashSize {
			loss.Owner, loss.Lot = "", types.LotID([]byte(loss.Owner))
		}
		return fn(loss)
	})
}
