package trie

import (
	"crypto/sha256"
	"fmt"

	hamt "github.com/filecoin-project/go-hamt-ipld/v3"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Each calls fn with every entry, ordered by the place of the key's SHA-256 in
// the trie and inside a bucket by key; the order depends only on the contents.
// fn may keep the value and must not change or flush the map. An error of fn
// ends the walk and is given back as it is. Memory does not grow with the map.
//
// Every entry is checked to stand where its key belongs, so a trie made by a
// stranger can neither show a key twice nor send the walk in circles.
func (m *Map) Each(fn func(key string, value []byte) error) error {
	root, err := m.write()
	if err != nil {
		return err
	}
	return m.blocks.each(root, nil, fn)
}

func (s *blocks) each(c cid.Cid, path []int, fn func(string, []byte) error) error {
	if len(path) >= maxDepth {
		return fmt.Errorf("node %s: %w: deeper than %d levels", c, ErrMalformed, maxDepth)
	}
	var n hamt.Node
	if err := s.parse(c, &n); err != nil {
		return fmt.Errorf("walk trie: %w", err)
	}
	if len(path) > 0 && !compact(&n) {
		return fmt.Errorf("node %s: %w: fits a bucket of its parent", c, ErrMalformed)
	}
	for i, place := range places(&n) {
		if err := s.eachPointer(n.Pointers[i], append(path, place), fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *blocks) eachPointer(p *hamt.Pointer, path []int, fn func(string, []byte) error) error {
	if p.Link.Defined() {
		return s.each(p.Link, path, fn)
	}
	for _, kv := range p.KVs {
		if !belongs(kv.Key, path) {
			return fmt.Errorf("walk trie: %w: key %q is out of place", ErrMalformed, clip(string(kv.Key)))
		}
		if err := fn(string(kv.Key), kv.Value.Raw); err != nil {
			return err
		}
	}
	return nil
}

func belongs(key []byte, path []int) bool {
	h := sha256.Sum256(key)
	for depth, place := range path {
		if digit(h[:], depth) != place {
			return false
		}
	}
	return true
}

// recorder notes the nodes that were read through it.
type recorder struct {
	src   Source
	nodes []types.Node
}

func (r *recorder) Node(c cid.Cid) ([]byte, error) {
	b, err := r.src.Node(c)
	if err == nil {
		r.nodes = append(r.nodes, types.Node{CID: c, Bytes: b})
	}
	return b, err
}

// Path gives the nodes from root to where key is or would be, the root first:
// a proof of its value or of its absence. Who holds the root puts them in a
// Memory, opens the root and asks for key.
func Path(src Source, root cid.Cid, key string) ([]types.Node, error) {
	r := &recorder{src: src}
	m, err := Open(r, root)
	if err != nil {
		return nil, err
	}
	if _, _, err := m.Get(key); err != nil {
		return nil, err
	}
	return r.nodes, nil
}
