package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// indexBatch is how many entries of an index are in memory at once while it is
// built; a dataset of 32 GiB is one batch.
const indexBatch = 131072

// IndexKey is the key of a piece in the index: its number, from 1, in decimal.
func IndexKey(number uint32) string { return strconv.FormatUint(uint64(number), 10) }

// IndexValue is the value under it: a link to the piece.
func IndexValue(digest types.Hash) []byte {
	var e types.Encoder
	e.Link(types.RawCIDOf(digest))
	return e.Data()
}

// BuildIndex makes the index of m pieces and hands its blocks to emit, children
// first, the root last. Memory does not grow with m: entries are set in the
// order of their place in the trie, one part of it at a time, and what is
// complete leaves; digest is asked several times for each number when m is
// above 131,072.
func BuildIndex(m uint32, digest func(number uint32) types.Hash, emit func(types.Node) error) (cid.Cid, error) {
	if m == 0 {
		return cid.Undef, fmt.Errorf("index of no pieces")
	}
	return buildIndex(m, uint64((m-1)/indexBatch+1), digest, emit)
}

// buildIndex goes over the numbers once for each part of the trie.
func buildIndex(m uint32, parts uint64, digest func(uint32) types.Hash, emit func(types.Node) error) (cid.Cid, error) {
	edge := &edgeNodes{held: trie.Memory{}, used: trie.Memory{}}
	root := cid.Undef
	for part := range parts {
		var t *trie.Map // opened only for a part that is not empty: see edgeNodes
		for n := uint64(1); n <= uint64(m); n++ {
			key := IndexKey(uint32(n))
			if parts > 1 && indexPart(key, parts) != part {
				continue
			}
			var err error
			if t, err = edge.open(t, root); err != nil {
				return cid.Undef, err
			}
			if err := t.Set(key, IndexValue(digest(uint32(n)))); err != nil {
				return cid.Undef, err
			}
		}
		if t == nil {
			continue
		}
		var err error
		if root, err = edge.flush(t, emit); err != nil {
			return cid.Undef, err
		}
	}
	return root, edge.release(emit)
}

// indexPart says in which of equal parts of the trie a key lies: a question of
// the first bits of its SHA-256, by which the trie is ordered.
func indexPart(key string, parts uint64) uint64 {
	sum := sha256.Sum256([]byte(key))
	return uint64(binary.BigEndian.Uint32(sum[:4])) * parts >> 32
}

// edgeNodes holds the nodes of the last flush. Of those, the next part opens
// only the edge between the two, and replaces what it opens.
type edgeNodes struct {
	held  trie.Memory
	order []cid.Cid
	used  trie.Memory
}

// Node gives a node of the edge and notes that it will be replaced.
func (e *edgeNodes) Node(c cid.Cid) ([]byte, error) {
	b, err := e.held.Node(c)
	if err == nil {
		e.used[c] = nil
	}
	return b, err
}

// open gives t, or the map under root when t is not open yet.
func (e *edgeNodes) open(t *trie.Map, root cid.Cid) (*trie.Map, error) {
	if t != nil {
		return t, nil
	}
	if !root.Defined() {
		return trie.New(e), nil
	}
	return trie.Open(e, root)
}

// flush takes the new nodes of t and lets go of those before that stay.
func (e *edgeNodes) flush(t *trie.Map, emit func(types.Node) error) (cid.Cid, error) {
	root, nodes, err := t.Flush()
	if err != nil {
		return cid.Undef, err
	}
	if err := e.release(emit); err != nil {
		return cid.Undef, err
	}
	e.held, e.used, e.order = trie.Memory{}, trie.Memory{}, nil
	for _, n := range nodes {
		e.held[n.CID] = n.Bytes
		e.order = append(e.order, n.CID)
	}
	return root, nil
}

func (e *edgeNodes) release(emit func(types.Node) error) error {
	for _, c := range e.order {
		if _, replaced := e.used[c]; replaced {
			continue
		}
		if err := emit(types.Node{CID: c, Bytes: e.held[c]}); err != nil {
			return err
		}
	}
	return nil
}

// Index reads the index of a dataset. It belongs to one goroutine; any number
// may be open over one source.
type Index struct {
	m    uint32
	trie *trie.Map
}

// OpenIndex reads the index of m pieces under root. Errors wrap *types.Missing
// when a block is not held by src.
func OpenIndex(src trie.Source, root cid.Cid, m uint32) (*Index, error) {
	t, err := trie.Open(src, root)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	return &Index{m, t}, nil
}

// Piece gives the digest of the piece with that number, 1 to m. The error wraps
// *types.Missing when a block on the way is not held.
func (x *Index) Piece(number uint32) (types.Hash, error) {
	if number == 0 || number > x.m {
		return types.Hash{}, fmt.Errorf("piece %d of %d", number, x.m)
	}
	value, ok, err := x.trie.Get(IndexKey(number))
	if err != nil {
		return types.Hash{}, fmt.Errorf("look up piece %d: %w", number, err)
	}
	if !ok {
		return types.Hash{}, fmt.Errorf("piece %d of %d is not in the index", number, x.m)
	}
	return parseIndexValue(number, value)
}

func parseIndexValue(number uint32, value []byte) (types.Hash, error) {
	d := types.NewDecoder(value)
	c := d.Link()
	if err := d.End(); err != nil {
		return types.Hash{}, fmt.Errorf("index value of piece %d: %w", number, err)
	}
	if !c.Defined() || c.Prefix().Codec != cid.Raw {
		return types.Hash{}, fmt.Errorf("index value of piece %d is no link to a piece", number)
	}
	return types.Digest(c), nil
}

// Missing lists the first blocks on the way to count pieces from first that are
// not held: fetch them and ask again until the list is empty.
func (x *Index) Missing(first, count uint32) ([]cid.Cid, error) {
	if first == 0 || uint64(first)+uint64(count) > uint64(x.m)+1 {
		return nil, fmt.Errorf("pieces %d and %d more of %d", first, count, x.m)
	}
	keys := make([]string, count)
	for i := range keys {
		keys[i] = IndexKey(first + uint32(i))
	}
	return x.trie.Missing(keys)
}

// Check reads the whole index, which must be held, and says why it is not one
// of exactly the pieces 1 to m. It keeps no entry in memory.
func (x *Index) Check() error {
	var found uint32
	err := x.trie.Each(func(key string, value []byte) error {
		number, err := strconv.ParseUint(key, 10, 32)
		if err != nil || number == 0 || number > uint64(x.m) || IndexKey(uint32(number)) != key {
			return fmt.Errorf("key %.20q is no piece of %d", key, x.m)
		}
		found++
		_, err = parseIndexValue(uint32(number), value)
		return err
	})
	if err != nil {
		return fmt.Errorf("check index: %w", err)
	}
	if found != x.m {
		return fmt.Errorf("check index: %d pieces, want %d", found, x.m)
	}
	return nil
}
