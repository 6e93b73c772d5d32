package store

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/staddle/staddle/types"
)

// tinyDisk mounts a file system of 8 MiB.
func tinyDisk(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a tmpfs to fill; this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("may not mount a tmpfs to fill: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// TestDiskFull fills a real file system: writes fail with what to do, reads go
// on, and after room was made writes go on too.
func TestDiskFull(t *testing.T) {
	dir := tinyDisk(t)
	s := mustOpen(t, dir+"/store", Options{Margin: 2 << 20, SegmentSize: 1 << 20})
	if _, err := s.Pieces().Reserve("a", 8<<20); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("reserve more than the disk has: %v", err)
	}
	kept := fill(t, s, reserve(t, s, "a", 4<<20))
	if len(kept) < 20 {
		t.Fatalf("full after %d pieces", len(kept))
	}
	for i, h := range kept {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatalf("piece %d of a full disk: %v", i, err)
		}
	}
	if err := s.Pieces().Release("b"); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	makeRoom(t, dir)
	s = mustOpen(t, dir+"/store", Options{Margin: 1 << 20, SegmentSize: 1 << 20})
	for i, h := range kept {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatalf("piece %d after reopening: %v", i, err)
		}
	}
	noProblems(t, s)
	putPiece(t, reserve(t, s, "b", 100), []byte("there is room again"))
}

// fill puts pieces, while something else fills the disk, until one is refused.
func fill(t *testing.T, s *Store, res *Reservation) (kept []types.Hash) {
	t.Helper()
	for i := range uint64(1000) {
		if i == 30 {
			growBallast(t, s)
		}
		h, err := res.Put(noise(1, i, 64<<10))
		if err == nil {
			kept = append(kept, h)
			continue
		}
		if errors.Is(err, ErrQuota) {
			t.Fatal("the reservation ended before the disk")
		}
		if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "free space on that disk") {
			t.Fatal(err)
		}
		b := s.Batch()
		b.Set("t", "k", []byte("v"))
		if err := b.Commit(); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("commit on a full disk: %v", err)
		}
		return kept
	}
	t.Fatal("the disk never got full")
	return nil
}

func growBallast(t *testing.T, s *Store) {
	t.Helper()
	name := s.opt.fs.PathJoin(s.opt.fs.PathDir(s.dir), "ballast")
	f, err := s.opt.fs.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func makeRoom(t *testing.T, dir string) {
	t.Helper()
	if err := vfs.Default.Remove(dir + "/ballast"); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFullMidRecord: the disk refuses a write that the free space promised.
func TestDiskFullMidRecord(t *testing.T) {
	var failing failWrites
	s := mustOpen(t, "/d", Options{fs: errorfs.Wrap(vfs.NewMem(), &failing), Margin: 1, SegmentSize: leastSegment})
	res := reserve(t, s, "a", 1<<20)
	first := putPiece(t, res, noise(1, 1, 10_000))
	before, _ := s.Usage()
	failing.set(errorfs.OpFileWriteAt, syscall.ENOSPC)
	var full *DiskError
	if _, err := res.Put(noise(1, 2, 10_000)); !errors.As(err, &full) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if after, _ := s.Usage(); after != before {
		t.Fatalf("a refused write left %+v, before %+v", after, before)
	}
	failing.set(errorfs.OpFileWriteAt, nil)
	second := putPiece(t, res, noise(1, 2, 10_000))
	for _, h := range []types.Hash{first, second} {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
	noProblems(t, s)
}

// failWrites fails operations of one kind on segment files.
type failWrites struct {
	now atomic.Pointer[failure]
	dir atomic.Pointer[string] // only below it, if any
}

func (f *failWrites) only(dir string) { f.dir.Store(&dir) }

type failure struct {
	kind errorfs.OpKind
	err  error
}

func (f *failWrites) set(kind errorfs.OpKind, err error) { f.now.Store(&failure{kind, err}) }
func (f *failWrites) String() string                     { return "fail writes to segments" }
func (f *failWrites) MaybeError(op errorfs.Op) error {
	now := f.now.Load()
	if now == nil || !strings.HasSuffix(op.Path, ".seg") || op.Kind != now.kind {
		return nil
	}
	if dir := f.dir.Load(); dir != nil && !strings.HasPrefix(op.Path, *dir+"/") {
		return nil
	}
	return now.err
}

// TestFailedSyncEndsWriting: after a failed sync nobody knows what is on disk,
// so nothing more is acknowledged.
func TestFailedSyncEndsWriting(t *testing.T) {
	var failing failWrites
	disk := vfs.NewMem()
	s, err := Open("/d", Options{fs: errorfs.Wrap(disk, &failing), Margin: 1})
	if err != nil {
		t.Fatal(err)
	}
	res := reserve(t, s, "a", 1<<20)
	first := putPiece(t, res, noise(1, 1, 10_000))
	broken := errors.New("input/output error")
	failing.set(errorfs.OpFileSyncData, broken)
	if _, err := res.Put(noise(1, 2, 10_000)); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	failing.set(errorfs.OpFileSyncData, nil)
	if _, err := res.Put(noise(1, 3, 10_000)); !errors.Is(err, broken) {
		t.Fatalf("a write after a failed sync: %v", err)
	}
	if _, err := s.Pieces().Reserve("b", 1); !errors.Is(err, broken) {
		t.Fatalf("a reservation after a failed sync: %v", err)
	}
	if _, err := s.Pieces().Get(first); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, broken) {
		t.Fatalf("close: %v", err)
	}
	s = mustOpen(t, "/d", Options{fs: disk, Margin: 1})
	if _, err := s.Pieces().Get(first); err != nil {
		t.Fatal(err)
	}
	noProblems(t, s)
}

func TestMargin(t *testing.T) {
	disk := vfs.NewMem()
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000, TotalBytes: 1 << 40})
	s := mustOpen(t, "/d", Options{fs: disk, Margin: 400})
	res := reserve(t, s, "a", 500)
	for _, tt := range []struct {
		n, free int64
		ok      bool
	}{
		{100, 1000, true},
		{1, 1000, false}, // 400 + 600 are spoken for
		{1, 1001, true},
	} {
		disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: uint64(tt.free), TotalBytes: 1 << 40})
		_, err := s.Pieces().Reserve("b", tt.n)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrDiskFull)) {
			t.Fatalf("reserve %d of %d: %v", tt.n, tt.free, err)
		}
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 99, TotalBytes: 1 << 40})
	if _, err := res.Put([]byte("x")); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("write into the last quarter of the margin: %v", err)
	}
	if err := s.Replicas().SetFile(types.LotID{}, "f", nil); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 100, TotalBytes: 1 << 40})
	if _, err := res.Put([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(s.Trouble()) != "<nil>" {
		t.Fatal(s.Trouble())
	}
}
