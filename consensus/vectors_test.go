package consensus_test

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

// vectors reads a file of spec/vectors.
func vectors(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../spec/vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// number is a number above 2^53, in JSON a decimal string.
type number uint64

func (n *number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 10, 64)
	*n = number(v)
	return err
}
