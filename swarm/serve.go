package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Chain   types.ChainID
	Account types.Account // that is paid
	Device  types.Device  // this machine
	Pieces  Pieces
	Deny    Denier // nil: nothing is denied
	Facts   Facts
	Ledger  Ledger
	Verify  market.Verify             // keys.Verify
	Subnet  func(types.Device) string // the /24 or /48 of a peer (F1); nil: all share one
	Accuse  func(market.Evidence)     // told of a payer that contradicts itself (ST8.3); may be nil
	Now     func() time.Time          // nil: the system's clock
	Units   uint64                    // asked for a piece, 1 to 4; 0 stands for 1

	UploadPerDay   uint64 // bytes that this host is willing to send in a day; an eighth may be free
	BytesPerSecond uint64 // that all streams send at most; 0: no bound

	Limits ServerLimits
}

// ServerLimits bound what peers may cost. Zero values stand for the defaults.
type ServerLimits struct {
	Streams int           // at once; 256
	PerPeer int           // of one account; 4
	PayWait time.Duration // for a receipt when the window is used up; 20 s
	Ahead   time.Duration // for this node to see the epoch of a receipt; 5 s
}

// Server serves pieces and blocks.
type Server struct {
	c       ServerConfig
	counter *counter
	limiter *rate.Limiter
	places  chan struct{} // one for each stream; full: ErrBusy
}

// NewServer checks the configuration. It starts nothing.
func NewServer(c ServerConfig) (*Server, error) {
	c.Units = or(c.Units, market.MinPieceUnits)
	if err := (market.Quote{Units: c.Units, Window: 1}).Check(); err != nil {
		return nil, fmt.Errorf("serve pieces: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limits.Streams = or(c.Limits.Streams, 256)
	c.Limits.PerPeer = or(c.Limits.PerPeer, 4)
	c.Limits.PayWait = or(c.Limits.PayWait, 20*time.Second)
	c.Limits.Ahead = or(c.Limits.Ahead, 5*time.Second)
	s := &Server{c: c, places: make(chan struct{}, c.Limits.Streams)}
	s.counter = &counter{
		c: &s.c, guests: map[types.Account]*guest{},
		now: func() types.Millis { return types.Millis(c.Now().UnixMilli()) },
	}
	if c.BytesPerSecond > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(c.BytesPerSecond), maxAnswer)
	}
	return s, nil
}

// Serve answers one stream until the peer ends it or breaks a rule, or ctx
// ends, and then ends it. The error says why; it is nil when the peer closed the
// stream.
func (s *Server) Serve(ctx context.Context, stream Stream) error {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		return end(stream, refuse(ReasonBusy, "%d streams", cap(s.places)))
	}
	account, device := stream.Remote()
	g, err := s.counter.enter(account, device)
	if err != nil {
		return end(stream, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &visit{
		s: s, stream: stream, guest: g, ctx: ctx,
		asks: make(chan message, maxPending), thanks: make(chan message, maxPending), over: make(chan struct{}),
	}
	return errors.Join(v.run(cancel), s.counter.leave(g))
}

// end ends a stream: with a last word when the peer is refused.
func end(stream Stream, err error) error {
	var why *Refusal
	switch {
	case err == nil || errors.Is(err, io.EOF):
		_ = stream.Close()
		return nil
	case errors.As(err, &why):
		_ = stream.Send(types.Marshal(&refused{Refusal: *why}))
		_ = stream.Close()
	default:
		_ = stream.Reset(resetBase + uint32(ReasonFailed))
	}
	return err
}
