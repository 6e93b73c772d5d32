package replica

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/big"
	"math/rand"
	"testing"

	"github.com/staddle/staddle/types"
)

func TestGenerateKey(t *testing.T) {
	seen := make(map[types.Hash]bool)
	for seed := range int64(3) {
		k, err := GenerateKey(rand.New(rand.NewSource(seed)))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckModulus(k.Modulus().Bytes()); err != nil {
			t.Error(err)
		}
		n := big.NewInt(1)
		for i, p := range k.primes {
			if !p.ProbablyPrime(30) || new(big.Int).Mod(p, big.NewInt(257)).Cmp(big.NewInt(1)) == 0 {
				t.Errorf("seed %d: factor %d does not fit", seed, i)
			}
			n.Mul(n, p)
		}
		if len(k.primes) != 4 || !bytes.Equal(n.Bytes(), k.Modulus().Bytes()) || seen[k.Modulus().Hash()] {
			t.Errorf("seed %d: %d primes, modulus seen before: %v", seed, len(k.primes), seen[k.Modulus().Hash()])
		}
		seen[k.Modulus().Hash()] = true
		again, err := GenerateKey(rand.New(rand.NewSource(seed)))
		if err != nil || again.Modulus().Hash() != k.Modulus().Hash() {
			t.Errorf("seed %d gives two keys (%v)", seed, err)
		}
	}
	if _, err := GenerateKey(bytes.NewReader(make([]byte, 100))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("randomness ran out: %v", err)
	}
}

func TestWipe(t *testing.T) {
	k, err := GenerateKey(rand.New(rand.NewSource(9)))
	if err != nil {
		t.Fatal(err)
	}
	var words [][]big.Word
	for _, list := range [][]*big.Int{k.primes, k.exps, k.inv, k.before[1:]} {
		for _, x := range list {
			words = append(words, x.Bits())
		}
	}
	k.Wipe()
	for i, w := range words {
		for _, word := range w {
			if word != 0 {
				t.Fatalf("number %d of the key is still there", i)
			}
		}
	}
	if _, err := (rsaChain{}).Encode(testTag, k, []byte{1}); !errors.Is(err, ErrWiped) {
		t.Errorf("encode with a wiped key: %v", err)
	}
	if err := CheckModulus(k.Modulus().Bytes()); err != nil {
		t.Errorf("the public half must stay: %v", err)
	}
}

func TestNewKeyRefuses(t *testing.T) {
	good := key(t).primes
	fresh := func(i int) *big.Int { return new(big.Int).Set(good[i]) }
	for what, primes := range map[string][]*big.Int{
		"none":        nil,
		"one":         {fresh(0)},
		"five":        {fresh(0), fresh(1), fresh(2), fresh(3), big.NewInt(65537)},
		"repeats":     {fresh(0), fresh(1), fresh(2), fresh(2)},
		"small":       {fresh(0), fresh(1), fresh(2)},
		"composite":   {fresh(0), fresh(1), fresh(2), new(big.Int).Mul(good[3], big.NewInt(1<<20))},
		"negative":    {fresh(0), fresh(1), fresh(2), big.NewInt(-7)},
		"whole thing": {fresh(0), new(big.Int).Lsh(big.NewInt(1), 5000)},
	} {
		if _, err := NewKey(primes); !errors.Is(err, ErrModulus) {
			t.Errorf("%s: %v, want ErrModulus", what, err)
		}
	}
	if _, err := newKey(257, []*big.Int{big.NewInt(1543), big.NewInt(101)}); !errors.Is(err, ErrModulus) {
		t.Errorf("1543 = 1 mod 257: %v, want ErrModulus", err)
	}
}

// fullSize multiplies up to a number of 2,048 bits that begins with 64 ones and
// has the factor.
func fullSize(factor *big.Int) []byte {
	low, _ := lastBounds(factor)
	low.SetBit(low, 0, 1)
	return new(big.Int).Mul(low, factor).Bytes()
}

func TestCheckModulus(t *testing.T) {
	good := key(t).Modulus().Bytes()
	edit := func(i int, b byte) []byte { out := bytes.Clone(good); out[i] = b; return out }
	top := new(big.Int).Lsh(big.NewInt(1), 2048)
	prime := top.Sub(top, big.NewInt(1942289)) // the largest below 2^2048
	for what, n := range map[string][]byte{
		"short":        good[1:],
		"long":         append([]byte{0}, good...),
		"top byte":     edit(7, 0xfe),
		"even":         edit(255, good[255]&^1),
		"factor 3":     fullSize(big.NewInt(3)),
		"factor 65521": fullSize(big.NewInt(65521)),
		"square":       power(2),
		"cube":         power(3),
		"power 127":    power(127),
		"prime":        prime.Bytes(),
		"empty":        nil,
	} {
		if err := CheckModulus(n); !errors.Is(err, ErrModulus) {
			t.Errorf("%s: %v, want ErrModulus", what, err)
		}
		if _, err := ParseModulus(n); !errors.Is(err, ErrModulus) {
			t.Errorf("parse %s: %v, want ErrModulus", what, err)
		}
	}
	m, err := ParseModulus(good)
	if err != nil || m.Hash() != key(t).Modulus().Hash() {
		t.Errorf("good modulus refused: %v", err)
	}
}

// power is the largest k-th power below 2^2048, moved to begin with ones where
// k allows, so that only the check of powers can refuse it.
func power(k uint64) []byte {
	top := new(big.Int).Lsh(big.NewInt(1), 2048)
	r := floorRoot(top.Sub(top, big.NewInt(1)), k)
	for smallFactor(r) != 0 {
		r.Sub(r, big.NewInt(1))
	}
	return r.Exp(r, new(big.Int).SetUint64(k), nil).Bytes()
}

func TestPerfectPower(t *testing.T) {
	for _, k := range []uint64{2, 3, 5, 7, 31, 61, 113, 127} {
		n := new(big.Int).Exp(nextPrime(big.NewInt(66000)), new(big.Int).SetUint64(k), nil)
		if got := perfectPower(n); got != k {
			t.Errorf("power of degree %d found as %d", k, got)
		}
		if got := perfectPower(n.Add(n, big.NewInt(2))); got != 0 {
			t.Errorf("power of degree %d plus 2 found as power %d", k, got)
		}
	}
}

// TestH8 opens the modulus with each factor, and with nothing else. It shows also
// why: who holds the trapdoor makes the replica again.
func TestH8(t *testing.T) {
	n := key(t).Modulus()
	pair := new(big.Int).Mul(key(t).primes[0], key(t).primes[2])
	for i, p := range append([]*big.Int{pair}, key(t).primes...) {
		if err := CheckReveal(n.Hash(), n.Bytes(), p.Bytes()); err != nil {
			t.Errorf("factor %d: %v", i, err)
		}
	}
	good := key(t).primes[0].Bytes()
	for what, v := range map[string]struct {
		hash       types.Hash
		n, factors []byte
	}{
		"one":             {n.Hash(), n.Bytes(), []byte{1}},
		"itself":          {n.Hash(), n.Bytes(), n.Bytes()},
		"zero":            {n.Hash(), n.Bytes(), []byte{0}},
		"nothing":         {n.Hash(), n.Bytes(), nil},
		"no factor":       {n.Hash(), n.Bytes(), []byte{3}},
		"leading zero":    {n.Hash(), n.Bytes(), append([]byte{0}, good...)},
		"another modulus": {name("other"), n.Bytes(), good},
		"long modulus":    {n.Hash(), append([]byte{0}, n.Bytes()...), good},
		"no modulus":      {types.Hash{}, nil, good},
		"long factor":     {n.Hash(), n.Bytes(), bytes.Repeat([]byte{9}, 300)},
	} {
		if err := CheckReveal(v.hash, v.n, v.factors); !errors.Is(err, ErrReveal) {
			t.Errorf("%s: %v, want ErrReveal", what, err)
		}
	}
	job, who := name("job"), types.Account(name("who"))
	want := types.H("staddle/reveal/1", job[:], who[:], []byte{0, 0, 0, 64}, good)
	if got := RevealCommitment(job, who, good); got != want {
		t.Errorf("commitment %s, want %s", got, want)
	}
	piece := noise("reencode", 2*LeafSize)
	enc, err := rsaChain{}.Encode(testTag, key(t), piece)
	again, err2 := rsaChain{}.Encode(testTag, key(t), piece)
	if err != nil || err2 != nil || !bytes.Equal(enc, again) {
		t.Errorf("the trapdoor makes another replica (%v, %v)", err, err2)
	}
}

func BenchmarkGenerateKey(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	for b.Loop() {
		if _, err := GenerateKey(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseModulus(b *testing.B) {
	n := key(b).Modulus().Bytes()
	for b.Loop() {
		if _, err := ParseModulus(n); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzModulus(f *testing.F) {
	good := key(f).Modulus().Bytes()
	f.Add(good, key(f).primes[0].Bytes(), make([]byte, 2*blockSize))
	f.Add(good[1:], []byte{1}, []byte{1})
	f.Fuzz(func(t *testing.T, n, factor, blocks []byte) {
		hash := types.Hash(sha256.Sum256(n))
		if err := CheckReveal(hash, n, factor); err == nil {
			if rest := new(big.Int).Mod(new(big.Int).SetBytes(n), new(big.Int).SetBytes(factor)); rest.Sign() != 0 {
				t.Fatalf("%x opens %x", factor, n)
			}
		}
		m, err := ParseModulus(n)
		if err != nil {
			return
		}
		if out, err := DecodeBlocks(testTag, m, 0, blocks); err == nil && len(out) != len(blocks) {
			t.Fatalf("%d bytes decoded out of %d", len(out), len(blocks))
		}
	})
}
