package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// testKey names a test of service.
type testKey struct {
	epoch  types.Epoch
	host   types.Account
	beacon types.Hash
}

// test is a test of service on its way. It belongs to the loop that serves.
type test struct {
	pieces []types.Hash // still to come; nil and drawn 0: not drawn yet
	drawn  int
	rounds int
	smash  []types.Hash // chunks with a wrong answer
	asked  bool         // SMASH was asked for
	limit  time.Duration
}

// testLimit is how long one round may take: two fit into the time for bundles.
func (v *Validator) testLimit(r *types.Rules) time.Duration {
	window := time.Duration(r.BundleBlocks) * time.Duration(r.BlockMillis) * time.Millisecond
	return min(v.cfg.Patience, max(window/2, time.Second))
}

// serve tests the hosts that this account was drawn for (H5): from the epoch's
// beacon until its bundles are due, each piece until it came.
func (v *Validator) serve(ctx context.Context, now *consensus.View) error {
	if ok, err := v.deposited(now); err != nil || !ok {
		return err
	}
	first, last, err := recent(now)
	var errs []error
	for e := first; e <= last && err == nil; e++ {
		h := now.Height()
		if h < now.Rules.Checkpoint(e+1) || h > now.Rules.BundlesDue(e)+1 {
			continue
		}
		if err := v.serveEpoch(ctx, now, e); err != nil {
			errs = append(errs, fmt.Errorf("epoch %d: %w", e, err))
		}
	}
	return errors.Join(append(errs, err)...)
}

// serveEpoch goes on with all tests of an epoch, several hosts at once. Views
// are read before that, by this goroutine.
func (v *Validator) serveEpoch(ctx context.Context, now *consensus.View, e types.Epoch) error {
	rec, err := now.Epoch(e)
	if err != nil || rec.Beacon.IsZero() {
		return err
	}
	frozen, err := now.Frozen(e)
	if err != nil {
		return err
	}
	hosts, err := v.hostsToTest(frozen, e, rec.Beacon)
	if err != nil {
		return err
	}
	end := now.Height() >= now.Rules.BundlesDue(e)
	var mu sync.Mutex // guards errs
	var errs []error
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, host := range hosts {
		k := testKey{e, host, rec.Beacon}
		t, err := v.openTest(ctx, frozen, k)
		if err != nil {
			errs = append(errs, fmt.Errorf("draw pieces of host %s: %w", host.Short(), err))
			continue
		}
		t.limit = v.testLimit(now.Rules)
		g.Go(func() error {
			if err := v.round(ctx, now.Chain, k, t, end); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("host %s: %w", host.Short(), err))
			}
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	return errors.Join(errs...)
}

// hostsToTest are the hosts with lots that this account was drawn to test and
// has not stated anything about. Who is paused or left owes no service.
func (v *Validator) hostsToTest(frozen *consensus.View, e types.Epoch, beacon types.Hash) ([]types.Account, error) {
	hosts, err := frozen.Role(types.RoleHost)
	if err != nil {
		return nil, err
	}
	var out []types.Account
	for _, host := range hosts {
		h, err := frozen.Host(host)
		if err != nil {
			return nil, err
		}
		if h.Lots == 0 || h.State == types.HostPaused || h.State == types.HostLeft {
			continue
		}
		drawn, err := frozen.Testers(host, beacon)
		if err != nil {
			return nil, err
		}
		_, stated, err := v.cfg.Store.Get(table, epochKey(keyStated, e, types.Hash(host), types.Hash(v.me)))
		if err != nil {
			return nil, err
		}
		if !stated && slices.Contains(drawn, v.me) {
			out = append(out, host)
		}
	}
	return out, nil
}

// openTest gives the running test of a host, or draws its pieces.
func (v *Validator) openTest(ctx context.Context, frozen *consensus.View, k testKey) (*test, error) {
	v.mu.Lock()
	t := v.tests[k]
	v.mu.Unlock()
	if t != nil {
		return t, nil
	}
	digests := func(a *types.Attachment, r types.Range) ([]types.Hash, error) { return v.cfg.Digests(ctx, a, r) }
	pieces, err := DrawnPieces(frozen, digests, k.host, Draw{k.beacon, v.me})
	if err != nil {
		return nil, err
	}
	t = &test{pieces: pieces, drawn: len(pieces)}
	v.mu.Lock()
	defer v.mu.Unlock()
	for old := range v.tests {
		if old.epoch+2 < k.epoch {
			delete(v.tests, old)
		}
	}
	v.tests[k] = t
	return t, nil
}

// Draw says whose pieces of a host are drawn, and by which beacon.
type Draw struct {
	Beacon    types.Hash
	Validator types.Account
}

// DrawnPieces are the pieces of a host that a tester fetches (H5): number j of
// 0 to 3 is U64(H("staddle/serve/piece/1", R_E, host, validator, be32 j)) modulo
// the pieces of all lots that the host keeps in the frozen state, laid end to
// end in order of the lots' ids. A piece may be drawn twice. The digests must be
// those of the range's id.
func DrawnPieces(frozen *consensus.View, digests lines.Digests, host types.Account, by Draw) ([]types.Hash, error) {
	ids, err := frozen.Lots(host)
	if err != nil {
		return nil, err
	}
	var lots []*types.LotRecord
	var total uint64
	for _, id := range ids {
		l, err := frozen.Lot(id)
		if err != nil {
			return nil, err
		}
		lots, total = append(lots, l), total+uint64(l.Pieces)
	}
	if total == 0 {
		return nil, fmt.Errorf("host %s keeps no pieces", host.Short())
	}
	var out []types.Hash
	for j := range uint32(drawnPieces) {
		n := types.H("staddle/serve/piece/1", by.Beacon[:], host[:], by.Validator[:], types.Be32(j)).U64() % total
		d, err := pieceAt(frozen, digests, lots, n)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func pieceAt(frozen *consensus.View, digests lines.Digests, lots []*types.LotRecord, n uint64) (types.Hash, error) {
	i := 0
	for ; n >= uint64(lots[i].Pieces); i++ {
		n -= uint64(lots[i].Pieces)
	}
	p, err := frozen.Plan(lots[i].Plan)
	if err != nil || p == nil {
		return types.Hash{}, fmt.Errorf("plan of a lot (there: %t): %w", p != nil, err)
	}
	d, err := frozen.Dataset(p.Plan.Dataset)
	if err != nil || d == nil {
		return types.Hash{}, fmt.Errorf("dataset of a lot (there: %t): %w", d != nil, err)
	}
	ranges, err := frozen.Ranges(&d.Attachment, lots[i].First, lots[i].Count)
	if err != nil {
		return types.Hash{}, err
	}
	for _, r := range ranges {
		if n >= uint64(r.Count) {
			n -= uint64(r.Count)
			continue
		}
		list, err := digests(&d.Attachment, r)
		if err != nil {
			return types.Hash{}, err
		}
		if types.RangeOf(list) != r.ID {
			return types.Hash{}, fmt.Errorf("digests are not those of range %s", r.ID.Short())
		}
		return list[n], nil
	}
	return types.Hash{}, fmt.Errorf("lot of %d pieces has fewer in its ranges", lots[i].Pieces)
}

// round asks once for what has not come yet. A host that gave everything is
// served; one that did not by the end of the time, after two rounds at least, is
// not. A tester that came too late for two rounds says nothing.
func (v *Validator) round(ctx context.Context, chain types.ChainID, k testKey, t *test, end bool) error {
	t.rounds++
	t.pieces = v.missing(ctx, k.host, t)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !t.asked {
		if err := v.askSmash(ctx, k, t); err != nil {
			return err
		}
		t.asked = true
	}
	if len(t.pieces) > 0 && (!end || t.rounds < 2) {
		return nil
	}
	s := &Statement{
		Epoch: k.epoch, Host: k.host, Validator: v.me,
		Drawn: uint8(t.drawn), Came: uint8(t.drawn - len(t.pieces)), Smash: t.smash,
	}
	digest := s.Digest(chain)
	s.Signature = v.cfg.Signer.Sign(digest[:])
	if err := v.noteStatement(s); err != nil {
		return err
	}
	v.tested.Add(1)
	return v.tell(ctx, s)
}

// missing fetches all that is still to come and gives what did not.
func (v *Validator) missing(ctx context.Context, host types.Account, t *test) (left []types.Hash) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	failed := make([]bool, len(t.pieces))
	var g errgroup.Group
	for i, d := range t.pieces {
		g.Go(func() error {
			_, err := v.fetchOnce(ctx, host, d)
			failed[i] = err != nil
			return nil
		})
	}
	_ = g.Wait() // no goroutine gives an error
	for i, d := range t.pieces {
		if failed[i] {
			left = append(left, d)
		}
	}
	return left
}

func (v *Validator) noteStatement(s *Statement) error {
	return v.save(types.Row{Key: epochKey(keyStated, s.Epoch, types.Hash(s.Host), types.Hash(s.Validator)), Value: types.Marshal(s)})
}

// tell sends a statement to the other validators, so that no proposer can leave
// it out. Who is not there now is told when it asks.
func (v *Validator) tell(ctx context.Context, s *Statement) error {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return err
	}
	list, _, err := now.Committee()
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, c := range list {
		if c.Account == v.me {
			continue
		}
		g.Go(func() error {
			_, _ = v.ask(ctx, v.cfg.Patience, c.Account, call{Protocol, &request{Op: opTell, Statement: s}, maxReason})
			return nil
		})
	}
	return g.Wait()
}

// checkStatement reports why a statement counts for nothing: it is not signed,
// or not by a drawn tester.
func checkStatement(now *consensus.View, s *Statement) error {
	rec, err := now.Epoch(s.Epoch)
	if err != nil {
		return err
	}
	if rec.Beacon.IsZero() {
		return fmt.Errorf("%w: epoch %d has no beacon", ErrTooEarly, s.Epoch)
	}
	frozen, err := now.Frozen(s.Epoch)
	if err != nil {
		return err
	}
	drawn, err := frozen.Testers(s.Host, rec.Beacon)
	if err != nil {
		return err
	}
	if !slices.Contains(drawn, s.Validator) || !s.verify(now.Chain) {
		return fmt.Errorf("statement on host %s is not by a drawn tester", s.Host.Short())
	}
	return nil
}

// statements lists those of an epoch that are held, ascending.
func (v *Validator) statements(e types.Epoch) (list []Statement, err error) {
	err = v.cfg.Store.Scan(table, epochKey(keyStated, e), "", func(_ string, value []byte) error {
		var s Statement
		if err := types.Unmarshal(value, &s); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}
