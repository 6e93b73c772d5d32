package library

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/staddle/staddle/store"
)

// BenchmarkPut packs and stores folders, each time into a new store. TMPDIR says
// on which disk.
func BenchmarkPut(b *testing.B) {
	b.Run("one of 256 MiB", func(b *testing.B) {
		benchmarkPut(b, 256<<20, func(dir string) { ok(b, os.WriteFile(filepath.Join(dir, "film"), noise(1, 256<<20), 0o600)) })
	})
	b.Run("10000 of 10 KiB", func(b *testing.B) {
		benchmarkPut(b, 10000*10240, func(dir string) {
			data := noise(2, 10000*10240)
			for i := range 10000 {
				ok(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), data[i*10240:][:10240], 0o600))
			}
		})
	})
}

func benchmarkPut(b *testing.B, size int64, plant func(dir string)) {
	folder := b.TempDir()
	plant(folder)
	b.SetBytes(size)
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "store")
		s := openWith(b, dir, nil, store.Options{})
		s.mustPut(b, folder)
		s.close(b)
		ok(b, os.RemoveAll(dir))
	}
}
