package lines

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Findings are what the validators agreed on about one host besides its audit.
type Findings struct {
	NotServed bool         // most of the drawn testers say so (H5)
	Smash     []types.Hash // chunks whose SMASH answer was wrong
}

// Verdicts gives the verdict log about a host (ST3, H6.5): active for each
// piece of an active lot, audit against the pieces of lots that missed, serve
// against all of them when the host did not serve, smash against the chunks
// found. What is being replaced is not active: its pay has stopped (H4.1).
// Lines ascend.
func (s *Source) Verdicts(host types.Account, f Findings, emit Emit) error {
	missed, err := s.missed(host)
	if err != nil {
		return fmt.Errorf("audit of host %s: %w", host.Short(), err)
	}
	active := func(l *types.LotRecord) bool { return l.Status == types.LotActive }
	if err := s.farmer(host, active, verdictLine(settle.VerdictActive, true), emit); err != nil {
		return err
	}
	if err := s.farmer(host, missed, verdictLine(settle.VerdictAudit, false), emit); err != nil {
		return err
	}
	if f.NotServed {
		every := func(*types.LotRecord) bool { return true }
		if err := s.farmer(host, every, verdictLine(settle.VerdictServe, false), emit); err != nil {
			return err
		}
	}
	return s.smash(host.Address(), f.Smash, emit)
}

func verdictLine(kind settle.VerdictKind, ok bool) holder {
	return func(_ *kept, host types.Address) func([]byte, types.Hash) []byte {
		return func(dst []byte, chunk types.Hash) []byte {
			v := settle.Verdict{Kind: kind, Chunk: chunk, Farmer: host, OK: ok}
			return v.Append(dst, settle.Grammar{})
		}
	}
}

func (s *Source) smash(host types.Address, chunks []types.Hash, emit Emit) error {
	chunks = slices.Clone(chunks)
	slices.SortFunc(chunks, func(a, b types.Hash) int { return bytes.Compare(a[:], b[:]) })
	for _, c := range slices.Compact(chunks) {
		if !s.Shard.Holds(c[0], c[1]) {
			continue
		}
		v := settle.Verdict{Kind: settle.VerdictSmash, Chunk: c, Farmer: host}
		if err := emit(v.Append(nil, settle.Grammar{})); err != nil {
			return err
		}
	}
	return nil
}

// missed tells which lots a host did not show in the epoch: all without a claim
// or a bundle or after a lost dispute, else those of its missed samples (H6.5).
func (s *Source) missed(host types.Account) (func(*types.LotRecord) bool, error) {
	claim, err := s.Cut.Claim(s.Epoch, host)
	if err != nil {
		return nil, err
	}
	if claim == nil || claim.Bundle == nil || claim.Lost {
		return func(*types.LotRecord) bool { return true }, nil
	}
	rec, err := s.Cut.Epoch(s.Epoch)
	if err != nil {
		return nil, err
	}
	if rec.Beacon.IsZero() {
		return nil, fmt.Errorf("state at height %d has no beacon of epoch %d", s.Cut.Height(), s.Epoch)
	}
	lots, err := s.Frozen.MissedLots(host, &claim.Log, claim.Bundle, rec.Beacon)
	if err != nil {
		return nil, err
	}
	return func(l *types.LotRecord) bool {
		return slices.Contains(lots, types.LotOf(l.Plan, l.Copy, l.Index))
	}, nil
}
