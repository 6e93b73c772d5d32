package trie

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	hamt "github.com/filecoin-project/go-hamt-ipld/v3"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Source gives the bytes of a node, or *types.Missing when it is not held
// locally. It never waits for a network and need not verify what it gives.
type Source interface {
	Node(c cid.Cid) ([]byte, error)
}

// Memory is a Source in memory. It is not safe for use at once with Put.
type Memory map[cid.Cid][]byte

// Node gives the bytes that were put under c.
func (m Memory) Node(c cid.Cid) ([]byte, error) {
	b, ok := m[c]
	if !ok {
		return nil, &types.Missing{CID: c}
	}
	return b, nil
}

// Put keeps the nodes.
func (m Memory) Put(nodes []types.Node) {
	for _, n := range nodes {
		m[n.CID] = n.Bytes
	}
}

// blocks is the library's view of a Source. What the library puts stays here
// until Flush hands it out; the library's own store would hash with BLAKE2b.
type blocks struct {
	src    Source
	loaded map[cid.Cid]struct{} // in src for sure, so never handed out as new
	made   map[cid.Cid]*block
	gaps   map[cid.Cid]struct{} // while Missing runs: asked for in vain
}

type block struct {
	bytes    []byte
	returned bool // a Flush has handed it out
}

// bytes gives a node's bytes after checking them against its CID.
func (s *blocks) bytes(c cid.Cid) ([]byte, error) {
	if b, ok := s.made[c]; ok {
		return b.bytes, nil
	}
	if err := checkLink(c); err != nil {
		return nil, fmt.Errorf("node %s: %w", c, err)
	}
	if _, ok := s.gaps[c]; ok {
		return nil, &types.Missing{CID: c}
	}
	b, err := s.src.Node(c)
	if err != nil {
		return nil, s.note(err)
	}
	if len(b) > MaxNode {
		return nil, fmt.Errorf("node %s: %w: %d bytes above limit %d", c, ErrMalformed, len(b), MaxNode)
	}
	if got := types.NodeCID(b); got != c {
		return nil, fmt.Errorf("node %s: %w: bytes hash to %s", c, ErrMalformed, got)
	}
	return b, nil
}

func (s *blocks) note(err error) error {
	var gap *types.Missing
	if s.gaps != nil && errors.As(err, &gap) {
		s.gaps[gap.CID] = struct{}{}
	}
	return err
}

func (s *blocks) parse(c cid.Cid, n *hamt.Node) error {
	b, err := s.bytes(c)
	if err != nil {
		return err
	}
	if err := parseNode(b, n); err != nil {
		return fmt.Errorf("node %s: %w", c, err)
	}
	return nil
}

// Get is called by the library to load a node.
func (s *blocks) Get(_ context.Context, c cid.Cid, out any) error {
	n, ok := out.(*hamt.Node)
	if !ok {
		return fmt.Errorf("load %s into %T, want a trie node", c, out)
	}
	if err := s.parse(c, n); err != nil {
		return err
	}
	s.loaded[c] = struct{}{}
	return nil
}

// Put is called by the library to write a node.
func (s *blocks) Put(_ context.Context, v any) (cid.Cid, error) {
	n, ok := v.(*hamt.Node)
	if !ok {
		return cid.Undef, fmt.Errorf("write %T, want a trie node", v)
	}
	var buf bytes.Buffer
	if err := n.MarshalCBOR(&buf); err != nil {
		return cid.Undef, fmt.Errorf("encode trie node: %w", err)
	}
	c := types.NodeCID(buf.Bytes())
	if _, known := s.loaded[c]; !known && s.made[c] == nil {
		s.made[c] = &block{bytes: buf.Bytes()}
	}
	return c, nil
}
