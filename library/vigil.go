package library

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// Glance is what a folder looks like from outside: a hash over names, sizes, times
// and modes.
type Glance types.Hash

// Look walks a folder, or looks at one file, and opens no file.
func Look(path string) (Glance, error) {
	f, err := openFolder(path)
	if err != nil {
		return Glance{}, err
	}
	defer f.Close()
	sum := sha256.New()
	err = fs.WalkDir(f.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read looks the same until it can
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // gone a moment ago
		}
		line := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
		line = append(line, name...)
		line = binary.BigEndian.AppendUint32(line, uint32(info.Mode()))
		if !d.IsDir() {
			line = binary.BigEndian.AppendUint64(line, uint64(info.Size()))
		}
		line = binary.BigEndian.AppendUint64(line, uint64(info.ModTime().UnixNano()))
		sum.Write(line)
		return nil
	})
	return Glance(sum.Sum(nil)), err
}

// Vigil decides when a folder that is watched is put again: once it looks another
// than when it was put, and has not changed for the time Settle. It knows no clock
// and no folder.
type Vigil struct {
	Settle time.Duration

	put   Glance // what was put last
	seen  Glance // at the last look
	since time.Time
	begun bool
}

// Due takes a look at the folder and reports whether to put it now. The first look
// is due at once.
func (v *Vigil) Due(now time.Time, g Glance) bool {
	if !v.begun {
		v.begun, v.seen = true, g
		return true
	}
	if g != v.seen {
		v.seen, v.since = g, now
	}
	return g != v.put && now.Sub(v.since) >= v.Settle
}

// Done says that the folder was put as it looked then.
func (v *Vigil) Done(g Glance) { v.put = g }

// Failed puts the next attempt off.
func (v *Vigil) Failed(now time.Time, wait time.Duration) { v.since = now.Add(wait - v.Settle) }

// ErrVanished is the error of a guarded put of a folder that lacks much of what
// the version before holds.
var ErrVanished = errors.New("files have vanished")

// Vanished says how many files.
type Vanished struct {
	Gone, Of int
}

// Error tells the share.
func (v *Vanished) Error() string {
	return fmt.Sprintf("%d of the %d files of the version before are gone, more than 30 %%: nothing was put", v.Gone, v.Of)
}

// Is makes it an ErrVanished.
func (v *Vanished) Is(target error) bool { return target == ErrVanished }

// guard refuses a folder in which more than 30 % of the files of the version
// before are gone: a disk that is not mounted looks like that.
func (p *putting) guard() error {
	if p.before == nil {
		return nil
	}
	d, err := p.l.here(p.ctx, p.before)
	if err != nil {
		return fmt.Errorf("open the version before: %w", err)
	}
	r, err := d.reader(cached)
	if err != nil {
		return fmt.Errorf("open the version before: %w", err)
	}
	v := Vanished{}
	for e := range r.All() {
		if e.Type != archive.File {
			continue
		}
		v.Of++
		if _, err := fs.Lstat(p.folder.fsys, e.Name); errors.Is(err, os.ErrNotExist) {
			v.Gone++
		}
	}
	if v.Gone*10 > v.Of*3 {
		return &v
	}
	return nil
}
