package settle

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/staddle/staddle/types"
)

// bandwidthStage is 1B. A fact is a claim about a pair of ids, lo < hi:
//
//	lo TAB hi TAB units as lo sees them TAB claimant, 0 for lo and 1 for hi TAB receipt
type bandwidthStage struct{}

// pairKey is the width of lo TAB hi.
const pairKey = 2*addressKey + 1

// Name is "1b".
func (bandwidthStage) Name() string { return StageBandwidth }

// KeyFields sorts by pair and units; one reducer gets all of a pair.
func (bandwidthStage) KeyFields() (sort, partition int) { return 3, 2 }

// Map reads bandwidthlog lines. A claim is in the shard of the smaller id, so
// that both sides meet.
func (bandwidthStage) Map(p Params, r io.Reader, w io.Writer) (Counts, error) {
	m := bandwidthMapper{p: &p}
	m.s.Grammar = p.grammar()
	return runMap(&m, MaxLine, r, w)
}

type bandwidthMapper struct {
	p *Params
	s scanner
}

func (m *bandwidthMapper) line(line []byte, out *lineWriter) (legacy bool, code Code, err error) {
	b, legacy, code := read(&m.s, line, scanBandwidth, &bandSchema)
	if code != Accepted {
		return legacy, code, nil
	}
	lo, hi, units, side := b.ID, b.Remote, b.Units, byte('0')
	if bytes.Compare(lo[:], hi[:]) > 0 {
		lo, hi, units, side = hi, lo, -units, '1'
	}
	switch {
	case m.p.Owner != nil && b.ID != *m.p.Owner:
		return legacy, ErrOwner, nil
	case !m.p.Shard.Holds(lo[0], lo[1]):
		return legacy, ErrShard, nil
	}
	out.buf = append(appendAddress(out.buf, lo), '\t')
	out.buf = append(appendAddress(out.buf, hi), '\t')
	out.buf = append(strconv.AppendInt(out.buf, units, 10), '\t', side, '\t')
	out.buf = append(out.buf, b.Receipt...)
	return legacy, Accepted, out.end()
}

// Reduce matches the claims of each pair and adds up what each id sent. The sums
// of all ids stay in memory.
func (bandwidthStage) Reduce(p Params, r io.Reader, w io.Writer) (c Counts, err error) {
	red := bandwidthReducer{p: &p, out: newLineWriter(w), report: newReport(p), sums: newSums()}
	c.In, err = runReduce(r, pairKey, &red)
	c.Out, c.Rejected[ErrDup] = red.out.n, red.dups
	return c, err
}

type claim struct {
	units   int64 // as lo sees them
	receipt string
}

func compareClaims(a, b claim) int {
	return cmp.Or(cmp.Compare(a.units, b.units), cmp.Compare(a.receipt, b.receipt))
}

type bandwidthReducer struct {
	p      *Params
	out    *lineWriter
	report *report
	sums   *sums
	sides  [2][]claim // by lo, by hi
	dups   uint64
}

func (t *bandwidthReducer) add(_, fact []byte) error {
	units, rest, ok := bytes.Cut(fact, []byte{'\t'})
	n, err := strconv.ParseInt(string(units), 10, 64)
	if !ok || err != nil || n < -MaxUnits || n > MaxUnits || len(rest) < 3 || rest[0]-'0' > 1 || rest[1] != '\t' {
		return errFact
	}
	side := &t.sides[rest[0]-'0']
	*side = append(*side, claim{units: n, receipt: string(rest[2:])})
	if len(*side) >= 4*MaxParties {
		t.compact(side)
	}
	return nil
}

// compact makes a set of one side's claims and keeps at most MaxParties of them,
// the smallest: a node can only crowd out its own.
func (t *bandwidthReducer) compact(side *[]claim) {
	before := len(*side)
	slices.SortFunc(*side, compareClaims)
	*side = slices.Compact(*side)
	t.dups += uint64(before - len(*side))
	*side = (*side)[:min(len(*side), MaxParties)]
}

func (t *bandwidthReducer) flush(key []byte) error {
	lo, errLo := parseAddressKey(key[:addressKey])
	hi, errHi := parseAddressKey(key[addressKey+1:])
	if errLo != nil || errHi != nil || key[addressKey] != '\t' {
		return fmt.Errorf("key %.90q: %w", key, errFact)
	}
	t.compact(&t.sides[0])
	t.compact(&t.sides[1])
	matched, left := match(t.sides[0], t.sides[1])
	for _, units := range matched {
		if err := t.sums.add(lo, 0, units); err != nil {
			return err
		}
		if err := t.sums.add(hi, 0, -units); err != nil {
			return err
		}
	}
	t.sides[0], t.sides[1] = t.sides[0][:0], t.sides[1][:0]
	if err := t.complain(lo, hi, left[0]); err != nil {
		return err
	}
	return t.complain(hi, lo, left[1])
}

func (t *bandwidthReducer) complain(node, peer types.Address, left []claim) error {
	for _, c := range left {
		if err := t.report.tell(Feedback{Kind: FailedBandwidthLog, Node: node, Peer: peer, Receipt: c.receipt}); err != nil {
			return err
		}
	}
	return nil
}

// match pairs the claims of both sides, each ascending: of equal units, those
// with equal receipts first, the others in order. It gives the units of each
// pair and what is left on both sides.
func match(lo, hi []claim) (matched []int64, left [2][]claim) {
	for len(lo) > 0 || len(hi) > 0 {
		units := smallestUnits(lo, hi)
		var a, b []claim
		a, lo = cutUnits(lo, units)
		b, hi = cutUnits(hi, units)
		pairs := min(len(a), len(b))
		for range pairs {
			matched = append(matched, units)
		}
		left[0] = append(left[0], unmatched(a, b, pairs)...)
		left[1] = append(left[1], unmatched(b, a, pairs)...)
	}
	return matched, left
}

func smallestUnits(lo, hi []claim) int64 {
	switch {
	case len(lo) == 0:
		return hi[0].units
	case len(hi) == 0:
		return lo[0].units
	}
	return min(lo[0].units, hi[0].units)
}

func cutUnits(list []claim, units int64) (equal, rest []claim) {
	n := 0
	for n < len(list) && list[n].units == units {
		n++
	}
	return list[:n], list[n:]
}

// unmatched gives the claims of own beyond the pairs, the last of those whose
// receipt the other side does not have.
func unmatched(own, other []claim, pairs int) []claim {
	spare := len(own) - pairs
	if spare == 0 {
		return nil
	}
	alone := make([]claim, 0, len(own))
	for _, c := range own {
		if _, found := slices.BinarySearchFunc(other, c, compareClaims); !found {
			alone = append(alone, c)
		}
	}
	return alone[len(alone)-spare:]
}

func (t *bandwidthReducer) close() error {
	if err := t.sums.write(t.out, t.p.grammar()); err != nil {
		return err
	}
	return t.report.flush()
}
