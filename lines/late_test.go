package lines

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// ST1: late receipts give what they add to those that were counted, both sides,
// within what these leave of the lock.
func TestST1(t *testing.T) {
	s := newScene(t)
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: 262_144}) // pays 1,000 units
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	late := func(counted, late []Traffic) string {
		return gather(t, func(e Emit) error { return src.Late(counted, late, e) })
	}
	both := func(name Traffic, units uint64) string {
		name.Units = units
		payee, payer := name.Pair()
		return sortedLines([]string{string(payee.Append(nil, settle.Grammar{})), string(payer.Append(nil, settle.Grammar{}))})
	}
	ten, more := deal(hostA, sponsor, 1, 10), deal(hostA, sponsor, 1, 25)
	for name, c := range map[string]struct {
		counted, late []Traffic
		want          string
	}{
		"none":                  {nil, nil, ""},
		"all":                   {nil, []Traffic{ten}, both(ten, 10)},
		"counted before":        {[]Traffic{ten}, []Traffic{ten}, ""},
		"older than counted":    {[]Traffic{more}, []Traffic{ten}, ""},
		"newer than counted":    {[]Traffic{ten}, []Traffic{more}, both(more, 15)},
		"two late of one":       {[]Traffic{ten}, []Traffic{more, ten, more}, both(more, 15)},
		"another device":        {[]Traffic{ten}, []Traffic{deal(hostA, sponsor, 2, 10)}, both(deal(hostA, sponsor, 2, 10), 10)},
		"what is left":          {[]Traffic{deal(hostB, sponsor, 1, 500)}, []Traffic{deal(hostA, sponsor, 1, 700)}, both(deal(hostA, sponsor, 1, 700), 500)},
		"nothing is left":       {[]Traffic{deal(hostB, sponsor, 1, 1000)}, []Traffic{ten}, ""},
		"short before":          {[]Traffic{deal(hostB, sponsor, 1, 9000)}, []Traffic{ten}, ""},
		"no lock":               {nil, []Traffic{deal(hostA, hostB, 1, 5)}, ""},
		"unknown payee":         {nil, []Traffic{deal(99, sponsor, 1, 5)}, ""},
		"others were counted":   {[]Traffic{deal(hostA, hostB, 1, 900)}, []Traffic{ten}, both(ten, 10)},
		"unknown payee counted": {[]Traffic{deal(99, sponsor, 1, 1000)}, []Traffic{ten}, both(ten, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			if have := late(c.counted, c.late); have != c.want {
				t.Fatalf("%s, want %s", have, c.want)
			}
		})
	}
	t.Run("shards", func(t *testing.T) {
		list := []Traffic{ten, deal(hostB, sponsor, 1, 10)}
		n := 0
		for prefix := range uint32(2) {
			src := *src
			src.Shard = types.Shard{Bits: 1, Prefix: prefix}
			n += strings.Count(gather(t, func(e Emit) error { return src.Late(nil, list, e) }), "\n")
		}
		if n != 4 {
			t.Fatalf("%d lines in all shards, want 4", n)
		}
	})
}

// However receipts are spread over logs in time and late ones: no unit is paid
// twice, no payer pays more than its lock in base units, and with a lock that is
// long enough each receipt is paid in full.
func TestLateIsPaidOnce(t *testing.T) {
	s := newScene(t)
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: 262_144 + 77})
	s.MineTo(s.Rules().Checkpoint(s.e))
	src := s.source()
	price := s.Rules().BandwidthCost
	rapid.Check(t, func(rt *rapid.T) {
		var counted, late []Traffic
		for range rapid.IntRange(1, 8).Draw(rt, "receipts") {
			r := deal(rapid.SampledFrom([]int{hostA, hostB}).Draw(rt, "payee"), sponsor, byte(rapid.IntRange(0, 1).Draw(rt, "device")), rapid.Uint64Range(1, 600).Draw(rt, "units"))
			if rapid.Bool().Draw(rt, "in time") {
				counted = append(counted, r)
			}
			if rapid.Bool().Draw(rt, "late") {
				late = append(late, r)
			}
		}
		signed := map[string]uint64{} // by deal
		for _, r := range Newest(slices.Concat(counted, late)) {
			signed[dealName(r)] = r.Units
		}
		first, err := src.covered(Newest(counted))
		if err != nil {
			rt.Fatal(err)
		}
		paid, base := map[string]uint64{}, new(big.Int)
		add := func(list []Traffic) {
			for _, r := range list {
				paid[dealName(r)] += r.Units
			}
			base.Add(base, types.BaseCeil(new(big.Int).Mul(sum(list), price)))
		}
		add(first)
		var second []Traffic
		cut := func(more []Traffic) ([]Traffic, error) { // as Late, for its units by deal
			list, err := src.within(more, first)
			second = append(second, list...)
			return list, err
		}
		var text strings.Builder
		if err := src.pairs(beyond(Newest(counted), Newest(late)), cut, lineTo(&text)); err != nil {
			rt.Fatal(err)
		}
		var public strings.Builder
		if err := src.Late(counted, late, lineTo(&public)); err != nil || public.String() != text.String() {
			rt.Fatalf("%s, want %s: %v", public.String(), text.String(), err)
		}
		add(second)
		if base.Cmp(types.Wei(262_144+77)) > 0 {
			rt.Fatalf("%s base units of a lock of %d", base, 262_144+77)
		}
		all := uint64(0)
		for name, n := range signed {
			all += n
			if paid[name] > n {
				rt.Fatalf("%d units paid of %d signed", paid[name], n)
			}
		}
		if all <= 1000 {
			for name, n := range signed {
				if paid[name] != n {
					rt.Fatalf("%d units paid of %d signed, and the lock is long enough", paid[name], n)
				}
			}
		}
	})
}

func lineTo(b *strings.Builder) Emit {
	return func(line []byte) error {
		b.Write(append(line, '\n'))
		return nil
	}
}

func dealName(t Traffic) string { return fmt.Sprintf("%s %s %s", t.Payer, t.Payee, t.Device) }

// A line of late logs names the newest receipt, the same on both sides.
func TestLateNamesTheNewest(t *testing.T) {
	s := newScene(t)
	s.Do(sponsor, types.KindLock, &types.Lock{Epoch: s.e, Amount: types.Coin})
	s.MineTo(s.Rules().Checkpoint(s.e))
	newest := deal(hostA, sponsor, 1, 25)
	text := gather(t, func(e Emit) error {
		return s.source().Late([]Traffic{deal(hostA, sponsor, 1, 10)}, []Traffic{newest}, e)
	})
	if strings.Count(text, newest.Receipt.String()) != 2 || !strings.Contains(text, chaintest.Account(hostA).Address().String()) {
		t.Fatalf("lines %s", text)
	}
}
