package archive

import (
	"testing"

	"github.com/staddle/staddle/types"
)

// BenchmarkSeal measures what privacy costs a put on one core.
func BenchmarkSeal(b *testing.B) {
	s, err := NewSealer(SealOptions{Key: sealKey}, dropAll{})
	if err != nil {
		b.Fatal(err)
	}
	data := noise(1, types.PieceSize)
	b.SetBytes(types.PieceSize)
	digest := PieceDigest(data)
	for n := uint32(1); b.Loop(); n++ {
		if err := s.Piece(n, digest, data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnseal measures what it costs a get.
func BenchmarkUnseal(b *testing.B) {
	_, _, _, out := sealFolder(b, sealFiles, SealOptions{Key: sealKey})
	u, err := Unseal(sealKey, uint32(len(out.pieces)), out.piece)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := out.piece(3)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(types.PieceSize)
	for b.Loop() {
		if _, err := u.Open(3, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// dropAll keeps nothing.
type dropAll struct{}

func (dropAll) Piece(uint32, types.Hash, []byte) error { return nil }
func (dropAll) Node(types.Node) error                  { return nil }
