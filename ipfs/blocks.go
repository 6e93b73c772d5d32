package ipfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// Limits of one block, in bytes. Every implementation of bitswap carries blocks
// of 2 MiB; identity CIDs above 128 bytes are refused by the others too.
const (
	MaxBlock    = 2 << 20
	MaxIdentity = 128
)

// Refusals of a block or of a CID.
var (
	ErrHash     = errors.New("hash function is not accepted")
	ErrIdentity = errors.New("identity CID is too long")
	ErrTooBig   = errors.New("block is too big")
	ErrMismatch = errors.New("bytes are not what the CID names")
	ErrNotHeld  = errors.New("block is not held")
	errNoCID    = errors.New("CID is undefined")
)

// Blocks is a source of blocks. Get gives bytes whose hash was checked, which
// nobody changes afterwards; its error wraps *types.Missing or ErrNotHeld when
// the block is not there.
type Blocks interface {
	Get(ctx context.Context, c cid.Cid) ([]byte, error)
	Has(ctx context.Context, c cid.Cid) (bool, error)
}

// Sizer is what Blocks may offer besides: the length of a block without reading
// it. The errors are those of Get.
type Sizer interface {
	Size(ctx context.Context, c cid.Cid) (int, error)
}

// Put stores a block that was checked. It may keep the bytes.
type Put func(ctx context.Context, c cid.Cid, block []byte) error

// Policy says whether strangers may have a block: true only for what belongs to
// a public dataset that the owner of this node has opted to serve.
type Policy interface {
	Serve(ctx context.Context, c cid.Cid) bool
}

// Public is what of blocks the policy lets out: the rest looks absent.
func Public(b Blocks, p Policy) Blocks { return &public{b, p} }

type public struct {
	blocks Blocks
	policy Policy
}

// Get implements Blocks.
func (p *public) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if !p.policy.Serve(ctx, c) {
		return nil, notHeld(c)
	}
	return p.blocks.Get(ctx, c)
}

// Has implements Blocks.
func (p *public) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if !p.policy.Serve(ctx, c) {
		return false, nil
	}
	return p.blocks.Has(ctx, c)
}

// Size implements Sizer.
func (p *public) Size(ctx context.Context, c cid.Cid) (int, error) {
	if !p.policy.Serve(ctx, c) {
		return 0, notHeld(c)
	}
	return sizeOf(ctx, p.blocks, c)
}

// nothing is a source of no blocks.
type nothing struct{}

// Get implements Blocks.
func (nothing) Get(_ context.Context, c cid.Cid) ([]byte, error) { return nil, notHeld(c) }

// Has implements Blocks.
func (nothing) Has(context.Context, cid.Cid) (bool, error) { return false, nil }

// IsNotHeld reports whether an error of Blocks says that the block is absent.
func IsNotHeld(err error) bool {
	var missing *types.Missing
	return errors.Is(err, ErrNotHeld) || errors.As(err, &missing)
}

func notHeld(c cid.Cid) error { return fmt.Errorf("%w: %s", ErrNotHeld, c) }

// load gives a block, those that live inside their CID included.
func load(ctx context.Context, b Blocks, c cid.Cid) ([]byte, error) {
	if err := Accept(c); err != nil {
		return nil, err
	}
	if isIdentity(c) {
		return inside(c)
	}
	block, err := b.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(block) > MaxBlock {
		return nil, fmt.Errorf("%w: %s has %d bytes, limit %d", ErrTooBig, c, len(block), MaxBlock)
	}
	return block, nil
}

// sizeOf is the length of a block, without reading it where that can be had.
func sizeOf(ctx context.Context, b Blocks, c cid.Cid) (int, error) {
	if err := Accept(c); err != nil {
		return 0, err
	}
	if s, ok := b.(Sizer); ok && !isIdentity(c) {
		return s.Size(ctx, c)
	}
	block, err := load(ctx, b, c)
	return len(block), err
}

// Accept checks that we handle the hash function of a CID: sha2-256 in full, or
// the identity of at most MaxIdentity bytes. All else is refused by name, also
// functions that are sound (sha2-512, blake2b, blake3, ..): the stores of this
// system are keyed by SHA-256. Errors: ErrHash, ErrIdentity.
func Accept(c cid.Cid) error {
	if !c.Defined() {
		return errNoCID
	}
	p := c.Prefix()
	switch {
	case p.MhType == multihash.IDENTITY && p.MhLength > MaxIdentity:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrIdentity, p.MhLength, MaxIdentity)
	case p.MhType == multihash.IDENTITY:
		return nil
	case p.MhType != multihash.SHA2_256:
		return fmt.Errorf("%w: %s (%#x), want sha2-256 or identity", ErrHash, multicodec.Code(p.MhType), p.MhType)
	case p.MhLength != sha256.Size:
		return fmt.Errorf("%w: sha2-256 cut to %d bytes, want %d", ErrHash, p.MhLength, sha256.Size)
	}
	return nil
}

// Check holds the bytes of a block against its CID. Errors: those of Accept,
// ErrTooBig, ErrMismatch.
func Check(c cid.Cid, block []byte) error {
	if err := Accept(c); err != nil {
		return err
	}
	if len(block) > MaxBlock {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooBig, len(block), MaxBlock)
	}
	if isIdentity(c) {
		if want, err := inside(c); err != nil || !bytes.Equal(want, block) {
			return fmt.Errorf("%w: %s", ErrMismatch, c)
		}
		return nil
	}
	if have := sha256.Sum256(block); !bytes.Equal(have[:], digest(c)) {
		return fmt.Errorf("%w: %s, bytes hash to %x", ErrMismatch, c, have)
	}
	return nil
}

func isIdentity(c cid.Cid) bool { return c.Prefix().MhType == multihash.IDENTITY }

// inside is the block that an identity CID carries.
func inside(c cid.Cid) ([]byte, error) {
	mh, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, fmt.Errorf("identity CID: %w", err)
	}
	return mh.Digest, nil
}

// digest is the SHA-256 in a CID that Accept let pass and that is no identity.
func digest(c cid.Cid) []byte {
	mh := c.Hash()
	return mh[len(mh)-sha256.Size:]
}
