package trie

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	hamt "github.com/filecoin-project/go-hamt-ipld/v3"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Map is a persistent map: a root in a Source and the changes since. It keeps
// in memory the nodes it has loaded or made; who builds a very large map calls
// Flush, stores the nodes and opens the root again.
type Map struct {
	blocks *blocks
	root   *hamt.Node
}

func newBlocks(src Source) *blocks {
	return &blocks{src: src, loaded: map[cid.Cid]struct{}{}, made: map[cid.Cid]*block{}}
}

// New is an empty map whose later nodes are read from src.
func New(src Source) *Map {
	b := newBlocks(src)
	root, err := hamt.NewNode(b, options()...)
	if err != nil {
		panic(err) // the options are constants that the library accepts
	}
	return &Map{blocks: b, root: root}
}

// Open is the map under root. The error is *types.Missing when the root node is
// not in src, ErrMalformed when it is no trie node.
func Open(src Source, root cid.Cid) (*Map, error) {
	b := newBlocks(src)
	n, err := hamt.LoadNode(context.Background(), b, root, options()...)
	if err != nil {
		return nil, fmt.Errorf("open trie %s: %w", root, malformed(err))
	}
	return &Map{blocks: b, root: n}, nil
}

// malformed gives the library's complaint about a node our own name.
func malformed(err error) error {
	if errors.Is(err, hamt.ErrMalformedHamt) {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}

// Get is the value under key, and whether there is one. The error wraps
// *types.Missing when a node on the way is not held.
func (m *Map) Get(key string) ([]byte, bool, error) {
	found, value, err := m.root.FindRaw(context.Background(), key)
	if err != nil {
		return nil, false, fmt.Errorf("get key %q: %w", clip(key), malformed(err))
	}
	return slices.Clone(value), found, nil
}

// Set puts value, one canonical dag-cbor value of at most MaxValue bytes, under
// key, 1 to MaxKey raw bytes. On an error the map is unchanged; it wraps
// *types.Missing when a node on the way is not held.
func (m *Map) Set(key string, value []byte) error {
	if err := checkEntry([]byte(key), value); err != nil {
		return fmt.Errorf("set key %q: %w", clip(key), err)
	}
	if err := m.root.SetRaw(context.Background(), key, bytes.Clone(value)); err != nil {
		return fmt.Errorf("set key %q: %w", clip(key), malformed(err))
	}
	return nil
}

// Delete removes key and reports whether it was there. Errors as for Get.
func (m *Map) Delete(key string) (bool, error) {
	found, err := m.root.Delete(context.Background(), key)
	if err != nil {
		return false, fmt.Errorf("delete key %q: %w", clip(key), malformed(err))
	}
	return found, nil
}

// Missing lists, sorted, the first node on the way to each key that the Source
// does not hold. Fetch them all and ask again: rounds are bounded by the depth
// of the trie, not by the number of keys. An empty list means that Get, Set and
// Delete of these keys cannot meet *types.Missing.
func (m *Map) Missing(keys []string) ([]cid.Cid, error) {
	m.blocks.gaps = map[cid.Cid]struct{}{}
	defer func() { m.blocks.gaps = nil }()
	for _, key := range keys {
		_, _, err := m.root.FindRaw(context.Background(), key)
		var gap *types.Missing
		if err != nil && !errors.As(err, &gap) {
			return nil, fmt.Errorf("look for gaps to key %q: %w", clip(key), malformed(err))
		}
	}
	byBytes := func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) }
	return slices.SortedFunc(maps.Keys(m.blocks.gaps), byBytes), nil
}

// Flush gives the root and the nodes that are neither in the Source nor were
// given by an earlier Flush, children before parents. It writes nothing. The
// map stays usable, also before the nodes are stored.
func (m *Map) Flush() (cid.Cid, []types.Node, error) {
	root, err := m.write()
	if err != nil {
		return cid.Undef, nil, err
	}
	kept := map[cid.Cid]*block{}
	nodes, err := m.blocks.collect(root, kept, nil)
	if err != nil {
		return cid.Undef, nil, fmt.Errorf("flush trie: %w", err)
	}
	m.blocks.made = kept
	return root, nodes, nil
}

// write encodes what changed into m.blocks.made.
func (m *Map) write() (cid.Cid, error) {
	root, err := m.root.Write(context.Background())
	if err != nil {
		return cid.Undef, fmt.Errorf("flush trie: %w", err)
	}
	return root, nil
}

// collect moves the made nodes under c to kept and appends those not yet handed
// out to nodes. What an iteration made and later changes replaced is dropped.
func (s *blocks) collect(c cid.Cid, kept map[cid.Cid]*block, nodes []types.Node) ([]types.Node, error) {
	b := s.made[c]
	if b == nil || kept[c] != nil {
		return nodes, nil
	}
	kept[c] = b
	links, err := Links(b.bytes)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if nodes, err = s.collect(l, kept, nodes); err != nil {
			return nil, err
		}
	}
	if !b.returned {
		b.returned = true
		nodes = append(nodes, types.Node{CID: c, Bytes: b.bytes})
	}
	return nodes, nil
}

func clip(key string) string {
	if len(key) > 40 {
		return key[:40] + "…"
	}
	return key
}
