package types

import "fmt"

// Kind numbers a sort of transaction. Numbers are never reused.
type Kind uint8

// The closed set of kinds; 0, 1, 2 are the op-codes of document 000.
const (
	KindCoinbase Kind = iota
	KindWire
	KindMessage
	KindRegister
	KindPlan
	KindEncoded
	KindHosted
	KindAttest
	KindBundle
	KindDispute
	KindDuty
	KindLog
	KindCollation
	KindDeposit
	KindExit
	KindVote
	KindSlash
	KindLitigate
	KindJury
	KindPrice
	KindReveal
	KindPurge
	KindAnchor
	KindRelay
	KindLock
	KindLabel
	KindRotate
	KindRules
	KindName
	KindMember
	kindEnd
)

var kindNames = [kindEnd]string{
	"coinbase", "wire", "message", "register", "plan", "encoded", "hosted", "attest", "bundle", "dispute",
	"duty", "log", "collation", "deposit", "exit", "vote", "slash", "litigate", "jury", "price",
	"reveal", "purge", "anchor", "relay", "lock", "label", "rotate", "rules", "name", "member",
}

// String is the kind's name.
func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Known reports whether k is in the closed set.
func (k Kind) Known() bool { return k < kindEnd }

// Kinds is a set of kinds, one bit each.
type Kinds uint64

// KindSet makes a set.
func KindSet(ks ...Kind) (s Kinds) {
	for _, k := range ks {
		s |= 1 << k
	}
	return s
}

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return k < kindEnd && s>>k&1 == 1 }

// Limits of a transaction and of a block.
const (
	TxVersion     = 1
	MaxBody       = 256 << 10 // bytes of a transaction's body
	MaxTx         = MaxBody + 1024
	MaxBlockBytes = 1 << 20 // bytes of all transactions of a block (S4)
	MaxBlockTxs   = 8192    // transactions in a block
	MaxExpiry     = 12 * 3600 * 1000
	MaxMessage    = 1024 // bytes of a message (chain page, section 2)
)

// Thread names the transaction that a message answers; zero starts a new thread.
type Thread struct {
	Account Account
	Nonce   uint64
}

// Tx is a transaction. Its id and its signature cover all fields but Signature.
type Tx struct {
	Version uint8
	Chain   ChainID
	Kind    Kind
	Sender  Account
	Nonce   uint64 // 1 + the sender's transactions before
	Time    Millis // when it was made
	Expiry  Millis // last block time that may include it; at most 12 h after Time
	Fee     Amount // the most that the sender pays (C1.1)
	Recent  Cursor // a block of the fork that the sender means; without root: any
	Profile Hash   // digest of the sender's profile block; zero: unchanged
	Thread  Thread
	Body    []byte // canonical tuple of the kind

	Signature Signature
}

func (t *Tx) encodeUnsigned(e *Encoder) {
	e.Uint(uint64(t.Version))
	e.Bytes(t.Chain[:])
	e.Uint(uint64(t.Kind))
	e.Bytes(t.Sender[:])
	e.Uint(t.Nonce)
	e.Uint(uint64(t.Time))
	e.Uint(uint64(t.Expiry))
	e.Uint(uint64(t.Fee))
	t.Recent.EncodeTo(e)
	e.Bytes(t.Profile[:])
	e.Bytes(t.Thread.Account[:])
	e.Uint(t.Thread.Nonce)
	e.Bytes(t.Body)
}

const txFields = 13

// EncodeTo appends the tuple of all fields and the signature.
func (t *Tx) EncodeTo(e *Encoder) {
	e.Array(txFields + 1)
	t.encodeUnsigned(e)
	e.Bytes(t.Signature[:])
}

// DecodeFrom reads the tuple; the body is not looked into.
func (t *Tx) DecodeFrom(d *Decoder) {
	d.Tuple(txFields + 1)
	t.Version = d.Uint8()
	t.Chain = d.Hash()
	t.Kind = Kind(d.Uint8())
	d.Fixed(t.Sender[:])
	t.Nonce = d.Uint()
	t.Time = d.Millis()
	t.Expiry = d.Millis()
	t.Fee = d.Amount()
	t.Recent.DecodeFrom(d)
	t.Profile = d.Hash()
	d.Fixed(t.Thread.Account[:])
	t.Thread.Nonce = d.Uint()
	t.Body = d.Bytes(MaxBody)
	d.Fixed(t.Signature[:])
}

// ID is the digest that names and is signed: H("staddle/tx/1", unsigned bytes) (D3).
func (t *Tx) ID() TxID {
	var e Encoder
	e.Array(txFields)
	t.encodeUnsigned(&e)
	return H("staddle/tx/1", e.Data())
}

// Millis reads a time in milliseconds, not negative.
func (d *Decoder) Millis() Millis { return Millis(d.Limit(1 << 52)) }

// Amount reads an amount of at most MaxSupply.
func (d *Decoder) Amount() Amount { return Amount(d.Limit(MaxSupply)) }

// Account reads an account.
func (d *Decoder) Account() (a Account) {
	d.Fixed(a[:])
	return a
}

// TxList is what the header's link to transactions points at.
type TxList struct{ Txs []Tx }

// EncodeTo appends the array of transactions.
func (l TxList) EncodeTo(e *Encoder) {
	e.Array(len(l.Txs))
	for i := range l.Txs {
		l.Txs[i].EncodeTo(e)
	}
}

// DecodeFrom reads at most MaxBlockTxs transactions.
func (l *TxList) DecodeFrom(d *Decoder) {
	l.Txs = make([]Tx, d.Array(MaxBlockTxs))
	for i := range l.Txs {
		l.Txs[i].DecodeFrom(d)
	}
}
