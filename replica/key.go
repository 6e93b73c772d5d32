package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"

	"filippo.io/bigmod"
)

// Sizes of the primes that GenerateKey draws.
const (
	keyPrimes = 4
	primeSize = 64 // bytes of the first three; the last has up to 8 bits more

	// roundsPrime makes a composite pass with chance below 2^-40 even when it is
	// chosen badly; ours are random.
	roundsPrime = 20
)

var errFault = errors.New("block does not decode to what was encoded: the computation failed")

// Key is an encoder's trapdoor for one job: one range on one host. Whoever holds
// it can make the replica again from the plain bytes, so it is wiped when the
// job ends. Many goroutines may encode with it at once.
type Key struct {
	pub    *Modulus
	primes []*big.Int
	exps   []*big.Int // 1/e mod (p-1)
	before []*big.Int // product of the primes before
	inv    []*big.Int // of that product modulo the prime
}

// GenerateKey draws four primes such that their product has 2,048 bits, the top
// 64 of them ones. random must be good and secret: 64 bytes for each of three
// primes and 72 for the last are read, again from the start when they do not
// fit. Takes about 0.1 s. Error: reading random.
func GenerateKey(random io.Reader) (*Key, error) {
	for {
		primes := make([]*big.Int, 0, keyPrimes)
		product := big.NewInt(1)
		for len(primes) < keyPrimes-1 {
			p, err := drawPrime(random)
			if err != nil {
				return nil, fmt.Errorf("draw prime: %w", err)
			}
			primes = append(primes, p)
			product.Mul(product, p)
		}
		last, err := drawLast(random, product)
		if err != nil {
			return nil, fmt.Errorf("draw last prime: %w", err)
		}
		if last == nil {
			continue
		}
		return NewKey(append(primes, last))
	}
}

func readInt(random io.Reader, size int) (*big.Int, error) {
	b := make([]byte, size)
	defer clear(b)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, err
	}
	return new(big.Int).SetBytes(b), nil
}

// drawPrime is the first fitting prime from a random odd number of 512 bits, the
// top two set.
func drawPrime(random io.Reader) (*big.Int, error) {
	p, err := readInt(random, primeSize)
	if err != nil {
		return nil, err
	}
	p.SetBit(p, 8*primeSize-1, 1).SetBit(p, 8*primeSize-2, 1)
	return nextPrime(p), nil
}

// drawLast is the first fitting prime from a random point of
// [ceil((2^2048 - 2^1984) / product), (2^2048 - 1) / product], or nil when it
// lies beyond.
func drawLast(random io.Reader, product *big.Int) (*big.Int, error) {
	low, high := lastBounds(product)
	r, err := readInt(random, primeSize+8)
	if err != nil {
		return nil, err
	}
	width := new(big.Int).Sub(high, low)
	p := nextPrime(r.Mod(r, width.Add(width, big.NewInt(1))).Add(r, low))
	if p.Cmp(high) > 0 {
		return nil, nil
	}
	return p, nil
}

func lastBounds(product *big.Int) (low, high *big.Int) {
	top := new(big.Int).Lsh(big.NewInt(1), 8*ModulusSize)
	low = new(big.Int).Sub(top, new(big.Int).Lsh(big.NewInt(1), 8*ModulusSize-64))
	low.Add(low, product).Sub(low, big.NewInt(1)).Quo(low, product)
	high = top.Sub(top, big.NewInt(1))
	return low, high.Quo(high, product)
}

// nextPrime is the first odd prime from p on whose p-1 the exponent does not
// divide. p is overwritten.
func nextPrime(p *big.Int) *big.Int {
	e, two, r := big.NewInt(exponent), big.NewInt(2), new(big.Int)
	for p.SetBit(p, 0, 1); ; p.Add(p, two) {
		if r.Mod(p, e).Cmp(big.NewInt(1)) != 0 && p.ProbablyPrime(0) && p.ProbablyPrime(roundsPrime) {
			return p
		}
	}
}

// NewKey is the key with these primes, two to four, which it takes over. It
// fails when they repeat, the exponent has no inverse, or the product fails
// CheckModulus.
func NewKey(primes []*big.Int) (*Key, error) {
	if len(primes) < 2 || len(primes) > keyPrimes {
		return nil, fmt.Errorf("%w: %d primes, want 2 to %d", ErrModulus, len(primes), keyPrimes)
	}
	n := big.NewInt(1)
	for i, p := range primes {
		if p.Sign() <= 0 || p.BitLen() > 8*ModulusSize || !p.ProbablyPrime(roundsPrime) {
			return nil, fmt.Errorf("%w: factor %d is no prime", ErrModulus, i)
		}
		n.Mul(n, p)
	}
	if err := CheckModulus(n.Bytes()); err != nil {
		return nil, err
	}
	return newKey(exponent, primes)
}

func newKey(e uint, primes []*big.Int) (*Key, error) {
	k := &Key{primes: primes}
	product := big.NewInt(1)
	bigE, one := new(big.Int).SetUint64(uint64(e)), big.NewInt(1)
	for i, p := range primes {
		d := new(big.Int).ModInverse(bigE, new(big.Int).Sub(p, one))
		inv := new(big.Int).ModInverse(product, p)
		if d == nil || inv == nil {
			return nil, fmt.Errorf("%w: prime %d repeats or has no root of degree %d", ErrModulus, i, e)
		}
		k.exps, k.inv = append(k.exps, d), append(k.inv, inv)
		k.before = append(k.before, new(big.Int).Set(product))
		product.Mul(product, p)
	}
	var err error
	k.pub, err = newModulus(product.Bytes(), e)
	return k, err
}

// Modulus is the public half.
func (k *Key) Modulus() *Modulus { return k.pub }

// Wipe overwrites the trapdoor; Encode fails with ErrWiped from then on. It must
// not run while another goroutine encodes. What the arithmetic left behind in
// memory that was since freed is out of reach.
func (k *Key) Wipe() {
	for _, list := range [][]*big.Int{k.primes, k.exps, k.before, k.inv} {
		for _, x := range list {
			words := x.Bits()
			clear(words[:cap(words)])
			x.SetInt64(0)
		}
	}
	k.primes, k.exps, k.before, k.inv = nil, nil, nil, nil
}

// scratch is the memory of one goroutine that encodes.
type scratch struct {
	in, back []byte
	y, x, t  big.Int
	nat      *bigmod.Nat
}

func newScratch(size int) *scratch {
	return &scratch{in: make([]byte, size), back: make([]byte, size), nat: bigmod.NewNat()}
}

// inverse replaces a block by its e-th root modulo N; a block that is not below
// N stays. The result is raised again to compare: a fault in the part of one
// prime would give the trapdoor away.
func (k *Key) inverse(s *scratch, block []byte) error {
	if bytes.Compare(block, k.pub.raw) >= 0 {
		return nil
	}
	copy(s.in, block)
	k.root(s)
	s.x.FillBytes(block)
	copy(s.back, block)
	k.pub.forward(s.nat, s.back)
	if !bytes.Equal(s.back, s.in) {
		return errFault
	}
	return nil
}

// root computes x = in^(1/e) modulo each prime and joins the parts (Garner).
func (k *Key) root(s *scratch) {
	s.y.SetBytes(s.in)
	s.x.SetInt64(0)
	for i, p := range k.primes {
		s.t.Mod(&s.y, p)
		s.t.Exp(&s.t, k.exps[i], p)
		s.t.Sub(&s.t, &s.x).Mul(&s.t, k.inv[i]).Mod(&s.t, p)
		s.x.Add(&s.x, s.t.Mul(&s.t, k.before[i]))
	}
}
