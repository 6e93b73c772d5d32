package store

import (
	"bytes"
	"testing"

	"github.com/staddle/staddle/types"
)

// TestPutKnown: it keeps what PutLazy keeps, and a false name is found out.
func TestPutKnown(t *testing.T) {
	s, err := Memory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Pieces().Reserve("me", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	piece := []byte("a piece")
	digest := types.Digest(types.RawCID(piece))
	if err := res.PutKnown(digest, piece); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Pieces().Get(digest); err != nil || !bytes.Equal(got, piece) {
		t.Fatalf("%q, %v", got, err)
	}
	if err := res.PutKnown(types.Hash{1}, piece); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Pieces().Get(types.Hash{1}); err == nil {
		t.Fatalf("a false name gives %q", got)
	}
	if err := res.PutKnown(digest, make([]byte, types.PieceSize+1)); err == nil {
		t.Fatal("a piece above the limit is taken")
	}
}
