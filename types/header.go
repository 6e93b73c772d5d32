package types

import "github.com/ipfs/go-cid"

// HeaderVersion is the only version of a header.
const HeaderVersion = 1

// ProofSize is the length of a VRF proof (RFC 9381) in bytes.
const ProofSize = 80

// Header is the head of a block (S3). It lies in the state under "contract"
// together with the link to the transactions; the state's root after that is
// the block's name.
type Header struct {
	Version    uint8
	Chain      ChainID
	Height     Height
	Time       Millis
	Previous   cid.Cid // name of the parent; undefined at height 0
	Skip       cid.Cid // name of the block one mutable range below, or of genesis
	BaseTarget uint64  // C2.4
	Difficulty uint64  // cumulative (C2.6)
	Gensig     Hash    // C2.1
	Proof      [ProofSize]byte
	Miner      Account
	Nonce      uint64  // the miner's nonce after this block
	State      cid.Cid // root after all transactions, before "contract" is set
	Txs        cid.Cid // link to the TxList (S4)
	Signature  Signature
}

const headerFields = 14

func (h *Header) encodeUnsigned(e *Encoder) {
	e.Uint(uint64(h.Version))
	e.Bytes(h.Chain[:])
	e.Uint(uint64(h.Height))
	e.Uint(uint64(h.Time))
	e.Link(h.Previous)
	e.Link(h.Skip)
	e.Uint(h.BaseTarget)
	e.Uint(h.Difficulty)
	e.Bytes(h.Gensig[:])
	e.Bytes(h.Proof[:])
	e.Bytes(h.Miner[:])
	e.Uint(h.Nonce)
	e.Link(h.State)
	e.Link(h.Txs)
}

// EncodeTo appends the tuple of all fields and the signature.
func (h *Header) EncodeTo(e *Encoder) {
	e.Array(headerFields + 1)
	h.encodeUnsigned(e)
	e.Bytes(h.Signature[:])
}

// DecodeFrom reads the tuple.
func (h *Header) DecodeFrom(d *Decoder) {
	d.Tuple(headerFields + 1)
	h.Version = d.Uint8()
	h.Chain = d.Hash()
	h.Height = Height(d.Limit(1 << 48))
	h.Time = d.Millis()
	h.Previous = d.Link()
	h.Skip = d.Link()
	h.BaseTarget = d.Uint()
	h.Difficulty = d.Uint()
	h.Gensig = d.Hash()
	d.Fixed(h.Proof[:])
	h.Miner = d.Account()
	h.Nonce = d.Uint()
	h.State = d.Link()
	h.Txs = d.Link()
	d.Fixed(h.Signature[:])
}

// Digest is what the miner signs: H("staddle/header/1", unsigned bytes).
func (h *Header) Digest() Hash {
	var e Encoder
	e.Array(headerFields)
	h.encodeUnsigned(&e)
	return H("staddle/header/1", e.Data())
}

// Block is a header with its name and its transactions.
type Block struct {
	Name   cid.Cid // root of the state after "contract" is set
	Header Header
	Txs    []Tx
}

// EncodeTo appends [name, header, transactions]: the form in which blocks travel.
func (b *Block) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Link(b.Name)
	b.Header.EncodeTo(e)
	TxList{b.Txs}.EncodeTo(e)
}

// DecodeFrom reads the form in which blocks travel.
func (b *Block) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	b.Name = d.Link()
	b.Header.DecodeFrom(d)
	var l TxList
	l.DecodeFrom(d)
	b.Txs = l.Txs
}
