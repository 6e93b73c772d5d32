package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

var diskOptions = Options{Margin: 1, SegmentSize: leastSegment, OpenSegments: 2}

// withDisk is a store with one more disk, pieces on both, and those on each.
func withDisk(t testing.TB, o Options) (s *Store, dir string, here, there []types.Hash) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "b")
	s = mustOpen(t, filepath.Join(root, "a"), o)
	if err := s.AddDisk(dir); err != nil {
		t.Fatal(err)
	}
	here, there = plantDisks(t, s)
	return s, dir, here, there
}

func plantDisks(t testing.TB, s *Store) (here, there []types.Hash) {
	t.Helper()
	for i := range uint64(12) {
		h := put(t, s, "a", noise(1, i, 20_000))
		if s.diskOf(t, h) == 0 {
			here = append(here, h)
		} else {
			there = append(there, h)
		}
	}
	if len(here) < 3 || len(there) < 3 {
		t.Fatalf("%d pieces here, %d there", len(here), len(there))
	}
	return here, there
}

func (s *Store) diskOf(t testing.TB, h types.Hash) uint32 {
	t.Helper()
	e, ok, err := s.index().entry(id{kindPiece, h})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return s.records().segs.get(e.segment).disk.number
}

func readable(t testing.TB, s *Store, keys []types.Hash) {
	t.Helper()
	for _, h := range keys {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
}

func states(t testing.TB, s *Store) (out []string) {
	t.Helper()
	disks, err := s.Disks()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		out = append(out, fmt.Sprint(d.Number, " ", d.State))
		if (d.State == "gone") != (d.Err != nil) || d.State == "in use" && (d.Free == 0 || d.Total < d.Free) {
			t.Fatalf("%+v", d)
		}
	}
	return out
}

func again(t testing.TB, s *Store, o Options) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, s.dir, o)
}

func TestRetireDisk(t *testing.T) {
	s, dir, here, there := withDisk(t, diskOptions)
	s = again(t, s, diskOptions)
	readable(t, s, slices.Concat(here, there))
	if d := cmp.Diff([]string{"0 in use", "1 in use"}, states(t, s)); d != "" {
		t.Fatal(d)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.RetireDisk(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s = again(t, s, diskOptions) // stopped in the middle: it stays "retiring"
	if d := cmp.Diff([]string{"0 in use", "1 retiring"}, states(t, s)); d != "" {
		t.Fatal(d)
	}
	if err := s.RetireDisk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 0 {
		t.Fatalf("%v is left: %v", names, err)
	}
	noProblems(t, s)
	s = again(t, s, diskOptions)
	readable(t, s, slices.Concat(here, there))
	if d := cmp.Diff([]string{"0 in use"}, states(t, s)); d != "" {
		t.Fatal(d)
	}
	noProblems(t, s)
	for _, dir := range []string{dir, s.dir} {
		if s.RetireDisk(t.Context(), dir) == nil {
			t.Errorf("%s is retired", dir)
		}
	}
}

// TestRetireNeedsRoom: what does not fit elsewhere stays where it is.
func TestRetireNeedsRoom(t *testing.T) {
	disk := vfs.NewMem()
	o := diskOptions
	o.fs = disk
	s := mustOpen(t, "/a", o)
	if err := s.AddDisk("/b"); err != nil {
		t.Fatal(err)
	}
	here, there := plantDisks(t, s)
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 20_000, TotalBytes: 1 << 40})
	if err := s.RetireDisk(t.Context(), "/b"); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0 in use", "1 in use"}, states(t, s)); d != "" {
		t.Fatal(d)
	}
	readable(t, s, slices.Concat(here, there))
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 40})
	if err := s.RetireDisk(t.Context(), "/b"); err != nil {
		t.Fatal(err)
	}
	readable(t, s, slices.Concat(here, there))
}

// TestLoseDisk: what stood on it is missing, its owners are told and stay, and
// putting it again heals.
func TestLoseDisk(t *testing.T) {
	s, dir, here, there := withDisk(t, diskOptions)
	lot := types.LotID{9}
	res, err := s.Replicas().Reserve(lot, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(8) {
		if err := res.Put(0, i, noise(7, uint64(i), 30_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := res.Commit(); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Usage()
	if err := s.LoseDisk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same after a restart
		readable(t, s, here)
		for _, h := range there {
			var gap *types.Missing
			if _, err := s.Pieces().Get(h); !errors.As(err, &gap) {
				t.Fatal(err)
			}
			if n, err := s.Pieces().Size(h); n != 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		checkLosses(t, s, lot, there)
		noProblems(t, s)
		s = again(t, s, diskOptions)
	}
	if err := s.LoseDisk(t.Context(), dir); !errors.Is(err, ErrNoDisk) {
		t.Fatal(err)
	}
	if err := s.AddDisk(dir); !errors.Is(err, ErrNotStore) {
		t.Fatalf("a lost disk with its files comes back: %v", err)
	}
	for i := range uint64(12) {
		put(t, s, "a", noise(1, i, 20_000))
	}
	readable(t, s, slices.Concat(here, there))
	res, err = s.Replicas().Reserve(lot, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(8) {
		if err := res.Put(0, i, noise(7, uint64(i), 30_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := res.Commit(); err != nil {
		t.Fatal(err)
	}
	if use, _ := s.Usage(); use.Live != before.Live || use.Count != before.Count || use.Reserved != 0 {
		t.Fatalf("%+v, want %+v", use, before)
	}
	if err := s.Losses(func(l Loss) error { return fmt.Errorf("still lost: %+v", l) }); err != nil {
		t.Fatal(err)
	}
	noProblems(t, s)
	if err := errors.Join(s.Pieces().Release("a"), s.Replicas().Drop(lot)); err != nil {
		t.Fatal(err)
	}
	if use, _ := s.Usage(); use.Live != 0 || use.Count != 0 {
		t.Fatalf("%+v", use)
	}
	noProblems(t, s)
}

func checkLosses(t *testing.T, s *Store, lot types.LotID, there []types.Hash) {
	t.Helper()
	var lost []types.Hash
	replicas := 0
	if err := s.Losses(func(l Loss) error {
		switch {
		case l.Kind == "piece" && l.Owner == "a":
			lost = append(lost, l.Key)
		case l.Kind == "replica" && l.Lot == lot:
			replicas++
		default:
			t.Errorf("%+v", l)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := slices.SortedFunc(slices.Values(there), func(a, b types.Hash) int { return bytes.Compare(a[:], b[:]) })
	if d := cmp.Diff(want, lost); d != "" {
		t.Error(d)
	}
	have, err := s.Replicas().Have(lot, 0)
	if err != nil || replicas == 0 || have.Count()+replicas != 8 {
		t.Errorf("%d replicas lost, %d held: %v", replicas, have.Count(), err)
	}
}

// TestDropsLostOnes: an owner can let go of what was lost.
func TestReleaseOfLost(t *testing.T) {
	s, dir, _, _ := withDisk(t, diskOptions)
	if err := errors.Join(s.LoseDisk(t.Context(), dir), s.Pieces().Release("a")); err != nil {
		t.Fatal(err)
	}
	if use, _ := s.Usage(); use.Live != 0 || use.Count != 0 {
		t.Fatalf("%+v", use)
	}
	if err := s.Losses(func(l Loss) error { return fmt.Errorf("still lost: %+v", l) }); err != nil {
		t.Fatal(err)
	}
	noProblems(t, s)
}

// TestDiskVanishes: while the store is open its pieces read as gone, the others
// and all writes go on; at the next start the same; when it is back all is well.
func TestDiskVanishes(t *testing.T) {
	s, dir, here, there := withDisk(t, diskOptions)
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		gone := 0
		for _, h := range there {
			_, err := s.Pieces().Get(h)
			if errors.Is(err, ErrDiskGone) && strings.Contains(err.Error(), dir) && !errors.Is(err, ErrCorrupt) {
				gone++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if gone < len(there)-1 { // a file that was open goes on for a while
			t.Fatalf("%d of %d pieces are gone", gone, len(there))
		}
		readable(t, s, here)
		for i := range uint64(10) {
			here = append(here, put(t, s, "b", noise(uint64(gone), i, 20_000)))
		}
		if d := cmp.Diff([]string{"0 in use", "1 gone"}, states(t, s)); d != "" {
			t.Fatal(d)
		}
		var bad []error
		if _, err := s.Verify(func(p Problem) error { bad = append(bad, p.Err); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(bad) != 1 || !errors.Is(bad[0], ErrDiskGone) {
			t.Fatal(bad)
		}
		if err := s.Compact(); err != nil {
			t.Fatal(err)
		}
		s = again(t, s, diskOptions)
	}
	// One of them is put again meanwhile, and its old place is dead.
	put(t, s, "a", noise(1, uint64(11), 20_000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, s.dir, diskOptions)
	readable(t, s, slices.Concat(here, there))
	noProblems(t, s)
}

// TestDiskMoves: the same disk under another path.
func TestDiskMoves(t *testing.T) {
	s, dir, here, there := withDisk(t, diskOptions)
	if err := errors.Join(s.Close(), os.Rename(dir, dir+"2")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, s.dir, diskOptions)
	if err := s.AddDisk(dir + "2"); err != nil {
		t.Fatal(err)
	}
	s = again(t, s, diskOptions)
	readable(t, s, slices.Concat(here, there))
	if d := cmp.Diff([]string{"0 in use", "1 in use"}, states(t, s)); d != "" {
		t.Fatal(d)
	}
	noProblems(t, s)
}

func TestAddDiskRefuses(t *testing.T) {
	s, dir, _, _ := withDisk(t, diskOptions)
	foreign, other := t.TempDir(), filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(filepath.Join(foreign, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := mustOpen(t, filepath.Join(t.TempDir(), "store"), diskOptions)
	if err := second.AddDisk(other); err != nil {
		t.Fatal(err)
	}
	plantDisks(t, second)
	for dir, want := range map[string]error{
		"relative": nil, foreign: ErrNotStore, other: ErrNotStore, dir: nil, s.dir: nil,
		"/" + strings.Repeat("x", maxDiskDir): nil,
	} {
		if err := s.AddDisk(dir); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("add %.60s: %v", dir, err)
		}
	}
	if err := s.AddDisk(filepath.Join(t.TempDir(), "d")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.RetireDisk(t.Context(), other), s.LoseDisk(t.Context(), other)); !errors.Is(err, ErrNoDisk) {
		t.Fatal(err)
	}
}

// TestFullDiskIsLeft: when one disk refuses a write, another takes it.
func TestFullDiskIsLeft(t *testing.T) {
	var failing failWrites
	o := diskOptions
	o.fs = errorfs.Wrap(vfs.NewMem(), &failing)
	s := mustOpen(t, "/a", o)
	if err := s.AddDisk("/b"); err != nil {
		t.Fatal(err)
	}
	first := put(t, s, "a", noise(1, 1, 1000))
	where := s.diskOf(t, first)
	failing.only(s.records().diskNumber(where).dir)
	failing.set(errorfs.OpFileWriteAt, errors.New("input/output error"))
	second := put(t, s, "a", noise(1, 2, 1000))
	if s.diskOf(t, second) == where {
		t.Fatal("written to the disk that refused")
	}
	failing.set(errorfs.OpFileWriteAt, nil)
	readable(t, s, []types.Hash{first, second})
	noProblems(t, s)
}

// TestDisksSurviveEveryCut: the power goes before each change of the disks while
// one is added, filled, and retired or declared lost.
func TestDisksSurviveEveryCut(t *testing.T) {
	for name, lose := range map[string]bool{"retire": false, "lose": true} {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			for at := 1; cutDisks(t, at, lose); at++ {
				cuts++
			}
			if cuts < 10 {
				t.Fatalf("only %d changes of the disk", cuts)
			}
			t.Logf("%d moments", cuts)
		})
	}
}

// cutDisks is false when there were fewer changes than at.
func cutDisks(t *testing.T, at int, lose bool) bool {
	t.Helper()
	c := &stepper{disk: vfs.NewCrashableMem()}
	o := diskOptions
	o.fs = errorfs.Wrap(c.disk, c)
	s := mustOpen(t, "/a", o)
	c.arm(at)
	if err := s.AddDisk("/b"); err != nil {
		t.Fatal(err)
	}
	var safe []types.Hash // acknowledged before the cut
	for i := range uint64(6) {
		if h := put(t, s, "a", noise(1, i, 30_000)); c.copied() == nil {
			safe = append(safe, h)
		}
	}
	do := func(s *Store) error {
		if lose {
			return s.LoseDisk(t.Context(), "/b")
		}
		return s.RetireDisk(t.Context(), "/b")
	}
	if err := do(s); err != nil {
		t.Fatal(err)
	}
	c.arm(0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c.left == nil {
		return false
	}
	o.fs = c.left
	s = mustOpen(t, "/a", o)
	if _, err := s.Verify(func(p Problem) error {
		if lose && errors.Is(p.Err, ErrDiskGone) {
			return nil
		}
		return &p
	}); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	if err := do(s); err != nil && !errors.Is(err, ErrNoDisk) {
		t.Fatalf("%s: %v", c.what, err)
	}
	for _, h := range safe {
		if _, err := s.Pieces().Get(h); err != nil && !lose {
			t.Fatalf("%s: %v", c.what, err)
		}
		if b, err := s.index().get(pieceOwner("a").row(h)); err != nil || b == nil {
			t.Fatalf("%s: piece %s has no owner: %v", c.what, h.Short(), err)
		}
	}
	noProblems(t, s)
	if err := s.AddDisk("/c"); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

func FuzzDiskRows(f *testing.F) {
	f.Add(diskRow{1, [16]byte{1}, "/b"}.encode())
	f.Add(diskRow{id: [16]byte{1, 255}}.marker())
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseDiskRow(b); err == nil && !bytes.Equal(d.encode(), b) {
			t.Fatalf("disk row %x encodes as %x", b, d.encode())
		}
		if id, err := parseMarker(b); err == nil && !bytes.Equal(diskRow{id: id}.marker(), b) {
			t.Fatalf("marker %q is %x", b, id)
		}
	})
}

// TestDiskVanishesInASync: what was not yet durable is not acknowledged, and the
// next start goes on without the disk.
func TestDiskVanishesInASync(t *testing.T) {
	var failing failWrites
	disk := vfs.NewMem()
	o := diskOptions
	o.fs = errorfs.Wrap(disk, &failing)
	s, err := Open("/a", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddDisk("/b"); err != nil {
		t.Fatal(err)
	}
	here, there := plantDisks(t, s)
	failing.only("/b")
	failing.set(errorfs.OpFileSyncData, errors.New("input/output error"))
	if err := disk.Rename("/b/disk", "/b/was"); err != nil {
		t.Fatal(err)
	}
	lazy := reserve(t, s, "lazy", 1<<20)
	if _, err := lazy.PutLazy(noise(8, 1, 20_000)); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) { // until one goes there
		if err = tryPut(s, noise(9, i, 20_000)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrDiskGone) {
		t.Fatal(err)
	}
	s.heal.work.Wait()
	readable(t, s, here)
	if err := lazy.Commit(); err == nil {
		t.Fatal("what may be lost is acknowledged")
	}
	for i := range uint64(20) { // the others take everything now
		here = append(here, put(t, s, "more", noise(11, i, 20_000)))
	}
	if _, err := s.Verify(func(p Problem) error {
		if errors.Is(p.Err, ErrDiskGone) {
			return nil
		}
		return &p
	}); err != nil {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Reserved != 0 {
		t.Fatalf("%+v %v", use, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	failing.set(errorfs.OpFileSyncData, nil)
	s = mustOpen(t, "/a", o)
	readable(t, s, here)
	put(t, s, "c", noise(10, 1, 20_000))
	if _, err := s.Pieces().Get(there[0]); !errors.Is(err, ErrDiskGone) {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), disk.Rename("/b/was", "/b/disk")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, "/a", o)
	readable(t, s, slices.Concat(here, there))
	noProblems(t, s)
}

func tryPut(s *Store, b []byte) error {
	res, err := s.Pieces().Reserve("late", int64(len(b)))
	if err == nil {
		_, err = res.Put(b)
	}
	if err == nil {
		err = res.Commit()
	}
	return err
}
