package node

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
)

// TestLockAtCheckpoint: after the last block of an epoch nothing can be locked for
// it any more. A download that needs a lock just then has one in the epoch that
// comes, when its first block is there.
func TestLockAtCheckpoint(t *testing.T) {
	n, book := founder(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	town := n.current()
	rules := town.chain.Genesis().Rules
	changed, stop := town.chain.Watch()
	defer stop()
	at := func() types.Height { return town.chain.Tip().Header.Height }
	for e := rules.EpochOf(at()); at() != rules.Checkpoint(e); e = rules.EpochOf(at()) {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no checkpoint:\n%s", book.all())
		}
	}
	need := types.Amount(5 * types.Coin)
	lock := new(big.Int).Mul(types.Wei(uint64(need)), big.NewInt(types.WeiPerBase))
	if err := town.agree(swarm.Estimate{High: lock, Lock: lock}); err != nil {
		t.Fatalf("at the checkpoint: %v\n%s", err, book.all())
	}
	running := (facts{town}).Epoch()
	for _, e := range []types.Epoch{running, running + 1} {
		if have, err := (facts{town}).Lock(n.Account(), e); err != nil || have < need {
			t.Errorf("epoch %d, of %d running: %s locked, want %s: %v", e, running, have, need, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
