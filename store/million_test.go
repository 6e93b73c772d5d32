package store

import (
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/staddle/staddle/types"
)

const (
	million    = 1_000_000
	slice      = million / 10
	millionLen = 1 << 10
)

// BenchmarkMillion puts a million pieces of 1 KiB and compares the first tenth
// with the last, for puts and for reads at random, with the peak of the heap.
// The time of the processor counts, compaction of the index included: that of the
// clock belongs to whoever else uses the machine. Run it with -benchtime 1x
// -timeout 30m.
func BenchmarkMillion(b *testing.B) {
	for range b.N {
		s := mustOpen(b, b.TempDir(), Options{})
		peak := watchHeap(b)
		rng := rand.New(rand.NewPCG(1, 1))
		res := reserve(b, s, "a", million*millionLen)
		var took [4]time.Duration // first puts, last puts, first gets, last gets
		for tenth := range uint64(10) {
			d := timed(func() { putTenth(b, res, tenth) })
			switch tenth {
			case 0:
				took[0] = d
				took[2] = timed(func() { getTenth(b, s, rng, slice) })
			case 9:
				took[1] = d
				took[3] = timed(func() { getTenth(b, s, rng, million) })
			}
		}
		if err := res.Commit(); err != nil {
			b.Fatal(err)
		}
		use, err := s.Usage()
		if err != nil || use.Count != million {
			b.Fatal(use, err)
		}
		for i, name := range []string{"first-put-cpu-us", "last-put-cpu-us", "first-get-cpu-us", "last-get-cpu-us"} {
			b.ReportMetric(float64(took[i].Microseconds())/slice, name)
		}
		b.ReportMetric(float64(peak())/(1<<20), "peak-heap-MiB")
		b.ReportMetric(float64(residentPeak(b))/(1<<20), "peak-rss-MiB")
		opened := timed(func() {
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			s = mustOpen(b, s.dir, Options{})
		})
		b.ReportMetric(float64(opened.Milliseconds()), "reopen-cpu-ms")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// timed gives the time of the processor that this process used meanwhile.
func timed(do func()) time.Duration {
	before := processor()
	do()
	return processor() - before
}

func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func millionPiece(buf []byte, i uint64) []byte {
	copy(buf, types.Be64(i))
	return buf
}

func putTenth(b *testing.B, res *Reservation, tenth uint64) {
	b.Helper()
	buf := noise(1, 1, millionLen)
	for i := range uint64(slice) {
		if _, err := res.PutLazy(millionPiece(buf, tenth*slice+i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := res.Sync(); err != nil {
		b.Fatal(err)
	}
}

func getTenth(b *testing.B, s *Store, rng *rand.Rand, among uint64) {
	b.Helper()
	buf := noise(1, 1, millionLen)
	for range slice {
		if _, err := s.Pieces().Get(types.Digest(types.RawCID(millionPiece(buf, rng.Uint64N(among))))); err != nil {
			b.Fatal(err)
		}
	}
}

// watchHeap samples the heap until its result is called, which gives the most
// bytes of objects that were alive or not yet swept.
func watchHeap(b *testing.B) func() uint64 {
	var most atomic.Uint64
	quit, done := make(chan struct{}), make(chan struct{})
	runtime.GC()
	go func() {
		defer close(done)
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(sample)
			most.Store(max(most.Load(), sample[0].Value.Uint64()))
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(quit)
		<-done
		return most.Load()
	}
}

// residentPeak is VmHWM of this process in bytes; 0 where there is no /proc.
func residentPeak(b *testing.B) int {
	b.Helper()
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(text)
	return n << 10
}
