package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// The other side of an agreement: what a validator answers to proposers. It
// computes the result by itself from the same inputs and says yes only to the
// same bytes.

// answerSettle serves /staddle/settle/1.
func (v *Validator) answerSettle(ctx context.Context, from types.Account, raw []byte) ([]byte, error) {
	var q request
	if err := types.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("request of %s: %w", from.Short(), err)
	}
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	if err := mayAsk(now, from, &q); err != nil {
		return nil, err
	}
	switch q.Op {
	case opHave:
		return v.giveHaving(now, q.Epoch, from)
	case opLog:
		return v.giveLog(&q)
	case opInputs, opLateInputs:
		return v.giveInputs(round{q.Epoch, q.Op == opLateInputs})
	case opTell:
		return nil, v.hear(now, q.Statement)
	}
	return v.giveVerdict(ctx, now, from, &q)
}

// mayAsk lets validators ask everything; others only for the inputs of an epoch
// that has a result, so that anybody can run it again (ST4).
func mayAsk(now *consensus.View, from types.Account, q *request) error {
	acc, err := now.Account(from)
	if err != nil {
		return err
	}
	reg, err := now.Registry(from)
	if err != nil {
		return err
	}
	if reg != nil && reg.Register.Roles&types.RoleValidator != 0 && acc.Deposit >= now.Rules.MinDeposit {
		return nil
	}
	rec, err := now.Epoch(q.Epoch)
	if err != nil {
		return err
	}
	if (q.Op == opLog || q.Op == opInputs || q.Op == opLateInputs) && rec.Collation != nil {
		return nil
	}
	return fmt.Errorf("account %s is no validator", from.Short())
}

func (v *Validator) giveVerdict(ctx context.Context, now *consensus.View, from types.Account, q *request) ([]byte, error) {
	var a verdict
	var err error
	a.Signature, err = v.decide(ctx, now, from, q)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		a = verdict{Refused: clip(err.Error())}
	}
	return types.Marshal(&a), nil
}

// clip keeps a reason inside its limit, as printable ASCII.
func clip(reason string) string {
	b := []byte(reason)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b[:min(len(b), maxReason)])
}

// giveHaving tells a proposer what is held and signed here, and remembers it:
// what was told must not be left out.
func (v *Validator) giveHaving(now *consensus.View, e types.Epoch, from types.Account) ([]byte, error) {
	var h having
	r, err := roundOf(now, e)
	if err != nil {
		return nil, err
	}
	if h.Logs, h.Statements, err = v.holding(now, r); err != nil {
		return nil, err
	}
	s, err := v.signedResult(r)
	if err != nil {
		return nil, err
	}
	h.Signed = s
	v.mu.Lock()
	v.told[from] = &toldOf{r, h.Logs, h.Statements}
	v.mu.Unlock()
	return types.Marshal(&h), nil
}

// toldOf is what a proposer was told last.
type toldOf struct {
	round      round
	logs       []Used
	statements []Statement
}

// hear keeps another tester's statement.
func (v *Validator) hear(now *consensus.View, s *Statement) error {
	first, _, err := recent(now)
	if err != nil {
		return err
	}
	if s.Epoch < first {
		return fmt.Errorf("%w: statement on epoch %d, now %d", ErrTooEarly, s.Epoch, first)
	}
	if err := checkStatement(now, s); err != nil {
		return err
	}
	v.signing.Lock()
	defer v.signing.Unlock()
	_, there, err := v.cfg.Store.Get(table, epochKey(keyStated, s.Epoch, types.Hash(s.Host), types.Hash(s.Validator)))
	if err != nil || there {
		return err // the first word counts
	}
	return v.noteStatement(s)
}

// decide checks a proposal and signs it when it is asked to.
func (v *Validator) decide(ctx context.Context, now *consensus.View, from types.Account, q *request) (types.Signature, error) {
	p := q.Proposal
	if err := v.admit(ctx, now, from, q); err != nil {
		return types.Signature{}, err
	}
	c, err := v.compute(ctx, &p.Inputs)
	if err != nil {
		return types.Signature{}, err
	}
	if p.Result != c.result || p.Rows != c.rows {
		return types.Signature{}, fmt.Errorf("%w: result %s of %d rows, here it is %s of %d", ErrFalse, p.Result, p.Rows, c.result, c.rows)
	}
	if err := v.reserve(now, from, p); err != nil {
		return types.Signature{}, err
	}
	if q.Op == opCheck {
		return types.Signature{}, nil
	}
	return v.signResult(now, p)
}

// reserved is the proposal that this validator said yes to last. Until it had
// its time, one of a later proposer has to wait, so that signatures do not split.
type reserved struct {
	epoch  types.Epoch
	digest types.Hash
	rank   int
	until  types.Height
}

// reserve keeps this validator's word for a proposal. A proposer before the one
// that has it takes it over.
func (v *Validator) reserve(now *consensus.View, by types.Account, p *Proposal) error {
	list, err := Proposers(now, p.Inputs.Epoch)
	if err != nil {
		return err
	}
	round, err := roundOf(now, p.Inputs.Epoch)
	if err != nil {
		return err
	}
	digest := round.digest(now.Chain, p)
	rank := slices.Index(list, by)
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &v.word
	other := r.epoch == p.Inputs.Epoch && r.digest != digest
	if other && r.rank < rank && now.Height() < r.until {
		return fmt.Errorf("%w: proposer %d has this validator's word until block %d", ErrTooEarly, r.rank, r.until)
	}
	*r = reserved{p.Inputs.Epoch, digest, rank, now.Height() + 2*rankBlocks}
	return nil
}

// admit holds a proposal to the time table and its inputs to what is known here.
func (v *Validator) admit(ctx context.Context, now *consensus.View, from types.Account, q *request) error {
	in := &q.Proposal.Inputs
	e := in.Epoch
	ready, err := inTurn(now, e)
	if err != nil {
		return err
	}
	if !ready {
		return fmt.Errorf("%w: result of epoch %d in block %d", ErrTooEarly, e, now.Height())
	}
	turn, err := mayPropose(now, e, from)
	if err != nil {
		return err
	}
	if !turn {
		return fmt.Errorf("%w: account %s is not the proposer of epoch %d yet", ErrTooEarly, from.Short(), e)
	}
	r, err := roundOf(now, e)
	if err != nil {
		return err
	}
	v.fetchMissing(ctx, now, e, from, in.Logs)
	v.mu.Lock()
	told := v.told[from]
	v.mu.Unlock()
	if told != nil && told.round == r {
		backed, err := backedByThird(now, q)
		if err != nil {
			return err
		}
		if err := told.contained(in); err != nil && !backed {
			return err
		}
	}
	return v.checkInputs(ctx, now, in)
}

// backedByThird reports whether more than 1/3 of the deposits signed what is
// proposed before: then an honest validator among them held it complete, and to
// insist on more would only split the signatures.
func backedByThird(now *consensus.View, q *request) (bool, error) {
	g, err := now.Globals()
	if err != nil {
		return false, err
	}
	r, err := roundOf(now, q.Proposal.Inputs.Epoch)
	if err != nil {
		return false, err
	}
	digest := r.digest(now.Chain, q.Proposal)
	var sum types.Amount
	for i, s := range q.Signed {
		again := slices.ContainsFunc(q.Signed[:i], func(o types.Signed) bool { return o.By == s.By })
		if again || !signedBy(s.By, digest, s.Signature) {
			continue
		}
		acc, err := now.Account(s.By)
		if err != nil {
			return false, err
		}
		if acc.Deposit >= now.Rules.MinDeposit {
			sum += acc.Deposit
		}
	}
	return sum*3 > g.Deposits, nil
}

// checkInputs wants every log that is named held here with the root on chain,
// every statement good, and no dataset left out whose index is to be had.
func (v *Validator) checkInputs(ctx context.Context, now *consensus.View, in *Inputs) error {
	base, err := v.stateOf(in)
	if err != nil {
		return err
	}
	r, err := roundOf(base, in.Epoch)
	if err != nil {
		return err
	}
	if r.late && len(in.Statements)+len(in.Absent) > 0 {
		return fmt.Errorf("%w: late logs with %d statements and %d datasets", ErrFalse, len(in.Statements), len(in.Absent))
	}
	for _, u := range in.Logs {
		claim, err := now.Claim(in.Epoch, u.Account)
		if err != nil {
			return err
		}
		if claim == nil || claim.Log.Root != u.Root {
			return fmt.Errorf("%w: log %s of %s is not on chain", ErrFalse, u.Root.Short(), u.Account.Short())
		}
		if !r.takes(now, claim) {
			return fmt.Errorf("%w: log of %s in block %d is for another result", ErrFalse, u.Account.Short(), claim.At)
		}
		if !v.holds(in.Epoch, u) {
			return fmt.Errorf("log %s of %s is not held here", u.Root.Short(), u.Account.Short())
		}
	}
	for i := range in.Statements {
		if err := checkStatement(now, &in.Statements[i]); err != nil {
			return err
		}
	}
	return v.checkAbsent(ctx, now, in)
}

// contained reports what of the told is left out: a log that is held by more
// than 1/3 of the deposits is available, as so many refuse a result without it
// (ST3).
func (t *toldOf) contained(in *Inputs) error {
	for _, u := range t.logs {
		if _, found := slices.BinarySearchFunc(in.Logs, u, compareUsed); !found {
			return fmt.Errorf("log %s of %s is held here and left out", u.Root.Short(), u.Account.Short())
		}
	}
	for _, s := range t.statements {
		i, found := slices.BinarySearchFunc(in.Statements, s, compareStatements)
		if !found {
			return fmt.Errorf("statement of %s on %s is left out", s.Validator.Short(), s.Host.Short())
		}
		if in.Statements[i].Signature != s.Signature {
			return fmt.Errorf("statement of %s on %s is another one here", s.Validator.Short(), s.Host.Short())
		}
	}
	return nil
}

// findAbsent notes the datasets whose index cannot be had here.
func (v *Validator) findAbsent(ctx context.Context, in *Inputs) error {
	base, err := v.stateOf(in)
	if err != nil {
		return err
	}
	for {
		w, err := v.newScribe(ctx, base, in)
		if err != nil {
			return err
		}
		err = w.read()
		var missing *indexError
		if !errors.As(err, &missing) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if len(in.Absent) == MaxAbsent {
			return fmt.Errorf("more than %d datasets without an index: %w", MaxAbsent, err)
		}
		v.cfg.Report("settle: epoch %d without dataset %s: %v", in.Epoch, missing.dataset.Short(), missing.err)
		i, _ := slices.BinarySearchFunc(in.Absent, missing.dataset, compareHashes)
		in.Absent = slices.Insert(in.Absent, i, missing.dataset)
	}
}

// read derives the hosts' lines and throws them away: it finds what is missing.
func (w *scribe) read() error {
	for _, host := range w.hosts {
		if err := w.src.Farmer(host, func([]byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// checkAbsent refuses to leave out a dataset whose index is to be had here.
func (v *Validator) checkAbsent(ctx context.Context, now *consensus.View, in *Inputs) error {
	for _, id := range in.Absent {
		d, err := now.Dataset(id)
		if err != nil {
			return err
		}
		if d == nil {
			return fmt.Errorf("%w: dataset %s is not known", ErrFalse, id.Short())
		}
		there, err := v.hasIndex(ctx, now, &d.Attachment)
		if err != nil {
			return err
		}
		if there {
			return fmt.Errorf("index of dataset %s is held here and left out", id.Short())
		}
	}
	return nil
}

func (v *Validator) hasIndex(ctx context.Context, now *consensus.View, a *types.Attachment) (bool, error) {
	ranges, err := now.Ranges(a, 0, a.RangeCount)
	if err != nil {
		return false, err
	}
	digests := v.digests(ctx, nil)
	for _, r := range ranges {
		list, err := digests(a, r)
		if err != nil {
			return false, ctx.Err()
		}
		if types.RangeOf(list) != r.ID {
			return false, nil
		}
	}
	return true, nil
}

// signedResult reads what was signed for an epoch; nil when there is nothing, or
// it can count no more: its block is not on this fork.
func (v *Validator) signedResult(r round) (*signedProposal, error) {
	s := new(signedProposal)
	there, err := v.load(r.key(), s)
	if err != nil || !there {
		return nil, err
	}
	if _, err := v.stateOf(&s.Proposal.Inputs); errors.Is(err, ErrFork) {
		return nil, nil
	} else if err != nil {
		return nil, err // it may bind: nothing else is signed meanwhile
	}
	return s, nil
}

// signResult signs one result for an epoch and writes that down first. Asked
// again it gives the same signature; for another result it refuses.
func (v *Validator) signResult(now *consensus.View, p *Proposal) (types.Signature, error) {
	v.signing.Lock()
	defer v.signing.Unlock()
	r, err := roundOf(now, p.Inputs.Epoch)
	if err != nil {
		return types.Signature{}, err
	}
	old, err := v.signedResult(r)
	if err != nil {
		return types.Signature{}, err
	}
	digest := r.digest(now.Chain, p)
	if old != nil {
		if r.digest(now.Chain, &old.Proposal) != digest {
			return types.Signature{}, fmt.Errorf("%w: result %s of epoch %s", ErrSignedOne, old.Proposal.Result, r)
		}
		return old.Signature, nil
	}
	s := &signedProposal{Proposal: *p, Signature: v.cfg.Signer.Sign(digest[:])}
	return s.Signature, v.save(types.Row{Key: r.key(), Value: types.Marshal(s)})
}

func signedBy(a types.Account, digest types.Hash, sig types.Signature) bool {
	return keys.Verify(a, digest[:], sig)
}
