package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// auditedEpochs is how many epochs before the running one may still be asked
// about.
const auditedEpochs = 4

// checkTime is how long a checker may take for a bundle.
const checkTime = 30 * time.Second

// bundleChunk is how a bundle is cut into rows.
const bundleChunk = 1 << 20

// audit is the work on one epoch's bundle. Its job runs at most once at a time
// and owns everything but busy and the first fields.
type audit struct {
	epoch  types.Epoch
	beacon types.Hash
	claim  types.LogCommitment
	busy   atomic.Bool

	raw      []byte
	post     *types.BundlePost
	checkers []types.Account
}

// audit looks for epochs whose leaves are drawn and whose bundle is not on chain
// yet (H6.4), and forgets bundles that nobody may dispute any more.
func (h *Host) audit(ctx context.Context, v *consensus.View) error {
	now := v.Rules.EpochOf(v.Head.Height)
	for e := now; e+auditedEpochs > now && e > 0; e-- {
		if err := h.auditEpoch(ctx, v, e-1); err != nil {
			return fmt.Errorf("audit of epoch %d: %w", e-1, err)
		}
	}
	for e := range h.audits {
		if v.Head.Height > v.Rules.DisputesDue(e) && !h.audits[e].busy.Load() {
			delete(h.audits, e)
		}
	}
	if h.swept >= now {
		return nil
	}
	h.swept = now
	h.scrub(ctx, now)
	return h.sweep(v)
}

func (h *Host) auditEpoch(ctx context.Context, v *consensus.View, e types.Epoch) error {
	rec, err := v.Epoch(e)
	if err != nil || rec.Beacon.IsZero() || v.Head.Height >= v.Rules.BundlesDue(e) {
		return err
	}
	claim, err := v.Claim(e, h.me)
	if err != nil || claim == nil || claim.Log.Leaves == 0 || claim.Bundle != nil {
		return err
	}
	a := h.audits[e]
	if a == nil || a.beacon != rec.Beacon || a.claim != claim.Log {
		a = &audit{epoch: e, beacon: rec.Beacon, claim: claim.Log}
		h.audits[e] = a
	}
	if a.busy.Swap(true) {
		return nil
	}
	h.jobs.Go(func() {
		defer a.busy.Store(false)
		if err := h.show(ctx, a); err != nil && ctx.Err() == nil {
			h.cfg.Report("host: bundle of epoch %d: %v", e, err)
		}
	})
	return nil
}

// show builds the bundle unless it is there, asks the checkers that have not
// signed, and posts it when most have.
func (h *Host) show(ctx context.Context, a *audit) error {
	if a.post == nil {
		if err := h.build(ctx, a); err != nil {
			return err
		}
	}
	a.post.Checkers = append(a.post.Checkers, h.askCheckers(ctx, a)...)
	if have, need := len(a.post.Checkers), len(a.checkers)/2+1; have < need {
		return fmt.Errorf("signed by %d of %d checkers, want %d", have, len(a.checkers), need)
	}
	post := *a.post
	h.submit(types.KindBundle, &post, fmt.Sprintf("bundle/%d/%s", a.epoch, a.beacon.Short()))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = lastBundle{Epoch: a.epoch, Proofs: int(post.Proofs), Missed: len(post.Missed), Posted: true}
	return nil
}

// build makes the bundle from the lots at the epoch's checkpoint and keeps it.
func (h *Host) build(ctx context.Context, a *audit) error {
	v, err := h.cfg.Chain.View()
	if err != nil {
		return err
	}
	frozen, err := v.Frozen(a.epoch)
	if err != nil {
		return err
	}
	b, err := h.answer(ctx, frozen, a)
	if err != nil {
		return err
	}
	post := b.Post()
	if len(post.Missed) > types.MaxMissed {
		return fmt.Errorf("%d of %d leaves cannot be shown, a bundle may miss %d", len(post.Missed), post.Proofs, types.MaxMissed)
	}
	if a.checkers, err = frozen.Checkers(h.me, a.beacon); err != nil {
		return err
	}
	a.raw = types.Marshal(b)
	if len(a.raw) > replica.MaxBundle {
		return fmt.Errorf("bundle of %d bytes above %d", len(a.raw), replica.MaxBundle)
	}
	if err := h.keepBundle(a.epoch, a.raw); err != nil {
		return err
	}
	a.post = post
	return nil
}

// wanted is one place of a bundle.
type wanted struct {
	lot   types.LotID
	leaf  uint64
	claim *replica.SumPath // of a sample
	root  types.Hash
}

// answer shows every leaf that was drawn; what cannot be shown stays empty. The
// bundle is judged as a checker would before it leaves: a false proof costs
// more than a missing one.
func (h *Host) answer(ctx context.Context, frozen *consensus.View, a *audit) (*replica.Bundle, error) {
	q, err := frozen.Question(h.me, &a.claim, a.beacon)
	if err != nil {
		return nil, err
	}
	terms := frozen.Terms(h.me)
	list, err := h.wants(frozen, q)
	if err != nil {
		return nil, err
	}
	for i := range list {
		t, _ := terms.Lot(list[i].lot)
		list[i].root = t.Root
	}
	b := &replica.Bundle{Epoch: a.epoch, Host: h.me, Proofs: make([][]byte, len(list))}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range list {
		g.Go(func() error {
			b.Proofs[i] = h.place(&list[i])
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	report, err := q.Check(b, terms)
	if err = errors.Join(err, terms.Err()); err != nil {
		return nil, err
	}
	for i, verdict := range report.Verdicts {
		if verdict > replica.Missed {
			h.cfg.Report("host: proof %d of epoch %d is %s and left out: %v", i, a.epoch, verdict, report.Reasons[i])
			b.Proofs[i] = nil
		}
	}
	return b, nil
}

// wants maps the drawn numbers to leaves of lots.
func (h *Host) wants(frozen *consensus.View, q *replica.Question) ([]wanted, error) {
	claims, err := frozen.Claims(h.me)
	if err != nil {
		return nil, err
	}
	tree, err := replica.ClaimTree(claims)
	if err != nil {
		return nil, err
	}
	var out []wanted
	for _, n := range q.Samples {
		item, inside, err := tree.Find(n)
		if err != nil {
			return nil, err
		}
		p, err := tree.Path(item)
		if err != nil {
			return nil, err
		}
		out = append(out, wanted{lot: claims[item].Lot, leaf: inside, claim: &p})
	}
	for _, t := range q.Turns {
		out = append(out, wanted{lot: t.Lot, leaf: t.Leaf})
	}
	return out, nil
}

// place gives the encoded proof of one place, nil when it cannot be shown. A lot
// that is to be shown and is not here is lost.
func (h *Host) place(w *wanted) []byte {
	s, err := h.openLot(w.lot, w.root)
	if err == nil {
		var p *replica.Proof
		if p, err = h.prove(s, w.leaf); err == nil {
			p.Claim = w.claim
			return types.Marshal(p)
		}
	}
	if errors.Is(err, ErrNotHere) {
		h.wound(w.lot)
	}
	h.cfg.Report("host: leaf %d of lot %s cannot be shown: %v", w.leaf, w.lot.Short(), err)
	return nil
}

// askCheckers collects signatures from the drawn checkers that have not signed.
func (h *Host) askCheckers(ctx context.Context, a *audit) []types.Signed {
	digest := a.post.Digest(h.cfg.Chain.ID(), h.me, a.beacon)
	request := types.Marshal(&replica.BundleRequest{Check: a.raw})
	answers := make([]*types.Signed, len(a.checkers))
	var g errgroup.Group
	for i, c := range a.checkers {
		if signedBy(a.post.Checkers, c) {
			continue
		}
		g.Go(func() error {
			s, err := h.askChecker(ctx, c, request, digest)
			if err != nil {
				h.cfg.Report("host: checker %s of epoch %d: %v", c.Short(), a.epoch, err)
				return nil //nolint:nilerr // others may sign
			}
			answers[i] = &types.Signed{By: c, Signature: s}
			return nil
		})
	}
	_ = g.Wait() // never fails
	var out []types.Signed
	for _, s := range answers {
		if s != nil {
			out = append(out, *s)
		}
	}
	return out
}

func signedBy(list []types.Signed, a types.Account) bool {
	for _, s := range list {
		if s.By == a {
			return true
		}
	}
	return false
}

func (h *Host) askChecker(ctx context.Context, c types.Account, request []byte, digest types.Hash) (s types.Signature, err error) {
	ctx, stop := context.WithTimeout(ctx, checkTime)
	defer stop()
	raw, err := h.cfg.Net.Request(ctx, c, replica.BundleProtocol, request, replica.MaxBundleAnswer)
	if err != nil {
		return s, err
	}
	var answer replica.CheckAnswer
	if err := types.Unmarshal(raw, &answer); err != nil {
		return s, fmt.Errorf("read answer: %w", err)
	}
	if !keys.Verify(c, digest[:], answer.Signature) {
		return s, errors.New("wrong signature")
	}
	return answer.Signature, nil
}

func bundleKey(e types.Epoch, chunk uint32) string {
	return keyBundle + string(types.Be64(uint64(e))) + string(types.Be32(chunk))
}

// keepBundle stores a bundle in place of an earlier one of the epoch.
func (h *Host) keepBundle(e types.Epoch, raw []byte) error {
	rows, err := h.bundleRows(e)
	if err != nil {
		return err
	}
	for at := 0; at < len(raw); at += bundleChunk {
		rows = append(rows, types.Row{Table: table, Key: bundleKey(e, uint32(at/bundleChunk)), Value: raw[at:min(at+bundleChunk, len(raw))]})
	}
	return h.cfg.Table.Save(nil, rows)
}

// bundleRows are the deletions of what is stored for an epoch.
func (h *Host) bundleRows(e types.Epoch) (rows []types.Row, err error) {
	prefix := keyBundle + string(types.Be64(uint64(e)))
	err = h.cfg.Table.Scan(table, prefix, "", func(key string, _ []byte) error {
		rows = append(rows, types.Row{Table: table, Key: key})
		return nil
	})
	return rows, err
}

// Bundle gives the encoded bundle of an epoch. Error: ErrNotHere.
func (h *Host) Bundle(e types.Epoch) (raw []byte, err error) {
	err = h.cfg.Table.Scan(table, keyBundle+string(types.Be64(uint64(e))), "", func(_ string, value []byte) error {
		raw = append(raw, value...)
		return nil
	})
	if err == nil && raw == nil {
		err = fmt.Errorf("bundle of epoch %d: %w", e, ErrNotHere)
	}
	return raw, err
}

// sweep deletes bundles of epochs that can no longer be disputed.
func (h *Host) sweep(v *consensus.View) error {
	var rows []types.Row
	err := h.cfg.Table.Scan(table, keyBundle, "", func(key string, _ []byte) error {
		if len(key) < len(keyBundle)+8 {
			return fmt.Errorf("row of %d bytes is no bundle", len(key))
		}
		if e := epochIn(key[len(keyBundle):]); v.Head.Height > v.Rules.DisputesDue(e) {
			rows = append(rows, types.Row{Table: table, Key: key})
		}
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return h.cfg.Table.Save(nil, rows)
}

func epochIn(key string) (e types.Epoch) {
	for i := range 8 {
		e = e<<8 | types.Epoch(key[i])
	}
	return e
}

// answerBundle serves replica.BundleProtocol as far as it asks for this host's
// bundles: anybody registered may have them, to check and to dispute. Requests
// to check a bundle are for validators and get ErrNotHere; a node that is both
// asks both.
func (h *Host) answerBundle(_ context.Context, from types.Account, request []byte) ([]byte, error) {
	var q replica.BundleRequest
	if err := types.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if q.Check != nil || q.Host != h.me {
		return nil, fmt.Errorf("bundle of host %s: %w", q.Host.Short(), ErrNotHere)
	}
	v, err := h.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	reg, err := v.Registry(from)
	if err != nil {
		return nil, err
	}
	if reg == nil {
		return nil, fmt.Errorf("account %s is not registered", from.Short())
	}
	return h.Bundle(q.Epoch)
}
