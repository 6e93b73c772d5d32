package types

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// cidSize is the binary length of a CIDv1 with a one-byte codec and SHA-256.
const cidSize = 36

// NodeCID is the CID of a state block: CIDv1, dag-cbor, SHA-256.
func NodeCID(b []byte) cid.Cid { return makeCID(cid.DagCBOR, sha256.Sum256(b)) }

// RawCID is the CID of a piece: CIDv1, raw, SHA-256 (G6).
func RawCID(b []byte) cid.Cid { return makeCID(cid.Raw, sha256.Sum256(b)) }

// RawCIDOf is the CID of the piece with that digest.
func RawCIDOf(digest Hash) cid.Cid { return makeCID(cid.Raw, digest) }

// NodeCIDOf is the CID of the state block with that digest.
func NodeCIDOf(digest Hash) cid.Cid { return makeCID(cid.DagCBOR, digest) }

func makeCID(codec uint64, digest [32]byte) cid.Cid {
	mh, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // 32 bytes of SHA-256 always encode
	}
	return cid.NewCidV1(codec, mh)
}

// Digest is the SHA-256 digest inside c; zero when c is undefined.
func Digest(c cid.Cid) (h Hash) {
	if c.Defined() {
		mh := c.Hash()
		copy(h[:], mh[len(mh)-HashSize:])
	}
	return h
}

// ParseCIDBytes reads a binary CIDv1 with SHA-256 and codec raw, dag-cbor or
// dag-pb; everything else is refused, identity hashes included.
func ParseCIDBytes(b []byte) (cid.Cid, error) {
	if len(b) != cidSize || b[0] != 1 || !bytes.Equal(b[2:4], []byte{multihash.SHA2_256, HashSize}) {
		return cid.Undef, fmt.Errorf("link of %d bytes is not a CIDv1 with SHA-256", len(b))
	}
	if b[1] != cid.Raw && b[1] != cid.DagCBOR && b[1] != cid.DagProtobuf {
		return cid.Undef, fmt.Errorf("link has codec %#x, want raw, dag-cbor or dag-pb", b[1])
	}
	return cid.Cast(b)
}

// Missing is the error of a lookup of a block that is not held locally.
type Missing struct{ CID cid.Cid }

// Error names the block.
func (m *Missing) Error() string { return "block " + m.CID.String() + " is not held locally" }

// Node is one block of state: its CID and its bytes.
type Node struct {
	CID   cid.Cid
	Bytes []byte
}

// NewNode names the bytes of a dag-cbor block.
func NewNode(b []byte) Node { return Node{CID: NodeCID(b), Bytes: b} }
