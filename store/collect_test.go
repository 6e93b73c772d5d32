package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

func known(names ...string) Keep {
	return Keep{Pieces: func(owner string) (bool, error) { return slices.Contains(names, owner), nil }}
}

// onDisk adds up the lengths of files below dir.
func onDisk(t testing.TB, dir string) (sum int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted meanwhile
		}
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestCollect: owners that nobody knows are let go, the files shrink for real,
// and who is still being written stays.
func TestCollect(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1, SegmentSize: leastSegment})
	var kept []types.Hash
	for i := range uint64(12) {
		kept = append(kept, put(t, s, "keep", noise(1, i, 9000)))
		put(t, s, "drop", noise(2, i, 20_000))
	}
	open := reserve(t, s, "open", 100)
	kept = append(kept, putPiece(t, open, []byte("in work")))
	lots := map[types.LotID]bool{{1}: true, {2}: false}
	for lot := range lots {
		res, err := s.Replicas().Reserve(lot, 100)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(res.Put(0, 0, []byte("replica")), res.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	segments := filepath.Join(s.dir, segmentsDir)
	before := onDisk(t, segments)
	keep := known("keep")
	keep.Lots = func(lot types.LotID) (bool, error) { return lots[lot], nil }
	got, err := s.Collect(t.Context(), keep)
	if err != nil || got.Owners != 2 || got.Segments == 0 {
		t.Fatalf("%+v %v", got, err)
	}
	if after := onDisk(t, segments); after > before/2 || before-after != got.Bytes {
		t.Fatalf("%d bytes before, %d after, %+v", before, after, got)
	}
	for _, h := range kept {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
	var owners []string
	if err := s.Pieces().Owners(func(o string) error { owners = append(owners, o); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(owners, []string{"keep", "open"}) {
		t.Fatalf("owners %q", owners)
	}
	if _, err := s.Replicas().Get(types.LotID{1}, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replicas().Get(types.LotID{2}, 0, 0); !errors.Is(err, ErrAbsent) {
		t.Fatal(err)
	}
	noProblems(t, s)
	if again, err := s.Collect(t.Context(), Keep{}); err != nil || again != (Collected{}) {
		t.Fatalf("again %+v %v", again, err)
	}
}

func put(t testing.TB, s *Store, owner string, b []byte) types.Hash {
	t.Helper()
	res := reserve(t, s, owner, int64(len(b)))
	h := putPiece(t, res, b)
	if err := res.Commit(); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCollectStops(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{Margin: 1, SegmentSize: leastSegment})
	put(t, s, "a", noise(1, 1, 100))
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	stop(enough)
	if _, err := s.Collect(ctx, known()); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	refuse := errors.New("cannot tell")
	if _, err := s.Collect(t.Context(), Keep{Pieces: func(string) (bool, error) { return false, refuse }}); !errors.Is(err, refuse) {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Count != 1 {
		t.Fatalf("%+v %v", use, err)
	}
}

// stepper takes a copy of the disk, as a power cut would leave it, before the
// change of the disk with a given number.
type stepper struct {
	disk *vfs.MemFS
	mu   sync.Mutex
	at   int // counts down; 0: not armed
	what string
	left *vfs.MemFS
}

func (c *stepper) String() string { return "cut the power at a change" }
func (c *stepper) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == 0 || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || strings.Contains(op.Path, "/db/") && op.Kind == errorfs.OpFileWrite {
		return nil
	}
	if c.at--; c.at == 0 {
		c.what = fmt.Sprint(op.Kind, " ", op.Path)
		c.left = c.disk.CrashClone(vfs.CrashCloneCfg{})
	}
	return nil
}

func (c *stepper) copied() *vfs.MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

func (c *stepper) arm(at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// TestCollectSurvivesEveryCut: the power goes before each change of the disk
// while owners are let go and segments are compacted. What is kept stays, and
// the next collection gives all room back.
func TestCollectSurvivesEveryCut(t *testing.T) {
	cuts := 0
	for at := 1; ; at++ {
		c := &stepper{disk: vfs.NewCrashableMem()}
		s := mustOpen(t, "/d", Options{fs: errorfs.Wrap(c.disk, c), Margin: 1, SegmentSize: leastSegment})
		keep := []types.Hash{put(t, s, "keep", noise(1, 1, 5000))}
		for i := range uint64(4) {
			put(t, s, "drop", noise(2, i, 30_000))
			keep = append(keep, put(t, s, "keep", noise(3, i, 5000)))
		}
		c.arm(at)
		if _, err := s.Collect(t.Context(), known("keep")); err != nil {
			t.Fatal(err)
		}
		c.arm(0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if c.left == nil {
			break // fewer changes than that
		}
		cuts++
		s = mustOpen(t, "/d", Options{fs: c.left, Margin: 1, SegmentSize: leastSegment})
		afterCut(t, s, c.what, keep)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if cuts < 10 {
		t.Fatalf("only %d changes of the disk", cuts)
	}
	t.Logf("%d moments", cuts)
}

func afterCut(t *testing.T, s *Store, what string, keep []types.Hash) {
	t.Helper()
	if _, err := s.Verify(func(p Problem) error { return &p }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := s.Collect(t.Context(), known("keep")); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := s.Compact(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, h := range keep {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if use, err := s.Usage(); err != nil || use.Count != 5 || use.Live != 25_000 || use.Dead != 0 {
		t.Fatalf("%s: %+v %v", what, use, err)
	}
}

// TestQuotaIsExact compares many goroutines at once with arithmetic: what they
// were granted never exceeds the quota, a reservation is refused only when there
// is no room for it, and at the end the store holds what they were told it does.
func TestQuotaIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		quota := rapid.Int64Range(1, 60_000).Draw(rt, "quota")
		s, err := Memory(Options{SegmentSize: leastSegment, Quota: quota})
		if err != nil {
			rt.Fatal(err)
		}
		sizes := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(1, 9000), 1, 4), 2, 6).Draw(rt, "sizes")
		kept := make([]int64, len(sizes))
		var work errgroup.Group
		for w, mine := range sizes {
			work.Go(func() (err error) {
				kept[w], err = quotaWorker(s, uint64(w), mine, quota)
				return err
			})
		}
		err = work.Wait()
		var want int64
		for _, n := range kept {
			want += n
		}
		use, more := s.Usage()
		if err := errors.Join(err, more); err != nil || use.Live != want || use.Reserved != 0 || want > quota {
			rt.Fatalf("%+v, want %d of quota %d: %v", use, want, quota, err)
		}
		if free := quota - want; free < 1<<40 {
			if _, err := s.Pieces().Reserve("x", free+1); !errors.Is(err, ErrQuota) {
				rt.Fatalf("%d bytes above the quota are granted: %v", 1, err)
			}
			if _, err := s.Pieces().Reserve("x", free); err != nil {
				rt.Fatalf("the last %d bytes are refused: %v", free, err)
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// quotaWorker puts pieces of the given sizes, releases every third reservation,
// and gives the bytes that it still has.
func quotaWorker(s *Store, w uint64, sizes []int, quota int64) (kept int64, err error) {
	for i, n := range sizes {
		res, err := s.Pieces().Reserve(fmt.Sprint(w), int64(n)+10)
		if errors.Is(err, ErrQuota) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if use, err := s.Usage(); err != nil || use.Live+use.Reserved > quota {
			return 0, fmt.Errorf("%+v above quota %d: %w", use, quota, err)
		}
		if _, err := res.PutLazy(noise(w, uint64(i), n)); err != nil {
			return 0, err
		}
		if i%3 == 2 {
			err = res.Release()
		} else {
			err = res.Commit()
			kept += int64(n)
		}
		if err != nil {
			return 0, err
		}
	}
	return kept, nil
}

// TestFilesAreBounded: pieces come and go for long, and the directory as a whole
// stays within the quota, the headers of what lives, two segments and a fixed
// sum for index and journal.
func TestFilesAreBounded(t *testing.T) {
	const quota, pieces = 1 << 20, 400
	s := mustOpen(t, t.TempDir(), Options{Margin: 1, SegmentSize: leastSegment, Quota: quota})
	const journals = 4 * memTable // two journals, one that is recycled, what is being compacted
	for round := range uint64(20) {
		owner := fmt.Sprint(round)
		res := reserve(t, s, owner, quota/2)
		for i := range uint64(pieces) {
			if _, err := res.PutLazy(noise(round, i, quota/2/pieces)); err != nil {
				t.Fatal(err)
			}
		}
		if err := res.Commit(); err != nil {
			t.Fatal(err)
		}
		if round > 0 {
			if err := s.Pieces().Release(fmt.Sprint(round - 1)); err != nil {
				t.Fatal(err)
			}
		}
		limit := int64(quota + 2*pieces*recordHeader + 3*leastSegment)
		if n := onDisk(t, filepath.Join(s.dir, segmentsDir)); n > limit {
			t.Fatalf("round %d: %d bytes of segments above %d", round, n, limit)
		}
		index, err := s.IndexBytes()
		if n := onDisk(t, filepath.Join(s.dir, dbDir)); err != nil || n > journals || index > journals {
			t.Fatalf("round %d: %d bytes of index, %d as told, above %d: %v", round, n, index, journals, err)
		}
	}
}

// holdRemoval keeps the deletion of a segment waiting.
type holdRemoval struct{ begun, free chan struct{} }

func (h *holdRemoval) String() string { return "hold the deletion of segments" }
func (h *holdRemoval) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, ".seg") {
		h.begun <- struct{}{}
		<-h.free
	}
	return nil
}

// TestNothingWaitsForDeletion: a file that takes long to go holds up neither
// reads nor puts.
func TestNothingWaitsForDeletion(t *testing.T) {
	hold := &holdRemoval{make(chan struct{}), make(chan struct{})}
	s := mustOpen(t, "/d", Options{fs: errorfs.Wrap(vfs.NewMem(), hold), Margin: 1, SegmentSize: leastSegment})
	var keep []types.Hash
	for i := range uint64(4) {
		keep = append(keep, put(t, s, "keep", noise(1, i, 9000)))
		put(t, s, "drop", noise(2, i, 30_000))
	}
	if err := s.Pieces().Release("drop"); err != nil { // wakes the compaction
		t.Fatal(err)
	}
	<-hold.begun
	readable(t, s, keep)
	readable(t, s, []types.Hash{put(t, s, "keep", noise(3, 1, 9000))})
	go func() {
		for range hold.begun { // the others need not wait
			hold.free <- struct{}{}
		}
	}()
	hold.free <- struct{}{}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(hold.begun)
}

// TestIndexIsBoundedInMemory: however small the pieces are, few rows wait.
func TestIndexIsBoundedInMemory(t *testing.T) {
	s, err := Memory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, most := reserve(t, s, "a", 1<<20), 0
	for i := range uint64(3 * lazyRows / 2) {
		if _, err := res.PutLazy(types.Be64(i)); err != nil {
			t.Fatal(err)
		}
		most = max(most, s.index().waiting())
	}
	if most > lazyRows+2 || most < lazyRows/2 {
		t.Fatalf("%d rows waited, want at most %d", most, lazyRows)
	}
	if err := errors.Join(res.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
}
