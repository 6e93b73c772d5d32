package swarm

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// visit is one stream at the server. read runs beside answer; only answer sends.
type visit struct {
	s      *Server
	stream Stream
	guest  *guest
	ctx    context.Context
	asks   chan message  // full: the peer broke the limit of requests
	thanks chan message  // answers to receipts, which go first; full: the same
	over   chan struct{} // closed when read has ended: no receipt comes any more
	nodes  uint64        // bytes of blocks that count towards the next charge
	lastID uint32
}

// run starts the reader and waits for it.
func (v *visit) run(cancel context.CancelFunc) error {
	fault := make(chan error, 1)
	go func() {
		err := v.read()
		fault <- err
		if !errors.Is(err, io.EOF) {
			cancel()
		}
		close(v.over)
		close(v.asks)
	}()
	err := v.answer()
	if err == nil || v.ctx.Err() != nil && errors.Is(err, v.ctx.Err()) {
		select {
		case why := <-fault: // the reader has ended first and knows why
			return end(v.stream, why)
		default:
		}
	}
	if err == nil {
		return end(v.stream, <-fault)
	}
	// This wakes the reader.
	err = end(v.stream, err)
	<-fault //nolint:errcheck // it is waited for; what it says follows from err
	return err
}

// read takes messages. Receipts count at once, requests wait their turn.
func (v *visit) read() error {
	for {
		frame, err := v.stream.Receive(maxAsk)
		if err != nil {
			return err
		}
		m, err := parseAsk(frame)
		if err != nil {
			return refuse(ReasonMalformed, "%v", err)
		}
		to := v.asks
		if p, ok := m.(*payment); ok {
			to = v.thanks
			if m, err = v.take(&p.Receipt); err != nil {
				return err
			}
		}
		select {
		case to <- m:
		default:
			return refuse(ReasonMalformed, "more than %d requests under way", maxPending)
		}
	}
}

// take turns a receipt into the answer to it.
func (v *visit) take(r *market.Receipt) (message, error) {
	v.await(r)
	t, err := v.s.counter.take(v.guest, r)
	var why *Refusal
	if errors.As(err, &why) {
		return &dispute{Epoch: r.Epoch, Units: r.Units, Refusal: *why}, nil
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// await gives our chain time to reach the epoch of the receipt.
func (v *visit) await(r *market.Receipt) {
	if !v.s.counter.behind(r) {
		return
	}
	end := time.NewTimer(v.s.c.Limits.Ahead)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for v.s.counter.behind(r) {
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-v.ctx.Done():
			return
		}
	}
}

// answer sends until read has ended and all is answered.
func (v *visit) answer() error {
	for {
		select {
		case m := <-v.thanks:
			if err := v.send(m); err != nil {
				return err
			}
		case m, ok := <-v.asks:
			if err := v.thank(); err != nil || !ok {
				return err
			}
			if err := v.dispatch(m); err != nil {
				return err
			}
		case <-v.ctx.Done():
			return v.ctx.Err()
		}
	}
}

func (v *visit) dispatch(m message) error {
	switch m := m.(type) {
	case *hello:
		return v.greet(m)
	case *ask:
		return v.ask(m)
	}
	return refuse(ReasonMalformed, "no request")
}

// thank sends the answers to receipts that are ready.
func (v *visit) thank() error {
	for {
		select {
		case m := <-v.thanks:
			if err := v.send(m); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (v *visit) send(m types.Encodable) error { return v.stream.Send(types.Marshal(m)) }

func (v *visit) greet(m *hello) error {
	if m.Chain != v.s.c.Chain {
		return refuse(ReasonDenied, "another community")
	}
	q, err := v.s.counter.quote(v.guest)
	if err != nil {
		return err
	}
	q.Have = make([]byte, (len(m.Have)+7)/8)
	for i, h := range m.Have {
		if !v.s.denied(types.RawCIDOf(h)) && v.s.c.Pieces.Has(v.ctx, h) {
			q.Have[i/8] |= 1 << (i % 8)
		}
	}
	return v.send(q)
}

// denied is the one check before every way out (P3).
func (s *Server) denied(c cid.Cid) bool { return s.c.Deny != nil && s.c.Deny.Denied(c) }

// ask answers each item of a request with its bytes or a refusal.
func (v *visit) ask(m *ask) error {
	if m.ID <= v.lastID {
		return refuse(ReasonMalformed, "request %d after %d", m.ID, v.lastID)
	}
	v.lastID = m.ID
	want, err := v.items(m)
	if err != nil {
		return v.refuse(m, 0, m.items(), err)
	}
	for i, c := range want {
		why, err := v.item(m, i, c)
		if err != nil {
			return err
		}
		if why == nil {
			continue
		}
		if r := refusalOf(why); r.Reason == ReasonUnpaid || r.Reason == ReasonQuota || r.Reason == ReasonBusy {
			return v.refuse(m, i, m.items()-i, why) // the rest would fare no better
		}
		if err := v.refuse(m, i, 1, why); err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) refuse(m *ask, at, count int, why error) error {
	return v.send(&refused{ID: m.ID, First: uint32(at), Count: uint32(count), Refusal: *refusalOf(why)})
}

// items are the CIDs of what is wanted.
func (v *visit) items(m *ask) ([]cid.Cid, error) {
	switch m.kind() {
	case typeNodes:
		return m.Nodes, nil
	case typeRange:
		return v.numbered(m)
	}
	all := make([]cid.Cid, len(m.Pieces))
	for i, h := range m.Pieces {
		all[i] = types.RawCIDOf(h)
	}
	return all, nil
}

// numbered finds pieces of a dataset in its index, which must be here.
func (v *visit) numbered(m *ask) ([]cid.Cid, error) {
	root := types.NodeCIDOf(m.Of)
	if v.s.denied(root) {
		return nil, ErrDenied
	}
	x, err := archive.OpenIndex(nodeSource{v}, root, m.First+m.Count-1)
	if err != nil {
		return nil, err
	}
	all := make([]cid.Cid, m.Count)
	for i := range all {
		h, err := x.Piece(m.First + uint32(i))
		if err != nil {
			return nil, err
		}
		all[i] = types.RawCIDOf(h)
	}
	return all, nil
}

// nodeSource reads the blocks of an index from Pieces.
type nodeSource struct{ v *visit }

// Node gives the bytes of a block.
func (n nodeSource) Node(c cid.Cid) ([]byte, error) { return n.v.s.c.Pieces.Node(n.v.ctx, c) }

// item sends one item. why is what the peer is refused for; err ends the stream.
func (v *visit) item(m *ask, i int, c cid.Cid) (why, err error) {
	if v.s.denied(c) {
		return ErrDenied, nil
	}
	b, why := v.bytes(m, c)
	if why != nil {
		return why, nil
	}
	units := v.units(m, len(b))
	paid, why := v.charge(m, len(b), units)
	if why != nil {
		var own *Refusal
		if errors.As(why, &own) {
			return why, nil
		}
		return nil, why
	}
	if err := errors.Join(v.thank(), v.pace(len(b))); err != nil {
		return nil, err
	}
	if err := v.stream.Send(bulk{Paid: paid, ID: m.ID, Item: uint16(i), Data: b}.frame()); err != nil {
		if paid {
			v.s.counter.back(v.guest, units)
		}
		return nil, err
	}
	return nil, nil
}

func (v *visit) bytes(m *ask, c cid.Cid) (b []byte, err error) {
	if m.kind() == typeNodes {
		b, err = v.s.c.Pieces.Node(v.ctx, c)
	} else {
		b, err = v.s.c.Pieces.Piece(v.ctx, types.Digest(c))
	}
	if err == nil && (len(b) == 0 || len(b) > types.PieceSize) {
		err = refuse(ReasonFailed, "%d bytes, want 1 to %d", len(b), types.PieceSize)
	}
	return b, err
}

// units is what the bytes cost when they are not free: a piece its units, blocks
// the same for each 262,144 bytes.
func (v *visit) units(m *ask, n int) uint64 {
	if m.kind() != typeNodes || v.nodes+uint64(n) >= types.PieceSize {
		return v.s.c.Units
	}
	return 0
}

// count adds up bytes of blocks that are not free.
func (v *visit) count(m *ask, n int, what verdict) {
	if m.kind() != typeNodes || what == forFree {
		return
	}
	if v.nodes += uint64(n); what == onCredit {
		v.nodes -= types.PieceSize
	}
}

// pace waits for the host's own limit of bytes a second.
func (v *visit) pace(n int) error {
	if v.s.limiter == nil {
		return v.ctx.Err()
	}
	return v.s.limiter.WaitN(v.ctx, n)
}

// charge waits until the bytes may go out, free or on credit.
func (v *visit) charge(m *ask, n int, units uint64) (paid bool, err error) {
	var limit <-chan time.Time
	for {
		what, receipt, err := v.s.counter.charge(v.guest, load{bytes: uint64(n), units: units, pays: m.Pays})
		if err != nil {
			return false, err
		}
		if what != later {
			v.count(m, n, what)
			return what == onCredit, nil
		}
		if limit == nil {
			timer := time.NewTimer(v.s.c.Limits.PayWait)
			defer timer.Stop()
			limit = timer.C
		}
		if err := v.wait(receipt, limit); err != nil {
			return false, err
		}
	}
}

// wait ends with the guest's next receipt. A payer that lets the time pass is
// cut off, and its window is closed.
func (v *visit) wait(receipt <-chan struct{}, limit <-chan time.Time) error {
	for {
		select {
		case <-receipt:
			return nil
		case m := <-v.thanks: // such as: the receipt was not taken
			if err := v.send(m); err != nil {
				return err
			}
		case <-limit:
			v.s.counter.distrust(v.guest)
			return refuse(ReasonUnpaid, "no receipt in %s", v.s.c.Limits.PayWait)
		case <-v.over:
			return v.parted(receipt)
		case <-v.ctx.Done():
			return v.ctx.Err()
		}
	}
}

// parted decides when the peer has said its last word: perhaps a receipt.
func (v *visit) parted(receipt <-chan struct{}) error {
	select {
	case <-receipt:
		return nil
	default:
		return io.EOF
	}
}
