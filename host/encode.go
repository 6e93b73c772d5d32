package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// maxJobs is how many ranges are encoded or fetched at once: enough to keep the
// pool busy while others wait for the network.
const maxJobs = 4

// Waits between two connections to a host.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
)

// outgoing is the encoder's side of one range of an attempt.
type outgoing struct {
	h       *Host
	terms   *terms
	attempt types.AttemptID
	host    types.Account
	number  uint32
	scheme  replica.Encoding
	key     *replica.Key
	digests []types.Hash

	mu    sync.Mutex // guards slots, and the writing side of a stream
	slots keptSlots  // of the pieces that were made under the key
}

// encodeRange makes a range under a fresh key, which is drawn after the attempt
// was, and brings it to the host. It goes on over broken connections until ctx
// ends; then, or when the host has all, the key is wiped.
func (h *Host) encodeRange(ctx context.Context, t *terms, l *types.LotRecord, r uint32) (c types.Commitment, err error) {
	o := &outgoing{h: h, terms: t, attempt: l.Attempt, host: l.Host, number: r}
	if o.scheme, err = replica.Lookup(t.plan.Plan.Encoding); err != nil {
		return c, err
	}
	if o.digests, err = h.digests(ctx, t, r); err != nil {
		return c, err
	}
	kept := &newKept(t, l.Attempt).Ranges[r]
	if o.slots.Encoded, err = kept.newSlots(); err != nil {
		return c, err
	}
	if o.slots.Plain, err = kept.newSlots(); err != nil {
		return c, err
	}
	var drawn error
	if err = h.cfg.Pool.Do(ctx, func() { o.key, drawn = h.drawKey() }); err != nil || drawn != nil {
		return c, errors.Join(err, drawn)
	}
	defer o.key.Wipe()
	return o.persist(ctx)
}

// drawKey reads the source of chance, one key at a time.
func (h *Host) drawKey() (*replica.Key, error) {
	h.chance.Lock()
	defer h.chance.Unlock()
	return replica.GenerateKey(h.cfg.Random)
}

// persist connects until the host has the range. The key stays the same, so the
// host keeps what came before a connection broke.
func (o *outgoing) persist(ctx context.Context) (types.Commitment, error) {
	wait := retryFirst
	for {
		rec, err := o.deliver(ctx)
		if err == nil {
			return types.Commitment{
				Lot: o.terms.lot, Attempt: o.attempt, Range: o.number,
				Encoded: rec.Encoded, Plain: rec.Plain, Modulus: rec.Modulus,
			}, nil
		}
		if ctx.Err() != nil {
			return types.Commitment{}, ctx.Err()
		}
		if reasonOf(err) != ReasonLater {
			o.h.cfg.Report("host: bring range %d of lot %s to %s: %v", o.number, o.terms.lot.Short(), o.host.Short(), err)
		}
		if err := sleep(ctx, wait); err != nil {
			return types.Commitment{}, err
		}
		wait = min(2*wait, retryLast)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliver is one connection: what the host misses, then the record.
func (o *outgoing) deliver(ctx context.Context) (*record, error) {
	s, err := o.h.cfg.Net.Open(ctx, o.host, Protocol)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ReasonOther) })
	defer stop()
	rec, err := o.speak(ctx, s)
	if err != nil {
		_ = s.Reset(reasonOf(err))
		return nil, err
	}
	return rec, s.Close()
}

func (o *outgoing) speak(ctx context.Context, s Stream) (*record, error) {
	b := begin{Lot: o.terms.lot, Attempt: o.attempt, Range: o.number, Modulus: o.key.Modulus().Bytes()}
	if err := o.h.write(s, &b); err != nil {
		return nil, err
	}
	var has standing
	if err := o.h.read(s, maxState, &has); err != nil {
		return nil, err
	}
	if has.Record != nil {
		return has.Record, o.mine(has.Record)
	}
	if err := o.send(ctx, s, &has); err != nil {
		return nil, err
	}
	rec, err := o.sign()
	if err != nil {
		return nil, err
	}
	if err := o.h.write(s, &frame{Record: rec}); err != nil {
		return nil, err
	}
	if err := o.h.read(s, maxState, &has); err != nil {
		return nil, err
	}
	if has.Record == nil || *has.Record != *rec {
		return nil, &fault{ReasonRecord, errors.New("the host answers the record with another one")}
	}
	return rec, nil
}

// mine makes sure that a record which the host shows is this encoder's own, from
// before a restart.
func (o *outgoing) mine(rec *record) error {
	digest := rec.digest(o.attempt, o.number)
	if !keys.Verify(o.h.me, digest[:], rec.Signature) {
		return &fault{ReasonRecord, errors.New("the host shows a record that this encoder never signed")}
	}
	return nil
}

// send brings the pieces that the host misses: fetched, encoded on the pool, and
// written as they are ready.
func (o *outgoing) send(ctx context.Context, s Stream, has *standing) error {
	var missing []int
	for i := range o.digests {
		if !has.has(i) || !o.slots.Encoded.Has(i) {
			missing = append(missing, i)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * maxJobs) // pieces in memory
	err := o.h.fetch(ctx, o.terms, pick(o.digests, missing), func(i int, piece []byte) error {
		piece = bytes.Clone(piece)
		g.Go(func() error { return o.encode(ctx, s, uint32(missing[i]), piece) })
		return ctx.Err()
	})
	if e := g.Wait(); e != nil {
		return e // why the fetch ended, if it did
	}
	return err
}

// encode makes one piece and sends it.
func (o *outgoing) encode(ctx context.Context, s Stream, n uint32, piece []byte) (err error) {
	p := &pieceFrame{Index: n}
	var plain types.Hash
	e := o.h.cfg.Pool.Do(ctx, func() {
		if p.Bytes, err = o.scheme.Encode(o.terms.tag(o.host, o.number, n), o.key, piece); err == nil {
			p.Root, plain = replica.PieceRoot(p.Bytes), replica.PieceRoot(piece)
		}
	})
	if err = errors.Join(e, err); err != nil {
		return fmt.Errorf("encode piece %d: %w", n, err)
	}
	digest := pieceDigest(o.attempt, o.number, n, p.Root)
	p.Signature = o.h.cfg.Signer.Sign(digest[:])
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.slots.Encoded.Put(int(n), p.Root); err != nil {
		return err
	}
	if err := o.slots.Plain.Put(int(n), plain); err != nil {
		return err
	}
	return o.h.write(s, &frame{Piece: p})
}

// sign makes the record of the whole range.
func (o *outgoing) sign() (*record, error) {
	rec := &record{Count: uint32(len(o.digests)), Modulus: o.key.Modulus().Hash()}
	var err error
	if rec.Encoded, err = o.slots.Encoded.Root(); err != nil {
		return nil, err
	}
	if rec.Plain, err = o.slots.Plain.Root(); err != nil {
		return nil, err
	}
	digest := rec.digest(o.attempt, o.number)
	rec.Signature = o.h.cfg.Signer.Sign(digest[:])
	return rec, nil
}
