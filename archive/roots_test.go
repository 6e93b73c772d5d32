package archive

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	boxochunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// imported is what boxo's importer makes of data: raw leaves, CIDv1, balanced.
func imported(t *testing.T, data []byte, size int64) (root cid.Cid, store blockstore.Blockstore) {
	t.Helper()
	store = blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	p := helpers.DagBuilderParams{
		Dagserv:    merkledag.NewDAGService(blockservice.New(store, offline.Exchange(store))),
		Maxlinks:   174,
		RawLeaves:  true,
		CidBuilder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12, MhLength: -1},
	}
	b, err := p.New(splitter(data, size))
	if err != nil {
		t.Fatal(err)
	}
	n, err := balanced.Layout(b)
	if err != nil {
		t.Fatal(err)
	}
	return n.Cid(), store
}

func splitter(data []byte, size int64) boxochunk.Splitter {
	return boxochunk.NewSizeSplitter(bytes.NewReader(data), size)
}

func TestUnixFSEqualsImporter(t *testing.T) {
	if helpers.DefaultLinksPerBlock != unixfsWidth {
		t.Errorf("the importer's default is %d links, ours %d", helpers.DefaultLinksPerBlock, unixfsWidth)
	}
	const w = unixfsWidth
	for _, c := range []struct{ leaves, size, last int }{
		{1, 64, 64},
		{1, 64, 3},
		{2, 64, 64},
		{w, 64, 1},
		{w + 1, 64, 64},
		{2 * w, 64, 9},
		{2*w + 1, 64, 64},
		{w * w, 16, 16},
		{w*w + 1, 16, 5},
		{w*w + w + 1, 16, 16},
		{200, types.PieceSize, 1000},
	} {
		t.Run(fmt.Sprintf("%d leaves of %d", c.leaves, c.size), func(t *testing.T) {
			data := noise(uint64(c.leaves), (c.leaves-1)*c.size+c.last)
			want, store := imported(t, data, int64(c.size))
			u := NewUnixFS(func(n types.Node) error {
				if have, err := store.Has(context.Background(), n.CID); err != nil || !have {
					return fmt.Errorf("the importer made no block %s (%w)", n.CID, err)
				}
				return nil
			})
			for part := range slices.Chunk(data, c.size) {
				if err := u.Add(PieceDigest(part), len(part)); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := u.Root(); err != nil || got != want {
				t.Errorf("root %s, the importer's is %s (%v)", got, want, err)
			}
		})
	}
	t.Run("of a dataset", func(t *testing.T) {
		m, sink := mixedSet()
		if want, _ := imported(t, sink.tgz, types.PieceSize); m.UnixFS != want {
			t.Errorf("root %s, the importer's is %s", m.UnixFS, want)
		}
	})
	if got, err := NewUnixFS(nil).Root(); got.Defined() || err != nil {
		t.Errorf("root of nothing is %s (%v)", got, err)
	}
}

func TestIndex(t *testing.T) {
	m, sink := mixedSet()
	x, err := OpenIndex(trie.Memory(sink.nodes), m.Index, m.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range sink.pieces {
		if got, err := x.Piece(uint32(i + 1)); err != nil || got != want {
			t.Errorf("piece %d is %s, want %s (%v)", i+1, got, want, err)
		}
	}
	for _, n := range []uint32{0, m.Pieces + 1} {
		if _, err := x.Piece(n); err == nil {
			t.Errorf("piece %d of %d found", n, m.Pieces)
		}
	}
	if err := x.Check(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []uint32{m.Pieces - 1, m.Pieces + 1} {
		y, err := OpenIndex(trie.Memory(sink.nodes), m.Index, wrong)
		if err != nil {
			t.Fatal(err)
		}
		if err := y.Check(); err == nil {
			t.Errorf("an index of %d pieces passes for %d", m.Pieces, wrong)
		}
	}
	t.Run("missing", func(t *testing.T) { checkIndexMissing(t, m, sink) })
}

// checkIndexMissing fetches an index level by level.
func checkIndexMissing(t *testing.T, m Manifest, sink *memory) {
	held := trie.Memory{m.Index: sink.nodes[m.Index]}
	for rounds := 0; ; rounds++ {
		x, err := OpenIndex(held, m.Index, m.Pieces)
		if err != nil {
			t.Fatal(err)
		}
		gaps, err := x.Missing(1, m.Pieces)
		if err != nil || rounds > 10 {
			t.Fatalf("round %d: %v", rounds, err)
		}
		if len(gaps) == 0 {
			if err := x.Check(); err != nil {
				t.Error(err)
			}
			return
		}
		for _, c := range gaps {
			held[c] = sink.nodes[c]
		}
	}
}

// TestIndexParts: an index built in parts is the one built at once, and hands
// out the same blocks, each once.
func TestIndexParts(t *testing.T) {
	for _, m := range []uint32{1, 2, 100, 3000} {
		var want []string
		root, err := buildIndex(m, 1, numbered, func(n types.Node) error { want = append(want, n.CID.String()); return nil })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		for _, parts := range []uint64{2, 3, 16, 100} {
			var got []string
			again, err := buildIndex(m, parts, numbered, func(n types.Node) error { got = append(got, n.CID.String()); return nil })
			if err != nil || again != root {
				t.Fatalf("%d pieces in %d parts: root %s, want %s (%v)", m, parts, again, root, err)
			}
			if last := got[len(got)-1]; last != root.String() {
				t.Errorf("%d pieces in %d parts: %s comes last, not the root", m, parts, last)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d pieces in %d parts: blocks (-want +got)\n%s", m, parts, diff)
			}
		}
	}
	if _, err := BuildIndex(0, numbered, nil); err == nil {
		t.Error("index of nothing built")
	}
}

// TestIndexRefuses: entries that are no pieces.
func TestIndexRefuses(t *testing.T) {
	good := IndexValue(numbered(1))
	var dagCBOR, null types.Encoder
	dagCBOR.Link(types.NodeCID(nil))
	null.Link(cid.Undef)
	for name, entry := range map[string]struct {
		key   string
		value []byte
	}{
		"leading zero": {"01", good}, "sign": {"+1", good}, "zero": {"0", good}, "above": {"2", good},
		"text": {"one", good}, "no link": {"1", []byte{1}}, "link to state": {"1", dagCBOR.Data()}, "null": {"1", null.Data()},
		"two to the 32 and one": {"4294967297", good},
	} {
		store := trie.Memory{}
		tr := trie.New(store)
		if err := tr.Set(entry.key, entry.value); err != nil {
			t.Fatal(err)
		}
		root, nodes, err := tr.Flush()
		if err != nil {
			t.Fatal(err)
		}
		store.Put(nodes)
		x, err := OpenIndex(store, root, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Check(); err == nil {
			t.Errorf("%s: an index with %q passes", name, entry.key)
		}
		if _, err := x.Piece(1); err == nil || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: piece 1 found", name)
		}
	}
}
