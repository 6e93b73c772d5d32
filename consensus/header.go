package consensus

import (
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// expected is the part of the next header that follows from the parent alone.
func (s *state) expected(parent *View) types.Header {
	target := NextTarget(s.Rules, s.head.Height, parent.Head.BaseTarget, s.g.Times)
	return types.Header{
		Version: types.HeaderVersion, Chain: s.Chain, Height: s.head.Height, Previous: parent.root,
		BaseTarget: target, Difficulty: parent.Head.Difficulty + Work(target),
	}
}

// skip is the name of the block one mutable range below the one in the making,
// or of genesis below that (S3).
func (s *state) skip(parent *View) (cid.Cid, error) {
	r := types.Height(s.Rules.MutableRange)
	switch {
	case s.head.Height == 1:
		return s.head.Previous, nil
	case s.head.Height <= r:
		return s.g.Genesis, nil
	}
	return parent.Name(s.head.Height - r)
}

// checkHeader holds every rule of a header that does not need the outcome of
// the block. There is no clock: a block ahead of time is the engine's to hold (T3).
func (s *state) checkHeader(parent *View, h *types.Header) error {
	want := s.expected(parent)
	s.head = *h
	if err := sameFrame(h, &want); err != nil {
		return err
	}
	if h.Time <= parent.Head.Time {
		return refuse("time %d is not after the parent's %d", h.Time, parent.Head.Time)
	}
	skip, err := s.skip(parent)
	if err != nil {
		return err
	}
	if h.Skip != skip {
		return refuse("skip link %s, want %s", h.Skip, skip)
	}
	acc, err := s.Account(h.Miner)
	if err != nil {
		return err
	}
	return s.checkWork(parent, h, acc)
}

func sameFrame(h, want *types.Header) error {
	switch {
	case h.Version != want.Version:
		return refuse("header version %d, want %d", h.Version, want.Version)
	case h.Chain != want.Chain:
		return refuse("chain %s, want %s", h.Chain.Short(), want.Chain.Short())
	case h.Height != want.Height:
		return refuse("height %d, want %d", h.Height, want.Height)
	case h.Previous != want.Previous:
		return refuse("parent %s, want %s", h.Previous, want.Previous)
	case h.BaseTarget != want.BaseTarget:
		return refuse("base target %d, want %d", h.BaseTarget, want.BaseTarget)
	case h.Difficulty != want.Difficulty:
		return refuse("difficulty %d, want %d", h.Difficulty, want.Difficulty)
	}
	return nil
}

// checkWork is C2.1 and C2.3: generation signature, VRF, eligibility, signature.
func (s *state) checkWork(parent *View, h *types.Header, acc *types.AccountRecord) error {
	if want := draw.NextGensig(parent.Head.Gensig, h.Miner, s.g.Vrf); h.Gensig != want {
		return refuse("generation signature %s, want %s", h.Gensig.Short(), want.Short())
	}
	power, err := s.power(acc, s.g, s.epoch)
	if err != nil {
		return err
	}
	if elapsed := h.Time - parent.Head.Time; !Eligible(h.Gensig, h.BaseTarget, power, elapsed) {
		return refuse("miner %s with power %d may not mine after %d ms", h.Miner.Short(), power, elapsed)
	}
	if _, err := draw.Verify(h.Miner, draw.Alpha(s.g.R, h.Height), h.Proof); err != nil {
		return refuse("VRF proof: %w", err)
	}
	digest := h.Digest()
	if !keys.Verify(h.Miner, digest[:], h.Signature) {
		return refuse("header has a wrong signature")
	}
	return nil
}

// Turn tells when an account may mine the block after v: the least time; false
// when it has no power.
func (v *View) Turn(a types.Account) (types.Millis, bool, error) {
	g, err := v.Globals()
	if err != nil {
		return 0, false, err
	}
	next := v.Head.Height + 1
	power, err := v.Power(a, v.Rules.EpochOf(next))
	if err != nil {
		return 0, false, err
	}
	target := NextTarget(v.Rules, next, v.Head.BaseTarget, g.Times)
	wait, ok := Wait(draw.NextGensig(v.Head.Gensig, a, g.Vrf), target, power)
	return v.Head.Time + wait, ok, nil
}
