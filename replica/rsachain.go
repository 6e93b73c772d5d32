package replica

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"filippo.io/bigmod"

	"github.com/staddle/staddle/types"
)

// blockSize is the bytes that rsa-chain permutes at once.
const blockSize = ModulusSize

const padDomain = "staddle/enc/rsa-chain/pad\x00"

// rsaChain is encoding 1: each block of 256 bytes is masked by a pad that
// depends on the tag and the encoded block before it, then replaced by its root
// of degree 257 modulo N. Decoding is a short power, 30 times cheaper, and needs
// only a block and the one before.
//
// That a host cannot save more than about a percent of the bytes is heuristic:
// it rests on the hardness of RSA for random inputs and on the bound of lattice
// reduction, not on a proof. An encoder that keeps its key can save all.
type rsaChain struct{}

func (rsaChain) ID() uint32         { return RSAChain }
func (rsaChain) Name() string       { return "rsa-chain" }
func (rsaChain) NeedsEncoder() bool { return true }

func (rsaChain) Encode(tag Tag, key *Key, piece []byte) ([]byte, error) {
	if err := checkPiece(len(piece)); err != nil {
		return nil, err
	}
	if key == nil || key.primes == nil {
		return nil, ErrWiped
	}
	out := make([]byte, PaddedLen(len(piece)))
	copy(out, piece)
	p, s := newPad(tag, key.pub.hash), newScratch(blockSize)
	var prev []byte
	for i := uint32(0); int(i)*blockSize < len(out); i++ {
		block := out[int(i)*blockSize:][:blockSize]
		p.mask(block, i, prev)
		if err := key.inverse(s, block); err != nil {
			return nil, fmt.Errorf("encode block %d: %w", i, err)
		}
		prev = block
	}
	return out, nil
}

func (rsaChain) Decode(tag Tag, m *Modulus, encoded []byte, plainLen int) ([]byte, error) {
	if err := checkEncoded(len(encoded), plainLen); err != nil {
		return nil, err
	}
	out, err := DecodeBlocks(tag, m, 0, encoded)
	if err != nil {
		return nil, err
	}
	return unpad(out, plainLen)
}

// DecodeBlocks decodes a run of whole blocks of 256 bytes out of the middle of a
// replica by rsa-chain. first is the number of the first block to decode; unless
// it is 0, encoded begins with the block before it. Padding is not cut off.
// Error: ErrInput.
func DecodeBlocks(tag Tag, m *Modulus, first uint32, encoded []byte) ([]byte, error) {
	if m == nil {
		return nil, fmt.Errorf("%w: rsa-chain needs a modulus", ErrInput)
	}
	if len(encoded)%blockSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no whole blocks of %d", ErrInput, len(encoded), blockSize)
	}
	var prev []byte
	if first > 0 {
		if len(encoded) < blockSize {
			return nil, fmt.Errorf("%w: block %d without the one before", ErrInput, first)
		}
		prev, encoded = encoded[:blockSize], encoded[blockSize:]
	}
	if last := uint64(first) + uint64(len(encoded)/blockSize); last > types.PieceSize/blockSize {
		return nil, fmt.Errorf("%w: block %d of a piece of %d", ErrInput, last-1, types.PieceSize/blockSize)
	}
	out := append([]byte(nil), encoded...)
	p, x := newPad(tag, m.hash), bigmod.NewNat()
	for at := 0; at < len(out); at += blockSize {
		block := out[at : at+blockSize]
		m.forward(x, block)
		p.mask(block, first+uint32(at/blockSize), prev)
		prev = encoded[at : at+blockSize]
	}
	return out, nil
}

// pad makes the masks of one piece.
type pad struct{ buf []byte }

// newPad hashes the tag: the dataset's part is the range id, and the modulus is
// fixed before any pad is known.
func newPad(t Tag, modulus types.Hash) *pad {
	tag := types.H("staddle/enc/rsa-chain/tag", types.Be32(RSAChain), t.Range[:],
		types.Be64(t.Piece), types.Be32(t.Copy), t.Host[:], modulus[:])
	return &pad{append([]byte(padDomain), tag[:]...)}
}

// mask adds the pad of block i, after the encoded block prev (nil for block 0).
func (p *pad) mask(block []byte, i uint32, prev []byte) {
	b := append(binary.BigEndian.AppendUint32(p.buf, i), prev...)
	key := sha256.Sum256(b)
	p.buf = b[:len(p.buf)] // keep what append allocated
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	var iv [aes.BlockSize]byte
	cipher.NewCTR(c, iv[:]).XORKeyStream(block, block)
}
