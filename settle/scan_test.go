package settle

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// unhex agrees with the library on every byte in every place, but for capitals.
func TestUnhex(t *testing.T) {
	for _, size := range []int{0, 1, 3, 4, 5, 20, 32} {
		good := bytes.Repeat([]byte("0123456789abcdef"), 4)[:2*size]
		want := make([]byte, size)
		if _, err := hex.Decode(want, good); err != nil {
			t.Fatal(err)
		}
		have := make([]byte, size)
		if !unhex(have, good) || !bytes.Equal(have, want) {
			t.Fatalf("%s reads as %x", good, have)
		}
		for at := range good {
			for c := range 256 {
				line := bytes.Clone(good)
				line[at] = byte(c)
				_, err := hex.Decode(want, line)
				ok := err == nil && (c < 'A' || c > 'F')
				if unhex(have, line) != ok || ok && !bytes.Equal(have, want) {
					t.Fatalf("%q reads as %x, want %x, %t", line, have, want, ok)
				}
			}
		}
	}
}
