package library

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// blocksOf makes blocks of some sizes, the last of them dag-pb.
func blocksOf(sizes ...int) (cids []cid.Cid, all [][]byte) {
	for i, n := range sizes {
		b := noise(uint64(i)+1, n)
		c := types.RawCID(b)
		if i == len(sizes)-1 {
			c = cid.NewCidV1(cid.DagProtobuf, c.Hash())
		}
		cids, all = append(cids, c), append(all, b)
	}
	return cids, all
}

// TestImport: blocks of all sizes come back whole, also those longer than a
// piece; what is removed is gone, and its room is given back.
func TestImport(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	cids, all := blocksOf(0, 1, types.PieceSize, types.PieceSize+1, MaxBlock, 5000)
	im, err := s.BeginImport("other.car\xff", 100)
	ok(t, err)
	for i, c := range cids {
		ok(t, im.Put(t.Context(), c, all[i]))
	}
	done, err := im.Commit(cids[5:])
	ok(t, err)
	want := Imported{Name: "other.car\ufffd", Roots: cids[5:], Blocks: 6, Bytes: done.Bytes, Added: done.Added}
	list, err := s.Imports()
	ok(t, err)
	if d := cmp.Diff([]Imported{want}, list, cmpopts.IgnoreUnexported(Imported{}), cmp.Comparer(func(a, b cid.Cid) bool { return a == b })); d != "" {
		t.Error(d)
	}
	for i, c := range cids {
		b, err := s.Block(c)
		ok(t, err)
		n, err := s.BlockSize(c)
		ok(t, err)
		if !bytes.Equal(b, all[i]) || n != len(b) {
			t.Errorf("block %d: %d bytes, said %d, want %d", i, len(b), n, len(all[i]))
		}
	}
	wantIs(t, s.RemoveImport(cids[1]), ErrNotHeld)
	ok(t, s.RemoveImport(cids[5]))
	for _, c := range cids[1:] {
		if _, err := s.Block(c); !missing(err) {
			t.Errorf("%s is still here: %v", c, err)
		}
	}
	if _, found, err := s.store.Get(tableSplit, string(cids[4].Hash()[2:])); found || err != nil {
		t.Errorf("the row of a split block stays: %v", err)
	}
	s.sound(t)
}

func missing(err error) bool {
	_, m := isMissing(err)
	return m
}

// TestImportRefused: a block that is not what its CID names, is too long or has
// another hash is not kept; an import that is given up leaves nothing.
func TestImportRefused(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	before := s.usage(t)
	im, err := s.BeginImport("bad.car", 0)
	ok(t, err)
	cids, all := blocksOf(1000, types.PieceSize+5)
	sha512, err := cid.Decode("bafkrgqhhyivzstcz3hhswshfjgy6ertgmnqeleynhwt4dlfsthi4hn7zgh4uvlsb5xncykzapi3ocd4lzogukir6ksdy6wzrnz6ohnv4aglcs")
	ok(t, err)
	for name, put := range map[string]func() error{
		"other bytes":       func() error { return im.Put(t.Context(), cids[0], all[0][1:]) },
		"other bytes, long": func() error { return im.Put(t.Context(), cids[0], all[1]) },
		"too long":          func() error { return im.Put(t.Context(), cids[0], make([]byte, MaxBlock+1)) },
		"another hash":      func() error { return im.Put(t.Context(), sha512, all[0]) },
		"no CID":            func() error { return im.Put(t.Context(), cid.Undef, all[0]) },
	} {
		if put() == nil {
			t.Errorf("%s was taken", name)
		}
	}
	ok(t, im.Put(t.Context(), cids[1], all[1]))
	ok(t, im.Abort())
	if list, err := s.Imports(); len(list) != 0 || err != nil {
		t.Errorf("%v %v", list, err)
	}
	if _, err := s.Block(cids[1]); !missing(err) {
		t.Errorf("an import that was given up stays: %v", err)
	}
	if after := s.usage(t); after.Live != before.Live {
		t.Errorf("%d bytes live, before %d", after.Live, before.Live)
	}
	s.sound(t)
}

// TestImportKilled: an import that dies is repeated, and what the first has kept
// does not stay twice.
func TestImportKilled(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	cids, all := blocksOf(300_000, 1000)
	im, err := s.BeginImport("films.car", 0)
	ok(t, err)
	ok(t, im.Put(t.Context(), cids[0], all[0]))
	s.close(t) // as a kill would

	s = openWith(t, dir, nil, store.Options{SegmentSize: 8 << 20})
	im, err = s.BeginImport("films.car", 0)
	ok(t, err)
	for i, c := range cids {
		ok(t, im.Put(t.Context(), c, all[i]))
	}
	_, err = im.Commit(cids[1:])
	ok(t, err)
	if left, err := s.Leftovers(); len(left) != 0 || err != nil {
		t.Errorf("left over: %v %v", left, err)
	}
	ok(t, s.RemoveImport(cids[1]))
	if _, err := s.Block(cids[0]); !missing(err) {
		t.Errorf("a killed import's pieces stay: %v", err)
	}
}
