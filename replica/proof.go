package replica

import (
	"fmt"

	"github.com/staddle/staddle/types"
)

// MaxProof bounds an encoded proof, so that a dispute can carry it.
const MaxProof = types.MaxEvidence

// Proof shows one leaf of a lot: the leaf, its path in its range, the range, and
// the range's path in the lot. For a sample it shows also where the lot stands
// among all that the host claims; for a turn of rotation Claim is nil.
type Proof struct {
	Lot   types.LotID
	Claim *SumPath
	Leaf  []byte // 1,024 bytes
	Path  []types.Hash
	Range Entry
	Place SumPath // of the range in the lot
}

// EncodeTo appends [lot, claim, leaf, path, range, place]; without a claim the
// second is an empty array.
func (p *Proof) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Bytes(p.Lot[:])
	if p.Claim == nil {
		e.Array(0)
	} else {
		p.Claim.EncodeTo(e)
	}
	e.Bytes(p.Leaf)
	encodeHashes(e, p.Path)
	p.Range.EncodeTo(e)
	p.Place.EncodeTo(e)
}

// DecodeFrom reads the proof.
func (p *Proof) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	p.Lot = d.Hash()
	p.Claim = nil
	switch d.Array(2) {
	case 0:
	case 2:
		p.Claim = new(SumPath)
		p.Claim.read(d)
	default:
		d.Fail("claim of one field, want none or two")
	}
	p.Leaf = make([]byte, LeafSize)
	d.Fixed(p.Leaf)
	p.Path = decodeHashes(d, maxPath)
	p.Range.DecodeFrom(d)
	p.Place.DecodeFrom(d)
}

// LotTerms is what the chain says of a lot.
type LotTerms struct {
	Root   types.Hash // over its ranges (G11)
	Leaves uint64
	Ranges uint32
}

// check compares the proof of leaf number inside, counted in the lot, with the
// lot's record. Error: says which part is false.
func (p *Proof) check(lot LotTerms, inside uint64) error {
	if len(p.Leaf) != LeafSize {
		return fmt.Errorf("leaf of %d bytes, want %d", len(p.Leaf), LeafSize)
	}
	root, start, err := p.Place.Fold(p.Range.Sum(), uint64(lot.Ranges))
	if err != nil {
		return fmt.Errorf("range in lot: %w", err)
	}
	if want := (Sum{lot.Leaves, lot.Root}); root != want {
		return fmt.Errorf("range %s is not in the lot: %d leaves with root %s, want %d with %s",
			p.Range.Range.Short(), root.Leaves, root.Hash.Short(), want.Leaves, want.Hash.Short())
	}
	if inside < start || inside-start >= p.Range.Leaves {
		return fmt.Errorf("leaf %d of the lot is not among the %d from %d", inside, p.Range.Leaves, start)
	}
	encoded, err := Fold(LeafHash(p.Leaf), inside-start, p.Range.Leaves, p.Path)
	if err != nil {
		return fmt.Errorf("leaf in range: %w", err)
	}
	if encoded != p.Range.Encoded {
		return fmt.Errorf("leaf %d leads to root %s, want %s", inside-start, encoded.Short(), p.Range.Encoded.Short())
	}
	return nil
}
