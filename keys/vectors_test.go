package keys

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

// golden reads the vectors of that name, after writing want when -update is set
// and want is not nil.
func golden[T any](t *testing.T, name string, want []T) (have []T) {
	t.Helper()
	path := filepath.Join("..", "spec", "vectors", name)
	if *update && want != nil {
		b, err := json.MarshalIndent(want, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &have); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return have
}

// unhex reads hex of exactly 32 bytes.
func unhex(t *testing.T, s string) (out [32]byte) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(out) {
		t.Fatalf("hex %q: %d bytes, %v", s, len(b), err)
	}
	copy(out[:], b)
	return out
}
