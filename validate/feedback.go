package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Limits of the feedback of one epoch.
const (
	maxFeedback      = 1024     // calls
	maxFeedbackBytes = 16 << 20 // read from one file
)

// feedback tells the nodes what the settled epochs found, once each.
func (v *Validator) feedback(ctx context.Context, now *consensus.View) error {
	first, last, err := recent(now)
	if err != nil {
		return err
	}
	var errs []error
	for e := first - min(first, 2); e <= last; e++ {
		rec, err := now.Epoch(e)
		if err != nil {
			return err
		}
		if rec.Collation == nil {
			continue
		}
		_, sent, err := v.cfg.Store.Get(table, epochKey(keySent, e))
		if err != nil {
			return err
		}
		if !sent {
			errs = append(errs, v.feedbackOf(ctx, now, e))
		}
	}
	return errors.Join(errs...)
}

// feedbackOf sends the feedback of one epoch. Nodes that are away are not told.
func (v *Validator) feedbackOf(ctx context.Context, now *consensus.View, e types.Epoch) error {
	raw, err := os.ReadFile(filepath.Join(v.epochDir(round{epoch: e}), fileFeedback))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the epoch's files are not in place, or it was settled without us
	}
	if err != nil {
		return err
	}
	var failed atomic.Uint64
	var g errgroup.Group
	g.SetLimit(atOnce)
	for line := range bytes.Lines(raw) {
		f, err := settle.ParseFeedback(bytes.TrimSuffix(line, []byte{'\n'}), settle.Grammar{})
		if err != nil {
			return fmt.Errorf("feedback of epoch %d: %w", e, err)
		}
		to, ok, err := now.ByAddress(f.Node)
		if err != nil {
			return err
		}
		if !ok || to == v.me {
			continue
		}
		g.Go(func() error {
			if err := v.sendFeedback(ctx, now.Chain, to, &lines.Notice{Feedback: f, Epoch: e, Validator: v.me}); err != nil {
				failed.Add(1)
			}
			return nil
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	if n := failed.Load(); n > 0 {
		v.cfg.Report("feedback: %d nodes were not told of epoch %d", n, e)
	}
	return v.save(types.Row{Key: epochKey(keySent, e), Value: []byte{1}})
}

func (v *Validator) sendFeedback(ctx context.Context, chain types.ChainID, to types.Account, n *lines.Notice) error {
	if n.Kind == settle.RejectedSmash {
		b, ok, err := v.cfg.Store.Get(table, epochKey(keyAnswer, n.Epoch, types.Hash(to), n.Chunk))
		if err != nil {
			return err
		}
		if ok && len(b) == types.HashSize {
			n.Proof = types.Hash(b)
		}
	}
	digest := n.Digest(chain)
	n.Signature = v.cfg.Signer.Sign(digest[:])
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	return v.cfg.Peers.Feedback(ctx, to, n)
}
