package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Chain gives the registry and the epochs.
type Chain interface {
	// View opens the newest state.
	View() (*consensus.View, error)
}

// Logs gives what this node committed. Errors wrap fs.ErrNotExist when there are
// no logs of the epoch.
type Logs interface {
	// Open gives one log with its header; the caller closes it.
	Open(role types.LogRole, e types.Epoch) (io.ReadSeekCloser, types.LogHeader, error)
	Headers(e types.Epoch) (lines.Headers, error)
	Exceptions(e types.Epoch) ([]byte, error) // nil: none
	Epochs() ([]types.Epoch, error)           // ascending
}

// Pieces gives the plain bytes of a piece that this node keeps, decoding a
// replica if need be, or *types.Missing.
type Pieces interface {
	Piece(ctx context.Context, digest types.Hash) ([]byte, error)
}

// Effects takes feedback whose signature holds and that was not here before.
type Effects interface {
	Note(ctx context.Context, n *lines.Notice) error
}

// Journal remembers which feedback was taken, across restarts.
type Journal interface {
	Get(table, key string) ([]byte, bool, error)
	Scan(table, prefix, from string, fn func(key string, value []byte) error) error
	Save(nodes []types.Node, rows []types.Row) error
}

// Config is what a Gateway is made of.
type Config struct {
	Device  keys.Device // the registered one of the owner
	Owner   types.Account
	Chain   Chain
	Logs    Logs
	Pieces  Pieces
	Effects Effects // nil: feedback is only counted
	Journal Journal // nil: memory alone, and little of it
	Limits  Limits
	Report  func(format string, args ...any) // faults of this node; nil: silent
}

// Limits bound what callers may cost. Zero values stand for the defaults.
type Limits struct {
	Connections int           // open at once; 256
	Streams     int           // logs and SMASH answers under way for all callers; 64
	Slow        time.Duration // for a caller to take 64 KiB; 30 s
	Meet        time.Duration // for the handshake and for the head of a request; 10 s
	Idle        time.Duration // between two requests of a connection; 30 s
	Notices     int           // of one validator and epoch; 1,024
}

func (l Limits) filled() Limits {
	def := Limits{Connections: 256, Streams: 64, Slow: 30 * time.Second, Meet: 10 * time.Second, Idle: 30 * time.Second, Notices: 1024}
	pick := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	wait := func(n *time.Duration, d time.Duration) {
		if *n == 0 {
			*n = d
		}
	}
	pick(&l.Connections, def.Connections)
	pick(&l.Streams, def.Streams)
	pick(&l.Notices, def.Notices)
	wait(&l.Slow, def.Slow)
	wait(&l.Meet, def.Meet)
	wait(&l.Idle, def.Idle)
	return l
}

// Gateway answers validators and the owner.
type Gateway struct {
	cfg    Config
	people people
	notes  *notes

	mu   sync.Mutex
	busy map[types.Device]chan struct{} // reading a log, or waiting for a SMASH answer; closed at its end
}

// New makes a gateway; it serves nobody yet.
func New(cfg Config) *Gateway {
	cfg.Limits = cfg.Limits.filled()
	if cfg.Report == nil {
		cfg.Report = func(string, ...any) {}
	}
	if cfg.Journal == nil {
		cfg.Journal = newMemory()
	}
	return &Gateway{
		cfg: cfg, people: people{chain: cfg.Chain, owner: cfg.Owner},
		notes: newNotes(cfg.Journal, cfg.Limits.Notices), busy: map[types.Device]chan struct{}{},
	}
}

// caller is the proven other end of a request.
type caller struct {
	account types.Account
	device  types.Device
}

// status is an answer without a body of its own.
type status struct {
	code int
	why  string
}

func (s *status) Error() string { return s.why }

func deny(code int, format string, args ...any) error {
	return &status{code, fmt.Sprintf(format, args...)}
}

// answer serves one request of a proven caller.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, who caller) {
	rc := http.NewResponseController(w)
	w = &pacer{ResponseWriter: w, control: rc, slow: g.cfg.Limits.Slow}
	// What is left in buffers goes out after this function.
	defer func() { _ = rc.SetWriteDeadline(time.Now().Add(g.cfg.Limits.Slow)) }()
	err := g.route(w, r, who)
	if err == nil {
		return
	}
	var s *status
	var missing *types.Missing
	switch {
	case errors.As(err, &s):
	case errors.Is(err, ErrPath):
		s = &status{http.StatusNotFound, "no such endpoint"}
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &missing):
		s = &status{http.StatusNotFound, "not here"}
	default:
		g.cfg.Report("gateway: %s: %v", r.URL.Path, err)
		s = &status{http.StatusInternalServerError, "cannot answer now"}
	}
	http.Error(w, s.why, s.code)
}

func (g *Gateway) route(w http.ResponseWriter, r *http.Request, who caller) error {
	t, err := parseTarget(r.RequestURI)
	if err != nil {
		return err
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reads && (t.endpoint != tell || r.Method != http.MethodPost) {
		w.Header().Set("Allow", "GET, HEAD")
		return deny(http.StatusMethodNotAllowed, "method %.10s is not for this endpoint", r.Method)
	}
	if r.ContentLength != 0 {
		return deny(http.StatusRequestEntityTooLarge, "a body is not expected")
	}
	v, err := g.cfg.Chain.View()
	if err != nil {
		return err
	}
	if t.endpoint == tell {
		return g.take(r.Context(), w, v, t)
	}
	e, err := g.permit(v, t, who)
	if err != nil {
		return err
	}
	if err := g.occupy(r.Context(), who.device); err != nil {
		return err
	}
	defer g.free(who.device)
	return g.give(w, r, t, e)
}

// permit holds ST4: an epoch's logs are for the validators of its frozen state
// and for the owner; SMASH answers, which belong to no epoch, for those of the
// last one that closed. Unknown epochs give 404, other callers 403.
func (g *Gateway) permit(v *consensus.View, t *target, who caller) (types.Epoch, error) {
	e, frozen, err := g.asked(v, t)
	if err != nil {
		return 0, err
	}
	if who.account == g.cfg.Owner {
		return e, nil
	}
	ok, err := g.people.validates(frozen, who.account)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, deny(http.StatusForbidden, "account %s is no validator of this epoch", who.account.Short())
	}
	return e, nil
}

// asked is the epoch that a target is about, with its frozen state.
func (g *Gateway) asked(v *consensus.View, t *target) (types.Epoch, *consensus.View, error) {
	e := v.Epochal()
	switch {
	case t.endpoint == getSmash && e == 0:
		return 0, v, nil
	case t.endpoint == getSmash:
		e--
	case t.newest:
		list, err := g.cfg.Logs.Epochs()
		if err != nil {
			return 0, nil, err
		}
		if len(list) == 0 || list[len(list)-1] >= e {
			return 0, nil, deny(http.StatusNotFound, "no logs yet")
		}
		e = list[len(list)-1]
	default:
		var ok bool
		var err error
		if e, ok, err = epochAt(v, t.seconds); err != nil {
			return 0, nil, err
		} else if !ok {
			return 0, nil, deny(http.StatusNotFound, "no epoch with time %d is known", t.seconds)
		}
	}
	frozen, err := v.Frozen(e)
	if err != nil {
		return 0, nil, fmt.Errorf("state at the checkpoint of epoch %d: %w", e, err)
	}
	return e, frozen, nil
}

func (g *Gateway) give(w http.ResponseWriter, r *http.Request, t *target, e types.Epoch) error {
	switch t.endpoint {
	case getLog:
		return g.giveLog(w, r, t, e)
	case getHeaders:
		h, err := g.cfg.Logs.Headers(e)
		if err != nil {
			return err
		}
		return plain(w, "application/cbor", types.Marshal(h))
	case getExceptions:
		b, err := g.cfg.Logs.Exceptions(e)
		if err != nil {
			return err
		}
		if b == nil {
			return deny(http.StatusNotFound, "no exceptions in epoch %d", e)
		}
		return plain(w, "application/cbor", b)
	}
	return g.smash(w, r, t)
}

// turn is how long a request waits for the one before it of the same device: a
// caller may see the end of an answer a little before this side does.
const turn = time.Second

// occupy lets a caller have one answer at a time.
func (g *Gateway) occupy(ctx context.Context, d types.Device) error {
	limit := time.NewTimer(turn)
	defer limit.Stop()
	for {
		before, err := g.enter(d)
		if before == nil || err != nil {
			return err
		}
		select {
		case <-before:
		case <-limit.C:
			return deny(http.StatusTooManyRequests, "one request of a device at a time")
		case <-ctx.Done():
			return deny(http.StatusServiceUnavailable, "too late")
		}
	}
}

// enter takes the device's place, or gives what ends with the request that has it.
func (g *Gateway) enter(d types.Device) (before chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.busy[d]; before != nil {
		return before, nil
	}
	if len(g.busy) >= g.cfg.Limits.Streams {
		return nil, deny(http.StatusServiceUnavailable, "%d requests are under way", len(g.busy))
	}
	g.busy[d] = make(chan struct{})
	return nil, nil
}

func (g *Gateway) free(d types.Device) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.busy[d])
	delete(g.busy, d)
}

func plain(w http.ResponseWriter, kind string, b []byte) error {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, err := w.Write(b)
	return gone(err)
}

// gone forgets that a caller left: nobody is there to be told.
func gone(error) error { return nil }

// Stats are the counts of feedback.
func (g *Gateway) Stats() Stats { return g.notes.stats() }
