package trie

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	hamt "github.com/filecoin-project/go-hamt-ipld/v3"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Limits of the map. MaxNode follows from the others: 32 places of 3 entries.
const (
	MaxKey   = 512     // bytes of a key; the shortest is 1
	MaxValue = 4096    // bytes of a value (S1)
	MaxNode  = 1 << 19 // bytes of an encoded node

	bitWidth   = 5
	bucketSize = 3                          // entries of one place before it becomes a node (fixed by the library)
	maxDepth   = 8 * sha256.Size / bitWidth // levels that a SHA-256 can tell apart
)

// ErrMalformed marks a node that no Map would have written.
var ErrMalformed = errors.New("malformed trie node")

func hashKey(key []byte) []byte {
	h := sha256.Sum256(key)
	return h[:]
}

func options() []hamt.Option {
	return []hamt.Option{hamt.UseTreeBitWidth(bitWidth), hamt.UseHashFunction(hashKey)}
}

// parseNode reads a node strictly: whatever it accepts encodes to the same bytes.
func parseNode(b []byte, n *hamt.Node) error {
	if len(b) > MaxNode {
		return fmt.Errorf("%w: %d bytes above limit %d", ErrMalformed, len(b), MaxNode)
	}
	if err := n.UnmarshalCBOR(bytes.NewReader(b)); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := checkNode(n); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var again bytes.Buffer
	again.Grow(len(b))
	if err := n.MarshalCBOR(&again); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again.Bytes(), b) {
		return fmt.Errorf("%w: %d bytes are not its canonical %d", ErrMalformed, len(b), again.Len())
	}
	return nil
}

func checkNode(n *hamt.Node) error {
	if n.Bitfield.BitLen() > 1<<bitWidth {
		return fmt.Errorf("bit field of %d bits above %d", n.Bitfield.BitLen(), 1<<bitWidth)
	}
	if bits := len(places(n)); bits != len(n.Pointers) {
		return fmt.Errorf("%d pointers for %d bits", len(n.Pointers), bits)
	}
	for _, p := range n.Pointers {
		if err := checkPointer(p); err != nil {
			return err
		}
	}
	return nil
}

func checkPointer(p *hamt.Pointer) error {
	if p.Link.Defined() {
		return checkLink(p.Link)
	}
	if len(p.KVs) == 0 || len(p.KVs) > bucketSize {
		return fmt.Errorf("bucket of %d entries, want 1 to %d", len(p.KVs), bucketSize)
	}
	for i, kv := range p.KVs {
		if i > 0 && bytes.Compare(p.KVs[i-1].Key, kv.Key) >= 0 {
			return fmt.Errorf("key %x out of order", kv.Key)
		}
		if err := checkEntry(kv.Key, kv.Value.Raw); err != nil {
			return err
		}
	}
	return nil
}

func checkLink(c cid.Cid) error {
	got, err := types.ParseCIDBytes(c.Bytes())
	if err != nil {
		return err
	}
	if got.Type() != cid.DagCBOR {
		return fmt.Errorf("link %s has codec %#x, want dag-cbor", c, got.Type())
	}
	return nil
}

func checkEntry(key, value []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("key of %d bytes, want 1 to %d", len(key), MaxKey)
	}
	if len(value) > MaxValue {
		return fmt.Errorf("value of %d bytes above limit %d", len(value), MaxValue)
	}
	if err := types.Canonical(value); err != nil {
		return fmt.Errorf("value is not canonical dag-cbor: %w", err)
	}
	return nil
}

// compact reports whether n may stand below the root: what fits one bucket
// must be one, else equal contents had several roots.
func compact(n *hamt.Node) bool {
	entries := 0
	for _, p := range n.Pointers {
		if p.Link.Defined() {
			return true
		}
		entries += len(p.KVs)
	}
	return entries > bucketSize
}

// places lists the numbers (0 to 31) of the bits that are set: place i belongs
// to pointer i.
func places(n *hamt.Node) []int {
	out := make([]int, 0, 1<<bitWidth)
	for i := range 1 << bitWidth {
		if n.Bitfield.Bit(i) == 1 {
			out = append(out, i)
		}
	}
	return out
}

// Links lists the child nodes that the encoded node b points to, in the order of
// the trie. Links inside values are not children.
func Links(b []byte) ([]cid.Cid, error) {
	var n hamt.Node
	if err := parseNode(b, &n); err != nil {
		return nil, err
	}
	var out []cid.Cid
	for _, p := range n.Pointers {
		if p.Link.Defined() {
			out = append(out, p.Link)
		}
	}
	return out, nil
}

// digit is the place of a key hash at a depth: 5 bits, most significant first.
func digit(hash []byte, depth int) int {
	d := 0
	for bit := depth * bitWidth; bit < (depth+1)*bitWidth; bit++ {
		d = d<<1 | int(hash[bit/8]>>(7-bit%8)&1)
	}
	return d
}
