package keys

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"github.com/staddle/staddle/types"
)

// Signer signs for an account. What it signs is a digest of types.H, whose
// domain says what the signature is for, so that none can be used twice.
// The zero value is not a signer.
type Signer struct{ key pair }

// SignerFromSeed is the account of a 32-byte ed25519 seed (RFC 8032).
func SignerFromSeed(seed [32]byte) Signer { return Signer{newPair(seed)} }

// Account is the public key.
func (s Signer) Account() types.Account { return s.key.public }

// Sign gives the ed25519 signature (RFC 8032) of msg.
func (s Signer) Sign(msg []byte) types.Signature { return s.key.sign(msg) }

// Seed is the secret itself; the VRF needs it.
func (s Signer) Seed() [32]byte { return s.key.seed() }

// Format hides the secret from every verb of package fmt.
func (s Signer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "signer of account "+s.Account().Short())
}

// Device is the key of one machine (K1): libp2p peer, QUIC and TLS.
// The zero value is not a key.
type Device struct{ key pair }

// NewDevice draws a device key from 32 bytes of chance, such as crypto/rand.
func NewDevice(chance io.Reader) (Device, error) {
	var seed [32]byte
	if _, err := io.ReadFull(chance, seed[:]); err != nil {
		return Device{}, fmt.Errorf("draw device key: %w", err)
	}
	return DeviceFromSeed(seed), nil
}

// DeviceFromSeed is the device of a 32-byte ed25519 seed, as kept on its disk.
func DeviceFromSeed(seed [32]byte) Device { return Device{newPair(seed)} }

// ID is the public key.
func (d Device) ID() types.Device { return types.Device(d.key.public) }

// Sign gives the ed25519 signature (RFC 8032) of msg.
func (d Device) Sign(msg []byte) types.Signature { return d.key.sign(msg) }

// Seed is the secret itself, for the disk and for libp2p.
func (d Device) Seed() [32]byte { return d.key.seed() }

// Format hides the secret from every verb of package fmt.
func (d Device) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "key of device "+d.ID().String())
}

// pair is an ed25519 key with its public half. The secret sits behind a
// function, so that a struct that hides a Signer in a private field, where
// Format is not asked, prints an address and not a secret.
type pair struct {
	public [32]byte
	secret func() ed25519.PrivateKey
}

func newPair(seed [32]byte) (p pair) {
	secret := ed25519.NewKeyFromSeed(seed[:])
	copy(p.public[:], secret[ed25519.SeedSize:])
	p.secret = func() ed25519.PrivateKey { return secret }
	return p
}

func (p pair) sign(msg []byte) types.Signature {
	return types.Signature(ed25519.Sign(p.secret(), msg))
}

func (p pair) seed() [32]byte { return [32]byte(p.secret().Seed()) }
