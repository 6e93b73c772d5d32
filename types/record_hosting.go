package types

// PlanRecord is a plan under "p/<plan>".
type PlanRecord struct {
	Plan    Plan
	Sponsor Account
	Time    Millis // of the block; the buyer's chunkSD (ST2.3)
	Height  Height
	Left    Amount // of the lock, not yet spent
	Lots    uint32 // lots of each copy
	Pieces  uint32 // of all its ranges
	Ended   bool
}

// EncodeTo appends the tuple.
func (p *PlanRecord) EncodeTo(e *Encoder) {
	e.Array(8)
	p.Plan.EncodeTo(e)
	e.Bytes(p.Sponsor[:])
	e.Uint(uint64(p.Time))
	e.Uint(uint64(p.Height))
	e.Uint(uint64(p.Left))
	e.Uint(uint64(p.Lots))
	e.Uint(uint64(p.Pieces))
	e.Bool(p.Ended)
}

// DecodeFrom reads the tuple.
func (p *PlanRecord) DecodeFrom(d *Decoder) {
	d.Tuple(8)
	p.Plan.DecodeFrom(d)
	p.Sponsor = d.Account()
	p.Time = d.Millis()
	p.Height = d.Height()
	p.Left = d.Amount()
	p.Lots = d.Uint32()
	p.Pieces = d.Uint32()
	p.Ended = d.Bool()
}

// LotStatus is the state of a lot.
type LotStatus uint8

// States of a lot. A lot that is repaired goes from active to waiting.
const (
	LotWaiting   LotStatus = iota // for its draw
	LotDrawn                      // parties are named; they accept, encode and stream
	LotCommitted                  // both commitments agree for every range; validators attest
	LotActive
	LotEnded
	lotEnd
)

// String is the state's name.
func (s LotStatus) String() string {
	return [...]string{"waiting", "drawn", "committed", "active", "ended", "unknown"}[min(s, lotEnd)]
}

// LotRecord is a contract under "c/<lot>" (G11): one host's replica of the
// ranges First to First+Count-1 of a plan's dataset.
type LotRecord struct {
	Plan   PlanID
	Copy   uint32
	Index  uint32 // among the lots of its copy
	First  uint32 // place of its first range in the dataset's range list, from 0
	Count  uint32 // ranges, 1 to 64
	Pieces uint32
	Leaves uint64 // of 1,024 bytes, over all ranges

	Status    LotStatus
	Number    uint32 // of the attempt, from 0
	Attempt   AttemptID
	DrawnAt   Height
	Deadline  Height // of the present state; 0: none; while waiting, the first block that may draw it
	Host      Account
	Encoders  []Account // one a range; empty for encodings without
	Attestors []Account
	HostIn    bool   // the host accepted
	Accepted  uint64 // bit r: the encoder of range r accepted
	Encoded   uint64 // bit r: range r is committed by its encoder
	Hosted    uint64 // bit r: and by the host
	Attested  uint64 // bit v: validator v attested
	Assurance uint8

	Root       Hash   // of the lot (G11); zero until committed
	Since      Millis // time of the block that activated it; the host's chunkSD
	SinceEpoch Epoch
	Missed     uint32  // running epochs without a good audit
	Old        Account // host that is being replaced; zero: none
	OldRoot    Hash    // its root, so that a returning replica can prove itself (H4.3)
	OldSince   Millis
	Refused    []Account // hosts that refused or dropped it, newest last, at most MaxRefused (H7)
}

// MaxRefused bounds how many refusals a lot remembers.
const MaxRefused = 16

const lotFields = 28

// EncodeTo appends the tuple.
func (l *LotRecord) EncodeTo(e *Encoder) {
	e.Array(lotFields)
	e.Bytes(l.Plan[:])
	e.Uint(uint64(l.Copy))
	e.Uint(uint64(l.Index))
	e.Uint(uint64(l.First))
	e.Uint(uint64(l.Count))
	e.Uint(uint64(l.Pieces))
	e.Uint(l.Leaves)
	e.Uint(uint64(l.Status))
	e.Uint(uint64(l.Number))
	e.Bytes(l.Attempt[:])
	e.Uint(uint64(l.DrawnAt))
	e.Uint(uint64(l.Deadline))
	e.Bytes(l.Host[:])
	encodeAccounts(e, l.Encoders)
	encodeAccounts(e, l.Attestors)
	e.Bool(l.HostIn)
	e.Uint(l.Accepted)
	e.Uint(l.Encoded)
	e.Uint(l.Hosted)
	e.Uint(l.Attested)
	e.Uint(uint64(l.Assurance))
	e.Bytes(l.Root[:])
	e.Uint(uint64(l.Since))
	e.Uint(uint64(l.SinceEpoch))
	e.Uint(uint64(l.Missed))
	e.Bytes(l.Old[:])
	e.Array(2)
	e.Bytes(l.OldRoot[:])
	e.Uint(uint64(l.OldSince))
	encodeAccounts(e, l.Refused)
}

// DecodeFrom reads the tuple.
func (l *LotRecord) DecodeFrom(d *Decoder) {
	d.Tuple(lotFields)
	l.Plan = d.Hash()
	l.Copy = d.Uint32()
	l.Index = d.Uint32()
	l.First = d.Uint32()
	l.Count = uint32(d.Limit(MaxLotRanges))
	l.Pieces = d.Uint32()
	l.Leaves = d.Uint()
	l.Status = LotStatus(d.Limit(uint64(lotEnd - 1)))
	l.Number = d.Uint32()
	l.Attempt = d.Hash()
	l.DrawnAt = d.Height()
	l.Deadline = d.Height()
	l.Host = d.Account()
	l.Encoders = decodeAccounts(d, MaxLotRanges)
	l.Attestors = decodeAccounts(d, 16)
	l.HostIn = d.Bool()
	l.Accepted = d.Uint()
	l.Encoded = d.Uint()
	l.Hosted = d.Uint()
	l.Attested = d.Uint()
	l.Assurance = d.Uint8()
	l.Root = d.Hash()
	l.Since = d.Millis()
	l.SinceEpoch = d.Epoch()
	l.Missed = d.Uint32()
	l.Old = d.Account()
	d.Tuple(2)
	l.OldRoot = d.Hash()
	l.OldSince = d.Millis()
	l.Refused = decodeAccounts(d, MaxRefused)
}

func encodeAccounts(e *Encoder, list []Account) {
	e.Array(len(list))
	for i := range list {
		e.Bytes(list[i][:])
	}
}

func decodeAccounts(d *Decoder, limit int) []Account {
	list := make([]Account, d.Array(limit))
	for i := range list {
		list[i] = d.Account()
	}
	return list
}

// RangeRecord is what encoder and host said of a range of a lot, under
// "c/<lot>/<be32 range>", from the first commitment until the lot is active.
type RangeRecord struct {
	Attempt AttemptID
	ByHost  bool // the host spoke first; else the encoder
	Encoded Hash
	Plain   Hash
	Modulus Hash
}

// EncodeTo appends the tuple.
func (r *RangeRecord) EncodeTo(e *Encoder) {
	e.Array(5)
	e.Bytes(r.Attempt[:])
	e.Bool(r.ByHost)
	e.Bytes(r.Encoded[:])
	e.Bytes(r.Plain[:])
	e.Bytes(r.Modulus[:])
}

// DecodeFrom reads the tuple.
func (r *RangeRecord) DecodeFrom(d *Decoder) {
	d.Tuple(5)
	r.Attempt = d.Hash()
	r.ByHost = d.Bool()
	r.Encoded = d.Hash()
	r.Plain = d.Hash()
	r.Modulus = d.Hash()
}

// HostState is whether a host takes part.
type HostState uint8

// States of a host.
const (
	HostOnline    HostState = iota
	HostSuspended           // missed; must say that it is back
	HostPaused
	HostLeft
	hostEnd
)

// String is the state's name.
func (s HostState) String() string {
	return [...]string{"online", "suspended", "paused", "left", "unknown"}[min(s, hostEnd)]
}

// HostRecord counts what an account does in hosting, under "h/<account>".
type HostRecord struct {
	State      HostState
	Good       uint64 // attempts that went well and audits that were answered (H1.3)
	Failed     uint64
	Open       uint32 // ranges accepted and not delivered as an encoder (H1.5)
	OpenPieces uint64
	Bonded     uint64 // pieces that its encoder's bond stands for: open ones and those in lots it encoded (H3)
	Lots       uint32 // kept: active ones, and old ones until the new attempt is active (H4.3)
	Ranges     uint64
	Pieces     uint64
	Leaves     uint64
	Missed     uint32 // running epochs without a good bundle
	Bundles    Epoch  // 1 + the last epoch with a good bundle; 0: none
	Paused     Height // since when, for the limit of pauses
	Retained   Amount // of its bond, kept back from pay (H3)
	Drawn      uint64 // attempts for which it was drawn as host or encoder (H7)
	Refused    uint64 // of them, how many it refused
}

// EncodeTo appends the tuple.
func (h *HostRecord) EncodeTo(e *Encoder) {
	e.Array(16)
	e.Uint(uint64(h.State))
	e.Uint(h.Good)
	e.Uint(h.Failed)
	e.Uint(uint64(h.Open))
	e.Uint(h.OpenPieces)
	e.Uint(h.Bonded)
	e.Uint(uint64(h.Lots))
	e.Uint(h.Ranges)
	e.Uint(h.Pieces)
	e.Uint(h.Leaves)
	e.Uint(uint64(h.Missed))
	e.Uint(uint64(h.Bundles))
	e.Uint(uint64(h.Paused))
	e.Uint(uint64(h.Retained))
	e.Uint(h.Drawn)
	e.Uint(h.Refused)
}

// DecodeFrom reads the tuple.
func (h *HostRecord) DecodeFrom(d *Decoder) {
	d.Tuple(16)
	h.State = HostState(d.Limit(uint64(hostEnd - 1)))
	h.Good = d.Uint()
	h.Failed = d.Uint()
	h.Open = d.Uint32()
	h.OpenPieces = d.Uint()
	h.Bonded = d.Uint()
	h.Lots = d.Uint32()
	h.Ranges = d.Uint()
	h.Pieces = d.Uint()
	h.Leaves = d.Uint()
	h.Missed = d.Uint32()
	h.Bundles = d.Epoch()
	h.Paused = d.Height()
	h.Retained = d.Amount()
	h.Drawn = d.Uint()
	h.Refused = d.Uint()
}

// ClaimRecord is what a node committed for an epoch, under
// "e/<be64 epoch>/<account>": its logs and, for a host, its audit bundle.
type ClaimRecord struct {
	Log    LogCommitment
	At     Height
	Bundle *BundlePost // nil until posted
	Lost   bool        // a dispute against the bundle or the sums was won
}

// EncodeTo appends the tuple.
func (c *ClaimRecord) EncodeTo(e *Encoder) {
	e.Array(4)
	c.Log.EncodeTo(e)
	e.Uint(uint64(c.At))
	if c.Bundle == nil {
		e.Array(0)
	} else {
		e.Array(1)
		c.Bundle.EncodeTo(e)
	}
	e.Bool(c.Lost)
}

// DecodeFrom reads the tuple.
func (c *ClaimRecord) DecodeFrom(d *Decoder) {
	d.Tuple(4)
	c.Log.DecodeFrom(d)
	c.At = d.Height()
	c.Bundle = nil
	if d.Array(1) == 1 {
		c.Bundle = new(BundlePost)
		c.Bundle.DecodeFrom(d)
	}
	c.Lost = d.Bool()
}

// LockRecord backs downloads, under "m/<payer>/<be64 epoch>" (ST8.1).
type LockRecord struct {
	Amount Amount
	Spent  Amount
}

// EncodeTo appends the tuple.
func (l *LockRecord) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Uint(uint64(l.Amount))
	e.Uint(uint64(l.Spent))
}

// DecodeFrom reads the tuple.
func (l *LockRecord) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	l.Amount = d.Amount()
	l.Spent = d.Amount()
}

// Keeper is the host that keeps a replica of the lot at present and must answer
// audits for it: the host of an active lot, or the one that is being replaced.
// Zero: nobody.
func (l *LotRecord) Keeper() Account {
	if l.Status == LotActive {
		return l.Host
	}
	return l.Old
}

// Owes reports whether an encoder was drawn for range r and has not committed
// it yet.
func (l *LotRecord) Owes(a Account, r uint32) bool {
	return int(r) < len(l.Encoders) && l.Encoders[r] == a && l.Encoded>>r&1 == 0
}

// Refuse remembers that a host does not want the lot.
func (l *LotRecord) Refuse(a Account) {
	l.Refused = append(l.Refused, a)
	if n := len(l.Refused); n > MaxRefused {
		l.Refused = l.Refused[n-MaxRefused:]
	}
}
