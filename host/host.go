package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Chain is the community that is followed.
type Chain interface {
	ID() types.ChainID
	View() (*consensus.View, error)
	Updates(after types.Cursor, n int) (undo, do []types.Update, err error)
	Watch() (changed <-chan struct{}, stop func())
}

// Queue sends transactions of the account. While a wish with a name waits, a
// second one is ignored.
type Queue interface {
	Submit(kind types.Kind, body types.Body, name string) error
}

// Net asks and answers proven peers.
type Net interface {
	Request(ctx context.Context, to types.Account, protocol string, request []byte, limit int) ([]byte, error)
	Answer(protocol string, limit int, f func(ctx context.Context, from types.Account, request []byte) ([]byte, error))
	Open(ctx context.Context, to types.Account, protocol string) (Stream, error)
	Handle(protocol string, serve func(Stream))
}

// Table keeps rows; Save is atomic and durable.
type Table interface {
	Save(nodes []types.Node, rows []types.Row) error
	Get(table, key string) ([]byte, bool, error)
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
}

// Config is what a Host needs.
type Config struct {
	Signer   keys.Signer // of the account
	Chain    Chain
	Queue    Queue
	Net      Net
	Table    Table
	Replicas Replicas
	// Reserve sets bytes aside for a lot before the first of them is written.
	Reserve func(lot types.LotID, n int64) (Room, error)
	// Damaged tells errors of Replicas that mean lost or spoiled bytes from those
	// that pass, such as a disk that is busy or closed.
	Damaged func(error) bool
	Source  Source
	Pool    *Pool     // for encoding; one for the whole process
	Random  io.Reader // good and secret: crypto/rand
	Policy  Policy
	Idle    time.Duration // for the next frame of a stream; 0: five minutes
	Report  func(format string, args ...any)
}

const (
	table       = "host"
	rowCursor   = "cursor"
	keyLot      = "lot/"
	keyPiece    = "piece/"
	keyBundle   = "bundle/"
	defaultIdle = 5 * time.Minute
	inboxSize   = 256 // reports of jobs; more wait
)

// Host keeps replicas and encodes for others, for one account in one community.
type Host struct {
	cfg   Config
	me    types.Account
	shelf shelf

	inbox  chan report // for Run
	jobs   sync.WaitGroup
	slots  chan struct{} // ranges that are worked on
	chance sync.Mutex    // one reader of Random
	served chan struct{} // streams that are served

	mu      sync.Mutex
	lots    map[types.LotID]*lot // changed by Run alone
	open    map[types.AttemptID]*intake
	hurt    map[types.LotID]bool // bytes were found lost
	closed  bool
	streams sync.WaitGroup
	audits  map[types.Epoch]*audit // of Run
	last    lastBundle
	swept   types.Epoch // of Run

	scrubbing atomic.Bool
	decoded   *cache[types.Hash, []byte]
	readers   *cache[rangeKey, *reader]
}

// report is what a job tells the machine of its lot.
type report struct {
	lot   types.LotID
	event Event
}

// lot is a lot that concerns the account. It belongs to Run; what others read is
// guarded by Host.mu.
type lot struct {
	id      types.LotID
	machine *Attempt
	rec     *types.LotRecord // newest
	terms   *terms           // nil until an attempt needed them
	cancel  context.CancelFunc
	ctx     context.Context // of the running attempt
	attempt types.AttemptID
	in      *intake
	dataset types.DatasetID // of the bytes that are here; zero: none
}

// New makes a Host and begins to answer peers; Run does the rest.
func New(cfg Config) (*Host, error) {
	if err := cfg.Policy.check(); err != nil {
		return nil, err
	}
	if cfg.Idle == 0 {
		cfg.Idle = defaultIdle
	}
	if cfg.Report == nil {
		cfg.Report = func(string, ...any) {}
	}
	h := &Host{
		cfg: cfg, me: cfg.Signer.Account(), shelf: shelf{cfg.Replicas},
		inbox: make(chan report, inboxSize), slots: make(chan struct{}, maxJobs), served: make(chan struct{}, maxStreams),
		lots: map[types.LotID]*lot{}, open: map[types.AttemptID]*intake{}, hurt: map[types.LotID]bool{},
		audits:  map[types.Epoch]*audit{},
		decoded: newCache[types.Hash, []byte](cachedPieces), readers: newCache[rangeKey, *reader](cachedReaders),
	}
	err := cfg.Table.Scan(table, keyLot, "", func(key string, _ []byte) error {
		if len(key) != len(keyLot)+types.HashSize {
			return fmt.Errorf("row of %d bytes is no lot", len(key))
		}
		h.know(types.LotID([]byte(key[len(keyLot):])))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	cfg.Net.Handle(Protocol, h.serve)
	cfg.Net.Answer(replica.LeafProtocol, replica.MaxLeafRequest, h.answerLeaves)
	cfg.Net.Answer(replica.BundleProtocol, replica.MaxBundleRequest, h.answerBundle)
	return h, nil
}

// know adds a lot, with what is here of it.
func (h *Host) know(id types.LotID) {
	if h.lots[id] != nil {
		return
	}
	l := &lot{id: id, machine: NewAttempt(h.me)}
	kept, err := h.shelf.lot(id)
	if err != nil {
		h.cfg.Report("host: lot %s cannot be read: %v", id.Short(), err)
	}
	if kept != nil {
		l.dataset = kept.Dataset
	}
	if kept != nil || err != nil {
		l.machine.Step(0, Found{Bytes: true})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lots[id] = l
}

// Run follows the chain and does the account's duties until ctx ends. It is
// called once.
func (h *Host) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer h.close()
	defer stop()
	changed, unwatch := h.cfg.Chain.Watch()
	defer unwatch()
	for {
		if err := h.follow(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if done, err := h.listen(ctx, changed); done {
			return err
		}
	}
}

// listen deals with reports of jobs until the tip changed.
func (h *Host) listen(ctx context.Context, changed <-chan struct{}) (done bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case <-changed:
			return false, nil
		case r := <-h.inbox:
			if err := h.hear(ctx, r); err != nil {
				return true, err
			}
		}
	}
}

// hear gives a report to its machine.
func (h *Host) hear(ctx context.Context, r report) error {
	l := h.lots[r.lot]
	if l == nil {
		return nil
	}
	v, err := h.cfg.Chain.View()
	if err != nil {
		return err
	}
	return h.step(ctx, v, l, r.event)
}

// tell brings a job's report to Run; it is lost when the job's ctx ends first.
func (h *Host) tell(ctx context.Context, id types.LotID, e Event) {
	select {
	case h.inbox <- report{id, e}:
	case <-ctx.Done():
	}
}

// close waits for all jobs and streams. Nothing starts afterwards.
func (h *Host) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, l := range h.lots {
		if l.cancel != nil {
			l.cancel()
		}
	}
	h.jobs.Wait()
	h.streams.Wait()
	for _, l := range h.lots {
		if l.in != nil {
			if err := l.in.settle(); err != nil {
				h.cfg.Report("host: give back room of lot %s: %v", l.id.Short(), err)
			}
		}
	}
}

// enlist counts a stream in; false when the host is closed.
func (h *Host) enlist() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.streams.Add(1)
	}
	return !h.closed
}

// refused reports whether the rules do not allow a transaction now: the next tip
// shows why.
func refused(err error) bool {
	var inv *consensus.Invalid
	return errors.As(err, &inv)
}
