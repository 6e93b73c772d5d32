package dht

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha1"
	"errors"
	"fmt"

	"github.com/staddle/staddle/dht/bencode"
	"github.com/staddle/staddle/types"
)

// Limits of BEP 44, in bytes.
const (
	MaxValueSize   = 1000 // the bencoded value
	MaxContentSize = 996  // what fits into it as one byte string
	MaxSaltSize    = 64
	// MaxChannelSize keeps the largest reply of an item of ours below the
	// smallest packet of IPv6, 1,280 bytes and headers apart.
	MaxChannelSize = 900
)

// Item is one value of the DHT (BEP 44). An immutable item has only Value; its
// target is the hash of it. A mutable item is signed by Key, and its target is
// the hash of key and salt.
type Item struct {
	Value   []byte // exact bencoding, at most 1,000 bytes
	Mutable bool
	Key     types.Account
	Salt    []byte // at most 64 bytes
	Seq     int64  // from 0; the highest wins
	Sig     types.Signature
}

// ImmutableTarget is the place of a value: SHA-1 of its bencoding (BEP 44).
func ImmutableTarget(value []byte) ID { return sha1.Sum(value) }

// MutableTarget is the place of what key signs under salt (BEP 44).
func MutableTarget(key types.Account, salt []byte) ID {
	return sha1.Sum(append(key[:len(key):len(key)], salt...))
}

// SignedBytes is what a mutable item's signature covers (BEP 44); value is
// bencoded. An empty salt is left out.
func SignedBytes(salt []byte, seq int64, value []byte) []byte {
	var out []byte
	if len(salt) > 0 {
		out = bencode.AppendBytes(append(out, "4:salt"...), salt)
	}
	out = bencode.AppendInt(append(out, "3:seq"...), seq)
	return append(append(out, "1:v"...), value...)
}

// Target is the item's place.
func (it Item) Target() ID {
	if it.Mutable {
		return MutableTarget(it.Key, it.Salt)
	}
	return ImmutableTarget(it.Value)
}

// Content is the byte string in Value; an error if Value is something else.
func (it Item) Content() ([]byte, error) {
	v, err := bencode.Decode(it.Value)
	if err != nil {
		return nil, fmt.Errorf("item %v: %w", it.Target(), err)
	}
	b, ok := v.Bytes()
	if !ok {
		return nil, fmt.Errorf("item %v holds no byte string", it.Target())
	}
	return bytes.Clone(b), nil
}

// check is the one place that decides whether an item may exist: sizes, and for
// a mutable one its number and signature.
func (it Item) check() *Error {
	switch {
	case len(it.Value) == 0:
		return refusal(CodeProtocol, "no value")
	case len(it.Value) > MaxValueSize:
		return refusal(CodeTooBig, fmt.Sprintf("value of %d bytes above limit %d", len(it.Value), MaxValueSize))
	case !it.Mutable:
		return nil
	case len(it.Salt) > MaxSaltSize:
		return refusal(CodeSaltTooBig, fmt.Sprintf("salt of %d bytes above limit %d", len(it.Salt), MaxSaltSize))
	case it.Seq < 0:
		return refusal(CodeProtocol, fmt.Sprintf("seq %d below 0", it.Seq))
	case !ed25519.Verify(it.Key[:], SignedBytes(it.Salt, it.Seq, it.Value), it.Sig[:]):
		return refusal(CodeBadSignature, "signature is wrong")
	}
	return nil
}

// clone copies what it holds, so that it does not keep a whole packet alive.
func (it Item) clone() Item {
	it.Value, it.Salt = bytes.Clone(it.Value), bytes.Clone(it.Salt)
	return it
}

// size is what the item costs in a store, its bookkeeping included, in bytes.
func (it Item) size() int { return len(it.Value) + len(it.Salt) + 400 }

// Signer signs a message with the account key that owns the item.
type Signer func(msg []byte) types.Signature

// ErrSize marks content or a salt above the limits of BEP 44.
var ErrSize = errors.New("above the limit of BEP 44")

// newImmutable wraps content of at most 996 bytes.
func newImmutable(content []byte) (Item, error) {
	if len(content) > MaxContentSize {
		return Item{}, fmt.Errorf("content of %d bytes, at most %d: %w", len(content), MaxContentSize, ErrSize)
	}
	return Item{Value: bencode.OfBytes(content)}, nil
}

// newMutable wraps and signs content, and checks the signature that sign made.
func newMutable(p MutablePut) (Item, error) {
	it, err := newImmutable(p.Content)
	if err != nil {
		return Item{}, err
	}
	if len(p.Salt) > MaxSaltSize {
		return Item{}, fmt.Errorf("salt of %d bytes, at most %d: %w", len(p.Salt), MaxSaltSize, ErrSize)
	}
	it.Mutable, it.Key, it.Salt, it.Seq = true, p.Key, bytes.Clone(p.Salt), p.Seq
	it.Sig = p.Sign(SignedBytes(it.Salt, it.Seq, it.Value))
	if wrong := it.check(); wrong != nil {
		return Item{}, fmt.Errorf("sign item: %w", wrong)
	}
	return it, nil
}
