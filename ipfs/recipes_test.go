package ipfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// stream is a folder whose files can only be read from their start.
type stream struct{ fs.FS }

func (s stream) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return struct{ fs.File }{f}, err
}

func TestRecipes(t *testing.T) {
	film := noise("film", 600<<10)
	known := map[types.Hash]Recipe{
		types.Digest(types.RawCID(film[:256<<10])):          {"film", 0, 256 << 10},
		types.Digest(types.RawCID(film[256<<10 : 512<<10])): {"film", 256 << 10, 256 << 10},
		types.Digest(types.RawCID(film[512<<10:])):          {"film", 512 << 10, 88 << 10},
		types.Digest(types.RawCID(nil)):                     {"empty", 0, 0},
		types.Digest(types.RawCID([]byte("gone"))):          {"gone", 0, 4},
		types.Digest(types.RawCID([]byte("past"))):          {"film", 600<<10 - 2, 4},
		types.Digest(types.RawCID([]byte("other"))):         {"film", 9, 5},
		types.Digest(types.RawCID([]byte("out"))):           {"../film", 0, 3},
		types.Digest(types.RawCID([]byte("big"))):           {"film", 0, 1 << 30},
	}
	broken := errors.New("index broken")
	find := func(_ context.Context, d types.Hash) (Recipe, bool, error) {
		if d == types.Digest(types.RawCID([]byte("broken"))) {
			return Recipe{}, false, broken
		}
		r, ok := known[d]
		return r, ok, nil
	}
	folder := fstest.MapFS{"film": {Data: film}, "empty": {}}
	for name, fsys := range map[string]fs.FS{"at random": folder, "in order": stream{folder}} {
		r := &Recipes{Folder: fsys, Find: find}
		for _, want := range [][]byte{film[:256<<10], film[256<<10 : 512<<10], film[512<<10:], {}} {
			c := types.RawCID(want)
			have, err := r.Get(t.Context(), c)
			size, err2 := r.Size(t.Context(), c)
			held, err3 := r.Has(t.Context(), c)
			if err := errors.Join(err, err2, err3); err != nil || !bytes.Equal(have, want) || size != len(want) || !held {
				t.Errorf("%s: block of %d bytes: %d, size %d, %v, %v", name, len(want), len(have), size, held, err)
			}
		}
		for text, want := range map[string]error{"gone": ErrChanged, "past": ErrChanged, "other": ErrChanged, "unknown": ErrNotHeld, "broken": broken} {
			if _, err := r.Get(t.Context(), types.RawCID([]byte(text))); !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", name, text, err, want)
			}
		}
		for _, text := range []string{"out", "big"} {
			if _, err := r.Get(t.Context(), types.RawCID([]byte(text))); err == nil {
				t.Errorf("%s: %s: no error", name, text)
			}
		}
		if held, err := r.Has(t.Context(), pbAs(types.RawCID(film[:256<<10]))); held || err != nil {
			t.Errorf("%s: a leaf as dag-pb: %v, %v", name, held, err)
		}
		var none *types.Missing
		if _, err := Several(r, newShelf()).Get(t.Context(), cid.NewCidV1(cid.DagCBOR, types.RawCID([]byte("x")).Hash())); !IsNotHeld(err) || errors.As(err, &none) {
			t.Errorf("%s: several without the block: %v", name, err)
		}
	}
}
