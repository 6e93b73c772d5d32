// Package draw is inexact in each way that the checker knows.
package draw

import (
	"maps"
	"math"
	"math/big"
	"slices"
)

type weights map[string]uint64

type account struct {
	weight uint64
	share  float64 // want: float
}

const half = 0.5 // want: float

func sum(w weights) (total uint64) {
	for _, v := range w { // want: map order
		total += v
	}
	return total
}

func generic[M ~map[K]V, K comparable, V any](m M) (n int) {
	for range m { // want: map order
		n++
	}
	return n
}

func unsorted(w weights) []string {
	return slices.Collect(maps.Keys(w)) // want: map order
}

func iterated(w weights) (total uint64) {
	for v := range maps.Values(w) { // want: map order
		total += v
	}
	return total
}

func sorted(w weights) (keys []string) {
	for _, k := range slices.Sorted(maps.Keys(w)) {
		keys = append(keys, k)
	}
	return slices.SortedFunc(maps.Keys(w), func(a, b string) int { return len(a) - len(b) })
}

func wait(done chan<- int) {
	go func() { done <- 1 }() // want: goroutine
	go close(done)            // want: goroutine
}

func root(n uint64) uint64 {
	return uint64(math.Sqrt(float64(n))) // want: float
}

func precise(n *big.Int) *big.Int {
	f := new(big.Float) // want: float
	f.SetInt(n)         // want: float
	return n
}

func exact(list []uint64, text string, n int) (total uint64) {
	for _, v := range list {
		total += v
	}
	for range text {
		total++
	}
	for range n {
		total++
	}
	return total + math.MaxUint32
}
