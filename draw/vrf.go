package draw

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// Sizes of a VRF proof and its output in bytes (RFC 9381, section 5.5).
const (
	ProofSize  = 80
	OutputSize = 64

	challengeSize = 16
)

// Suite ECVRF-EDWARDS25519-SHA512-TAI and its domain bytes (RFC 9381, 5.4, 5.5).
const (
	suite        = 0x03
	domEncode    = 0x01
	domChallenge = 0x02
	domHash      = 0x03
	domBack      = 0x00
)

// Proof shows that an output belongs to a key and an input: point Gamma (32
// bytes), challenge (16), response (32).
type Proof [ProofSize]byte

// Output is the random value that a key gives for an input. A key has exactly
// one output for each input, whatever proof is shown.
type Output [OutputSize]byte

// Reasons why a proof is refused.
var (
	ErrKey       = errors.New("public key is not a point of large order in its shortest form")
	ErrMalformed = errors.New("proof is malformed")
	ErrForged    = errors.New("proof does not belong to key and input")
	errNoPoint   = errors.New("input hashes to no point in 256 tries")
)

// Prove makes the proof of input alpha under the ed25519 seed (RFC 9381, 5.1).
// The same seed and input always give the same proof. Hashing the input to the
// curve takes time that depends on it, all that touches the secret does not.
func Prove(seed [32]byte, alpha []byte) Proof {
	secret := sha512.Sum512(seed[:])
	x, err := edwards25519.NewScalar().SetBytesWithClamping(secret[:32])
	if err != nil {
		panic(err) // 32 bytes always clamp
	}
	key := new(edwards25519.Point).ScalarBaseMult(x).Bytes()
	h, err := hashToCurve(key, alpha)
	if err != nil {
		panic(err) // chance 2^-256 for any input
	}
	gamma := new(edwards25519.Point).ScalarMult(x, h)
	k := nonce(secret[32:], h)
	u := new(edwards25519.Point).ScalarBaseMult(k)
	v := new(edwards25519.Point).ScalarMult(k, h)
	c := challenge(key, h, gamma, u, v)
	s := edwards25519.NewScalar().MultiplyAdd(challengeScalar(c), x, k)
	return joinProof(gamma, c, s)
}

func joinProof(gamma *edwards25519.Point, c [challengeSize]byte, s *edwards25519.Scalar) (p Proof) {
	copy(p[:32], gamma.Bytes())
	copy(p[32:48], c[:])
	copy(p[48:], s.Bytes())
	return p
}

// Verify checks the proof and gives the output (RFC 9381, 5.3 with key
// validation 5.4.5). Keys of small order and any encoding but the shortest are
// refused. Errors: ErrKey, ErrMalformed, ErrForged.
func Verify(pub [32]byte, alpha []byte, p Proof) (Output, error) {
	y, err := largeOrder(pub[:])
	if err != nil {
		return Output{}, err
	}
	gamma, c, s, err := splitProof(p)
	if err != nil {
		return Output{}, err
	}
	h, err := hashToCurve(pub[:], alpha)
	if err != nil {
		return Output{}, err
	}
	minusC := edwards25519.NewScalar().Negate(challengeScalar(c))
	u := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(minusC, y, s)
	v := new(edwards25519.Point).VarTimeMultiScalarMult(
		[]*edwards25519.Scalar{s, minusC}, []*edwards25519.Point{h, gamma})
	want := challenge(pub[:], h, gamma, u, v)
	if subtle.ConstantTimeCompare(want[:], c[:]) != 1 {
		return Output{}, ErrForged
	}
	return output(gamma), nil
}

// ProofToHash gives the output of a proof that was verified before
// (RFC 9381, 5.2). It checks only the form. Error: ErrMalformed.
func ProofToHash(p Proof) (Output, error) {
	gamma, _, _, err := splitProof(p)
	if err != nil {
		return Output{}, err
	}
	return output(gamma), nil
}

func output(gamma *edwards25519.Point) (out Output) {
	g8 := new(edwards25519.Point).MultByCofactor(gamma)
	d := sha512.New()
	d.Write([]byte{suite, domHash})
	d.Write(g8.Bytes())
	d.Write([]byte{domBack})
	d.Sum(out[:0])
	return out
}

func splitProof(p Proof) (gamma *edwards25519.Point, c [challengeSize]byte, s *edwards25519.Scalar, err error) {
	if gamma, err = decodePoint(p[:32]); err != nil {
		return nil, c, nil, fmt.Errorf("%w: point: %w", ErrMalformed, err)
	}
	copy(c[:], p[32:48])
	if s, err = edwards25519.NewScalar().SetCanonicalBytes(p[48:]); err != nil {
		return nil, c, nil, fmt.Errorf("%w: response: %w", ErrMalformed, err)
	}
	return gamma, c, s, nil
}

// decodePoint reads a point as RFC 8032, section 5.1.3 does: the library takes
// also coordinates above the prime and a negative zero, which we refuse.
func decodePoint(b []byte) (*edwards25519.Point, error) {
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p.Bytes(), b) {
		return nil, errors.New("point is not in its shortest form")
	}
	return p, nil
}

func largeOrder(pub []byte) (*edwards25519.Point, error) {
	y, err := decodePoint(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if isIdentity(new(edwards25519.Point).MultByCofactor(y)) {
		return nil, ErrKey
	}
	return y, nil
}

func isIdentity(p *edwards25519.Point) bool {
	return p.Equal(edwards25519.NewIdentityPoint()) == 1
}

// hashToCurve tries counters until the hash is a point (RFC 9381, 5.4.1.1).
func hashToCurve(salt, alpha []byte) (*edwards25519.Point, error) {
	for ctr := 0; ctr < 256; ctr++ {
		d := sha512.New()
		d.Write([]byte{suite, domEncode})
		d.Write(salt)
		d.Write(alpha)
		d.Write([]byte{byte(ctr), domBack})
		p, err := decodePoint(d.Sum(nil)[:32])
		if err != nil {
			continue
		}
		if p.MultByCofactor(p); !isIdentity(p) {
			return p, nil
		}
	}
	return nil, errNoPoint
}

// nonce is the deterministic nonce of RFC 9381, 5.4.2.2.
func nonce(prefix []byte, h *edwards25519.Point) *edwards25519.Scalar {
	d := sha512.New()
	d.Write(prefix)
	d.Write(h.Bytes())
	k, err := edwards25519.NewScalar().SetUniformBytes(d.Sum(nil))
	if err != nil {
		panic(err) // 64 bytes always reduce
	}
	return k
}

// challenge is RFC 9381, 5.4.3.
func challenge(key []byte, points ...*edwards25519.Point) (c [challengeSize]byte) {
	d := sha512.New()
	d.Write([]byte{suite, domChallenge})
	d.Write(key)
	for _, p := range points {
		d.Write(p.Bytes())
	}
	d.Write([]byte{domBack})
	copy(c[:], d.Sum(nil))
	return c
}

func challengeScalar(c [challengeSize]byte) *edwards25519.Scalar {
	var wide [32]byte
	copy(wide[:], c[:])
	s, err := edwards25519.NewScalar().SetCanonicalBytes(wide[:])
	if err != nil {
		panic(err) // 128 bits are below the group order
	}
	return s
}
