package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// TestQuotaNeverExceeded is the law "a quota is reserved before the first byte
// and never exceeded", with many owners at once.
func TestQuotaNeverExceeded(t *testing.T) {
	const quota = 300_000
	s := mustOpen(t, t.TempDir(), Options{Quota: quota, SegmentSize: leastSegment, Margin: 1})
	done := make(chan struct{})
	var watch, work errgroup.Group
	watch.Go(func() error { return watchQuota(s, quota, done) })
	for w := range uint64(8) {
		work.Go(func() error { return greedy(s, w) })
	}
	err := work.Wait()
	close(done)
	if err := errors.Join(err, watch.Wait(), s.Trouble()); err != nil {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Live != 0 || use.Reserved != 0 || use.Count != 0 {
		t.Fatalf("at the end %+v %v", use, err)
	}
	noProblems(t, s)
}

func watchQuota(s *Store, quota int64, done <-chan struct{}) error {
	for {
		use, err := s.Usage()
		if err != nil {
			return err
		}
		if use.Live+use.Reserved > quota || use.Live < 0 || use.Reserved < 0 || use.Dead < 0 {
			return fmt.Errorf("usage %+v", use)
		}
		if limit := quota + 4*int64(leastSegment); use.Disk > limit {
			return fmt.Errorf("%d bytes of files above %d", use.Disk, limit)
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

// greedy reserves, puts and releases; it is refused now and then.
func greedy(s *Store, w uint64) error {
	for i := range uint64(15) {
		owner := fmt.Sprint(w)
		res, err := s.Pieces().Reserve(owner, 60_000)
		if errors.Is(err, ErrQuota) {
			continue
		}
		if err != nil {
			return err
		}
		for j := range uint64(3) {
			seed := w
			if j == 0 {
				seed = 99 // shared between all
			}
			b := noise(seed, i, 20_000)
			h, err := res.Put(b)
			if err != nil {
				return err
			}
			if got, err := s.Pieces().Get(h); err != nil || !bytes.Equal(got, b) {
				return fmt.Errorf("read my own write: %w", err)
			}
		}
		if i%3 == 0 {
			err = res.Release()
		} else {
			err = res.Commit()
		}
		if err := errors.Join(err, s.Pieces().Release(owner)); err != nil {
			return err
		}
	}
	return nil
}

// TestReadsDuringCompaction: what is owned can be read at any moment while the
// files under it are moved and deleted.
func TestReadsDuringCompaction(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{SegmentSize: leastSegment, Margin: 1, OpenSegments: 2})
	var keep []types.Hash
	res := reserve(t, s, "keep", 1<<20)
	for i := range uint64(20) {
		keep = append(keep, putPiece(t, res, noise(1, i, 5000)))
	}
	done := make(chan struct{})
	var readers, writers errgroup.Group
	for w := range 4 {
		readers.Go(func() error { return readAll(s, keep, w, done) })
	}
	writers.Go(func() error {
		for i := range uint64(20) {
			res, err := s.Pieces().Reserve("drop", 1<<20)
			if err != nil {
				return err
			}
			for j := range uint64(4) {
				if _, err := res.PutLazy(noise(2, 4*i+j, 9000)); err != nil {
					return err
				}
			}
			if err := errors.Join(res.Commit(), s.Pieces().Release("drop"), s.Compact()); err != nil {
				return err
			}
		}
		return nil
	})
	err := writers.Wait()
	close(done)
	if err := errors.Join(err, readers.Wait(), s.Trouble()); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(s.dir, segmentsDir, "*"))
	if err != nil || len(names) > 4 {
		t.Fatalf("%d files left: %v", len(names), err)
	}
	noProblems(t, s)
}

func readAll(s *Store, keep []types.Hash, from int, done <-chan struct{}) error {
	for i := from; ; i++ {
		h := keep[i%len(keep)]
		b, err := s.Pieces().Get(h)
		if err != nil || types.Digest(types.RawCID(b)) != h {
			return fmt.Errorf("get: %w", err)
		}
		if part, err := s.Pieces().ReadAt(h, 100, 50); err != nil || !bytes.Equal(part, b[100:150]) {
			return fmt.Errorf("read: %w", err)
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

// TestGroup: many who wait share one flush, and each learns of the flush that
// covers it and of no other.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		bad, free, flushes := errors.New("bad"), make(chan struct{}), 0
		first := make(chan error, 1)
		go func() { first <- g.wait(func() error { <-free; return bad }) }()
		synctest.Wait()
		var late errgroup.Group
		for range 50 {
			late.Go(func() error { return g.wait(func() error { flushes++; return nil }) })
		}
		synctest.Wait() // all 50 wait for a flush that begins after the first
		close(free)
		if err := <-first; !errors.Is(err, bad) {
			t.Error(err)
		}
		if err := late.Wait(); err != nil || flushes != 1 {
			t.Errorf("%d flushes for 50 waiting: %v", flushes, err)
		}
		if err := g.wait(func() error { return bad }); !errors.Is(err, bad) {
			t.Error(err)
		}
		if err := g.wait(func() error { return nil }); err != nil {
			t.Errorf("an old error comes back: %v", err)
		}
	})
}

// TestReleaseOfMany takes the steps that release a large owner.
func TestReleaseOfMany(t *testing.T) {
	s, err := Memory(Options{SegmentSize: leastSegment})
	if err != nil {
		t.Fatal(err)
	}
	const n = 17*releaseStep + 1
	for _, owner := range []string{"a", "aa"} {
		res := reserve(t, s, owner, 8*n)
		for i := range uint64(n) {
			if _, err := res.PutLazy(types.Be64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := res.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int64{n, 0} {
		owner := "a"
		if want == 0 {
			owner = "aa"
		}
		if err := errors.Join(s.Pieces().Release(owner), s.Compact()); err != nil {
			t.Fatal(err)
		}
		if use, err := s.Usage(); err != nil || use.Count != want || use.Live != 8*want || use.Dead != 0 {
			t.Fatalf("%+v %v, want %d pieces", use, err, want)
		}
	}
	noProblems(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseWaits: calls in progress end, later ones are refused.
func TestCloseWaits(t *testing.T) {
	s, err := Memory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch()
	b.Set("t", "a", nil)
	b.Set("t", "b", nil)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	calls := 0
	err = s.Scan("t", "", "", func(string, []byte) error {
		if calls++; calls == 1 {
			go func() { closed <- s.Close() }()
			<-s.records().clean.quit
			if _, _, err := s.Get("t", "a"); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("a call inside a closing store: %w", err)
			}
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Fatalf("%d calls: %v", calls, err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

// TestModel compares a store with a map of owners over random steps.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := Memory(Options{SegmentSize: leastSegment})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		model := map[string]map[uint64]bool{"a": {}, "b": {}, "c": {}}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			modelStep(rt, s, model)
		}
		modelCheck(rt, s, model)
	})
}

const modelPieces = 12

func modelPiece(i uint64) []byte { return noise(5, i, 3000+1500*int(i)) }

func modelStep(t *rapid.T, s *Store, model map[string]map[uint64]bool) {
	owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
	switch rapid.IntRange(0, 5).Draw(t, "op") {
	case 0:
		model[owner] = map[uint64]bool{}
		if err := s.Pieces().Release(owner); err != nil {
			t.Fatal(err)
		}
		return
	case 1:
		if err := s.Compact(); err != nil {
			t.Fatal(err)
		}
		return
	}
	res, err := s.Pieces().Reserve(owner, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	picked := rapid.SliceOfN(rapid.Uint64Range(0, modelPieces-1), 1, 4).Draw(t, "pieces")
	keep := rapid.Bool().Draw(t, "keep")
	for _, i := range picked {
		if _, err := res.PutLazy(modelPiece(i)); err != nil {
			t.Fatal(err)
		}
		if keep {
			model[owner][i] = true
		}
	}
	if keep {
		err = res.Commit()
	} else {
		err = res.Release()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func modelCheck(t *rapid.T, s *Store, model map[string]map[uint64]bool) {
	var live, count int64
	for i := range uint64(modelPieces) {
		want := model["a"][i] || model["b"][i] || model["c"][i]
		b := modelPiece(i)
		if want {
			live += int64(len(b))
			count++
		}
		got, err := s.Pieces().Get(types.Digest(types.RawCID(b)))
		var gap *types.Missing
		if want && !bytes.Equal(got, b) || !want && !errors.As(err, &gap) {
			t.Fatalf("piece %d, wanted %v: %v", i, want, err)
		}
	}
	use, err := s.Usage()
	if err != nil || use.Live != live || use.Count != count || use.Reserved != 0 {
		t.Fatalf("%+v %v, want %d bytes in %d pieces", use, err, live, count)
	}
	if _, err := s.Verify(func(p Problem) error { return &p }); err != nil {
		t.Fatal(err)
	}
}
