package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// peer is another validator with its deposit.
type peer struct {
	types.Credit
	have having
	ok   bool // it answered
}

// council is the validators as one proposer meets them.
type council struct {
	chain  types.ChainID
	round  round
	peers  []*peer
	own    types.Amount // deposit of the proposer
	all    types.Amount // all deposits
	signed []types.Signed
}

// enough reports whether the deposits, with the proposer's, are more than 2/3.
func (c *council) enough(sum types.Amount) error {
	if sum += c.own; sum*3 <= c.all*2 {
		return fmt.Errorf("%w: deposits of %s of %s, want more than 2/3", ErrTooFew, sum, c.all)
	}
	return nil
}

// Reasons why there is no result yet.
var (
	ErrTooFew  = errors.New("not enough validators agree")
	ErrRefused = errors.New("refused")
)

// propose agrees on a result with the others and submits it. Nobody signs before
// more than 2/3 of the deposits said that they computed the same: a signature
// that comes to nothing could hold up the epoch.
func (v *Validator) propose(ctx context.Context, now *consensus.View, e types.Epoch) error {
	c, err := v.poll(ctx, now, e)
	if err != nil {
		return err
	}
	p, err := v.draft(ctx, now, e, c)
	if err != nil {
		return err
	}
	result, err := v.compute(ctx, &p.Inputs)
	if err != nil {
		return err
	}
	if p.Result.Defined() && (p.Result != result.result || p.Rows != result.rows) {
		return fmt.Errorf("%w: others signed result %s, here it is %s", ErrFalse, p.Result, result.result)
	}
	p.Result, p.Rows = result.result, result.rows
	if err := v.reserve(now, v.me, p); err != nil {
		return err
	}
	agreed, _ := v.gather(ctx, c, p, opCheck)
	if err := c.enough(agreed); err != nil {
		return fmt.Errorf("result %s: %w", p.Result, err)
	}
	sig, err := v.signResult(now, p)
	if err != nil {
		return err
	}
	agreed, signers := v.gather(ctx, c, p, opSign)
	if err := c.enough(agreed); err != nil {
		return fmt.Errorf("sign result %s: %w", p.Result, err)
	}
	body := p.Collation()
	body.Signers = append(signers, types.Signed{By: v.me, Signature: sig})
	slices.SortFunc(body.Signers, func(a, b types.Signed) int { return bytes.Compare(a.By[:], b.By[:]) })
	return v.submitResult(c.round, result, body)
}

func (v *Validator) submitResult(r round, c *computed, body *types.Collation) error {
	if err := v.cfg.Store.Save(c.nodes, nil); err != nil {
		return fmt.Errorf("save result: %w", err)
	}
	name := fmt.Sprintf("collate/%s/%s", r, types.Digest(body.Result).Short())
	if err := v.cfg.Chain.Submit(types.KindCollation, body, name); err != nil {
		return err
	}
	v.settled.Add(1)
	return nil
}

// poll asks the other validators what they hold and signed.
func (v *Validator) poll(ctx context.Context, now *consensus.View, e types.Epoch) (*council, error) {
	list, _, err := now.Committee()
	if err != nil {
		return nil, err
	}
	g, err := now.Globals()
	if err != nil {
		return nil, err
	}
	r, err := roundOf(now, e)
	if err != nil {
		return nil, err
	}
	c := &council{chain: now.Chain, round: r, all: g.Deposits}
	var work errgroup.Group
	work.SetLimit(4 * atOnce)
	for _, x := range list {
		if x.Account == v.me {
			c.own = x.Amount
			continue
		}
		p := &peer{Credit: x}
		c.peers = append(c.peers, p)
		work.Go(func() error {
			raw, err := v.ask(ctx, v.cfg.Patience, p.Account, call{Protocol, &request{Op: opHave, Epoch: e}, maxAnswer})
			p.ok = err == nil && types.Unmarshal(raw, &p.have) == nil
			return nil
		})
	}
	return c, work.Wait()
}

// draft chooses the inputs: those of a result that was signed already, as nobody
// signs two, or else everything that is held here after fetching what only
// others hold.
func (v *Validator) draft(ctx context.Context, now *consensus.View, e types.Epoch, c *council) (*Proposal, error) {
	if p, err := v.signedBefore(ctx, now, e, c); p != nil || err != nil {
		return p, err
	}
	for _, p := range c.peers {
		v.fetchMissing(ctx, now, e, p.Account, p.have.Logs)
		for i := range p.have.Statements {
			if err := v.hear(now, &p.have.Statements[i]); err != nil {
				v.cfg.Report("settle: from %s: %v", p.Account.Short(), err)
			}
		}
	}
	base, err := c.round.cut(now)
	if err != nil {
		return nil, err
	}
	in := Inputs{Epoch: e, Height: base.Height(), Block: base.Root()}
	if in.Logs, in.Statements, err = v.holding(now, c.round); err != nil {
		return nil, err
	}
	if err := v.findAbsent(ctx, &in); err != nil {
		return nil, err
	}
	return &Proposal{Inputs: in}, nil
}

// cutOf is the state that an epoch's result is computed from: that of the last
// block for its disputes, so that proposers do not differ. When an earlier epoch
// got its result since and reserved locks, it is the newest one.
func cutOf(now *consensus.View, e types.Epoch) (*consensus.View, error) {
	h := now.Rules.DisputesDue(e)
	if now.Height() == h {
		return now, nil
	}
	cut, err := now.At(h)
	if err != nil {
		return nil, err
	}
	reserved, err := reservedSince(cut, now, e)
	if err != nil || reserved {
		return now, err
	}
	return cut, nil
}

// reservedSince reports whether an epoch before e got its result after base.
func reservedSince(base, now *consensus.View, e types.Epoch) (bool, error) {
	g, err := base.Globals()
	if err != nil {
		return false, err
	}
	for x := g.Transfer; x < e; x++ {
		then, err := base.Epoch(x)
		if err != nil {
			return false, err
		}
		rec, err := now.Epoch(x)
		if err != nil {
			return false, err
		}
		if then.Collation == nil && rec.Collation != nil {
			return true, nil
		}
	}
	return false, nil
}

// holding is what counts of the logs and statements that are held: logs with
// the root that the chain has, statements of drawn testers.
func (v *Validator) holding(now *consensus.View, r round) (logs []Used, out []Statement, err error) {
	for _, u := range v.heldLogs(r.epoch) {
		claim, err := now.Claim(r.epoch, u.Account)
		if err != nil {
			return nil, nil, err
		}
		if claim != nil && claim.Log.Root == u.Root && r.takes(now, claim) {
			logs = append(logs, u)
		}
	}
	if r.late {
		return logs, nil, nil
	}
	list, err := v.statements(r.epoch)
	if err != nil {
		return nil, nil, err
	}
	for i := range list {
		if checkStatement(now, &list[i]) == nil {
			out = append(out, list[i])
		}
	}
	return logs, out, nil
}

// signedBefore finds the result of an epoch that this validator signed, or else
// that with the most deposits behind it, if they are more than 1/3. Its logs are
// fetched from who signed.
func (v *Validator) signedBefore(ctx context.Context, now *consensus.View, e types.Epoch, c *council) (*Proposal, error) {
	own, err := v.signedResult(c.round)
	if err != nil {
		return nil, err
	}
	best := c.bestSigned(e)
	if own != nil {
		c.backed(&own.Proposal)
		c.signed = append(c.signed, types.Signed{By: v.me, Signature: own.Signature})
		return &own.Proposal, nil
	}
	if best == nil || c.backed(best)*3 <= c.all {
		c.signed = nil
		return nil, nil
	}
	for _, s := range c.signed {
		v.fetchMissing(ctx, now, e, s.By, best.Inputs.Logs)
	}
	if err := v.checkInputs(ctx, now, &best.Inputs); err != nil {
		v.cfg.Report("settle: what others signed for epoch %d: %v", e, err)
		c.signed = nil
		return nil, nil
	}
	return best, nil
}

// backed notes who signed a proposal and adds up their deposits.
func (c *council) backed(p *Proposal) (sum types.Amount) {
	c.signed = nil
	digest := c.round.digest(c.chain, p)
	for _, x := range c.peers {
		s := x.have.Signed
		if s == nil || c.round.digest(c.chain, &s.Proposal) != digest || !signedBy(x.Account, digest, s.Signature) {
			continue
		}
		c.signed = append(c.signed, types.Signed{By: x.Account, Signature: s.Signature})
		sum += x.Amount
	}
	return sum
}

// bestSigned is the proposal for the epoch that the most deposits signed.
func (c *council) bestSigned(e types.Epoch) (best *Proposal) {
	var most types.Amount
	for _, x := range c.peers {
		if x.have.Signed == nil || x.have.Signed.Proposal.Inputs.Epoch != e {
			continue
		}
		if sum := c.backed(&x.have.Signed.Proposal); sum > most {
			best, most = &x.have.Signed.Proposal, sum
		}
	}
	return best
}

// fetchMissing takes logs from another validator that are not held here.
func (v *Validator) fetchMissing(ctx context.Context, now *consensus.View, e types.Epoch, from types.Account, logs []Used) {
	for _, u := range logs {
		if v.holds(e, u) {
			continue
		}
		claim, err := now.Claim(e, u.Account)
		if err != nil || claim == nil || claim.Log.Root != u.Root {
			continue // of another fork, or made up
		}
		if err := v.fetchLog(ctx, from, owner{now.Chain, u.Account, &claim.Log}); err != nil {
			v.cfg.Report("settle: log of %s from %s: %v", u.Account.Short(), from.Short(), err)
		}
	}
}

// gather asks those who answered to check or sign, all at once. It gives the
// deposits and the signatures of those who did.
func (v *Validator) gather(ctx context.Context, c *council, p *Proposal, o op) (sum types.Amount, signers []types.Signed) {
	var mu sync.Mutex // guards the results
	digest := c.round.digest(c.chain, p)
	q := &request{Op: o, Proposal: p, Signed: c.signed}
	var work errgroup.Group
	work.SetLimit(4 * atOnce)
	for _, x := range c.peers {
		if !x.ok {
			continue
		}
		work.Go(func() error {
			a, err := v.askVerdict(ctx, x.Account, q)
			if err == nil && o == opSign && !signedBy(x.Account, digest, a.Signature) {
				err = fmt.Errorf("%w: wrong signature", ErrFalse)
			}
			if err != nil {
				v.cfg.Report("settle: %s and the result of epoch %d: %v", x.Account.Short(), p.Inputs.Epoch, err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			sum += x.Amount
			signers = append(signers, types.Signed{By: x.Account, Signature: a.Signature})
			return nil
		})
	}
	_ = work.Wait() // no goroutine gives an error
	return sum, signers
}

func (v *Validator) askVerdict(ctx context.Context, to types.Account, q *request) (a verdict, err error) {
	limit := v.cfg.Long
	if q.Op == opSign {
		limit = min(limit, 4*max(v.cfg.Patience, time.Second)) // it was computed before
	}
	raw, err := v.ask(ctx, limit, to, call{Protocol, q, maxReason + 128})
	if err != nil {
		return a, err
	}
	if err := types.Unmarshal(raw, &a); err != nil {
		return a, err
	}
	if a.Refused != "" {
		return a, fmt.Errorf("%w: %q", ErrRefused, a.Refused)
	}
	return a, nil
}
