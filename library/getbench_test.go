package library

import (
	"os"
	"path/filepath"
	"testing"

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
		_, err := far.Get(b.Context(), p.Ref(), filepath.Join(b.TempDir(), "out"), GetOptions{}, Watch{})
		ok(b, err)
		far.close(b)
	}
}
