package replica

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Numbers of encodings; a contract names one. They are never used again.
const (
	Plain    uint32 = 0
	RSAChain uint32 = 1
)

// Reasons why an encoding refuses.
var (
	ErrNotYet  = errors.New("not yet available in this version")
	ErrUnknown = errors.New("unknown encoding")
	ErrInput   = errors.New("input does not fit the encoding")
	ErrPadding = errors.New("padding is not zero")
	ErrWiped   = errors.New("key is wiped")
)

// Tag says which replica of which piece is made: no two replicas share a byte.
type Tag struct {
	Range types.RangeID
	Piece uint64 // place in the range, from 0
	Copy  uint32 // number of the replica, from 0
	Host  types.Account
}

// Encoding turns pieces into replica bytes and back. Replica bytes are whole
// leaves: as long as the piece padded with zeros to a multiple of 1,024.
type Encoding interface {
	// ID is the number in contracts.
	ID() uint32
	// Name is the word in the interface.
	Name() string
	// NeedsEncoder reports whether another party than the host must encode.
	NeedsEncoder() bool
	// Encode makes the replica bytes of a piece of 1 to 262,144 bytes. key is
	// nil where no encoder is needed. Errors: ErrInput, ErrWiped.
	Encode(tag Tag, key *Key, piece []byte) ([]byte, error)
	// Decode gives the piece of plainLen bytes back. m is nil where no encoder
	// is needed. That the piece is right shows only its hash. Errors: ErrInput,
	// ErrPadding.
	Decode(tag Tag, m *Modulus, encoded []byte, plainLen int) ([]byte, error)
}

// registry lists every number that was ever given out.
var registry = []struct {
	name string
	use  Encoding
}{
	{"plain", plain{}},
	{"rsa-chain", rsaChain{}},
	{"aes-ctr", nil},
	{"sloth-sqrt", nil},
	{"rsa-chain-x2", nil},
	{"flate", nil},
}

// Lookup gives the encoding with that number. Errors: ErrNotYet for one whose
// number is reserved, ErrUnknown.
func Lookup(id uint32) (Encoding, error) {
	if uint64(id) >= uint64(len(registry)) {
		return nil, fmt.Errorf("%w: number %d", ErrUnknown, id)
	}
	if r := registry[id]; r.use == nil {
		return nil, fmt.Errorf("encoding %d (%s): %w", id, r.name, ErrNotYet)
	}
	return registry[id].use, nil
}

// ByName gives the encoding that people call so. Errors as Lookup.
func ByName(name string) (Encoding, error) {
	for id, r := range registry {
		if r.name == name {
			return Lookup(uint32(id))
		}
	}
	return nil, fmt.Errorf("%w: %.40q", ErrUnknown, name)
}

func checkPiece(n int) error {
	if n < 1 || n > types.PieceSize {
		return fmt.Errorf("%w: piece of %d bytes, want 1 to %d", ErrInput, n, types.PieceSize)
	}
	return nil
}

func checkEncoded(n, plainLen int) error {
	if err := checkPiece(plainLen); err != nil {
		return err
	}
	if want := PaddedLen(plainLen); n != want {
		return fmt.Errorf("%w: %d replica bytes for a piece of %d, want %d", ErrInput, n, plainLen, want)
	}
	return nil
}

// unpad cuts the zeros off; others would be a second form of the same piece.
func unpad(padded []byte, plainLen int) ([]byte, error) {
	for i, b := range padded[plainLen:] {
		if b != 0 {
			return nil, fmt.Errorf("%w: byte %d of a piece of %d", ErrPadding, plainLen+i, plainLen)
		}
	}
	return padded[:plainLen], nil
}

// plain keeps the bytes as they are.
type plain struct{}

func (plain) ID() uint32         { return Plain }
func (plain) Name() string       { return "plain" }
func (plain) NeedsEncoder() bool { return false }

func (plain) Encode(_ Tag, _ *Key, piece []byte) ([]byte, error) {
	if err := checkPiece(len(piece)); err != nil {
		return nil, err
	}
	out := make([]byte, PaddedLen(len(piece)))
	copy(out, piece)
	return out, nil
}

func (plain) Decode(_ Tag, _ *Modulus, encoded []byte, plainLen int) ([]byte, error) {
	if err := checkEncoded(len(encoded), plainLen); err != nil {
		return nil, err
	}
	return unpad(append([]byte(nil), encoded...), plainLen)
}
