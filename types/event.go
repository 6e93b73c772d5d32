package types

import "github.com/ipfs/go-cid"

// Event is what a block did, for those who follow the chain. The set is closed.
type Event interface{ event() }

// Applied tells of a transaction of the block.
type Applied struct {
	Tx     TxID
	Kind   Kind
	Sender Account
}

// Drawn tells that the parties of a lot's attempt were named.
type Drawn struct {
	Lot LotID
	Now LotRecord
}

// Moved tells that a lot changed its state otherwise: committed, active,
// failed (waiting again), ended.
type Moved struct {
	Lot LotID
	Now LotRecord
}

// Closed tells that an epoch ended with this block: its checkpoint.
type Closed struct{ Epoch Epoch }

// Beaconed tells that the beacon of an epoch is known.
type Beaconed struct {
	Epoch  Epoch
	Beacon Hash
}

// Collated tells that an epoch's result was accepted.
type Collated struct {
	Epoch  Epoch
	Result cid.Cid
}

// Settled tells that the last bucket of an epoch's result was paid.
type Settled struct{ Epoch Epoch }

// Disputed tells how a dispute ended.
type Disputed struct {
	Host  Account
	Epoch Epoch
	Won   bool
}

func (Applied) event()  {}
func (Drawn) event()    {}
func (Moved) event()    {}
func (Closed) event()   {}
func (Beaconed) event() {}
func (Collated) event() {}
func (Settled) event()  {}
func (Disputed) event() {}

// Update is one block for a follower: what was done, or what is undone.
type Update struct {
	Block  *Block
	Events []Event
}

// Cursor is how far a follower has come. The root tells forks apart.
type Cursor struct {
	Height Height
	Root   cid.Cid
}

// EncodeTo appends the tuple.
func (c *Cursor) EncodeTo(e *Encoder) {
	e.Array(2)
	e.Uint(uint64(c.Height))
	e.Link(c.Root)
}

// DecodeFrom reads the tuple.
func (c *Cursor) DecodeFrom(d *Decoder) {
	d.Tuple(2)
	c.Height = d.Height()
	c.Root = d.Link()
}
