package library

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/staddle/staddle/store"
)

// BenchmarkGet gets a dataset of 256 MiB that does not compress from a library
// beside it and unpacks it: all of a get but the network.
func BenchmarkGet(b *testing.B) {
	const size = 256 << 20
	folder := b.TempDir()
	ok(b, os.WriteFile(filepath.Join(folder, "film.mkv"), noise(4, size), 0o600))
	s := openWith(b, b.TempDir(), nil, store.Options{})
	p := s.mustPut(b, folder)
	b.SetBytes(size)
	for b.Loop() {
		far := openWith(b, b.TempDir(), &feed{peer: &peer{of: s.Library}}, store.Options{})
		began, phase, since := time.Now(), Phase(""), map[Phase]time.Duration{}
		_, err := far.Get(b.Context(), p.Ref(), filepath.Join(b.TempDir(), "out"), GetOptions{}, Watch{Progress: func(p Progress) {
			if p.Phase != phase {
				phase, since[p.Phase] = p.Phase, time.Since(began)
			}
		}})
		b.ReportMetric(since[Unpacking].Seconds(), "s/fetch")
		b.ReportMetric((time.Since(began) - since[Unpacking]).Seconds(), "s/unpack")
		ok(b, err)
		far.close(b)
	}
}
