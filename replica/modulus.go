package replica

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"math/bits"

	"filippo.io/bigmod"

	"github.com/staddle/staddle/types"
)

// ModulusSize is the bytes of a modulus and of a block of rsa-chain.
const ModulusSize = 256

// exponent is the public exponent of rsa-chain. With 3 a host could drop a
// quarter of each block and find it again by lattice reduction; with 257 at most
// about one percent.
const exponent = 257

// smallPrimes ends the trial division of CheckModulus.
const smallPrimes = 1 << 16

// ErrModulus marks a modulus that anybody can see to be bad.
var ErrModulus = errors.New("bad modulus")

// Modulus is the public half of a Key: it decodes. Many goroutines may use it.
type Modulus struct {
	raw  []byte
	n    *bigmod.Modulus
	e    uint
	hash types.Hash
}

// ParseModulus reads 256 bytes after CheckModulus. Error: ErrModulus.
func ParseModulus(b []byte) (*Modulus, error) {
	if err := CheckModulus(b); err != nil {
		return nil, err
	}
	return newModulus(b, exponent)
}

func newModulus(b []byte, e uint) (*Modulus, error) {
	raw := bytes.Clone(b)
	n, err := bigmod.NewModulus(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModulus, err)
	}
	return &Modulus{raw, n, e, sha256.Sum256(raw)}, nil
}

// Bytes is the big-endian modulus.
func (m *Modulus) Bytes() []byte { return bytes.Clone(m.raw) }

// Hash is SHA-256 of the modulus, by which the chain knows it.
func (m *Modulus) Hash() types.Hash { return m.hash }

// forward undoes Key.inverse on one block in place: x^e mod N, or x itself when
// it is not below N.
func (m *Modulus) forward(x *bigmod.Nat, block []byte) {
	if bytes.Compare(block, m.raw) >= 0 {
		return
	}
	if _, err := x.SetBytes(block, m.n); err != nil {
		panic(err) // it was just compared
	}
	y := bigmod.NewNat().ExpShortVarTime(x, m.e, m.n)
	copy(block, y.Bytes(m.n))
}

// CheckModulus is what anybody can check of a modulus: 256 bytes, the top 8 all
// ones, odd, no prime factor below 2^16, no perfect power, no prime (of a prime
// everybody knows the trapdoor). Error: ErrModulus.
func CheckModulus(b []byte) error {
	if len(b) != ModulusSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrModulus, len(b), ModulusSize)
	}
	if !bytes.Equal(b[:8], bytes.Repeat([]byte{0xff}, 8)) {
		return fmt.Errorf("%w: begins with %x, want 8 bytes ff", ErrModulus, b[:8])
	}
	n := new(big.Int).SetBytes(b)
	if p := smallFactor(n); p != 0 {
		return fmt.Errorf("%w: divisible by %d", ErrModulus, p)
	}
	if k := perfectPower(n); k != 0 {
		return fmt.Errorf("%w: a perfect power of degree %d", ErrModulus, k)
	}
	if n.ProbablyPrime(0) {
		return fmt.Errorf("%w: it is prime", ErrModulus)
	}
	return nil
}

// smallFactor is the smallest prime factor below 2^16, or 0.
func smallFactor(n *big.Int) uint64 {
	m := new(big.Int)
	group := make([]uint64, 0, 16)
	product := uint64(1)
	for _, p := range primesBelow(smallPrimes) {
		if hi, _ := bits.Mul64(product, p); hi != 0 {
			if f := dividing(n, m, product, group); f != 0 {
				return f
			}
			product, group = 1, group[:0]
		}
		product, group = product*p, append(group, p)
	}
	return dividing(n, m, product, group)
}

// dividing finds the first prime of the group that divides n, by one division
// through their product.
func dividing(n, m *big.Int, product uint64, group []uint64) uint64 {
	r := m.Mod(n, m.SetUint64(product)).Uint64()
	for _, p := range group {
		if r%p == 0 {
			return p
		}
	}
	return 0
}

func primesBelow(limit int) []uint64 {
	composite := make([]bool, limit)
	var out []uint64
	for i := 2; i < limit; i++ {
		if composite[i] {
			continue
		}
		out = append(out, uint64(i))
		for j := 2 * i; j < limit; j += i {
			composite[j] = true
		}
	}
	return out
}

// perfectPower is the smallest prime k such that n is a k-th power, or 0. n has
// no factor below 2^16, so k is at most its bits / 16.
func perfectPower(n *big.Int) uint64 {
	for _, k := range primesBelow(n.BitLen()/16 + 1) {
		root := floorRoot(n, k)
		if root.Exp(root, new(big.Int).SetUint64(k), nil).Cmp(n) == 0 {
			return k
		}
	}
	return 0
}

// floorRoot is the k-th root of n, truncated: Newton's iteration from above.
func floorRoot(n *big.Int, k uint64) *big.Int {
	bigK, less := new(big.Int).SetUint64(k), new(big.Int).SetUint64(k-1)
	x := new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen())/uint(k)+1)
	for {
		next := new(big.Int).Exp(x, less, nil)
		next.Quo(n, next)
		next.Add(next, new(big.Int).Mul(less, x)).Quo(next, bigK)
		if next.Cmp(x) >= 0 {
			return x
		}
		x = next
	}
}
