package replica

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Protocols by which others look into a host's replicas; requests and answers
// are one frame each.
const (
	LeafProtocol   = "/staddle/leaf/1"
	BundleProtocol = "/staddle/bundle/1"
)

// Limits of the frames.
const (
	MaxAsked         = 64                         // leaves of one request
	MaxLeafRequest   = 1 << 10                    // bytes
	MaxLeafAnswer    = 64 + MaxAsked*(MaxProof+8) // bytes
	MaxBundleRequest = 64 + MaxBundle             // bytes
	MaxBundleAnswer  = MaxBundle                  // bytes
	wireVersion      = 1
	bundleCheck      = 0
	bundleGet        = 1
)

// LeafRequest asks a host for leaves of a lot, to be proven against the root
// that the lot has in an attempt.
type LeafRequest struct {
	Lot     types.LotID
	Attempt types.AttemptID
	Leaves  []uint64 // numbers in the lot, 1 to MaxAsked
}

// EncodeTo appends [version, lot, attempt, [leaf, ...]].
func (q *LeafRequest) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(wireVersion)
	e.Bytes(q.Lot[:])
	e.Bytes(q.Attempt[:])
	e.Array(len(q.Leaves))
	for _, n := range q.Leaves {
		e.Uint(n)
	}
}

// DecodeFrom reads the request.
func (q *LeafRequest) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	readVersion(d)
	q.Lot, q.Attempt = d.Hash(), d.Hash()
	q.Leaves = make([]uint64, d.Array(MaxAsked))
	for i := range q.Leaves {
		q.Leaves[i] = d.Uint()
	}
	if d.Err() == nil && len(q.Leaves) == 0 {
		d.Fail("request for no leaf")
	}
}

func readVersion(d *types.Decoder) {
	if v := d.Uint(); d.Err() == nil && v != wireVersion {
		d.Fail("version %d, want %d", v, wireVersion)
	}
}

// LeafAnswer holds an encoded Proof without Claim for each leaf asked for, empty
// where the host has nothing to show.
type LeafAnswer struct{ Proofs [][]byte }

// EncodeTo appends [version, [proof, ...]].
func (a *LeafAnswer) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(wireVersion)
	e.Array(len(a.Proofs))
	for _, p := range a.Proofs {
		e.Bytes(p)
	}
}

// DecodeFrom reads the answer; the proofs are read when they are checked.
func (a *LeafAnswer) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	readVersion(d)
	a.Proofs = make([][]byte, d.Array(MaxAsked))
	for i := range a.Proofs {
		a.Proofs[i] = d.Bytes(MaxProof)
	}
}

// Check judges an answer leaf by leaf: Shown, Missed, Malformed, Elsewhere or
// Forged, with the reason of each that is not Shown. Leaves that the answer does
// not have are Missed.
func (q *LeafRequest) Check(a *LeafAnswer, lot LotTerms) Report {
	r := Report{make([]Verdict, len(q.Leaves)), make([]error, len(q.Leaves))}
	for i, leaf := range q.Leaves {
		var encoded []byte
		if i < len(a.Proofs) {
			encoded = a.Proofs[i]
		}
		r.Verdicts[i], r.Reasons[i] = CheckLeaf(q.Lot, lot, leaf, encoded)
	}
	return r
}

// CheckLeaf judges the encoded proof of one leaf of a lot that carries no claim.
func CheckLeaf(id types.LotID, lot LotTerms, leaf uint64, encoded []byte) (Verdict, error) {
	if len(encoded) == 0 {
		return Missed, errors.New("nothing shown")
	}
	var p Proof
	if err := types.Unmarshal(encoded, &p); err != nil {
		return Malformed, fmt.Errorf("read proof: %w", err)
	}
	if p.Lot != id || p.Claim != nil {
		return Elsewhere, fmt.Errorf("proof of lot %s (claim: %t), want one of %s without", p.Lot.Short(), p.Claim != nil, id.Short())
	}
	if err := p.check(lot, leaf); err != nil {
		return Forged, err
	}
	return Shown, nil
}

// BundleRequest asks a drawn checker to check and sign a bundle, or asks who
// holds one for it.
type BundleRequest struct {
	Check []byte      // the encoded bundle to check; nil: give the bundle of Epoch and Host
	Epoch types.Epoch // for Check nil
	Host  types.Account
}

// EncodeTo appends [version, 0, bundle] or [version, 1, epoch, host].
func (q *BundleRequest) EncodeTo(e *types.Encoder) {
	if q.Check != nil {
		e.Array(3)
		e.Uint(wireVersion)
		e.Uint(bundleCheck)
		e.Bytes(q.Check)
		return
	}
	e.Array(4)
	e.Uint(wireVersion)
	e.Uint(bundleGet)
	e.Uint(uint64(q.Epoch))
	e.Bytes(q.Host[:])
}

// DecodeFrom reads the request; the bundle inside is read by ParseBundle.
func (q *BundleRequest) DecodeFrom(d *types.Decoder) {
	*q = BundleRequest{}
	fields := d.Array(4)
	readVersion(d)
	op := d.Limit(bundleGet)
	if d.Err() == nil && fields != 3+int(op) {
		d.Fail("request %d of %d fields, want %d", op, fields, 3+op)
	}
	if d.Err() != nil {
		return
	}
	if op == bundleGet {
		q.Epoch, q.Host = d.Epoch(), d.Account()
		return
	}
	if q.Check = d.Bytes(MaxBundle); d.Err() == nil && len(q.Check) == 0 {
		d.Fail("request to check nothing")
	}
}

// CheckAnswer is a checker's answer: its signature over BundlePost.Digest of the
// bundle that it checked and holds from now on. The answer to a request for a
// bundle is the encoded Bundle itself.
type CheckAnswer struct{ Signature types.Signature }

// EncodeTo appends [version, signature].
func (a *CheckAnswer) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Uint(wireVersion)
	e.Bytes(a.Signature[:])
}

// DecodeFrom reads the answer.
func (a *CheckAnswer) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	readVersion(d)
	d.Fixed(a.Signature[:])
}

// Post is what goes on chain for a bundle, without the checkers.
func (b *Bundle) Post() *types.BundlePost {
	return &types.BundlePost{Epoch: b.Epoch, Root: b.Root(), Proofs: uint32(len(b.Proofs)), Size: b.Size(), Missed: b.Missed()}
}
