package store

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

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

// TestAdopt: an owner more keeps a piece, at no cost, and once.
func TestAdopt(t *testing.T) {
	s, err := Memory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, err := s.Pieces().Reserve("first", 100)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := first.Put([]byte("a piece"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Pieces().Reserve("second", 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if ok, err := second.Adopt(digest); err != nil || !ok {
			t.Fatalf("adopt: %v, %v", ok, err)
		}
	}
	if ok, err := second.Adopt(types.Hash{1}); err != nil || ok {
		t.Fatalf("adopt what is not there: %v, %v", ok, err)
	}
	if err := second.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"first", "second"} {
		if ok, err := s.Pieces().Has(digest); err != nil || !ok {
			t.Fatalf("before %s lets go: %v, %v", owner, ok, err)
		}
		if err := s.Pieces().Release(owner); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := s.Pieces().Has(digest); err != nil || ok {
		t.Fatalf("in the end: %v, %v", ok, err)
	}
	if _, err := second.Adopt(digest); err == nil {
		t.Fatal("a settled reservation adopts")
	}
}

// TestPutKnownAhead: many pieces from several sides, with syncs under way, are all
// there after Commit and a new start.
func TestPutKnownAhead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const pieces = 600
	res, err := s.Pieces().Reserve("me", pieces*types.PieceSize)
	if err != nil {
		t.Fatal(err)
	}
	piece := func(i int) []byte {
		b := make([]byte, types.PieceSize)
		copy(b, types.Be64(uint64(i)))
		return b
	}
	var work errgroup.Group
	for side := range 3 {
		work.Go(func() error {
			for i := side; i < pieces; i += 3 {
				b := piece(i)
				if err := res.PutKnown(types.Digest(types.RawCID(b)), b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := errors.Join(work.Wait(), res.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range pieces {
		if got, err := s.Pieces().Get(types.Digest(types.RawCID(piece(i)))); err != nil || !bytes.Equal(got, piece(i)) {
			t.Fatalf("piece %d: %v", i, err)
		}
	}
}
