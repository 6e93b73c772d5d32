package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
)

// TestServedInPlace: a node gives pieces that it keeps in place, and says "not
// hosted" of those whose file is gone; what it lists and its status name the risk.
func TestServedInPlace(t *testing.T) {
	n, _ := founder(t)
	folder := t.TempDir()
	film := make([]byte, 5<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(film)
	if err := os.WriteFile(filepath.Join(folder, "film"), film, 0o600); err != nil {
		t.Fatal(err)
	}
	o := library.PutOptions{Visibility: types.VisibilityPublic, InPlace: true}
	p, err := n.lib.Put(t.Context(), folder, o, library.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if p.InPlace < 4<<20 || p.Stored > 1<<20 {
		t.Fatalf("%d in place, %d stored", p.InPlace, p.Stored)
	}
	s, digest := served{n.current()}, placedPiece(t, n, film)
	if b, err := s.Piece(t.Context(), digest); err != nil || len(b) != types.PieceSize || !s.Has(t.Context(), digest) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if err := os.Remove(filepath.Join(folder, "film")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Piece(t.Context(), digest); !errors.Is(err, swarm.ErrNotHosted) || s.Has(t.Context(), digest) {
		t.Fatalf("of a file that is gone: %v", err)
	}
	list, err := n.list(t.Context(), api.RefRequest{}, nil)
	if err != nil || len(list.Datasets) != 1 || !list.Datasets[0].InPlace || list.Datasets[0].AtRisk != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if st, err := n.status("test"); err != nil || st.Stored.AtRisk != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
}

// placedPiece is a piece in the middle of the film that is kept in place.
func placedPiece(t *testing.T, n *Node, film []byte) (digest types.Hash) {
	t.Helper()
	found := false
	err := n.store.Scan("library/recipes", "", "", func(key string, _ []byte) error {
		h := types.Hash([]byte(key[:32]))
		b, err := n.lib.Piece(h)
		if err == nil && len(b) == types.PieceSize && string(b[1000:1010]) != string(make([]byte, 10)) {
			digest, found = h, true
		}
		return err
	})
	if err != nil || !found {
		t.Fatalf("no piece of %d bytes in place: %v", len(film), err)
	}
	return digest
}

// TestRetained: the daemon lets versions go that are not to be kept, but for those
// of its plans.
func TestRetained(t *testing.T) {
	n, _ := founder(t)
	folder := t.TempDir()
	keep, err := library.ParseKeep("yearly:1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(folder, "note"), fmt.Appendf(nil, "version %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1_700_000_000+i), 0)
		if err := os.Chtimes(filepath.Join(folder, "note"), at, at); err != nil {
			t.Fatal(err)
		}
		o := library.PutOptions{Name: "notes", Visibility: types.VisibilityPublic, Guard: true}
		if _, err := n.lib.Put(t.Context(), folder, o, library.Watch{}); err != nil {
			t.Fatal(err)
		}
	}
	res := new(api.PutResult)
	if err := n.retain(folder, "notes", keep, res); err != nil || len(res.Removed) != 2 {
		t.Fatalf("removed %q, %v", res.Removed, err)
	}
	held, err := n.lib.Datasets()
	if err != nil || len(held) != 1 {
		t.Fatalf("%d held, %v", len(held), err)
	}
	if sponsors, err := Sponsors(n.store); err != nil || sponsors {
		t.Fatalf("sponsors %v, %v", sponsors, err)
	}
	if err := n.setDuties(func(d *duties) { d.Sponsor = true }); err != nil {
		t.Fatal(err)
	}
	if sponsors, err := Sponsors(n.store); err != nil || !sponsors {
		t.Fatalf("sponsors %v, %v", sponsors, err)
	}
}
