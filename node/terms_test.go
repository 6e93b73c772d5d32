package node

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
)

// TestSpending: a call's bound holds over all of its downloads.
func TestSpending(t *testing.T) {
	limit, err := weiOf("0.000001")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	s := &spending{limit: limit, symbol: "OLD", spent: new(big.Int), tell: func(text string) { told = append(told, text) }}
	e := swarm.Estimate{Pieces: 10, Free: 4, Low: types.Wei(300 * types.WeiPerBase), High: types.Wei(1000 * types.WeiPerBase)}
	if err := s.offer(e); err != nil {
		t.Fatal(err)
	}
	want := "costs between 0.0000003 and 0.0000006 OLD, 4 of 10 pieces free"
	if len(told) != 1 || told[0] != want {
		t.Fatalf("told %q, want %q", told, want)
	}
	s.paid(types.Wei(600 * types.WeiPerBase))
	if err := s.offer(e); !errors.Is(err, ErrTooDear) || !strings.Contains(err.Error(), "0.0000006 OLD, and 0.0000004 are left of the highest price 0.000001") {
		t.Fatalf("error %v", err)
	}
	s.paid(types.Wei(600 * types.WeiPerBase))
	if left := s.left(); left.Sign() != 0 {
		t.Errorf("%s wei are left", left)
	}
	s.limit = nil
	if err := s.offer(e); err != nil || s.left() != nil {
		t.Errorf("without a bound: %v", err)
	}
}
