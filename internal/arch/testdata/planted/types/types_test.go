package types

import (
	"testing"
	"time"
)

func TestT1(t *testing.T) {
	ratio := 0.5
	for k := range map[string]time.Duration{"a": 1} {
		t.Log(k, ratio)
	}
}
