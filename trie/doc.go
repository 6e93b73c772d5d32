// Package trie is the persistent map under the state of a community and the
// index of a dataset: raw-byte keys to canonical dag-cbor values, kept in
// content-addressed nodes (rule S1).
//
// It wraps go-hamt-ipld v3 with SHA-256 for keys and nodes and bit width 5. It
// writes nothing and never waits: nodes come from a Source that answers at once,
// with the bytes or with *types.Missing, and Flush hands the new nodes back.
// Equal contents give the equal root, in whatever order they were set.
//
// A Map belongs to one goroutine, readers included (reading fills caches inside
// it). Any number of Maps may be open over one Source.
package trie
