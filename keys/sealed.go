package keys

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/staddle/staddle/types"
)

// BoxSize is the length of a secret of 32 bytes sealed to one account.
const BoxSize = 32 + chacha20poly1305.Overhead

const (
	infoBox     = "staddle/key/box/1"
	domSealing  = "staddle/sealing/1"
	domBoxSalt  = "staddle/box-salt/1"
	domBoxFill  = "staddle/box-fill/1"
	boxKeyBytes = chacha20poly1305.KeySize
)

// Errors of sealing.
var (
	// ErrAccountKey marks an account that is no point to which one can seal.
	ErrAccountKey = errors.New("account is no key that one can seal to")
	// ErrNotSealed says that a box is for somebody else.
	ErrNotSealed = errors.New("not sealed to this account")
)

// Sealing makes boxes with one ephemeral X25519 key, which they share. The key
// comes from a secret, so that the same secret makes the same boxes.
type Sealing struct{ key *ecdh.PrivateKey }

// Sealing is what an account seals the key of one dataset to members with. It
// depends on the salt and on who they are, and on the words, which others cannot
// have: a member cannot tell by trying which other accounts are members.
func (s Seed) Sealing(salt [32]byte, to []types.Account) (Sealing, error) {
	parts := [][]byte{salt[:]}
	for i := range to {
		parts = append(parts, to[i][:])
	}
	return newSealing(s.Dataset(types.H(domBoxSalt, parts...)))
}

func newSealing(secret [32]byte) (Sealing, error) {
	digest := types.H(domSealing, secret[:])
	key, err := ecdh.X25519().NewPrivateKey(digest[:])
	if err != nil {
		return Sealing{}, fmt.Errorf("ephemeral key: %w", err)
	}
	return Sealing{key}, nil
}

// Public is the ephemeral key that readers need.
func (s Sealing) Public() [32]byte { return [32]byte(s.key.PublicKey().Bytes()) }

// Fill is a secret from which bytes may be drawn that look like further boxes.
func (s Sealing) Fill() [32]byte { return types.H(domBoxFill, s.key.Bytes()) }

// Seal makes the box of an account. The error wraps ErrAccountKey when the
// account is no point of the curve, or one of small order.
func (s Sealing) Seal(to types.Account, secret [32]byte) (box [BoxSize]byte, err error) {
	theirs, err := montgomery(to)
	if err != nil {
		return box, err
	}
	peer, err := ecdh.X25519().NewPublicKey(theirs[:])
	if err != nil {
		return box, fmt.Errorf("%w: %w", ErrAccountKey, err)
	}
	shared, err := s.key.ECDH(peer)
	if err != nil {
		return box, fmt.Errorf("%w: %w", ErrAccountKey, err)
	}
	public := s.Public()
	aead, err := boxCipher(shared, public, theirs)
	if err != nil {
		return box, err
	}
	aead.Seal(box[:0], make([]byte, chacha20poly1305.NonceSize), secret[:], nil)
	return box, nil
}

// OpenBox looks among places, BoxSize bytes each, for the box of this account and
// gives the secret in it. The error wraps ErrNotSealed when there is none.
func (s Signer) OpenBox(ephemeral [32]byte, places []byte) (secret [32]byte, err error) {
	digest := sha512.Sum512(s.seedBytes())
	mine, err := ecdh.X25519().NewPrivateKey(digest[:32]) // clamped by X25519
	if err != nil {
		return secret, fmt.Errorf("sealing key: %w", err)
	}
	peer, err := ecdh.X25519().NewPublicKey(ephemeral[:])
	if err != nil {
		return secret, fmt.Errorf("ephemeral key: %w", err)
	}
	shared, err := mine.ECDH(peer)
	if err != nil {
		return secret, fmt.Errorf("%w: %w", ErrNotSealed, err)
	}
	aead, err := boxCipher(shared, ephemeral, [32]byte(mine.PublicKey().Bytes()))
	if err != nil {
		return secret, err
	}
	nonce := make([]byte, chacha20poly1305.NonceSize)
	for ; len(places) >= BoxSize; places = places[BoxSize:] {
		if plain, err := aead.Open(nil, nonce, places[:BoxSize], nil); err == nil {
			return [32]byte(plain), nil
		}
	}
	return secret, ErrNotSealed
}

func (s Signer) seedBytes() []byte { seed := s.Seed(); return seed[:] }

// boxCipher derives the key of one box from the shared secret and both public
// keys. It seals one message only, so the nonce is zero.
func boxCipher(shared []byte, ephemeral, to [32]byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, shared, append(ephemeral[:], to[:]...), infoBox, boxKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("key of a box: %w", err)
	}
	return chacha20poly1305.New(key)
}

// montgomery maps an account's ed25519 key to the X25519 key of the same secret
// (RFC 7748, 4.1: u = (1 + y) / (1 - y)).
func montgomery(a types.Account) (u [32]byte, err error) {
	p, err := new(edwards25519.Point).SetBytes(a[:])
	if err != nil {
		return u, fmt.Errorf("%s: %w", a.Short(), ErrAccountKey)
	}
	copy(u[:], p.BytesMontgomery())
	return u, nil
}
