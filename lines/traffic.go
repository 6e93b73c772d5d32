package lines

import (
	"bytes"
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Traffic is what one receipt proves: the payer has had units from a device of
// the payee in the epoch, cumulative (ST8.1). Whoever makes one out of a receipt
// has checked its signature, chain and epoch.
type Traffic struct {
	Payee, Payer types.Account
	Device       types.Device // of the payee
	Units        uint64       // 1 to 2^53 - 1
	Receipt      types.Hash   // SHA-256 of the receipt's signed bytes (ST2.3)
}

// Pair gives both sides of a receipt: the payee's line, and the payer's, which
// follows from the receipt even when the payer says nothing (ST2.2).
func (t Traffic) Pair() (payee, payer settle.Bandwidth) {
	payee = settle.Bandwidth{ID: t.Payee.Address(), Remote: t.Payer.Address(), Units: int64(t.Units), Receipt: t.Receipt.String()}
	payer = settle.Bandwidth{ID: payee.Remote, Remote: payee.ID, Units: -payee.Units, Receipt: payee.Receipt}
	return payee, payer
}

// void tells that a receipt can stand in no line.
func (t Traffic) void() bool {
	return t.Units == 0 || t.Units > settle.MaxUnits || t.Payee == t.Payer
}

// Newest keeps of each payer, payee and device the receipt with the most units:
// receipts are cumulative. It sorts, so that the order of arrival is nothing.
// Receipts of nothing, or to oneself, are left out.
func Newest(list []Traffic) []Traffic {
	list = slices.DeleteFunc(slices.Clone(list), Traffic.void)
	slices.SortFunc(list, func(a, b Traffic) int {
		return cmp.Or(compareDeal(a, b), cmp.Compare(b.Units, a.Units), bytes.Compare(a.Receipt[:], b.Receipt[:]))
	})
	return slices.CompactFunc(list, func(a, b Traffic) bool { return compareDeal(a, b) == 0 })
}

func compareDeal(a, b Traffic) int {
	return cmp.Or(bytes.Compare(a.Payer[:], b.Payer[:]), bytes.Compare(a.Payee[:], b.Payee[:]), bytes.Compare(a.Device[:], b.Device[:]))
}

// Bandwidth gives the bandwidthlog of a node: its side of the newest of the
// receipts that it gave or took. Lines ascend.
func Bandwidth(node types.Account, list []Traffic, emit Emit) error {
	var own [][]byte
	for _, t := range Newest(list) {
		payee, payer := t.Pair()
		switch node {
		case t.Payee:
			own = append(own, payee.Append(nil, settle.Grammar{}))
		case t.Payer:
			own = append(own, payer.Append(nil, settle.Grammar{}))
		}
	}
	return ascending(own, emit)
}

func ascending(list [][]byte, emit Emit) error {
	slices.SortFunc(list, bytes.Compare)
	for _, line := range slices.CompactFunc(list, bytes.Equal) {
		if err := emit(line); err != nil {
			return err
		}
	}
	return nil
}

// Traffic gives the lines of both sides of all receipts that anybody showed for
// the epoch: who leaves a receipt out of its log pays all the same (ST2.2). Each
// payer pays at most its lock; what is short is shared in proportion, rounded
// down (ST8.2). Payees that the chain does not know get nothing. Lines ascend.
func (s *Source) Traffic(list []Traffic, emit Emit) error {
	return s.pairs(Newest(list), s.covered, emit)
}

// pairs gives both lines of all receipts, after cut has shortened those of each
// payer to what it can pay.
func (s *Source) pairs(list []Traffic, cut func([]Traffic) ([]Traffic, error), emit Emit) error {
	var out [][]byte
	for len(list) > 0 {
		n := payerEnd(list)
		paid, err := cut(list[:n])
		if err != nil {
			return fmt.Errorf("receipts of payer %s: %w", list[0].Payer.Short(), err)
		}
		for _, t := range paid {
			payee, payer := t.Pair()
			if s.holdsPair(payee.ID, payer.ID) {
				out = append(out, payee.Append(nil, settle.Grammar{}), payer.Append(nil, settle.Grammar{}))
			}
		}
		list = list[n:]
	}
	return ascending(out, emit)
}

// payerEnd is how many receipts at the beginning of a list, which is not empty
// and sorted as Newest does, are of one payer.
func payerEnd(list []Traffic) int {
	n := 1
	for n < len(list) && list[n].Payer == list[0].Payer {
		n++
	}
	return n
}

// holdsPair tells whether the pair is in the shard: the smaller id decides, so
// that both sides meet.
func (s *Source) holdsPair(a, b types.Address) bool {
	if bytes.Compare(a[:], b[:]) > 0 {
		a = b
	}
	return s.Shard.Holds(a[0], a[1])
}

// covered cuts the units of one payer's receipts down to what its lock of the
// epoch pays.
func (s *Source) covered(list []Traffic) ([]Traffic, error) {
	return s.within(list, nil)
}

// within is covered for a lock that has paid the receipts of before already.
func (s *Source) within(list, before []Traffic) ([]Traffic, error) {
	var known []Traffic
	total := new(big.Int)
	for _, t := range list {
		_, ok, err := s.Frozen.ByAddress(t.Payee.Address())
		if err != nil {
			return nil, err
		}
		if ok {
			known = append(known, t)
			total.Add(total, types.Wei(t.Units))
		}
	}
	if len(known) == 0 {
		return nil, nil
	}
	limit, err := s.affordable(known[0].Payer, sum(before), total)
	if err != nil || limit.Cmp(total) >= 0 {
		return known, err
	}
	paid := known[:0]
	for _, t := range known {
		n := new(big.Int).Mul(types.Wei(t.Units), limit)
		if t.Units = n.Quo(n, total).Uint64(); t.Units > 0 {
			paid = append(paid, t)
		}
	}
	return paid, nil
}

// sum is the units of receipts.
func sum(list []Traffic) *big.Int {
	n := new(big.Int)
	for _, t := range list {
		n.Add(n, types.Wei(t.Units))
	}
	return n
}

// affordable is how many units a payer's lock pays, at most total, after it has
// paid some, whose price was rounded up to base units.
func (s *Source) affordable(payer types.Account, paid, total *big.Int) (*big.Int, error) {
	lock, err := s.Frozen.Lock(payer, s.Epoch)
	if err != nil || lock == nil {
		return new(big.Int), err
	}
	rec, err := s.Frozen.Epoch(s.Epoch)
	if err != nil {
		return nil, err
	}
	if rec.Bandwidth == nil || rec.Bandwidth.Sign() == 0 {
		return total, nil
	}
	base := types.Wei(uint64(lock.Amount))
	base.Sub(base, types.BaseCeil(new(big.Int).Mul(paid, rec.Bandwidth)))
	if base.Sign() <= 0 {
		return new(big.Int), nil
	}
	wei := base.Mul(base, types.Wei(types.WeiPerBase))
	return wei.Quo(wei, rec.Bandwidth), nil
}
