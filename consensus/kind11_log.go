package consensus

import (
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// log is the rule of kind 11: one commitment a node and epoch, in time, or late
// with receipts alone (ST1).
func (s *state) log(r *request, b *types.LogCommitment) (effect, error) {
	old, err := s.Claim(b.Epoch, r.Sender)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, refuse("account %s committed logs of epoch %d before", r.Sender.Short(), b.Epoch)
	}
	if h := s.head.Height; h <= s.Rules.Checkpoint(b.Epoch) || h > LateLogsDue(s.Rules, b.Epoch) {
		return nil, refuse("logs of epoch %d in block %d: wanted from %d to %d", b.Epoch, h, s.Rules.Checkpoint(b.Epoch)+1, LateLogsDue(s.Rules, b.Epoch))
	}
	reg, err := s.Registry(r.Sender)
	if err != nil {
		return nil, err
	}
	if reg == nil || reg.Register.Roles == 0 {
		return nil, refuse("account %s has no role", r.Sender.Short())
	}
	rec := &types.ClaimRecord{Log: *b, At: s.head.Height}
	check := s.checkClaim
	if Late(s.Rules, rec) {
		check = s.checkLate
	}
	if err := check(r.Sender, b); err != nil {
		return nil, err
	}
	return func() error {
		if err := s.noteLate(rec); err != nil {
			return err
		}
		return s.put(keyClaim(b.Epoch, r.Sender), rec)
	}, nil
}

// checkClaim: a host claims exactly the lots that the state at the checkpoint
// gives it: what it lost it drops first (kind 10); what is not claimed counts as
// missed (H6.3).
func (s *state) checkClaim(a types.Account, b *types.LogCommitment) error {
	frozen, err := s.Frozen(b.Epoch)
	if err != nil {
		return err
	}
	h, err := frozen.Host(a)
	if err != nil {
		return err
	}
	if b.Lots != h.Lots || b.Leaves != h.Leaves || b.SumRoot.IsZero() != (h.Lots == 0) {
		return refuse("claim of %d lots with %d leaves, the chain has %d with %d; drop what is lost first", b.Lots, b.Leaves, h.Lots, h.Leaves)
	}
	return nil
}

func verified(s types.Signed, digest types.Hash) bool {
	return keys.Verify(s.By, digest[:], s.Signature)
}
