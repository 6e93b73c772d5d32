package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/store/bucket"
	"github.com/staddle/staddle/store/storetest"
	"github.com/staddle/staddle/types"
)

// cloud is a bucket server on this machine that can go away.
type cloud struct {
	address string
	away    atomic.Bool
	puts    atomic.Int64
	gets    atomic.Int64
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("test"); err != nil {
		t.Fatal(err)
	}
	c := &cloud{}
	h := gofakes3.New(backend).Server()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case c.away.Load():
			w.WriteHeader(http.StatusForbidden) // not repeated by the client
			return
		case r.Method == http.MethodPut:
			c.puts.Add(1)
		case r.Method == http.MethodGet:
			c.gets.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "someone")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	c.address = strings.Replace(s.URL, "http://", "s3+http://", 1) + "/test/a/b"
	return c
}

// inCloud is a store that keeps its index here and everything else in the bucket.
func inCloud(t testing.TB, c *cloud, dir string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // most tests leave it open, some do not
	if err := s.AddDisk(c.address); err != nil {
		t.Fatal(err)
	}
	if err := s.RetireDisk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformanceBucket(t *testing.T) {
	options := store.Options{Quota: storetest.Quota, SegmentSize: 300_000, Margin: 1, OpenSegments: 2}
	dirs := map[*store.Store]string{}
	storetest.Run(t,
		func(t testing.TB) *store.Store {
			dir := t.TempDir()
			s := inCloud(t, newCloud(t), dir, options)
			dirs[s] = dir
			return s
		},
		func(t testing.TB, s *store.Store) *store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := store.Open(dirs[s], options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = again.Close() })
			return again
		})
}

func putAll(t testing.TB, s *store.Store, owner string, pieces ...[]byte) (out []types.Hash) {
	t.Helper()
	res, err := s.Pieces().Reserve(owner, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		h, err := res.PutLazy(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	if err := res.Commit(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBucketBatches: what is put lazily shares objects, and reading it from one
// end to the other takes few requests.
func TestBucketBatches(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	s := inCloud(t, c, dir, store.Options{Margin: 1})
	var pieces [][]byte
	for i := range uint64(2000) {
		pieces = append(pieces, storetest.Piece(i, 1000))
	}
	before := c.puts.Load()
	keys := putAll(t, s, "a", pieces...)
	if n := c.puts.Load() - before; n != 1 {
		t.Errorf("%d objects for %d small pieces", n, len(pieces))
	}
	before = c.gets.Load()
	seen, err := s.Verify(func(p store.Problem) error { return &p })
	if err != nil || seen.Records != int64(len(pieces)) {
		t.Fatalf("%+v %v", seen, err)
	}
	if n := c.gets.Load() - before; n > int64(len(pieces))+10 { // one a row of the index, few for the segment
		t.Errorf("%d requests to verify %d records", n, len(pieces))
	}
	before = c.gets.Load()
	if _, err := s.Pieces().Get(keys[7]); err != nil || c.gets.Load()-before != 1 {
		t.Errorf("%d requests for one piece: %v", c.gets.Load()-before, err)
	}
}

// TestBucketMerges: many small objects become few, and nothing is lost.
func TestBucketMerges(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	s := inCloud(t, c, dir, store.Options{Margin: 1})
	var keys []types.Hash
	for i := range uint64(20) {
		keys = append(keys, putAll(t, s, "a", storetest.Piece(i, 5000))...)
	}
	if use, err := s.Usage(); err != nil || use.Segments != 20 {
		t.Fatalf("%+v %v", use, err)
	}
	if _, err := s.Collect(t.Context(), store.Keep{}); err != nil {
		t.Fatal(err)
	}
	if use, err := s.Usage(); err != nil || use.Segments > 2 || use.Count != 20 || use.Dead != 0 {
		t.Fatalf("%+v %v", use, err)
	}
	for i, h := range keys {
		if b, err := s.Pieces().Get(h); err != nil || !bytes.Equal(b, storetest.Piece(uint64(i), 5000)) {
			t.Fatal(err)
		}
	}
	if _, err := s.Verify(func(p store.Problem) error { return &p }); err != nil {
		t.Fatal(err)
	}
}

// TestBucketAway: while it cannot be reached its pieces read as gone and puts are
// refused; what was not acknowledged before is not lost when it is back.
func TestBucketAway(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	s := inCloud(t, c, dir, store.Options{Margin: 1})
	old := putAll(t, s, "a", storetest.Piece(1, 5000))
	res, err := s.Pieces().Reserve("a", 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	lazy, err := res.PutLazy(storetest.Piece(2, 5000))
	if err != nil {
		t.Fatal(err)
	}
	c.away.Store(true)
	for range 2 {
		if err := res.Sync(); !errors.Is(err, store.ErrDiskGone) || !errors.Is(err, bucket.ErrDenied) {
			t.Fatalf("sync: %v", err)
		}
	}
	if _, err := s.Pieces().Get(old[0]); !errors.Is(err, store.ErrDiskGone) || errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("get: %v", err)
	}
	if _, err := s.Pieces().Get(lazy); err != nil {
		t.Fatalf("what is in memory: %v", err)
	}
	awayAll(t, s)
	full := 0
	for i := range uint64(80) { // memory is bounded also now
		if _, err := res.PutLazy(storetest.Piece(100+i, types.PieceSize)); err != nil {
			full++
		}
	}
	if full < 10 {
		t.Fatalf("%d of 80 puts were refused", full)
	}
	c.away.Store(false)
	if err := res.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir, store.Options{Margin: 1}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, h := range []types.Hash{old[0], lazy} {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
	if use, err := s.Usage(); err != nil || use.Count != int64(82-full) {
		t.Fatalf("%+v %v, %d refused", use, err, full)
	}
	if _, err := s.Verify(func(p store.Problem) error { return &p }); err != nil {
		t.Fatal(err)
	}
}

// awayAll: nothing takes a bucket that is away for a damaged one.
func awayAll(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Compact(); err != nil && !errors.Is(err, store.ErrDiskGone) {
		t.Fatalf("compact: %v", err)
	}
	said := 0
	if _, err := s.Verify(func(p store.Problem) error { said++; return p.Err }); !errors.Is(err, store.ErrDiskGone) || said != 1 {
		t.Fatalf("verify: %v", err)
	}
	if _, err := s.Repair(t.Context(), func(p store.Problem) error { return &p }); err != nil && !errors.Is(err, store.ErrDiskGone) {
		t.Fatalf("repair: %v", err)
	}
}

// TestBucketAwayAtStart: the rest of the store works, and the bucket's pieces as
// soon as it can be reached.
func TestBucketAwayAtStart(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	s := inCloud(t, c, dir, store.Options{Margin: 1})
	keys := putAll(t, s, "a", storetest.Piece(1, 5000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.away.Store(true)
	s, err := store.Open(dir, store.Options{Margin: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Pieces().Get(keys[0]); !errors.Is(err, store.ErrDiskGone) {
		t.Fatal(err)
	}
	if err := s.AddDisk(dir); err != nil { // the directory takes pieces again
		t.Fatal(err)
	}
	here := putAll(t, s, "a", storetest.Piece(2, 5000))
	c.away.Store(false)
	for _, h := range append(keys, here...) {
		if _, err := s.Pieces().Get(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RetireDisk(t.Context(), c.address); err != nil {
		t.Fatal(err)
	}
	disks, err := s.Disks()
	if err != nil || len(disks) != 1 || disks[0].Use.Count != 2 {
		t.Fatalf("%+v %v", disks, err)
	}
}

func TestBucketRefused(t *testing.T) {
	c, dir := newCloud(t), t.TempDir()
	s := inCloud(t, c, dir, store.Options{Margin: 1})
	putAll(t, s, "a", storetest.Piece(1, 5000))
	other, err := store.Open(t.TempDir(), store.Options{Margin: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for address, want := range map[string]error{
		c.address: store.ErrNotStore,
		strings.Replace(c.address, "://", "://key:secret@", 1):       bucket.ErrAddress,
		strings.Replace(c.address, "/test/", "/nobucket/", 1):        bucket.ErrAbsent,
		"s3+http://s3.example.org/bucket":                            bucket.ErrAddress,
		fmt.Sprintf("s3+http://127.0.0.1:1/%s", "nobody-listens-to"): bucket.ErrUnreachable,
	} {
		if err := other.AddDisk(address); !errors.Is(err, want) || strings.Contains(err.Error(), ":secret@") {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
