package settle

import (
	"encoding/binary"
	"io"
	"math/rand/v2"

	"github.com/staddle/staddle/types"
)

// SampleSize says how much Sample makes.
type SampleSize struct {
	Chunks, Farmers, Buyers int
	Seed                    uint64
}

// Sample makes log lines of an epoch, in no order: chunks with too few, enough
// and too many farmers, one to three buyers with different wishes, orphans,
// and pairs of bandwidth claims of which some do not match.
func Sample(size SampleSize) (lines []string) {
	r := rand.New(rand.NewPCG(size.Seed, 42))
	var g Grammar
	farmer := func(i int) types.Address { return sampleAddress("farmer", i) }
	buyer := func(i int) types.Address { return sampleAddress("buyer", i) }
	for c := range size.Chunks {
		chunk := types.H("staddle/test/chunk", types.Be32(uint32(c)))
		rep := 3 + r.IntN(3)
		for _, b := range r.Perm(size.Buyers)[:buyersOf(r)] {
			line := Buyer{Buyer: buyer(b), Chunk: chunk, Born: 1515542149, Stored: 1515542149, Rep: uint8(rep - r.IntN(2)), Renewable: r.IntN(2) == 0}
			lines = append(lines, string(line.Append(nil, g)))
		}
		for _, f := range r.Perm(size.Farmers)[:r.IntN(2*rep+2)] {
			line := Farmer{Farmer: farmer(f), Chunk: chunk, Born: 1515542149, Stored: 1515542150, Rep: uint8(rep), Renewable: true}
			lines = append(lines, string(line.Append(nil, g)))
		}
	}
	for i := range size.Chunks / 10 {
		a, b := farmer(r.IntN(size.Farmers)), buyer(r.IntN(size.Buyers))
		units, off := int64(1+r.IntN(1000)), int64(0)
		if r.IntN(20) == 0 {
			off = 1
		}
		receipt := types.H("staddle/test/receipt", types.Be32(uint32(i))).String()
		lines = append(lines, string(Bandwidth{ID: a, Remote: b, Units: units, Receipt: receipt}.Append(nil, g)))
		if r.IntN(50) > 0 {
			lines = append(lines, string(Bandwidth{ID: b, Remote: a, Units: -units - off, Receipt: receipt}.Append(nil, g)))
		}
	}
	return lines
}

func buyersOf(r *rand.Rand) int {
	switch n := r.IntN(100); {
	case n < 2:
		return 0
	case n < 80:
		return 1
	}
	return 2 + r.IntN(2)
}

func sampleAddress(kind string, i int) (a types.Address) {
	h := types.H("staddle/test/"+kind, binary.BigEndian.AppendUint32(nil, uint32(i)))
	copy(a[:], h[:])
	return a
}

// endless gives a pattern again and again, left bytes in all.
type endless struct {
	pattern []byte
	left    int
	atEnd   func()
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		e.atEnd()
		return 0, io.EOF
	}
	n := copy(b, e.pattern)
	e.left -= n
	return n, nil
}
