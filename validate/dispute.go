package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// lookInto is one in how many posted bundles a validator that did not check them
// looks into; all in the preset sim.
const lookInto = 8

// judged is what a validator found in a posted bundle.
type judged uint8

const (
	judgedFine judged = 1 + iota
	judgedFalse
	judgedSkipped // not chosen, or nobody gave it before disputes were due
)

// dispute looks into the bundles on chain and disputes false ones (H6.6). What is
// not in by the last block for disputes counts as shown: the result comes next
// (ST1).
func (v *Validator) dispute(ctx context.Context, now *consensus.View) error {
	if ok, err := v.deposited(now); err != nil || !ok {
		return err
	}
	if err := v.forget(now.Epochal()); err != nil {
		return err
	}
	hosts, err := now.Role(types.RoleHost)
	if err != nil {
		return err
	}
	var errs []error
	first, last, err := recent(now)
	for e := first; e <= last && err == nil; e++ {
		if now.Height() >= now.Rules.DisputesDue(e) {
			continue
		}
		for _, host := range hosts {
			if host == v.me {
				continue
			}
			if err := v.lookAt(ctx, now, e, host); err != nil {
				errs = append(errs, fmt.Errorf("bundle of %s for epoch %d: %w", host.Short(), e, err))
			}
		}
	}
	return errors.Join(append(errs, err)...)
}

// lookAt judges a posted bundle once. A false one is disputed again until the
// chain says that it is lost.
func (v *Validator) lookAt(ctx context.Context, now *consensus.View, e types.Epoch, host types.Account) error {
	claim, err := now.Claim(e, host)
	if err != nil || claim == nil || claim.Lost || claim.Bundle == nil {
		return err
	}
	found, err := v.judgement(e, host, claim.Bundle.Root)
	if err != nil || found == judgedFine || found == judgedSkipped {
		return err
	}
	if found == 0 {
		skip, err := v.skip(now)
		if err != nil {
			return err
		}
		if skip {
			return v.judge(e, host, claim.Bundle.Root, judgedSkipped)
		}
	}
	a, err := auditOf(now, e, host)
	if err != nil || a == nil {
		return err
	}
	b, err := v.findBundle(ctx, a)
	if err != nil {
		return err
	}
	return v.hold(a, b)
}

func (v *Validator) judgement(e types.Epoch, host types.Account, root types.Hash) (judged, error) {
	b, ok, err := v.cfg.Store.Get(table, epochKey(keyJudged, e, types.Hash(host), root))
	if err != nil || !ok || len(b) != 1 {
		return 0, err
	}
	return judged(b[0]), nil
}

func (v *Validator) judge(e types.Epoch, host types.Account, root types.Hash, found judged) error {
	return v.save(types.Row{Key: epochKey(keyJudged, e, types.Hash(host), root), Value: []byte{byte(found)}})
}

// skip decides by chance whether a bundle is left to others.
func (v *Validator) skip(now *consensus.View) (bool, error) {
	if now.Rules.Preset == types.Sim {
		return false, nil
	}
	var b [1]byte
	_, err := io.ReadFull(v.cfg.Chance, b[:])
	return b[0]%lookInto != 0, err
}

// findBundle gets the posted bundle: the own copy, else from its host or one of
// those who signed that they hold it.
func (v *Validator) findBundle(ctx context.Context, a *audit) (*replica.Bundle, error) {
	post := a.claim.Bundle
	fits := func(raw []byte) *replica.Bundle {
		b, err := replica.ParseBundle(raw)
		if err != nil || b.Root() != post.Root || len(b.Proofs) != int(post.Proofs) {
			return nil
		}
		return b
	}
	if raw, err := v.giveBundle(a.epoch, a.host); err == nil {
		if b := fits(raw); b != nil {
			return b, nil
		}
	}
	from := []types.Account{a.host}
	for _, c := range post.Checkers {
		from = append(from, c.By)
	}
	q := &replica.BundleRequest{Epoch: a.epoch, Host: a.host}
	var errs []error
	for _, who := range from {
		if who == v.me {
			continue
		}
		raw, err := v.ask(ctx, v.cfg.Patience, who, call{replica.BundleProtocol, q, replica.MaxBundleAnswer})
		if err == nil {
			if b := fits(raw); b != nil {
				return b, nil
			}
			err = fmt.Errorf("%w: not the posted bundle", ErrFalse)
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", who.Short(), err))
	}
	return nil, errors.Join(errs...)
}

// hold judges a bundle, and disputes the first proof that is false.
func (v *Validator) hold(a *audit, b *replica.Bundle) error {
	r, err := a.judge(b)
	if err != nil {
		return err
	}
	root := a.claim.Bundle.Root
	at := firstFalse(&r, a.claim.Bundle.Missed)
	if at < 0 {
		return v.judge(a.epoch, a.host, root, judgedFine)
	}
	if err := v.judge(a.epoch, a.host, root, judgedFalse); err != nil {
		return err
	}
	path, err := b.Path(at)
	if err != nil {
		return err
	}
	v.cfg.Report("dispute: proof %d of host %s in epoch %d is %s: %v", at, a.host.Short(), a.epoch, r.Verdicts[at], r.Reasons[at])
	return v.submitDispute(&types.Dispute{
		Kind: types.DisputeProof, Host: a.host, Epoch: a.epoch, Index: uint32(at), Evidence: b.Proofs[at], Path: path,
	})
}

// firstFalse is the first place that is neither shown nor confessed as missed;
// -1: none. A host that committed wrong sums (H6.3) can show no sample of them.
func firstFalse(r *replica.Report, missed []uint32) int {
	for i, found := range r.Verdicts {
		if found != replica.Shown && !(found == replica.Missed && slices.Contains(missed, uint32(i))) {
			return i
		}
	}
	return -1
}

func (v *Validator) submitDispute(d *types.Dispute) error {
	name := fmt.Sprintf("dispute/%s/%d/%d", d.Host.Short(), d.Epoch, d.Kind)
	if err := v.cfg.Chain.Submit(types.KindDispute, d, name); err != nil {
		return err
	}
	v.disputed.Add(1)
	return nil
}
