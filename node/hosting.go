package node

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"

	"github.com/staddle/staddle/host"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/logbook"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// openHost joins the host and encoder engine.
func (t *town) openHost() (err error) {
	n := t.node
	pool := host.NewPool(0)
	t.closers = append(t.closers, pool.Close)
	t.host, err = host.New(host.Config{
		Signer: n.id.Signer, Chain: t.chain, Queue: t.chain, Net: hostNet{shared{n.net, &t.answers}},
		Table: n.store, Replicas: n.store.Replicas(),
		Reserve: func(lot types.LotID, bytes int64) (host.Room, error) {
			r, err := n.store.Replicas().Reserve(lot, bytes)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
		Damaged: func(err error) bool { return errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrAbsent) },
		Source:  source{t}, Pool: pool, Random: rand.Reader, Report: n.report,
	})
	if err != nil {
		return err
	}
	t.parts = append(t.parts, part{"host", t.host.Run})
	return nil
}

// hostNet is the network with streams of the host's own kind.
type hostNet struct{ shared }

// Open opens a stream.
func (h hostNet) Open(ctx context.Context, to types.Account, protocol string) (host.Stream, error) {
	s, err := h.network.Host.Open(ctx, to, protocol)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Handle serves streams.
func (h hostNet) Handle(protocol string, serve func(host.Stream)) {
	h.network.Host.Handle(protocol, func(s *transport.Stream) { serve(s) })
}

// source is where encoders get plain pieces: from the sponsor or an active
// holder, whoever has them.
type source struct{ t *town }

// Digests names the pieces of a range.
func (s source) Digests(ctx context.Context, d *types.DatasetRecord, r types.Range) ([]types.Hash, error) {
	return s.t.digests(ctx, &d.Attachment, r)
}

// Fetch gets pieces, from this node's own store first.
func (s source) Fetch(ctx context.Context, d *types.DatasetRecord, digests []types.Hash, to func(i int, piece []byte) error) error {
	own := served(s)
	var want []types.Hash
	var place []int
	for i, h := range digests {
		if own.Has(ctx, h) {
			if b, err := own.Piece(ctx, h); err == nil {
				if err := to(i, b); err != nil {
					return err
				}
				continue
			}
		}
		want, place = append(want, h), append(place, i)
	}
	if len(want) == 0 {
		return nil
	}
	return s.t.swarm.FetchDataset(ctx, d.Attachment.Dataset(), want, func(i int, b []byte) error { return to(place[i], b) })
}

// openLogs joins the logbook.
func (t *town) openLogs() (err error) {
	n := t.node
	t.logs, err = logbook.Open(logbook.Config{
		Dir: filepath.Join(n.cfg.Home, "logs", t.chain.ID().Short()), Account: n.Account(), Device: n.id.Device.ID(),
		Chain: t.chain, Index: index{t}, Traffic: traffic{t}, Report: n.report,
	})
	if err != nil {
		return err
	}
	t.parts = append(t.parts, part{"logs", t.logs.Run})
	return nil
}

// index gives piece digests to the logbook and the validator.
type index struct{ t *town }

// Digests names the pieces of a range.
func (x index) Digests(ctx context.Context, a *types.Attachment, r types.Range) ([]types.Hash, error) {
	return x.t.digests(ctx, a, r)
}

// traffic turns receipts into evidence for logs.
type traffic struct{ t *town }

// Traffic lists the newest receipts of an epoch, given and taken.
func (x traffic) Traffic(e types.Epoch) ([]logbook.Evidence, error) {
	earned, signed, err := swarm.Receipts(x.t.node.store, e)
	if err != nil {
		return nil, err
	}
	var out []logbook.Evidence
	for _, r := range append(earned, signed...) {
		out = append(out, logbook.Evidence{
			Traffic: lines.Traffic{Payee: r.Payee, Payer: r.Payer, Device: r.Device, Units: r.Units, Receipt: r.Hash()},
			Receipt: types.Marshal(&r),
		})
	}
	return out, nil
}
