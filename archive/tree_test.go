package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	format "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// treeVector is one folder of spec/vectors/ipfs-tree.json.
type treeVector struct {
	Name   string
	Hidden bool
	Files  []struct {
		Path, Seed, Link string
		Size             int
	}
	Many *struct {
		Count   int
		Pattern string
	}
	Root string
}

// seeded is n bytes as the vectors describe them.
func seeded(seed string, n int) []byte {
	var block []byte
	for i := 0; len(block) < 1000; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i))
		block = append(block, h[:]...)
	}
	return bytes.Repeat(block[:1000], n/1000+1)[:n]
}

func (v *treeVector) folder() fstest.MapFS {
	m := fstest.MapFS{}
	for _, f := range v.Files {
		if f.Link != "" {
			m[f.Path] = &fstest.MapFile{Data: []byte(f.Link), Mode: fs.ModeSymlink | fs.ModePerm}
			continue
		}
		m[f.Path] = &fstest.MapFile{Data: seeded(f.Seed, f.Size)}
	}
	if v.Many != nil {
		for i := range v.Many.Count {
			m[fmt.Sprintf(v.Many.Pattern, i)] = &fstest.MapFile{Data: fmt.Append(nil, i)}
		}
	}
	return m
}

// grown is what a walk over a folder gave.
type grown struct {
	root   cid.Cid
	nodes  map[cid.Cid][]byte
	leaves map[cid.Cid]Recipe
	totals TreeTotals
	warned []Warning
}

func grow(t testing.TB, fsys fs.FS, o TreeOptions) *grown {
	t.Helper()
	g := &grown{nodes: map[cid.Cid][]byte{}, leaves: map[cid.Cid]Recipe{}}
	o.Warn = func(w Warning) { g.warned = append(g.warned, w) }
	tree := NewTree(fsys, o, TreeSink{
		Node: func(n types.Node) error {
			g.nodes[n.CID] = n.Bytes
			return nil
		},
		Leaf: func(r Recipe) error {
			g.leaves[types.RawCIDOf(r.Digest)] = r
			return nil
		},
	})
	var err error
	if g.root, err = tree.Root(); err != nil {
		t.Fatal(err)
	}
	g.totals = tree.Totals
	return g
}

// Folders get the CIDs that kubo 0.42 gave them.
func TestTreeVectors(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "spec", "vectors", "ipfs-tree.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		About string
		Cases []treeVector
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Cases {
		t.Run(v.Name, func(t *testing.T) {
			folder := v.folder()
			g := grow(t, folder, TreeOptions{Hidden: v.Hidden})
			if g.root.String() != v.Root {
				t.Fatalf("root %s, want %s", g.root, v.Root)
			}
			g.check(t, folder)
		})
	}
	if len(file.Cases) != 8 {
		t.Errorf("%d cases", len(file.Cases))
	}
}

// check makes the leaves from their recipes and finds every block below the root
// and no other.
func (g *grown) check(t *testing.T, folder fstest.MapFS) {
	t.Helper()
	seen := map[cid.Cid]bool{}
	var size func(c cid.Cid) uint64
	size = func(c cid.Cid) uint64 {
		seen[c] = true
		if r, ok := g.leaves[c]; ok {
			b := folder[r.Path].Data
			if PieceDigest(b[r.Offset:r.Offset+int64(r.Size)]) != r.Digest {
				t.Errorf("leaf %s is not at %+v", c, r)
			}
			return uint64(r.Size)
		}
		n, err := merkledag.DecodeProtobuf(g.nodes[c])
		if err != nil {
			t.Fatalf("block %s: %v", c, err)
		}
		sum := uint64(len(g.nodes[c]))
		for _, l := range n.Links() {
			below := size(l.Cid)
			if below != l.Size {
				t.Errorf("link %q says %d bytes, below are %d", l.Name, l.Size, below)
			}
			sum += below
		}
		return sum
	}
	if have := size(g.root); have != g.totals.Size {
		t.Errorf("%d bytes of blocks, said %d", have, g.totals.Size)
	}
	if len(seen) != len(g.nodes)+len(g.leaves) {
		t.Errorf("%d blocks below the root, %d made", len(seen), len(g.nodes)+len(g.leaves))
	}
}

func TestTreeTotals(t *testing.T) {
	folder := fstest.MapFS{
		"a":        {Data: seeded("a", 10)},
		"d/b":      {Data: seeded("b", 300_000)},
		"d/l":      {Data: []byte("b"), Mode: fs.ModeSymlink},
		"d/.h/x":   {Data: []byte("x")},
		"pipe":     {Mode: fs.ModeNamedPipe},
		"bad\xff":  {Data: []byte("x")},
		"d/e/none": {},
	}
	g := grow(t, folder, TreeOptions{})
	want := TreeTotals{Files: 3, Dirs: 3, Links: 1, Bytes: 300_010, Size: g.totals.Size}
	if diff := cmp.Diff(want, g.totals); diff != "" {
		t.Error(diff)
	}
	warned := []Warning{{"bad\xff", "the name is not UTF-8"}, {"pipe", "is a named pipe"}}
	if diff := cmp.Diff(warned, g.warned); diff != "" {
		t.Error(diff)
	}
	_, err := NewTree(folder, TreeOptions{Strict: true}, TreeSink{
		Node: func(types.Node) error { return nil }, Leaf: func(Recipe) error { return nil },
	}).Root()
	if w := new(Warning); !errors.As(err, &w) || *w != warned[0] {
		t.Errorf("strict: %v", err)
	}
}

func TestTreeErrors(t *testing.T) {
	folder := fstest.MapFS{"a": {Data: []byte("a")}}
	full := errors.New("disk full")
	no := func(types.Node) error { return full }
	yes := func(types.Node) error { return nil }
	for name, sink := range map[string]TreeSink{
		"node": {Node: no, Leaf: func(Recipe) error { return nil }},
		"leaf": {Node: yes, Leaf: func(Recipe) error { return full }},
	} {
		if _, err := NewTree(folder, TreeOptions{}, sink).Root(); !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewTree(os.DirFS(filepath.Join(t.TempDir(), "none")), TreeOptions{}, TreeSink{}).Root(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// Shards of any set of names are those of the library that importers use.
func TestShardEqualsImporter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9 _.-]{1,20}`), 1, 600, rapid.ID).Draw(rt, "names")
		store := blockstore.NewBlockstore(datastore.NewMapDatastore())
		shard, err := hamt.NewShard(merkledag.NewDAGService(blockservice.New(store, offline.Exchange(store))), shardWidth)
		if err != nil {
			rt.Fatal(err)
		}
		shard.SetCidBuilder(cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12})
		var entries []treeEntry
		for i, name := range names {
			leaf := unixfsLink{types.RawCID([]byte(name)), uint64(i), uint64(i)}
			entries = append(entries, treeEntry{name, leaf})
			if err := shard.SetLink(context.Background(), name, &format.Link{Cid: leaf.cid, Size: leaf.tree}); err != nil {
				rt.Fatal(err)
			}
		}
		want, err := shard.Node()
		if err != nil {
			rt.Fatal(err)
		}
		tree := NewTree(nil, TreeOptions{}, TreeSink{Node: func(types.Node) error { return nil }})
		have, err := tree.shard(hashNames(entries), 0)
		if err != nil || have.cid != want.Cid() {
			rt.Fatalf("%s, want %s: %v", have.cid, want.Cid(), err)
		}
		if size, err := want.Size(); err != nil || size != have.tree {
			rt.Fatalf("%d bytes, want %d: %v", have.tree, size, err)
		}
	})
}

func TestRecipes(t *testing.T) {
	digest := PieceDigest([]byte("x"))
	good := &Recipe{Digest: digest, Path: "a/b ü.txt", Offset: 1 << 40, Size: types.PieceSize}
	b := MarshalRecipe(good)
	if have := fmt.Sprintf("%x", b); have != "836a612f6220c3bc2e7478741b00000100000000001a00040000" {
		t.Errorf("encoded %s", have)
	}
	back, err := ParseRecipe(digest, b)
	if err != nil || *back != *good {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, bad := range map[string][]byte{
		"empty":         nil,
		"trailing":      append(bytes.Clone(b), 0),
		"cut":           b[:len(b)-1],
		"out of folder": MarshalRecipe(&Recipe{Path: "../x", Size: 1}),
		"absolute":      MarshalRecipe(&Recipe{Path: "/x", Size: 1}),
		"folder":        MarshalRecipe(&Recipe{Path: ".", Size: 1}),
		"too big":       MarshalRecipe(&Recipe{Path: "x", Size: types.PieceSize + 1}),
		"negative":      MarshalRecipe(&Recipe{Path: "x", Offset: -1, Size: 1}),
		"long path":     MarshalRecipe(&Recipe{Path: strings.Repeat("x", MaxPath+1), Size: 1}),
		"long":          make([]byte, MaxRecipe+1),
	} {
		if r, err := ParseRecipe(digest, bad); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzParseRecipe(f *testing.F) {
	f.Add(MarshalRecipe(&Recipe{Path: "a/b", Offset: 262144, Size: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecipe(types.Hash{}, b)
		if err == nil && !bytes.Equal(MarshalRecipe(r), b) {
			t.Errorf("%x reads as %+v", b, r)
		}
	})
}
