package lines

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

func deal(payee, payer int, device byte, units uint64) Traffic {
	return Traffic{
		Payee: chaintest.Account(payee), Payer: chaintest.Account(payer), Device: types.Device{device}, Units: units,
		Receipt: types.H("staddle/test/receipt", []byte{byte(payee), byte(payer), device}, types.Be64(units)),
	}
}

// ST2.2: the payer's side follows from the receipt whoever shows it, so a log
// that is silent removes no debt; a receipt that is older adds nothing.
func TestST2_2(t *testing.T) {
	s := newScene(t)
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: 100 * types.Coin})
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	log := func(list ...Traffic) string {
		return gather(t, func(e Emit) error { return src.Traffic(list, e) })
	}
	full := log(deal(hostA, sponsor, 1, 10))
	payee, payer := deal(hostA, sponsor, 1, 10).Pair()
	want := sortedLines([]string{string(payee.Append(nil, settle.Grammar{})), string(payer.Append(nil, settle.Grammar{}))})
	if full != want {
		t.Fatalf("%s, want %s", full, want)
	}
	if have := log(deal(hostA, sponsor, 1, 4), deal(hostA, sponsor, 1, 10), deal(hostA, sponsor, 1, 10)); have != want {
		t.Fatalf("older receipts change it to %s", have)
	}
	if have := log(deal(hostA, sponsor, 1, 0), deal(hostA, hostA, 1, 5), deal(hostA, hostB, 1, 5), deal(99, sponsor, 1, 5)); have != "" {
		t.Fatalf("void receipts, no lock, an unknown payee: %s", have)
	}
	own := gather(t, func(e Emit) error {
		return Bandwidth(chaintest.Account(hostA), []Traffic{deal(hostA, sponsor, 1, 10)}, e)
	})
	if own != string(payee.Append(nil, settle.Grammar{}))+"\n" {
		t.Fatalf("own log %s", own)
	}
	sum := uint64(0)
	for prefix := range uint32(2) {
		src.Shard = types.Shard{Bits: 1, Prefix: prefix}
		n := strings.Count(log(deal(hostA, sponsor, 1, 10), deal(hostB, sponsor, 1, 10)), "\n")
		if n%2 != 0 {
			t.Fatalf("%d lines in a shard: a pair was parted", n)
		}
		sum += uint64(n)
	}
	if sum != 4 {
		t.Fatalf("%d lines in all shards, want 4", sum)
	}
}

// TestST8_2: debits stay within the lock, and what is short is shared in proportion.
func TestST8_2(t *testing.T) {
	s := newScene(t)
	price := s.Rules().BandwidthCost // 262,144 base units and a bit less than a half
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: 262_144_000 / 1000 * 100})
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	limit, err := src.affordable(chaintest.Account(sponsor), types.Wei(0), types.Wei(1<<40))
	if err != nil || price.Sign() == 0 {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var list []Traffic
		for k := range rapid.IntRange(1, 5).Draw(rt, "receipts") {
			host := rapid.SampledFrom([]int{hostA, hostB}).Draw(rt, "host")
			list = append(list, deal(host, sponsor, byte(k), rapid.Uint64Range(1, 1<<40).Draw(rt, "units")))
		}
		paid, err := src.covered(Newest(list))
		if err != nil {
			rt.Fatal(err)
		}
		var asked, sum uint64
		for _, d := range list {
			asked += d.Units
		}
		for _, d := range paid {
			sum += d.Units
		}
		most := min(asked, limit.Uint64())
		if sum > most || sum+uint64(len(list)) <= most {
			rt.Fatalf("%d units paid of %d, lock pays %d", sum, asked, limit)
		}
	})
}

func TestNewestIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []Traffic
		for range rapid.IntRange(0, 8).Draw(rt, "n") {
			list = append(list, deal(rapid.IntRange(1, 2).Draw(rt, "payee"), 0, byte(rapid.IntRange(0, 1).Draw(rt, "device")), rapid.Uint64Range(0, 4).Draw(rt, "units")))
		}
		shuffled := rapid.Permutation(list).Draw(rt, "order")
		a, b := Newest(list), Newest(append(shuffled, shuffled...))
		if len(a) != len(b) {
			rt.Fatalf("%d and %d", len(a), len(b))
		}
		for i := range a {
			if a[i] != b[i] || i > 0 && bytes.Equal(a[i].Receipt[:], a[i-1].Receipt[:]) {
				rt.Fatalf("entry %d: %v and %v", i, a[i], b[i])
			}
		}
	})
}
