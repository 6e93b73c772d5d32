//go:build unix

package cluster

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// BenchmarkRunners compares local with pipe on one epoch: CPU is that of this
// process and its children. STADDLE_BENCH_LINES sets the number of lines.
func BenchmarkRunners(b *testing.B) {
	lines := 200_000
	if s := os.Getenv("STADDLE_BENCH_LINES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		lines = n
	}
	e := newEpoch(lines, 1)
	n := e.n
	inputs := e.write(b, b.TempDir())
	e = nil // the lines themselves are not part of the runners' memory
	for _, name := range []string{"local", "pipe"} {
		for _, mem := range []int64{1 << 30, 256 << 20} {
			b.Run(fmt.Sprintf("%s/%dM", name, mem>>20), func(b *testing.B) {
				r, err := New(name, Options{Mem: mem, Binary: os.Args[0]})
				if err != nil {
					b.Fatal(err)
				}
				plan := testPlan(b, inputs, testParams(), n)
				b.ReportAllocs()
				before := cpuSeconds()
				for b.Loop() {
					if _, err := r.Run(b.Context(), plan, b.TempDir(), nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpuSeconds()-before)*1e9/float64(b.N)/float64(n), "cpu-ns/line")
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			})
		}
	}
}

func cpuSeconds() float64 {
	var total float64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			total += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return total
}
