package draw

import (
	"bytes"
	"math/bits"

	"github.com/staddle/staddle/types"
)

// Domains of the draws of rule H1.2.
const (
	DomPlace  = "staddle/place/1"  // the host of a lot
	DomEncode = "staddle/encode/1" // the encoder of a range; slot = place of the range in the lot
	DomAttest = "staddle/attest/1" // the validators of an attempt
	DomCheck  = "staddle/check/1"  // the checkers of a bundle
	DomServe  = "staddle/serve/1"  // the testers of a host
	DomJury   = "staddle/jury/1"   // the jury of a case
)

// Candidate may be drawn with chance Weight / sum of weights; with weight 0 it
// is never drawn. An account stands at most once in a list.
type Candidate struct {
	Account types.Account
	Weight  uint64
}

// Pick draws one candidate (rule H1.2), who must have passed all exclusions
// before. about is the lot, host or case that is drawn for. The order of the
// candidates does not matter. It is false when nobody has a weight.
func Pick(dom string, beacon, about types.Hash, slot uint32, cands []Candidate) (types.Account, bool) {
	i := pick(dom, beacon, about, slot, cands)
	if i < 0 {
		return types.Account{}, false
	}
	return cands[i].Account, true
}

// PickN draws up to n distinct candidates: slot 0 of all, slot 1 of the rest,
// and so on. Fewer come back when fewer have a weight. cands stays as it is.
func PickN(dom string, beacon, about types.Hash, n int, cands []Candidate) []types.Account {
	rest := append([]Candidate(nil), cands...)
	var out []types.Account
	for slot := 0; slot < n; slot++ {
		i := pick(dom, beacon, about, uint32(slot), rest)
		if i < 0 {
			break
		}
		out = append(out, rest[i].Account)
		rest[i] = rest[len(rest)-1]
		rest = rest[:len(rest)-1]
	}
	return out
}

func pick(dom string, beacon, about types.Hash, slot uint32, cands []Candidate) int {
	best, bestLg := -1, uint64(0)
	for i, c := range cands {
		if c.Weight == 0 {
			continue
		}
		lg := Lg(types.H(dom, beacon[:], about[:], types.Be32(slot), c.Account[:]).U64())
		if best < 0 || before(lg, c, bestLg, cands[best]) {
			best, bestLg = i, lg
		}
	}
	return best
}

// before compares lgA/weightA with lgB/weightB by cross-multiplication; ties go
// to the smaller account.
func before(lgA uint64, a Candidate, lgB uint64, b Candidate) bool {
	hiA, loA := bits.Mul64(lgA, b.Weight)
	hiB, loB := bits.Mul64(lgB, a.Weight)
	if hiA != hiB {
		return hiA < hiB
	}
	if loA != loB {
		return loA < loB
	}
	return bytes.Compare(a.Account[:], b.Account[:]) < 0
}

// Bounds of the bases of rule H1.3.
const (
	maxFreeGiB  = 1024
	maxBondBase = 64

	// maxCount and maxBase keep the product below inside 128 bits; no record
	// and no base comes near.
	maxCount = 1 << 62
	maxBase  = 1 << 32
)

// Weight is the weight of a candidate in a draw (rule H1.3):
// max(1, floor(64 x base x (good+1) / (good+failed+2))), good and failed the
// attempts in its record.
func Weight(base, good, failed uint64) uint64 {
	base, good, failed = min(base, maxBase), min(good, maxCount), min(failed, maxCount)
	hi, lo := bits.Mul64(64*base, good+1)
	w, _ := bits.Div64(hi, lo, good+failed+2) // below 64 x base, so it fits
	return max(1, w)
}

// HostBase is a host's base (rule H1.3): its free GiB, at most 1,024, four
// times when it has a bond.
func HostBase(freeGiB uint64, bonded bool) uint64 {
	base := min(freeGiB, maxFreeGiB)
	if bonded {
		return 4 * base
	}
	return base
}

// BondBase is the base of an encoder or validator (rule H1.3): its bond in
// units of the smallest one, at most 64. Where no bond is asked for (smallest
// is 0) all are equal, 1.
func BondBase(bond, smallest uint64) uint64 {
	if smallest == 0 {
		return 1
	}
	return min(bond/smallest, maxBondBase)
}
