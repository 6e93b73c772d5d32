package replica

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/rand"
	"sync"
	"testing"

	"github.com/staddle/staddle/types"
)

// testKey is the key of the vectors: the primes follow from names.
var testKey = sync.OnceValues(func() (*Key, error) {
	primes := make([]*big.Int, 0, keyPrimes)
	product := big.NewInt(1)
	for i := range keyPrimes - 1 {
		h := sha512.Sum512([]byte(fmt.Sprintf("staddle/test/prime/%d", i)))
		p := new(big.Int).SetBytes(h[:])
		p = nextPrime(p.SetBit(p, 511, 1).SetBit(p, 510, 1))
		primes = append(primes, p)
		product.Mul(product, p)
	}
	low, _ := lastBounds(product)
	return NewKey(append(primes, nextPrime(low)))
})

func key(t testing.TB) *Key {
	t.Helper()
	k, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var testTag = Tag{
	Range: name("staddle/test/root"), Piece: 7, Copy: 3,
	Host: types.Account(name("staddle/test/hoster")),
}

// encodedPiece is the replica of the vectors, 1,024 blocks.
var encodedPiece = sync.OnceValues(func() ([]byte, error) {
	k, err := testKey()
	if err != nil {
		return nil, err
	}
	return rsaChain{}.Encode(testTag, k, noise("staddle/test/piece", types.PieceSize))
})

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestRSAChainVectors(t *testing.T) {
	k := key(t)
	piece := noise("staddle/test/piece", types.PieceSize)
	enc, err := encodedPiece()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct{ what, got, want string }{
		{"modulus", k.Modulus().Hash().String(), "828d6c1c353d82e7d88c49760596d83574f932a4073cdff15347a022411bd6c7"},
		{"bits of the last prime", fmt.Sprint(k.primes[3].BitLen()), "513"},
		{"piece", sum(piece), "df74c7146ca27a37d771dbe697e6f45960bd4632dd6d70aab29759f9267be467"},
		{"tag", hex.EncodeToString(newPad(testTag, k.pub.hash).buf[len(padDomain):]), "a4044ecbcb774c43a222f499d95c1cfc7d6b79f736eb8d10330fbdb10ef1506e"},
		{"block 0", hex.EncodeToString(enc[:16]), "af68fcac2e9b1693a0e9ede9b91039b5"},
		{"end of block 0", hex.EncodeToString(enc[240:256]), "0f11da2cd6565feaea5ec13239116e84"},
		{"block 1", hex.EncodeToString(enc[256:272]), "60c41591078715683ba49e838e925035"},
		{"encoded", sum(enc), "695463fed6df71edaa1a117862df89ae7896181c07f354444909c6831fe8ab7b"},
		{"encoded root", PieceRoot(enc).String(), "4ed90f52752d7c3a6faf599efef9e804a040c4a7f6f92832bef2a56a145b6cff"},
		{"plain root", PieceRoot(piece).String(), "b88b0b36a530de94f7e290365ff8c9291374611fb498bb1dbe9caa8e10b3839c"},
	} {
		if v.got != v.want {
			t.Errorf("%s is %s, want %s", v.what, v.got, v.want)
		}
	}
	back, err := rsaChain{}.Decode(testTag, k.Modulus(), enc, types.PieceSize)
	if err != nil || !bytes.Equal(back, piece) {
		t.Errorf("decoded piece differs (%v)", err)
	}
}

func TestRoundTripLengths(t *testing.T) {
	for _, e := range []Encoding{plain{}, rsaChain{}} {
		lengths := []int{1, 255, 256, 257, 1023, 1024, 1025, 5000}
		if !testing.Short() {
			lengths = append(lengths, types.PieceSize-1)
		}
		for _, n := range lengths {
			piece := noise("lengths", n)
			enc, err := e.Encode(testTag, key(t), piece)
			if err != nil || len(enc) != PaddedLen(n) {
				t.Fatalf("%s of %d bytes: %d bytes (%v), want %d", e.Name(), n, len(enc), err, PaddedLen(n))
			}
			if back, err := e.Decode(testTag, key(t).Modulus(), enc, n); err != nil || !bytes.Equal(back, piece) {
				t.Errorf("%s: piece of %d bytes comes back different (%v)", e.Name(), n, err)
			}
		}
	}
}

// TestRoundTripPieces encodes 300 pieces of one leaf.
func TestRoundTripPieces(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	piece := make([]byte, LeafSize)
	for i := range 300 {
		r.Read(piece)
		tag := Tag{Range: types.Hash{byte(i)}, Piece: uint64(i), Copy: r.Uint32(), Host: types.Account{byte(r.Int())}}
		enc, err := rsaChain{}.Encode(tag, key(t), piece)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := (rsaChain{}).Decode(tag, key(t).Modulus(), enc, len(piece)); err != nil || !bytes.Equal(back, piece) {
			t.Fatalf("piece %d comes back different (%v)", i, err)
		}
	}
}

// TestPermutationToy takes every value of 16 bits through a modulus of 16 bits:
// a bijection, 5,045 values stay as they are.
func TestPermutationToy(t *testing.T) {
	k, err := newKey(7, []*big.Int{big.NewInt(251), big.NewInt(241)})
	if err != nil {
		t.Fatal(err)
	}
	s, seen, above := newScratch(2), make([]bool, 1<<16), 0
	for v := range 1 << 16 {
		in := []byte{byte(v >> 8), byte(v)}
		out := bytes.Clone(in)
		if err := k.inverse(s, out); err != nil {
			t.Fatal(err)
		}
		if v >= 251*241 {
			above++
			if !bytes.Equal(in, out) {
				t.Fatalf("%x above the modulus became %x", in, out)
			}
		}
		if w := int(out[0])<<8 | int(out[1]); seen[w] {
			t.Fatalf("two values become %x", out)
		} else {
			seen[w] = true
		}
		if k.pub.forward(s.nat, out); !bytes.Equal(in, out) {
			t.Fatalf("%x comes back as %x", in, out)
		}
	}
	if above != 5045 {
		t.Errorf("%d values above the modulus, want 5045", above)
	}
}

// TestBinding changes one thing at a time: the piece that comes out is another.
func TestBinding(t *testing.T) {
	const n = 4 * LeafSize
	piece := noise("binding", n)
	enc, err := rsaChain{}.Encode(testTag, key(t), piece)
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateKey(rand.New(rand.NewSource(7)))
	if err != nil {
		t.Fatal(err)
	}
	tampered := bytes.Clone(enc)
	tampered[n-1] ^= 1
	change := func(f func(*Tag)) Tag { tag := testTag; f(&tag); return tag }
	for what, v := range map[string]struct {
		tag Tag
		m   *Modulus
		enc []byte
	}{
		"range":    {change(func(g *Tag) { g.Range[0] ^= 1 }), key(t).Modulus(), enc},
		"piece":    {change(func(g *Tag) { g.Piece++ }), key(t).Modulus(), enc},
		"copy":     {change(func(g *Tag) { g.Copy++ }), key(t).Modulus(), enc},
		"host":     {change(func(g *Tag) { g.Host[31] ^= 1 }), key(t).Modulus(), enc},
		"modulus":  {testTag, other.Modulus(), enc},
		"tampered": {testTag, key(t).Modulus(), tampered},
	} {
		out, err := rsaChain{}.Decode(v.tag, v.m, v.enc, n)
		if err != nil {
			t.Fatal(err)
		}
		if types.RawCID(out).Equals(types.RawCID(piece)) {
			t.Errorf("another %s gives the same piece", what)
		}
	}
	second, err := rsaChain{}.Encode(change(func(g *Tag) { g.Copy++ }), key(t), piece)
	if err != nil {
		t.Fatal(err)
	}
	windows := make(map[string]bool)
	for i := 0; i+32 <= n; i++ {
		windows[string(enc[i:i+32])] = true
	}
	for i := 0; i+32 <= n; i++ {
		if windows[string(second[i:i+32])] {
			t.Fatalf("two replicas share 32 bytes at %d", i)
		}
	}
}

func TestDecodeBlocks(t *testing.T) {
	enc, err := encodedPiece()
	if err != nil {
		t.Fatal(err)
	}
	m, piece := key(t).Modulus(), noise("staddle/test/piece", types.PieceSize)
	for _, v := range [][2]int{{0, 1}, {0, 4}, {1, 1}, {511, 8}, {1023, 1}} {
		first, count := v[0], v[1]
		from := max(0, first-1)
		got, err := DecodeBlocks(testTag, m, uint32(first), enc[from*blockSize:(first+count)*blockSize])
		if err != nil || !bytes.Equal(got, piece[first*blockSize:(first+count)*blockSize]) {
			t.Errorf("blocks %d to %d differ (%v)", first, first+count-1, err)
		}
	}
	for what, err := range map[string]error{
		"no modulus":       second(DecodeBlocks(testTag, nil, 0, enc[:256])),
		"part of a block":  second(DecodeBlocks(testTag, m, 0, enc[:255])),
		"none before":      second(DecodeBlocks(testTag, m, 3, nil)),
		"beyond the piece": second(DecodeBlocks(testTag, m, 1023, enc[:768])),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want ErrInput", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestEncodingRefuses(t *testing.T) {
	wiped, err := newKey(exponent, append([]*big.Int(nil), key(t).primes...))
	if err != nil {
		t.Fatal(err)
	}
	wiped.primes = nil // what Wipe leaves
	dirty := make([]byte, LeafSize)
	dirty[LeafSize-1] = 1
	m := key(t).Modulus()
	for what, v := range map[string]struct{ got, want error }{
		"plain, empty":       {second(plain{}.Encode(testTag, nil, nil)), ErrInput},
		"plain, long":        {second(plain{}.Encode(testTag, nil, make([]byte, types.PieceSize+1))), ErrInput},
		"plain, cut":         {second(plain{}.Decode(testTag, nil, make([]byte, 1023), 5)), ErrInput},
		"plain, dirty":       {second(plain{}.Decode(testTag, nil, dirty, 5)), ErrPadding},
		"chain, empty":       {second(rsaChain{}.Encode(testTag, key(t), nil)), ErrInput},
		"chain, no key":      {second(rsaChain{}.Encode(testTag, nil, []byte{1})), ErrWiped},
		"chain, wiped":       {second(rsaChain{}.Encode(testTag, wiped, []byte{1})), ErrWiped},
		"chain, long":        {second(rsaChain{}.Decode(testTag, m, make([]byte, 2*LeafSize), 5)), ErrInput},
		"chain, zero length": {second(rsaChain{}.Decode(testTag, m, nil, 0)), ErrInput},
		"chain, no padding":  {second(rsaChain{}.Decode(testTag, m, noise("x", LeafSize), 5)), ErrPadding},
	} {
		if !errors.Is(v.got, v.want) {
			t.Errorf("%s: %v, want %v", what, v.got, v.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	for id, v := range map[uint32]struct {
		name  string
		needs bool
		err   error
	}{
		0: {"plain", false, nil}, 1: {"rsa-chain", true, nil}, 2: {"aes-ctr", false, ErrNotYet},
		3: {"sloth-sqrt", false, ErrNotYet}, 4: {"rsa-chain-x2", false, ErrNotYet}, 5: {"flate", false, ErrNotYet},
		6: {"", false, ErrUnknown}, 1 << 31: {"nothing", false, ErrUnknown},
	} {
		e, err := Lookup(id)
		byName, err2 := ByName(v.name)
		if !errors.Is(err, v.err) || !errors.Is(err2, v.err) || byName != e {
			t.Errorf("encoding %d: %v, %v, want %v", id, err, err2, v.err)
		}
		if e != nil && (e.ID() != id || e.Name() != v.name || e.NeedsEncoder() != v.needs) {
			t.Errorf("encoding %d is %d %s %v", id, e.ID(), e.Name(), e.NeedsEncoder())
		}
	}
}

// TestEncodeMemory bounds what one block asks of the heap: nothing of it lives
// longer than its block, so neither direction holds more than that and the piece.
func TestEncodeMemory(t *testing.T) {
	const blocks = 256
	piece, m := noise("memory", blocks*blockSize), key(t).Modulus()
	var err error
	for _, v := range []struct {
		what     string
		perBlock uint64
		f        func()
	}{
		{"encode", 32 << 10, func() { _, err = rsaChain{}.Encode(testTag, key(t), piece) }},
		{"decode", 8 << 10, func() { _, err = rsaChain{}.Decode(testTag, m, piece, len(piece)) }},
	} {
		if took := allocated(v.f) / blocks; took > v.perBlock || err != nil {
			t.Errorf("%s took %d bytes of heap a block (%v), want at most %d", v.what, took, err, v.perBlock)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	piece := noise("bench", 16*LeafSize)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		if _, err := (rsaChain{}).Encode(testTag, key(b), piece); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, err := encodedPiece()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		if _, err := (rsaChain{}).Decode(testTag, key(b).Modulus(), enc, len(enc)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeBigInt(b *testing.B) {
	x := new(big.Int).SetBytes(noise("bench", blockSize-1))
	n, e := new(big.Int).SetBytes(key(b).pub.raw), big.NewInt(exponent)
	b.SetBytes(blockSize)
	for b.Loop() {
		new(big.Int).Exp(x, e, n)
	}
}

// TestFault spoils one part of the trapdoor: the block is refused, because with
// it anybody could compute a factor of the modulus.
func TestFault(t *testing.T) {
	k, err := newKey(exponent, key(t).primes)
	if err != nil {
		t.Fatal(err)
	}
	k.exps[2] = new(big.Int).Add(k.exps[2], big.NewInt(2))
	if _, err := (rsaChain{}).Encode(testTag, k, []byte("piece")); !errors.Is(err, errFault) {
		t.Errorf("encode with a fault: %v, want %v", err, errFault)
	}
}

// TestConcurrentUse shares a key and a modulus between goroutines, for -race.
func TestConcurrentUse(t *testing.T) {
	piece, m := noise("concurrent", 2*LeafSize), key(t).Modulus()
	want, err := rsaChain{}.Encode(testTag, key(t), piece)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			enc, err := rsaChain{}.Encode(testTag, key(t), piece)
			if err != nil || !bytes.Equal(enc, want) {
				t.Errorf("encoded differently (%v)", err)
			}
			if back, err := (rsaChain{}).Decode(testTag, m, want, len(piece)); err != nil || !bytes.Equal(back, piece) {
				t.Errorf("decoded differently (%v)", err)
			}
		})
	}
	wg.Wait()
}
