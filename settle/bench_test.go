package settle

import (
	"bytes"
	"strings"
	"testing"

	"github.com/staddle/staddle/types"
)

func benchParse[T any](b *testing.B, line []byte, scan func(*scanner) T, sc *schema) {
	b.SetBytes(int64(len(line) + 1))
	b.ReportAllocs()
	var s scanner
	for b.Loop() {
		if _, _, code := read(&s, line, scan, sc); code != Accepted {
			b.Fatal(code)
		}
	}
}

// The rate of parsing; the bar is half of what a hand-written scanner can do.
func BenchmarkParse(b *testing.B) {
	chunk := types.H("staddle/test/chunk")
	farmer := Farmer{Farmer: sampleAddress("farmer", 0), Chunk: chunk, Born: 1515542149, Stored: 1515542150, Rep: 5, Renewable: true}.Append(nil, Grammar{})
	buyer := Buyer{Buyer: sampleAddress("buyer", 0), Chunk: chunk, Born: 1515542149, Stored: 1515542149, Rep: 5, Smash: chunk.String()}.Append(nil, Grammar{})
	band := Bandwidth{ID: sampleAddress("farmer", 0), Remote: sampleAddress("buyer", 0), Units: 5, Receipt: chunk.String()}.Append(nil, Grammar{})
	joined := Joined{Chunk: chunk, Buyers: []Payer{{sampleAddress("buyer", 0), 5}}, Farmers: testAddresses("farmer", 5)}
	var js joinedScan
	b.Run("farmer", func(b *testing.B) { benchParse(b, farmer, scanFarmer, &farmerSchema) })
	b.Run("farmer, other order", func(b *testing.B) {
		benchParse(b, bytes.Replace(farmer, []byte(","), []byte(" ,"), 1), scanFarmer, &farmerSchema)
	})
	b.Run("buyer", func(b *testing.B) { benchParse(b, buyer, scanBuyer, &buyerSchema) })
	b.Run("bandwidth", func(b *testing.B) { benchParse(b, band, scanBandwidth, &bandSchema) })
	b.Run("row of 1J", func(b *testing.B) { benchParse(b, joined.Append(nil, Grammar{}), js.scan, &joinedSchema) })
}

// The rate of each filter by itself, in bytes of its input.
func BenchmarkStages(b *testing.B) {
	p := Params{Beacon: testBeacon, StorageCost: types.Wei(5), BandwidthCost: types.Wei(7)}
	in := strings.Join(Sample(SampleSize{Chunks: 3000, Farmers: 300, Buyers: 60, Seed: 1}), "\n") + "\n"
	for _, name := range []string{StageJoin, StageStorage} {
		stage, err := StageByName(name)
		if err != nil {
			b.Fatal(err)
		}
		var facts, out bytes.Buffer
		b.Run(name+" map", func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				facts.Reset()
				if _, err := stage.Map(p, strings.NewReader(in), &facts); err != nil {
					b.Fatal(err)
				}
			}
		})
		text := sorted(facts.String())
		b.Run(name+" reduce", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				out.Reset()
				if _, err := stage.Reduce(p, strings.NewReader(text), &out); err != nil {
					b.Fatal(err)
				}
			}
		})
		in = out.String()
	}
}
