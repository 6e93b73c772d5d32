package validate

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// askSmash asks the host for its answers to the secrets that buyers published,
// to at most four of them, the same for all testers.
func (v *Validator) askSmash(ctx context.Context, k testKey, t *test) error {
	secrets, err := v.secrets(ctx, k)
	if err != nil {
		return err
	}
	for _, s := range secrets {
		wrong, answer := v.smashWrong(ctx, k.host, &s)
		if !wrong {
			continue
		}
		t.smash = append(t.smash, s.chunk)
		err := v.save(types.Row{Key: epochKey(keyAnswer, k.epoch, types.Hash(k.host), s.chunk), Value: answer[:]})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(t.smash, compareHashes)
	t.smash = slices.Compact(t.smash)
	return nil
}

// secret is a buyer's SMASH for a chunk.
type secret struct {
	chunk types.Hash
	smash replica.Smash
	rank  types.Hash
}

// secrets draws them out of the buyers' exceptions, for chunks of the host.
func (v *Validator) secrets(ctx context.Context, k testKey) (list []secret, err error) {
	now, err := v.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	all, err := v.publishedSecrets(now, k)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	kept, err := v.chunksOf(ctx, now, k)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if _, found := slices.BinarySearchFunc(kept, s.chunk, compareHashes); found {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b secret) int { return compareHashes(a.rank, b.rank) })
	return list[:min(len(list), maxSmash)], nil
}

func (v *Validator) publishedSecrets(now *consensus.View, k testKey) (all []secret, err error) {
	for _, u := range v.heldLogs(k.epoch) {
		claim, err := now.Claim(k.epoch, u.Account)
		if err != nil {
			return nil, err
		}
		if claim != nil && consensus.Late(now.Rules, claim) {
			continue // of late logs receipts count alone
		}
		ev, err := v.evidenceOf(now, k.epoch, u)
		if err != nil {
			return nil, err
		}
		for _, line := range ev.exceptions.Of(types.LogBuyer, lines.OpReplace) {
			b, err := settle.ParseBuyer(line, settle.Grammar{})
			if err != nil || b.Smash == "" {
				continue
			}
			raw, err := hex.DecodeString(b.Smash)
			if err != nil {
				continue
			}
			s := secret{chunk: b.Chunk, rank: types.H("staddle/serve/smash/1", k.beacon[:], k.host[:], b.Chunk[:])}
			if types.Unmarshal(raw, &s.smash) == nil {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// chunksOf lists the chunks that a host claims, ascending.
func (v *Validator) chunksOf(ctx context.Context, now *consensus.View, k testKey) (list []types.Hash, err error) {
	frozen, err := now.Frozen(k.epoch)
	if err != nil {
		return nil, err
	}
	src := &lines.Source{Epoch: k.epoch, Frozen: frozen, Cut: now, Digests: func(a *types.Attachment, r types.Range) ([]types.Hash, error) {
		return v.cfg.Digests(ctx, a, r)
	}}
	err = src.Farmer(k.host, func(line []byte) error {
		f, err := settle.ParseFarmer(line, settle.Grammar{})
		list = append(list, f.Chunk)
		return err
	})
	return slices.Compact(list), err
}

// smashWrong asks for one answer. A wrong one counts unless the piece, which
// the host then has to show, proves that the buyer's mask is the false one. No
// answer at all is a matter of service.
func (v *Validator) smashWrong(ctx context.Context, host types.Account, s *secret) (wrong bool, answer types.Hash) {
	ask, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	answer, err := v.cfg.Peers.Smash(ask, host, s.chunk, types.Hash(s.smash.Seed))
	if err != nil || s.smash.CheckAnswer(answer) == nil {
		return false, answer
	}
	piece, err := v.fetchOnce(ctx, host, s.chunk)
	if err != nil {
		return ctx.Err() == nil, answer
	}
	right, err := replica.ASH(piece, s.smash.Seed)
	return err == nil && replica.Mask(right) == s.smash.Mask, answer
}
