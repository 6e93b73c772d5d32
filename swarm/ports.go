package swarm

import (
	"context"
	"math/big"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// Protocol is the name of the protocol on the wire.
const Protocol = "/staddle/pieces/1"

// Frames carry messages: Send writes one, Receive reads one of at most limit
// bytes.
type Frames interface {
	Send(b []byte) error
	Receive(limit int) ([]byte, error)
}

// Stream is a two-way flow of frames to a proven account and device. One
// goroutine may read while another writes. A frame above its limit, and a
// deadline that passed, are errors.
type Stream interface {
	Frames
	Remote() (types.Account, types.Device)
	Deadline(t time.Time) error
	Reset(reason uint32) error
	Close() error
}

// Dial opens a stream of Protocol to a device of the account.
type Dial func(ctx context.Context, to types.Account) (Stream, error)

// Ledger keeps small rows. Save makes all of them durable in one step, or none.
type Ledger interface {
	Get(table, key string) ([]byte, bool, error)
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
	Save(nodes []types.Node, rows []types.Row) error
}

// Facts are what the community's state says about money. Locks and prices come
// from the chain that this node follows now.
type Facts interface {
	Epoch() types.Epoch
	Price(e types.Epoch) (*big.Int, error) // wei a unit in epoch e (ST6)
	Lock(payer types.Account, e types.Epoch) (types.Amount, error)
	Standing(a types.Account) market.Standing
}

// Pieces is what a host gives away. Errors that wrap ErrNotHosted, ErrBusy,
// ErrDenied or *types.Missing reach the peer as such, others as ErrFailed.
type Pieces interface {
	Piece(ctx context.Context, digest types.Hash) ([]byte, error)
	Node(ctx context.Context, c cid.Cid) ([]byte, error)
	Has(ctx context.Context, digest types.Hash) bool // may be wrong, must be cheap
}

// Denier is the check before every way out (P3).
type Denier interface {
	Denied(c cid.Cid) bool
}

// Peer is an account that may have what is wanted.
type Peer struct {
	Account types.Account
	Plain   bool // keeps plain pieces; others must decode first
}

// Holders tells who has a dataset.
type Holders interface {
	Holders(ctx context.Context, dataset types.DatasetID) ([]Peer, error)
}

// table is the one of the Ledger that this package writes.
const table = "market"
