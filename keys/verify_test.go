package keys

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

type signatureVector struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	Good      bool   `json:"good"`
}

// smallOrder lists all 14 encodings, canonical or not, of the 8 points of small
// order: with y in 0 and the roots of order 8 both signs; 1 and -1 also with a
// sign although x is 0; and y + p where it fits 255 bits.
func smallOrder(t *testing.T) (all [][32]byte) {
	t.Helper()
	identity := edwards25519.NewIdentityPoint()
	add := func(enc [32]byte) {
		p, err := new(edwards25519.Point).SetBytes(enc[:])
		if err == nil && new(edwards25519.Point).MultByCofactor(p).Equal(identity) == 1 && !slices.Contains(all, enc) {
			all = append(all, enc)
		}
	}
	for _, y := range smallOrderY(t) {
		for _, sign := range []byte{0, 0x80} {
			signed := y
			signed[31] |= sign
			add(signed)
		}
	}
	if len(all) != 14 {
		t.Fatalf("found %d encodings of points of small order, want 14", len(all))
	}
	return all
}

// smallOrderY gives candidates: y of torsion points, and all y from p to 2^255-1.
func smallOrderY(t *testing.T) (ys [][32]byte) {
	t.Helper()
	order8 := torsion(t)
	p := edwards25519.NewIdentityPoint()
	for range 8 {
		y := [32]byte(p.Bytes())
		y[31] &= 0x7f
		ys = append(ys, y)
		p.Add(p, order8)
	}
	for low := 0xed; low <= 0xff; low++ { // p = 2^255 - 19
		y := [32]byte(bytes.Repeat([]byte{0xff}, 32))
		y[0], y[31] = byte(low), 0x7f
		ys = append(ys, y)
	}
	return ys
}

// torsion finds a point of order 8: L times some point off the prime subgroup.
func torsion(t *testing.T) *edwards25519.Point {
	t.Helper()
	identity := edwards25519.NewIdentityPoint()
	for i := byte(2); i < 200; i++ {
		p, err := new(edwards25519.Point).SetBytes(append([]byte{i}, make([]byte, 31)...))
		if err != nil {
			continue
		}
		q := timesOrder(p)
		four := new(edwards25519.Point).Add(q, q)
		four.Add(four, four)
		if four.Equal(identity) == 0 {
			return q
		}
	}
	t.Fatal("no point of order 8")
	return nil
}

// groupOrder is L, little-endian (RFC 8032 section 5.1).
var groupOrder = [32]byte{
	0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
}

// timesOrder doubles and adds, for a Scalar is reduced by L and cannot hold it.
func timesOrder(p *edwards25519.Point) *edwards25519.Point {
	sum := edwards25519.NewIdentityPoint()
	for bit := 255; bit >= 0; bit-- {
		sum.Add(sum, sum)
		if groupOrder[bit/8]>>(bit%8)&1 == 1 {
			sum.Add(sum, p)
		}
	}
	return sum
}

// reference is ZIP-215 written down from its text, on another library:
// s below L, A and R any encoding of a point, [8]sB = [8]R + [8]kA.
func reference(pub types.Account, msg []byte, sig types.Signature) bool {
	s, err := edwards25519.NewScalar().SetCanonicalBytes(sig[32:])
	if err != nil {
		return false
	}
	a, errA := new(edwards25519.Point).SetBytes(pub[:])
	r, errR := new(edwards25519.Point).SetBytes(sig[:32])
	if errA != nil || errR != nil {
		return false
	}
	k := challenge(pub, msg, sig)
	left := new(edwards25519.Point).ScalarBaseMult(s)
	left.Subtract(left, r)
	left.Subtract(left, new(edwards25519.Point).ScalarMult(k, a))
	return left.MultByCofactor(left).Equal(edwards25519.NewIdentityPoint()) == 1
}

func challenge(pub types.Account, msg []byte, sig types.Signature) *edwards25519.Scalar {
	sum := sha512.Sum512(slices.Concat(sig[:32], pub[:], msg))
	k, err := edwards25519.NewScalar().SetUniformBytes(sum[:])
	if err != nil {
		panic(err) // 64 bytes always fit
	}
	return k
}

func vector(name string, pub types.Account, msg []byte, sig types.Signature) signatureVector {
	return signatureVector{name, pub.String(), hex.EncodeToString(msg), hex.EncodeToString(sig[:]), reference(pub, msg, sig)}
}

// edgeCases makes the signatures on which implementations disagree.
func edgeCases(t *testing.T) (all []signatureVector) {
	points := smallOrder(t)
	for i, a := range points {
		for j, r := range points {
			var sig types.Signature
			copy(sig[:], r[:])
			all = append(all, vector(fmt.Sprintf("small order key %d, R %d", i, j), types.Account(a), []byte("Staddle"), sig))
		}
	}
	all = append(all, twisted(t)...)
	return append(all, broken()...)
}

// twisted adds torsion to the key, to R or to both of an honest signature:
// good for ZIP-215, bad for most cofactorless verifiers.
func twisted(t *testing.T) (all []signatureVector) {
	t.Helper()
	a := edwards25519.NewScalar()
	r := edwards25519.NewScalar()
	for _, x := range []*edwards25519.Scalar{a, r} {
		wide := sha512.Sum512([]byte(fmt.Sprintf("secret %d", len(all))))
		if _, err := x.SetUniformBytes(wide[:]); err != nil {
			t.Fatal(err)
		}
	}
	order8 := torsion(t)
	for i, twist := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		key := new(edwards25519.Point).ScalarBaseMult(a)
		nonce := new(edwards25519.Point).ScalarBaseMult(r)
		if twist[0] {
			key.Add(key, order8)
		}
		if twist[1] {
			nonce.Add(nonce, order8)
		}
		pub, msg, sig := types.Account(key.Bytes()), []byte("twist"), types.Signature{}
		copy(sig[:32], nonce.Bytes())
		s := edwards25519.NewScalar().MultiplyAdd(challenge(pub, msg, sig), a, r)
		copy(sig[32:], s.Bytes())
		all = append(all, vector(fmt.Sprintf("torsion %d", i), pub, msg, sig))
	}
	return all
}

func broken() (all []signatureVector) {
	s := SignerFromSeed([32]byte{1})
	msg := []byte("honest")
	good := s.Sign(msg)
	all = append(all, vector("honest", s.Account(), msg, good))
	all = append(all, vector("other message", s.Account(), []byte("honest "), good))

	high, carry := good, 0
	for i := range 32 {
		carry += int(good[32+i]) + int(groupOrder[i])
		high[32+i], carry = byte(carry), carry>>8
	}
	all = append(all, vector("s + L", s.Account(), msg, high))

	var atOrder types.Signature
	atOrder[0] = 1
	copy(atOrder[32:], groupOrder[:])
	all = append(all, vector("s = L, R and key the identity", types.Account{1}, msg, atOrder))

	off := types.Account{2} // y = 2 is on no point
	all = append(all, vector("key off the curve", off, msg, good))
	bad := good
	copy(bad[:32], off[:])
	return append(all, vector("R off the curve", s.Account(), msg, bad))
}

func (v signatureVector) parts(t *testing.T) (types.Account, []byte, types.Signature) {
	t.Helper()
	msg, err := hex.DecodeString(v.Message)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := hex.DecodeString(v.Signature)
	if err != nil || len(sig) != len(types.Signature{}) {
		t.Fatalf("signature %q: %v", v.Signature, err)
	}
	return types.Account(unhex(t, v.Key)), msg, types.Signature(sig)
}

// TestD3 holds single and batch verification against ZIP-215 on every edge case.
func TestD3(t *testing.T) {
	made := edgeCases(t)
	vectors := golden(t, "signatures.json", made)
	if !slices.Equal(made, vectors) {
		t.Fatal("the edge cases differ from spec/vectors/signatures.json")
	}
	var all Batch
	var bad []int
	for i, v := range vectors {
		pub, msg, sig := v.parts(t)
		if have := Verify(pub, msg, sig); have != v.Good {
			t.Errorf("%s: alone %v, want %v", v.Name, have, v.Good)
		}
		var one Batch
		one.Add(pub, msg, sig)
		if have := len(one.Verify()) == 0; have != v.Good {
			t.Errorf("%s: in a batch of one %v, want %v", v.Name, have, v.Good)
		}
		all.Add(pub, msg, sig)
		if !v.Good {
			bad = append(bad, i)
		}
	}
	if have := all.Verify(); !slices.Equal(have, bad) {
		t.Errorf("batch of all refuses %v, want %v", have, bad)
	}
	if len(vectors)-len(bad) != 196+4+1 {
		t.Errorf("%d vectors are good, want %d", len(vectors)-len(bad), 196+4+1)
	}
}

// TestBatchOfGoodEdgeCases takes the fast path: a batch without a bad entry.
func TestBatchOfGoodEdgeCases(t *testing.T) {
	var b Batch
	for _, v := range edgeCases(t) {
		if v.Good {
			b.Add(v.parts(t))
		}
	}
	if bad := b.Verify(); bad != nil || b.Len() != 201 {
		t.Fatalf("batch of %d refuses %v", b.Len(), bad)
	}
}

// TestBatchNamesTheBadOnes also checks that a batch says the same twice and
// goes on after Verify.
func TestBatchNamesTheBadOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		flips := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 12).Draw(t, "flips")
		var b Batch
		var want []int
		for i, flip := range flips {
			s := SignerFromSeed([32]byte{byte(i)})
			msg := []byte{byte(chance.Uint32())}
			sig := s.Sign(msg)
			if flip == 0 {
				bit := chance.IntN(512)
				sig[bit/8] ^= 1 << (bit % 8)
				want = append(want, i)
			}
			b.Add(s.Account(), msg, sig)
		}
		for range 2 {
			if have := b.Verify(); !slices.Equal(have, want) {
				t.Fatalf("refused %v, want %v", have, want)
			}
		}
		b.Add(types.Account{2}, nil, types.Signature{})
		if have := b.Verify(); !slices.Equal(have, append(want, len(flips))) {
			t.Fatalf("after one more refused %v, want %v and %d", have, want, len(flips))
		}
	})
}

func TestEmptyBatchIsGood(t *testing.T) {
	var b Batch
	if bad := b.Verify(); bad != nil {
		t.Fatalf("refused %v", bad)
	}
}

// TestCoefficientsDependOnEverything: a batch whose numbers could be known
// before a signature is chosen would let bad signatures cancel out.
func TestCoefficientsDependOnEverything(t *testing.T) {
	base := func() *Batch {
		var b Batch
		b.Add(types.Account{1}, []byte{2}, types.Signature{3})
		return &b
	}
	seen := map[string]string{}
	for name, add := range map[string]func(b *Batch){
		"nothing":   func(*Batch) {},
		"key":       func(b *Batch) { b.Add(types.Account{2}, nil, types.Signature{}) },
		"message":   func(b *Batch) { b.Add(types.Account{1}, []byte{1}, types.Signature{}) },
		"signature": func(b *Batch) { b.Add(types.Account{1}, []byte{2}, types.Signature{4}) },
	} {
		b := base()
		add(b)
		sum := string(b.script.Sum(nil))
		if other, twice := seen[sum]; twice {
			t.Errorf("%s and %s have the same coefficients", name, other)
		}
		seen[sum] = name
	}
}

func BenchmarkVerify(b *testing.B) {
	s := SignerFromSeed([32]byte{1})
	sig := s.Sign([]byte("x"))
	for b.Loop() {
		if !Verify(s.Account(), []byte("x"), sig) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkBatch500(b *testing.B) {
	s := SignerFromSeed([32]byte{1})
	sig := s.Sign([]byte("x"))
	for b.Loop() {
		var all Batch
		for range 500 {
			all.Add(s.Account(), []byte("x"), sig)
		}
		if all.Verify() != nil {
			b.Fatal("refused")
		}
	}
}
