package types

import (
	"fmt"
	"math/big"

	"github.com/ipfs/go-cid"
)

// Body is the kind-specific part of a transaction.
type Body interface {
	Encodable
	Decodable
}

// NewBody gives an empty body of the kind, to decode into; nil for the coinbase
// and for kinds that no program knows yet.
func NewBody(k Kind) Body {
	switch k {
	case KindWire:
		return new(Wire)
	case KindMessage:
		return new(Message)
	case KindRegister:
		return new(Register)
	case KindPlan:
		return new(Plan)
	case KindEncoded, KindHosted:
		return new(Commitments)
	case KindAttest:
		return new(Attestations)
	case KindBundle:
		return new(BundlePost)
	case KindDispute:
		return new(Dispute)
	case KindDuty:
		return new(Duty)
	case KindLog:
		return new(LogCommitment)
	case KindCollation:
		return new(Collation)
	case KindDeposit:
		return new(Deposit)
	case KindLock:
		return new(Lock)
	case KindName:
		return new(NameUpdate)
	}
	return nil
}

// ParseBody decodes the body of t.
func ParseBody(t *Tx) (Body, error) {
	b := NewBody(t.Kind)
	if b == nil {
		return nil, fmt.Errorf("a %s transaction has no body that this program knows", t.Kind)
	}
	if err := Unmarshal(t.Body, b); err != nil {
		return nil, fmt.Errorf("%s body: %w", t.Kind, err)
	}
	return b, nil
}

// Wire is the body of kind 1: coins from the sender to an account.
type Wire struct {
	To     Account
	Amount Amount
}

// EncodeTo appends the tuple.
func (w *Wire) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Bytes(w.To[:])
	e.Uint(uint64(w.Amount))
}

// DecodeFrom reads the tuple.
func (w *Wire) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	w.To = d.Account()
	w.Amount = d.Amount()
}

// Message is the body of kind 2. The text is a block of its own (C9).
type Message struct {
	Text       Hash   // SHA-256 of the text; zero: none
	TextLength uint32 // bytes, at most MaxMessage
	Attachment *Attachment
}

// EncodeTo appends [text, length, [attachment]?].
func (m *Message) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Bytes(m.Text[:])
	e.Uint(uint64(m.TextLength))
	if m.Attachment == nil {
		e.Array(0)
		return
	}
	e.Array(1)
	m.Attachment.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (m *Message) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	m.Text = d.Hash()
	m.TextLength = uint32(d.Limit(MaxMessage))
	m.Attachment = nil
	if d.Array(1) == 1 {
		m.Attachment = new(Attachment)
		m.Attachment.DecodeFrom(d)
	}
	if d.Err() == nil && m.Text.IsZero() != (m.TextLength == 0) {
		d.Fail("text of %d bytes with digest %s", m.TextLength, m.Text.Short())
	}
}

// Visibility says who can read a dataset (P1.3).
type Visibility uint8

// Visibilities.
const (
	VisibilityMe Visibility = iota
	VisibilityMembers
	VisibilityPublic
)

// String is the word that people use.
func (v Visibility) String() string { return [...]string{"me", "members", "public"}[min(int(v), 2)] }

// Attachment describes a dataset (G9).
type Attachment struct {
	Index      cid.Cid // root of the HAMT from piece number to piece
	UnixFS     cid.Cid // root of the same pieces as a UnixFS file
	Pieces     uint32
	Size       uint64  // bytes of the TGZ
	Ranges     cid.Cid // first RangeList
	RangeCount uint32
	Name       string
	MediaTypes []string
	Visibility Visibility
	Salt       Hash // of the dataset key; zero for public datasets

	// Reserved by G9, absent today: directory root, redundancy, parity root,
	// stripe and position, domain. Their place is an empty array.
}

// Dataset is the dataset's id: the digest of its index root.
func (a *Attachment) Dataset() DatasetID { return Digest(a.Index) }

// EncodeTo appends the tuple; the last field is reserved and empty.
func (a *Attachment) EncodeTo(e *Encoder) {
	e.Array(11)
	e.Link(a.Index)
	e.Link(a.UnixFS)
	e.Uint(uint64(a.Pieces))
	e.Uint(a.Size)
	e.Link(a.Ranges)
	e.Uint(uint64(a.RangeCount))
	e.Text(a.Name)
	e.Array(len(a.MediaTypes))
	for _, m := range a.MediaTypes {
		e.Text(m)
	}
	e.Uint(uint64(a.Visibility))
	e.Bytes(a.Salt[:])
	e.Array(0)
}

// DecodeFrom reads the tuple.
func (a *Attachment) DecodeFrom(d *Decoder) {
	d.Tuple(11)
	a.Index = d.Link()
	a.UnixFS = d.Link()
	a.Pieces = d.Uint32()
	a.Size = d.Uint()
	a.Ranges = d.Link()
	a.RangeCount = d.Uint32()
	a.Name = d.Text(MaxName)
	a.MediaTypes = make([]string, d.Array(MaxMediaTypes))
	for i := range a.MediaTypes {
		a.MediaTypes[i] = d.Text(MaxMediaType)
	}
	a.Visibility = Visibility(d.Limit(uint64(VisibilityPublic)))
	a.Salt = d.Hash()
	if d.Array(16) != 0 {
		d.Fail("reserved attachment fields are in use: not yet")
	}
	if d.Err() == nil {
		a.check(d)
	}
}

func (a *Attachment) check(d *Decoder) {
	pieces := (a.Size + PieceSize - 1) / PieceSize
	switch {
	case !a.Index.Defined() || !a.UnixFS.Defined() || !a.Ranges.Defined():
		d.Fail("attachment without a root")
	case a.Pieces == 0 || uint64(a.Pieces) != pieces:
		d.Fail("%d pieces for %d bytes, want %d", a.Pieces, a.Size, pieces)
	case a.RangeCount == 0 || a.RangeCount > a.Pieces:
		d.Fail("%d ranges for %d pieces", a.RangeCount, a.Pieces)
	}
}

// Roles are the duties that an account offers, one bit each.
type Roles uint8

// Roles, in the words of the design; document 003 calls hosts and sponsors
// "swarmdb" and validators "validator".
const (
	RoleHost Roles = 1 << iota
	RoleEncoder
	RoleValidator
	RoleSponsor
	RoleRelay
	rolesEnd
)

// String lists the roles.
func (r Roles) String() string {
	out := ""
	for i, name := range []string{"host", "encoder", "validator", "sponsor", "relay"} {
		if r>>i&1 == 1 {
			if out != "" {
				out += ","
			}
			out += name
		}
	}
	return out
}

// Register is the body of kind 3: a row of document 003's swarmdb table.
type Register struct {
	Device          Device   // the one device that acts for the account (K2)
	Roles           Roles    // replaces what was registered before
	Endpoints       []string // multiaddrs, at most 8
	Gateway         string   // host:port of the peer-facing HTTPS
	FreeGiB         uint32   // of a host
	Encodings       uint32   // bit n: encoding n is kept or made
	TargetStorage   *big.Int // wei a piece and epoch that the node votes for; 0: abstains
	TargetBandwidth *big.Int // wei a unit
	Payout          Account  // who is paid instead; zero: the account
	Recovery        Hash     // of the recovery key; zero: unchanged
	SpendLimit      Amount   // an epoch; 0: none
}

// Limits of a registration.
const (
	MaxEndpoints = 8
	MaxEndpoint  = 256
)

// EncodeTo appends the tuple.
func (r *Register) EncodeTo(e *Encoder) {
	e.Array(11)
	e.Bytes(r.Device[:])
	e.Uint(uint64(r.Roles))
	e.Array(len(r.Endpoints))
	for _, s := range r.Endpoints {
		e.Text(s)
	}
	e.Text(r.Gateway)
	e.Uint(uint64(r.FreeGiB))
	e.Uint(uint64(r.Encodings))
	e.Big(r.TargetStorage)
	e.Big(r.TargetBandwidth)
	e.Bytes(r.Payout[:])
	e.Bytes(r.Recovery[:])
	e.Uint(uint64(r.SpendLimit))
}

// DecodeFrom reads the tuple.
func (r *Register) DecodeFrom(d *Decoder) {
	d.Tuple(11)
	d.Fixed(r.Device[:])
	r.Roles = Roles(d.Limit(uint64(rolesEnd - 1)))
	r.Endpoints = make([]string, d.Array(MaxEndpoints))
	for i := range r.Endpoints {
		r.Endpoints[i] = d.Text(MaxEndpoint)
	}
	r.Gateway = d.Text(MaxEndpoint)
	r.FreeGiB = d.Uint32()
	r.Encodings = d.Uint32()
	r.TargetStorage = d.Big()
	r.TargetBandwidth = d.Big()
	r.Payout = d.Account()
	r.Recovery = d.Hash()
	r.SpendLimit = d.Amount()
}

// Deposit is the body of kind 13: coins bonded for a role, out of the balance.
type Deposit struct {
	Role   Roles // exactly one of host, encoder, validator
	Amount Amount
}

// EncodeTo appends the tuple.
func (b *Deposit) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Uint(uint64(b.Role))
	e.Uint(uint64(b.Amount))
}

// DecodeFrom reads the tuple.
func (b *Deposit) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	b.Role = Roles(d.Limit(uint64(RoleValidator)))
	b.Amount = d.Amount()
	if b.Role != RoleHost && b.Role != RoleEncoder && b.Role != RoleValidator {
		d.Fail("deposit for role %q: want host, encoder or validator", b.Role)
	}
}

// Lock is the body of kind 24: coins that back the sender's downloads of one
// epoch (ST8.1).
type Lock struct {
	Epoch  Epoch // the running one or the next
	Amount Amount
}

// EncodeTo appends the tuple.
func (l *Lock) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Uint(uint64(l.Epoch))
	e.Uint(uint64(l.Amount))
}

// DecodeFrom reads the tuple.
func (l *Lock) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	l.Epoch = d.Epoch()
	l.Amount = d.Amount()
}

// Epoch reads the ordinal of an epoch.
func (d *Decoder) Epoch() Epoch { return Epoch(d.Limit(1 << 40)) }
