package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Reasons to refuse a bundle.
var (
	ErrNotDrawn  = errors.New("this validator was not drawn for that")
	ErrTooEarly  = errors.New("not in the time for it")
	ErrSignedOne = errors.New("another one was signed before")
)

// signedBundle is a bundle that this validator signed and holds.
type signedBundle struct {
	Root      types.Hash
	Signature types.Signature
	Bundle    []byte
}

// EncodeTo appends [root, signature, bundle].
func (s *signedBundle) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Bytes(s.Root[:])
	e.Bytes(s.Signature[:])
	e.Bytes(s.Bundle)
}

// DecodeFrom reads the tuple.
func (s *signedBundle) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	s.Root = d.Hash()
	d.Fixed(s.Signature[:])
	s.Bundle = d.Bytes(replica.MaxBundle)
}

// answerBundle serves /staddle/bundle/1.
func (v *Validator) answerBundle(_ context.Context, from types.Account, raw []byte) ([]byte, error) {
	var q replica.BundleRequest
	if err := types.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("bundle request of %s: %w", from.Short(), err)
	}
	if q.Check == nil {
		return v.giveBundle(q.Epoch, q.Host)
	}
	b, err := replica.ParseBundle(q.Check)
	if err != nil {
		return nil, err
	}
	if b.Host != from {
		return nil, fmt.Errorf("bundle of %s from %s", b.Host.Short(), from.Short())
	}
	sig, err := v.checkBundle(b, q.Check)
	if err != nil {
		return nil, fmt.Errorf("bundle of %s for epoch %d: %w", from.Short(), b.Epoch, err)
	}
	return types.Marshal(&replica.CheckAnswer{Signature: sig}), nil
}

// giveBundle gives a bundle that is held: the posted one, when there are several.
func (v *Validator) giveBundle(e types.Epoch, host types.Account) ([]byte, error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	claim, err := now.Claim(e, host)
	if err != nil {
		return nil, err
	}
	var found []byte
	prefix := epochKey(keyBundles, e, types.Hash(host))
	err = v.cfg.Store.Scan(table, prefix, "", func(_ string, value []byte) error {
		var s signedBundle
		if err := types.Unmarshal(value, &s); err != nil {
			return err
		}
		if found == nil || claim != nil && claim.Bundle != nil && claim.Bundle.Root == s.Root {
			found = s.Bundle
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("bundle of %s for epoch %d is not held here", host.Short(), e)
	}
	return found, err
}

// audit is what the chain asks of a host in an epoch.
type audit struct {
	epoch    types.Epoch
	host     types.Account
	claim    *types.ClaimRecord
	beacon   types.Hash
	frozen   *consensus.View
	question *replica.Question
}

// audit reads it from a state after the epoch's beacon; nil when nothing is asked.
func auditOf(now *consensus.View, e types.Epoch, host types.Account) (*audit, error) {
	rec, err := now.Epoch(e)
	if err != nil || rec.Beacon.IsZero() {
		return nil, err
	}
	a := &audit{epoch: e, host: host, beacon: rec.Beacon}
	if a.claim, err = now.Claim(e, host); err != nil || a.claim == nil {
		return nil, err
	}
	if a.frozen, err = now.Frozen(e); err != nil {
		return nil, fmt.Errorf("state of epoch %d: %w", e, err)
	}
	a.question, err = a.frozen.Question(host, &a.claim.Log, a.beacon)
	return a, err
}

// judge checks a bundle against the question.
func (a *audit) judge(b *replica.Bundle) (replica.Report, error) {
	t := a.frozen.Terms(a.host)
	r, err := a.question.Check(b, t)
	return r, errors.Join(err, t.Err())
}

// checkBundle is the duty of a drawn checker (H6.4): what is false is not
// signed, what is missed may be, and of two bundles for one beacon one.
func (v *Validator) checkBundle(b *replica.Bundle, raw []byte) (sig types.Signature, err error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return sig, err
	}
	a, err := auditOf(now, b.Epoch, b.Host)
	switch {
	case err != nil:
		return sig, err
	case a == nil || now.Height() >= now.Rules.BundlesDue(b.Epoch):
		return sig, fmt.Errorf("%w: block %d, bundles until %d", ErrTooEarly, now.Height(), now.Rules.BundlesDue(b.Epoch))
	}
	drawn, err := a.frozen.Checkers(b.Host, a.beacon)
	if err != nil {
		return sig, err
	}
	if !slices.Contains(drawn, v.me) {
		return sig, ErrNotDrawn
	}
	if len(b.Proofs) != a.question.Places() {
		return sig, fmt.Errorf("%w: %d proofs, %d were drawn", ErrFalse, len(b.Proofs), a.question.Places())
	}
	r, err := a.judge(b)
	if err != nil {
		return sig, err
	}
	if !r.Honest() {
		return sig, fmt.Errorf("%w: %w", ErrFalse, errors.Join(r.Reasons...))
	}
	return v.signBundle(now.Chain, a, b, raw)
}

func (v *Validator) signBundle(chain types.ChainID, a *audit, b *replica.Bundle, raw []byte) (types.Signature, error) {
	v.signing.Lock()
	defer v.signing.Unlock()
	key := epochKey(keyBundles, b.Epoch, types.Hash(b.Host), a.beacon)
	var s signedBundle
	there, err := v.load(key, &s)
	if err != nil {
		return s.Signature, err
	}
	post := b.Post()
	if there {
		if s.Root != post.Root {
			return types.Signature{}, fmt.Errorf("%w: bundle %s", ErrSignedOne, s.Root.Short())
		}
		return s.Signature, nil
	}
	digest := post.Digest(chain, b.Host, a.beacon)
	s = signedBundle{Root: post.Root, Signature: v.cfg.Signer.Sign(digest[:]), Bundle: raw}
	if err := v.save(types.Row{Key: key, Value: types.Marshal(&s)}); err != nil {
		return types.Signature{}, err
	}
	v.checked.Add(1)
	return s.Signature, nil
}
