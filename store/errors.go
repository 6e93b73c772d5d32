package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/staddle/staddle/types"
)

// What callers tell apart with errors.Is.
var (
	ErrClosed   = errors.New("store is closed")
	ErrLocked   = errors.New("store locked by another process")
	ErrNewer    = errors.New("store was written by a newer version of staddle")
	ErrNotStore = errors.New("directory holds other files and is no store")
	ErrQuota    = errors.New("quota exceeded")
	ErrDiskFull = errors.New("disk full")
	ErrCorrupt  = errors.New("stored data is corrupt")
	ErrSettled  = errors.New("reservation was committed or released before")
	ErrAbsent   = errors.New("not held here") // replicas; pieces give *types.Missing
)

// QuotaError says what was asked and what was left, in bytes of pieces. It is
// an ErrQuota.
type QuotaError struct {
	Owner       string
	Want, Free  int64
	Quota       int64 // 0: the limit is the reservation, not the store
	reservation bool
}

// Error names the numbers.
func (e *QuotaError) Error() string {
	if e.reservation {
		return fmt.Sprintf("quota exceeded: %d bytes for %q above the %d left of its reservation", e.Want, e.Owner, e.Free)
	}
	return fmt.Sprintf("quota exceeded: %d bytes for %q above the %d free of %d", e.Want, e.Owner, e.Free, e.Quota)
}

// Is makes the error an ErrQuota.
func (e *QuotaError) Is(target error) bool { return target == ErrQuota }

// DiskError is a write that the disk had no room for. It is an ErrDiskFull.
type DiskError struct {
	Doing string
	Dir   string
	Free  uint64 // bytes; 0 when the disk itself refused
	Need  uint64 // bytes; 0 when the disk itself refused
	Err   error
}

// Error says what to do.
func (e *DiskError) Error() string {
	why := fmt.Sprintf("%d bytes free, %d needed", e.Free, e.Need)
	if e.Err != nil {
		why = e.Err.Error()
	}
	return fmt.Sprintf("disk full: %s in %s: %s; free space on that disk or lower the quota, then try again (reading still works)", e.Doing, e.Dir, why)
}

// Is makes the error an ErrDiskFull.
func (e *DiskError) Is(target error) bool { return target == ErrDiskFull }

// Unwrap is the disk's own error, if any.
func (e *DiskError) Unwrap() error { return e.Err }

// CorruptError names stored data that does not read back as written. It is an
// ErrCorrupt.
type CorruptError struct {
	What    string
	Key     types.Hash
	Segment uint32 // 0: not in a segment
	Offset  int64
	Reason  string
}

// Error names the place.
func (e *CorruptError) Error() string {
	if e.Segment == 0 {
		return fmt.Sprintf("%s %s is corrupt: %s", e.What, e.Key.Short(), e.Reason)
	}
	return fmt.Sprintf("%s %s is corrupt: segment %d at byte %d: %s", e.What, e.Key.Short(), e.Segment, e.Offset, e.Reason)
}

// Is makes the error an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// diskError turns "no space left" into a DiskError and wraps the rest.
func diskError(doing, dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &DiskError{Doing: doing, Dir: dir, Err: err}
	}
	return fmt.Errorf("%s in %s: %w", doing, dir, err)
}
