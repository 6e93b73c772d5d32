package replica

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Limits of a bundle that is read.
const (
	MaxBundle = 8 << 20 // bytes; 64 samples and the rotation of 100,000 lots fit
	maxAnswer = types.MaxProofs

	bundleVersion = 1
)

// Verdict is what a checker finds of one leaf that was asked for. Numbers do not
// change.
type Verdict uint8

// Verdicts. All but Shown count as missed; from Malformed on the proof is false
// and whoever signed the bundle signed that it is true.
const (
	Shown     Verdict = iota // the leaf is there
	Missed                   // the host shows nothing
	Malformed                // bytes that are no proof
	Elsewhere                // proof of a place that was not asked for, or not claimed
	Unknown                  // the lot is not one that this host has to keep
	Differs                  // the claim gives the lot other leaves than the chain does (H6.3)
	Forged                   // leaf or range does not lead to the lot's root
	verdictEnd
)

// String is the verdict's name.
func (v Verdict) String() string {
	return [...]string{"shown", "missed", "malformed", "elsewhere", "unknown lot", "sum differs", "forged", "unknown"}[min(v, verdictEnd)]
}

// Turn is a leaf that a lot shows by rotation (rule H6.2).
type Turn struct {
	Lot  types.LotID
	Leaf uint64 // in the lot
}

// Question is what a host has to show for an epoch. Everything is known to
// anybody who has the chain: the drawn numbers come from the epoch's beacon.
type Question struct {
	Claims  Sum      // total and root in the host's log commitment
	Lots    uint64   // number of its claims
	Samples []uint64 // leaves over all claims, as drawn (H6.1)
	Turns   []Turn   // lots of the host whose turn it is, ascending (H6.2)
}

// Places is the number of proofs asked for: samples, then turns.
func (q *Question) Places() int { return len(q.Samples) + len(q.Turns) }

// Terms looks up lots that a host has to keep; false for any other.
type Terms interface {
	Lot(id types.LotID) (LotTerms, bool)
}

// CheckProof judges the encoded proof at a place of the bundle. The error says
// what is wrong when the verdict is not Shown.
func (q *Question) CheckProof(place int, encoded []byte, terms Terms) (Verdict, error) {
	if len(encoded) == 0 {
		return Missed, errors.New("nothing shown")
	}
	if place < 0 || place >= q.Places() {
		return Elsewhere, fmt.Errorf("proof %d of %d", place, q.Places())
	}
	if len(encoded) > MaxProof {
		return Malformed, fmt.Errorf("proof of %d bytes above %d", len(encoded), MaxProof)
	}
	var p Proof
	if err := types.Unmarshal(encoded, &p); err != nil {
		return Malformed, fmt.Errorf("read proof: %w", err)
	}
	lot, ok := terms.Lot(p.Lot)
	if !ok {
		return Unknown, fmt.Errorf("lot %s is not kept by this host", p.Lot.Short())
	}
	inside, verdict, err := q.locate(place, &p, lot)
	if err != nil {
		return verdict, err
	}
	if err := p.check(lot, inside); err != nil {
		return Forged, err
	}
	return Shown, nil
}

// locate gives the number inside the lot that was asked for at the place.
func (q *Question) locate(place int, p *Proof, lot LotTerms) (uint64, Verdict, error) {
	if place >= len(q.Samples) {
		t := q.Turns[place-len(q.Samples)]
		if p.Lot != t.Lot || p.Claim != nil {
			return 0, Elsewhere, fmt.Errorf("proof of lot %s, want the turn of %s", p.Lot.Short(), t.Lot.Short())
		}
		return t.Leaf, Shown, nil
	}
	if p.Claim == nil {
		return 0, Elsewhere, errors.New("sample without the place of its lot")
	}
	return q.locateSample(q.Samples[place], p, lot)
}

// locateSample folds the claim with the leaves that the chain gives the lot: a
// host that claimed others can show no sample of it.
func (q *Question) locateSample(number uint64, p *Proof, lot LotTerms) (uint64, Verdict, error) {
	root, start, err := p.Claim.Fold(Claim{p.Lot, lot.Leaves}.Sum(), q.Lots)
	if err != nil {
		return 0, Elsewhere, fmt.Errorf("lot among claims: %w", err)
	}
	if root.Leaves != q.Claims.Leaves {
		return 0, Differs, fmt.Errorf("lot %s of %d leaves makes a total of %d, claimed %d",
			p.Lot.Short(), lot.Leaves, root.Leaves, q.Claims.Leaves)
	}
	if root.Hash != q.Claims.Hash {
		return 0, Elsewhere, fmt.Errorf("lot %s leads to root %s, claimed %s", p.Lot.Short(), root.Hash.Short(), q.Claims.Hash.Short())
	}
	if number < start || number-start >= lot.Leaves {
		return 0, Elsewhere, fmt.Errorf("leaf %d is not among the %d from %d of lot %s", number, lot.Leaves, start, p.Lot.Short())
	}
	return number - start, Shown, nil
}

// Bundle is a host's answer for an epoch: the encoded proof of each place, empty
// where the host has nothing to show.
type Bundle struct {
	Epoch  types.Epoch
	Host   types.Account
	Proofs [][]byte
}

// EncodeTo appends [version, epoch, host, [proof, ...]].
func (b *Bundle) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(bundleVersion)
	e.Uint(uint64(b.Epoch))
	e.Bytes(b.Host[:])
	e.Array(len(b.Proofs))
	for _, p := range b.Proofs {
		e.Bytes(p)
	}
}

// DecodeFrom reads the bundle; the proofs are read when they are checked.
func (b *Bundle) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	if v := d.Uint(); v != bundleVersion {
		d.Fail("bundle of version %d, want %d", v, bundleVersion)
	}
	b.Epoch = types.Epoch(d.Uint())
	d.Fixed(b.Host[:])
	b.Proofs = make([][]byte, d.Array(maxAnswer))
	for i := range b.Proofs {
		b.Proofs[i] = d.Bytes(MaxProof)
	}
}

// ParseBundle reads a bundle of at most 8 MiB.
func ParseBundle(b []byte) (*Bundle, error) {
	if len(b) > MaxBundle {
		return nil, fmt.Errorf("bundle of %d bytes above %d", len(b), MaxBundle)
	}
	out := new(Bundle)
	if err := types.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return out, nil
}

func (b *Bundle) leaves() []types.Hash {
	out := make([]types.Hash, len(b.Proofs))
	for i, p := range b.Proofs {
		out[i] = LeafHash(p)
	}
	return out
}

// Root is what goes on chain: the root in the shape of RFC 9162 whose leaves are
// the encoded proofs.
func (b *Bundle) Root() types.Hash { return Root(b.leaves()) }

// Size is the bytes of all proofs.
func (b *Bundle) Size() uint64 {
	n := uint64(0)
	for _, p := range b.Proofs {
		n += uint64(len(p))
	}
	return n
}

// Missed are the places without a proof, ascending.
func (b *Bundle) Missed() []uint32 {
	var out []uint32
	for i, p := range b.Proofs {
		if len(p) == 0 {
			out = append(out, uint32(i))
		}
	}
	return out
}

// Path leads from the proof at a place to Root, for a dispute. Error: ErrPath.
func (b *Bundle) Path(place int) ([]types.Hash, error) { return Path(b.leaves(), place) }

// CheckMember reports whether encoded is the proof at a place of a posted bundle
// with that root and so many proofs. Error: ErrPath.
func CheckMember(root types.Hash, proofs, place uint32, encoded []byte, path []types.Hash) error {
	got, err := Fold(LeafHash(encoded), uint64(place), uint64(proofs), path)
	if err != nil {
		return fmt.Errorf("proof %d in bundle: %w", place, err)
	}
	if got != root {
		return fmt.Errorf("%w: proof %d leads to %s, posted %s", ErrPath, place, got.Short(), root.Short())
	}
	return nil
}

// Report is the judgement of a bundle, a verdict for each place, with the first
// reason of each that is not Shown.
type Report struct {
	Verdicts []Verdict
	Reasons  []error
}

// Good reports whether everything asked for is shown.
func (r *Report) Good() bool { return r.all(Shown) }

// Honest reports whether nothing in the bundle is false: a checker may sign it,
// though leaves may be missed.
func (r *Report) Honest() bool { return r.all(Missed) }

func (r *Report) all(worst Verdict) bool {
	for _, v := range r.Verdicts {
		if v > worst {
			return false
		}
	}
	return true
}

// Check judges a whole bundle. Places that it does not have count as missed.
// Error: it has more proofs than were asked for.
func (q *Question) Check(b *Bundle, terms Terms) (Report, error) {
	n := q.Places()
	if len(b.Proofs) > n {
		return Report{}, fmt.Errorf("bundle of %d proofs, want %d", len(b.Proofs), n)
	}
	r := Report{make([]Verdict, n), make([]error, n)}
	for i := range n {
		var encoded []byte
		if i < len(b.Proofs) {
			encoded = b.Proofs[i]
		}
		r.Verdicts[i], r.Reasons[i] = q.CheckProof(i, encoded, terms)
	}
	return r, nil
}
