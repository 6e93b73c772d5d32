package validate

import (
	"strings"
	"testing"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// errSaid matches a refusal by its text.
type errSaid string

func (e errSaid) Error() string { return string(e) }

// refusal is a validator's no, as a test compares it.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func (r *refusal) Is(target error) bool {
	said, ok := target.(errSaid)
	return target == ErrRefused || ok && strings.Contains(r.text, string(said))
}

// verdictOf asks a validator as a proposer does, over the wire.
func verdictOf(t *testing.T, of, by *Validator, p *Proposal, o op) error {
	t.Helper()
	raw, err := of.answerSettle(t.Context(), by.me, types.Marshal(&request{Op: o, Proposal: p}))
	if err != nil {
		return err
	}
	var a verdict
	if err := types.Unmarshal(raw, &a); err != nil {
		return err
	}
	if a.Refused != "" {
		return &refusal{a.Refused}
	}
	if o == opSign && !signedBy(of.me, of.digest(t, p), a.Signature) {
		t.Errorf("signature of %s does not fit", of.me.Short())
	}
	return nil
}

// propose mines until somebody may propose for the epoch and gives its validator.
func (s *scene) propose(e types.Epoch, vs map[int]*Validator) *Validator {
	s.t.Helper()
	s.giveUpBefore(e)
	list, err := Proposers(s.View(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	v := vs[s.Number(list[0])]
	if err := v.collect(s.t.Context(), s.View()); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// giveUpBefore mines until no earlier epoch holds up the result of e.
func (s *scene) giveUpBefore(e types.Epoch) {
	s.t.Helper()
	for range 1000 {
		ready, err := inTurn(s.View(), e)
		if err != nil {
			s.t.Fatal(err)
		}
		if ready {
			return
		}
		s.Mine()
	}
	s.t.Fatalf("epoch %d never comes in turn", e)
}

// drafted is the proposal that an honest proposer makes.
func (s *scene) drafted(by *Validator, e types.Epoch) *Proposal {
	s.t.Helper()
	c, err := by.poll(s.t.Context(), s.View(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := by.draft(s.t.Context(), s.View(), e, c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.fill(by, p)
	return p
}

// fill computes the result of a proposal's inputs.
func (s *scene) fill(by *Validator, p *Proposal) {
	s.t.Helper()
	c, err := by.compute(s.t.Context(), &p.Inputs)
	if err != nil {
		s.t.Fatal(err)
	}
	p.Result, p.Rows = c.result, c.rows
}

// rowsAt are the rows of a proposal as computed by a validator.
func (s *scene) rowsAt(by *Validator, p *Proposal) (rows []settle.Row) {
	s.t.Helper()
	c, err := by.compute(s.t.Context(), &p.Inputs)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range c.nodes[1:] {
		var b types.ResultBucket
		if err := types.Unmarshal(n.Bytes, &b); err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, b.Lines...)
	}
	return rows
}

// digest is what is signed of a proposal at the newest state.
func (v *Validator) digest(t *testing.T, p *Proposal) types.Hash {
	t.Helper()
	now, err := v.cfg.Chain.View()
	if err != nil {
		t.Fatal(err)
	}
	r, err := roundOf(now, p.Inputs.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return r.digest(now.Chain, p)
}
