package store_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_CHILD"); dir != "" {
		os.Exit(store.ChildMain(dir))
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	options := store.Options{Quota: storetest.Quota, SegmentSize: 300_000, Margin: 1, OpenSegments: 2}
	t.Run("disk", func(t *testing.T) {
		dirs := map[*store.Store]string{}
		open := func(t testing.TB, dir string) *store.Store {
			t.Helper()
			s, err := store.Open(dir, options)
			if err != nil {
				t.Fatal(err)
			}
			dirs[s] = dir
			t.Cleanup(func() { _ = s.Close() }) // most tests leave it open, some do not
			return s
		}
		storetest.Run(t,
			func(t testing.TB) *store.Store { return open(t, t.TempDir()) },
			func(t testing.TB, s *store.Store) *store.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, dirs[s])
			})
	})
	t.Run("memory", func(t *testing.T) {
		open := func(t testing.TB, from *store.Store) *store.Store {
			t.Helper()
			s, err := store.MemoryAgain(options, from)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
		storetest.Run(t,
			func(t testing.TB) *store.Store { return open(t, nil) },
			func(t testing.TB, s *store.Store) *store.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, s)
			})
	})
}

func TestForOtherPackages(t *testing.T) {
	s := storetest.New(t)
	b := s.Batch()
	b.Set("t", "k", []byte("v"))
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}
