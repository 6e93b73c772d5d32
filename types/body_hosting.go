package types

import (
	"math/big"

	"github.com/ipfs/go-cid"
)

// MaxReports is the largest number of entries of kinds 5, 6 and 7 (G11).
const MaxReports = 1024

// Plan is the body of kind 4: what a sponsor asks.
type Plan struct {
	Dataset   DatasetID
	First     uint32 // first range of the dataset's list, from 0 (G10)
	Count     uint32 // ranges
	Copies    uint32
	Encoding  uint32
	Until     Epoch    // first epoch that is no longer paid for
	MaxPrice  *big.Int // wei a piece and epoch above which the plan stops (ST6)
	Lock      Amount   // prepaid out of the balance
	Guardian  Account  // holds SMASH seeds and may ask for repair; zero: none
	Renewable bool
	Assurance uint8 // lowest rung of the ladder that the sponsor accepts (H2)
}

// EncodeTo appends the tuple.
func (p *Plan) EncodeTo(e *Encoder) {
	e.Array(11)
	e.Bytes(p.Dataset[:])
	e.Uint(uint64(p.First))
	e.Uint(uint64(p.Count))
	e.Uint(uint64(p.Copies))
	e.Uint(uint64(p.Encoding))
	e.Uint(uint64(p.Until))
	e.Big(p.MaxPrice)
	e.Uint(uint64(p.Lock))
	e.Bytes(p.Guardian[:])
	e.Bool(p.Renewable)
	e.Uint(uint64(p.Assurance))
}

// DecodeFrom reads the tuple.
func (p *Plan) DecodeFrom(d *Decoder) {
	d.Tuple(11)
	p.Dataset = d.Hash()
	p.First = d.Uint32()
	p.Count = d.Uint32()
	p.Copies = uint32(d.Limit(255))
	p.Encoding = d.Uint32()
	p.Until = d.Epoch()
	p.MaxPrice = d.Big()
	p.Lock = d.Amount()
	p.Guardian = d.Account()
	p.Renewable = d.Bool()
	p.Assurance = uint8(d.Limit(3))
	if d.Err() == nil && (p.Copies == 0 || p.Count == 0) {
		d.Fail("plan for %d copies of %d ranges; both are at least 1", p.Copies, p.Count)
	}
}

// Commitment is what an encoder and a host each say of one encoded range; the
// chain compares the two.
type Commitment struct {
	Lot     LotID
	Attempt AttemptID
	Range   uint32 // place in the lot, from 0
	Encoded Hash   // RFC 9162 root over the encoded bytes
	Plain   Hash   // the same over the plain bytes, padded alike
	Modulus Hash   // SHA-256 of the modulus; zero for encodings without
}

// Commitments is the body of kinds 5 (by the encoder) and 6 (by the host).
type Commitments struct{ List []Commitment }

// EncodeTo appends the list of tuples.
func (c *Commitments) EncodeTo(e *Encoder) {
	e.Array(len(c.List))
	for i := range c.List {
		x := &c.List[i]
		e.Array(6)
		e.Bytes(x.Lot[:])
		e.Bytes(x.Attempt[:])
		e.Uint(uint64(x.Range))
		e.Bytes(x.Encoded[:])
		e.Bytes(x.Plain[:])
		e.Bytes(x.Modulus[:])
	}
}

// DecodeFrom reads the list.
func (c *Commitments) DecodeFrom(d *Decoder) {
	c.List = make([]Commitment, d.Array(MaxReports))
	for i := range c.List {
		x := &c.List[i]
		d.Tuple(6)
		x.Lot, x.Attempt = d.Hash(), d.Hash()
		x.Range = uint32(d.Limit(MaxLotRanges - 1))
		x.Encoded, x.Plain, x.Modulus = d.Hash(), d.Hash(), d.Hash()
	}
	if d.Err() == nil && len(c.List) == 0 {
		d.Fail("empty list of commitments")
	}
}

// Attestation is a validator's word that it read random leaves of a lot.
type Attestation struct {
	Lot     LotID
	Attempt AttemptID
	Root    Hash // root of the lot (G11) that it checked
}

// Attestations is the body of kind 7.
type Attestations struct{ List []Attestation }

// EncodeTo appends the list of tuples.
func (a *Attestations) EncodeTo(e *Encoder) {
	e.Array(len(a.List))
	for i := range a.List {
		e.Array(3)
		e.Bytes(a.List[i].Lot[:])
		e.Bytes(a.List[i].Attempt[:])
		e.Bytes(a.List[i].Root[:])
	}
}

// DecodeFrom reads the list.
func (a *Attestations) DecodeFrom(d *Decoder) {
	a.List = make([]Attestation, d.Array(MaxReports))
	for i := range a.List {
		d.Tuple(3)
		a.List[i] = Attestation{Lot: d.Hash(), Attempt: d.Hash(), Root: d.Hash()}
	}
	if d.Err() == nil && len(a.List) == 0 {
		d.Fail("empty list of attestations")
	}
}

// DutyAction is what a kind 10 says.
type DutyAction uint8

// Actions of kind 10.
const (
	DutyAccept DutyAction = iota // host or encoder takes part in an attempt
	DutyRefuse                   // host or encoder refuses a draw (H7)
	DutyDrop                     // host drops an active lot by policy (H7)
	DutyPause                    // no pay, no penalty until resume
	DutyResume
	DutyLeave // replaced without penalty
	dutyEnd
)

// String is the action's name.
func (a DutyAction) String() string {
	return [...]string{"accept", "refuse", "drop", "pause", "resume", "leave", "unknown"}[min(a, dutyEnd)]
}

// Duty is the body of kind 10: a change of a host's or an encoder's readiness.
// Lots are named for accept, refuse and drop, and empty otherwise.
type Duty struct {
	Action DutyAction
	Policy uint8 // reason of a refusal or a drop; 0: none given
	Lots   []LotAttempt
}

// LotAttempt names one drawing of a lot.
type LotAttempt struct {
	Lot     LotID
	Attempt AttemptID
}

// EncodeTo appends the tuple.
func (b *Duty) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Uint(uint64(b.Action))
	e.Uint(uint64(b.Policy))
	e.Array(len(b.Lots))
	for _, l := range b.Lots {
		e.Array(2)
		e.Bytes(l.Lot[:])
		e.Bytes(l.Attempt[:])
	}
}

// DecodeFrom reads the tuple.
func (b *Duty) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	b.Action = DutyAction(d.Limit(uint64(dutyEnd - 1)))
	b.Policy = d.Uint8()
	b.Lots = make([]LotAttempt, d.Array(MaxReports))
	for i := range b.Lots {
		d.Tuple(2)
		b.Lots[i] = LotAttempt{Lot: d.Hash(), Attempt: d.Hash()}
	}
	if d.Err() == nil && (b.Action <= DutyDrop) != (len(b.Lots) > 0) {
		d.Fail("%s names %d lots", b.Action, len(b.Lots))
	}
}

// Signed is a signature with its maker.
type Signed struct {
	By        Account
	Signature Signature
}

func encodeSigned(e *Encoder, list []Signed) {
	e.Array(len(list))
	for _, s := range list {
		e.Array(2)
		e.Bytes(s.By[:])
		e.Bytes(s.Signature[:])
	}
}

func decodeSigned(d *Decoder, limit int) []Signed {
	list := make([]Signed, d.Array(limit))
	for i := range list {
		d.Tuple(2)
		list[i].By = d.Account()
		d.Fixed(list[i].Signature[:])
	}
	return list
}

// BundlePost is the body of kind 8: a host's proofs of one epoch, held and
// signed by the drawn checkers (H6.4).
type BundlePost struct {
	Epoch    Epoch
	Root     Hash     // RFC 9162 root over the encoded proofs, in order
	Proofs   uint32   // number of proofs: samples, then rotation
	Size     uint64   // bytes of all proofs
	Missed   []uint32 // numbers of the samples that the host cannot answer, ascending
	Checkers []Signed // over BundlePost.Digest
}

// Limits of a bundle: its proofs, and the samples that a host may name as missed.
const (
	MaxProofs = 1 << 16
	MaxMissed = 512
)

// EncodeTo appends the tuple.
func (b *BundlePost) EncodeTo(e *Encoder) {
	e.Array(6)
	e.Uint(uint64(b.Epoch))
	e.Bytes(b.Root[:])
	e.Uint(uint64(b.Proofs))
	e.Uint(b.Size)
	e.Array(len(b.Missed))
	for _, m := range b.Missed {
		e.Uint(uint64(m))
	}
	encodeSigned(e, b.Checkers)
}

// DecodeFrom reads the tuple.
func (b *BundlePost) DecodeFrom(d *Decoder) {
	d.Tuple(6)
	b.Epoch = d.Epoch()
	b.Root = d.Hash()
	b.Proofs = uint32(d.Limit(MaxProofs))
	b.Size = d.Uint()
	b.Missed = make([]uint32, d.Array(MaxMissed))
	for i := range b.Missed {
		b.Missed[i] = uint32(d.Limit(MaxProofs))
		if i > 0 && b.Missed[i] <= b.Missed[i-1] {
			d.Fail("missed sample %d after %d", b.Missed[i], b.Missed[i-1])
		}
	}
	b.Checkers = decodeSigned(d, 16)
}

// Digest is what the checkers sign. It names the epoch's beacon, so that on
// another fork, which asks for other leaves, the signatures mean nothing.
func (b *BundlePost) Digest(chain ChainID, host Account, beacon Hash) Hash {
	var e Encoder
	e.Array(len(b.Missed))
	for _, m := range b.Missed {
		e.Uint(uint64(m))
	}
	return H("staddle/bundle/1", chain[:], host[:], Be64(uint64(b.Epoch)), beacon[:], b.Root[:], Be32(b.Proofs), Be64(b.Size), Sized(e.Data()))
}

// DisputeKind says what a dispute claims.
type DisputeKind uint8

// Claims of a dispute.
const (
	DisputeProof DisputeKind = iota // proof number Index of the bundle is false
	DisputeSum                      // a claim in the host's sum tree differs from the lot's record (H6.3)
	disputeEnd
)

// Dispute is the body of kind 9. Evidence is the disputed proof, with its RFC
// 9162 path to the bundle's root; or [claim, sum path], which leads to the
// committed sum by itself, so that Index and Path are empty.
type Dispute struct {
	Kind     DisputeKind
	Host     Account
	Epoch    Epoch
	Index    uint32
	Evidence []byte
	Path     []Hash
}

// Limits of a dispute.
const (
	MaxEvidence = 16 << 10
	MaxPath     = 64
)

// EncodeTo appends the tuple.
func (b *Dispute) EncodeTo(e *Encoder) {
	e.Array(6)
	e.Uint(uint64(b.Kind))
	e.Bytes(b.Host[:])
	e.Uint(uint64(b.Epoch))
	e.Uint(uint64(b.Index))
	e.Bytes(b.Evidence)
	e.Array(len(b.Path))
	for _, h := range b.Path {
		e.Bytes(h[:])
	}
}

// DecodeFrom reads the tuple.
func (b *Dispute) DecodeFrom(d *Decoder) {
	d.Tuple(6)
	b.Kind = DisputeKind(d.Limit(uint64(disputeEnd - 1)))
	b.Host = d.Account()
	b.Epoch = d.Epoch()
	b.Index = d.Uint32()
	b.Evidence = d.Bytes(MaxEvidence)
	b.Path = make([]Hash, d.Array(MaxPath))
	for i := range b.Path {
		b.Path[i] = d.Hash()
	}
}

// LogCommitment is the body of kind 11: one a node and epoch (ST2).
type LogCommitment struct {
	Epoch      Epoch
	Root       Hash    // over the node's log headers
	Headers    uint32  // number of (role, shard) headers
	SumRoot    Hash    // of the host's Merkle-sum tree over its lots (H6.1); zero: keeps nothing
	Leaves     uint64  // sum of the leaves
	Lots       uint32  // leaves of the sum tree
	Exceptions cid.Cid // raw block with the lines that differ from the derived ones; undefined: none
}

// EncodeTo appends the tuple.
func (l *LogCommitment) EncodeTo(e *Encoder) {
	e.Array(7)
	e.Uint(uint64(l.Epoch))
	e.Bytes(l.Root[:])
	e.Uint(uint64(l.Headers))
	e.Bytes(l.SumRoot[:])
	e.Uint(l.Leaves)
	e.Uint(uint64(l.Lots))
	e.Link(l.Exceptions)
}

// DecodeFrom reads the tuple.
func (l *LogCommitment) DecodeFrom(d *Decoder) {
	d.Tuple(7)
	l.Epoch = d.Epoch()
	l.Root = d.Hash()
	l.Headers = d.Uint32()
	l.SumRoot = d.Hash()
	l.Leaves = d.Uint()
	l.Lots = d.Uint32()
	l.Exceptions = d.Link()
}

// Collation is the body of kind 12: the proposed result of an epoch, signed by
// validators (ST9).
type Collation struct {
	Epoch   Epoch
	Input   Hash    // root over the sorted log roots that were read
	Result  cid.Cid // block of the result: links of 256 buckets
	Rows    uint32
	Signers []Signed // over Collation.Digest, ascending by account
}

// MaxSigners is the largest number of validators (C4.1).
const MaxSigners = 1024

// EncodeTo appends the tuple.
func (c *Collation) EncodeTo(e *Encoder) {
	e.Array(5)
	e.Uint(uint64(c.Epoch))
	e.Bytes(c.Input[:])
	e.Link(c.Result)
	e.Uint(uint64(c.Rows))
	encodeSigned(e, c.Signers)
}

// DecodeFrom reads the tuple.
func (c *Collation) DecodeFrom(d *Decoder) {
	d.Tuple(5)
	c.Epoch = d.Epoch()
	c.Input = d.Hash()
	c.Result = d.Link()
	c.Rows = d.Uint32()
	c.Signers = decodeSigned(d, MaxSigners)
	for i := 1; i < len(c.Signers); i++ {
		if string(c.Signers[i-1].By[:]) >= string(c.Signers[i].By[:]) {
			d.Fail("signer %d is not in ascending order", i)
		}
	}
}

// Digest is what the validators sign: the attestation of a result.
func (c *Collation) Digest(chain ChainID) Hash {
	result := Digest(c.Result)
	return H("staddle/collation/1", chain[:], Be64(uint64(c.Epoch)), c.Input[:], result[:], Be32(c.Rows))
}
