package validate

import (
	"context"
	"io"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Chain is the community as this node follows it, and the one queue of the
// account's transactions.
type Chain interface {
	View() (*consensus.View, error)
	Updates(after types.Cursor, n int) (undo, do []types.Update, err error)
	Watch() (changed <-chan struct{}, stop func())
	Submit(kind types.Kind, body types.Body, name string) error
}

// Net asks peers and answers them, one frame each way.
type Net interface {
	Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error)
	Answer(protocol string, limit int, f func(ctx context.Context, from types.Account, request []byte) ([]byte, error))
}

// Store keeps rows and blocks. Save makes all of them durable in one step.
type Store interface {
	Get(table, key string) ([]byte, bool, error)
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
	Save(nodes []types.Node, rows []types.Row) error
}

// Strangers are connections under a key made for one question (H5): the host
// cannot tell that a validator asks.
type Strangers interface {
	// FetchOnce gives the bytes that the host has for a piece. They are checked here.
	FetchOnce(ctx context.Context, host types.Account, digest types.Hash) ([]byte, error)
}

// Peers answers what nodes serve to validators over HTTPS or a stream.
type Peers interface {
	// Log gives what an account committed for an epoch, this one's own too. It is
	// checked here.
	Log(ctx context.Context, of types.Account, e types.Epoch) (*Log, error)
	// Smash asks a host for its answer to a secret about a piece.
	Smash(ctx context.Context, host types.Account, chunk, seed types.Hash) (types.Hash, error)
	// Feedback tells a node a finding.
	Feedback(ctx context.Context, to types.Account, n *lines.Notice) error
}

// Runner runs the stages of a plan in a directory, which it may find half done.
type Runner interface {
	Run(ctx context.Context, plan settle.Plan, dir string) (Outcome, error)
}

// Outcome is what a run left.
type Outcome struct {
	Rows    []settle.Row // of stage 2, ascending
	Reports []string     // files of feedback lines
}

// Digests gives the piece digests of a range out of the dataset's index, which
// it fetches when it must.
type Digests func(ctx context.Context, a *types.Attachment, r types.Range) ([]types.Hash, error)

// Config is what a Validator is made of.
type Config struct {
	Signer    keys.Signer
	Chain     Chain
	Net       Net
	Store     Store
	Strangers Strangers
	Peers     Peers
	Runner    Runner
	Digests   Digests
	Dir       string    // holds a folder for each epoch
	Chance    io.Reader // random bytes, for which leaves to read

	Retry    time.Duration                    // between attempts while the tip stands; 0: 5 s
	Patience time.Duration                    // for one request to a peer; 0: 10 s
	Long     time.Duration                    // for a peer that must compute an epoch first; 0: 10 min
	Report   func(format string, args ...any) // one line an event that a person could act on; nil: silent
}

func (c *Config) defaults() {
	if c.Retry <= 0 {
		c.Retry = 5 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
	if c.Long <= 0 {
		c.Long = 10 * time.Minute
	}
	if c.Report == nil {
		c.Report = func(string, ...any) {}
	}
}

// Log is what an account committed for an epoch by its kind 11.
type Log struct {
	Headers    lines.Headers
	Exceptions []byte   // block that the commitment names; nil: none
	Bandwidth  []byte   // lines of the bandwidthlog, each with LF; nil: those that follow from Exceptions
	Receipts   [][]byte // canonical receipts behind those lines that Exceptions does not hold
}
