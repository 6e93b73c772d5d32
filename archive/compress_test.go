package archive

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestStoredInPlace: a member whose bytes are read where they stay is what
// AppendStored makes of them, also when the file has become shorter since it was
// planned, and the digests of its pieces are right.
func TestStoredInPlace(t *testing.T) {
	data := noise(3, 2*StoredChunk+70000)
	for _, length := range []int{len(data), len(data) - 1, StoredChunk + storedBlock, StoredChunk, 100, 0} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			p, err := NewPlanner(folder(file{name: "film", data: data}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			c := NewCompressor(folder(file{name: "film", data: data[:length]}))
			for {
				m, err := p.Next()
				if err != nil {
					break
				}
				got, err := c.Compress([]byte("before"), m)
				if err != nil {
					t.Fatal(err)
				}
				if !m.Header {
					checkStored(t, m, got, append(bytes.Clone(data[:length]), make([]byte, len(data)+tarBlock-length)...), length)
				}
			}
		})
	}
}

func checkStored(t *testing.T, m Member, got Packed, padded []byte, length int) {
	t.Helper()
	payload := padded[m.Offset:][:m.Size]
	want := Packed{
		Bytes:   AppendStored([]byte("before"), append(bytes.Clone(payload), make([]byte, m.Pad)...)),
		Digest:  PieceDigest(payload),
		Changed: m.Size > 0 && int64(length) < m.Offset+m.Size,
	}
	for b := want.Bytes[len("before"):]; len(b) >= types.PieceSize; b = b[types.PieceSize:] {
		want.pieces = append(want.pieces, PieceDigest(b[:types.PieceSize]))
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Packed{})); d != "" {
		t.Fatalf("member at %d: %.300s", m.Offset, d)
	}
}
