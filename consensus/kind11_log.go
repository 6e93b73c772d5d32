package consensus

import (
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// log is the rule of kind 11: one commitment a node and epoch, in time (ST1). A
// host claims exactly the lots that the state at the checkpoint gives it: what
// it lost it drops first (kind 10); what is not claimed counts as missed (H6.3).
func (s *state) log(r *request, b *types.LogCommitment) (effect, error) {
	old, err := s.Claim(b.Epoch, r.Sender)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, refuse("account %s committed logs of epoch %d before", r.Sender.Short(), b.Epoch)
	}
	if h := s.head.Height; h <= s.Rules.Checkpoint(b.Epoch) || h > s.Rules.LogsDue(b.Epoch) {
		return nil, refuse("logs of epoch %d in block %d: wanted from %d to %d", b.Epoch, h, s.Rules.Checkpoint(b.Epoch)+1, s.Rules.LogsDue(b.Epoch))
	}
	reg, err := s.Registry(r.Sender)
	if err != nil {
		return nil, err
	}
	if reg == nil || reg.Register.Roles == 0 {
		return nil, refuse("account %s has no role", r.Sender.Short())
	}
	frozen, err := s.Frozen(b.Epoch)
	if err != nil {
		return nil, err
	}
	h, err := frozen.Host(r.Sender)
	if err != nil {
		return nil, err
	}
	if b.Lots != h.Lots || b.Leaves != h.Leaves || b.SumRoot.IsZero() != (h.Lots == 0) {
		return nil, refuse("claim of %d lots with %d leaves, the chain has %d with %d; drop what is lost first", b.Lots, b.Leaves, h.Lots, h.Leaves)
	}
	rec := &types.ClaimRecord{Log: *b, At: s.head.Height}
	return func() error { return s.put(keyClaim(b.Epoch, r.Sender), rec) }, nil
}

func verified(s types.Signed, digest types.Hash) bool {
	return keys.Verify(s.By, digest[:], s.Signature)
}
