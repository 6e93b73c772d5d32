package draw

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

// rfc9381 are the three examples of RFC 9381, appendix B.3.
var rfc9381 = []struct{ name, seed, key, alpha, proof, output string }{
	{
		"example 16", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		"8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97" +
			"27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
		"90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af02679" +
			"8e8f81cd2e333de5cdf4f3e140fdd8ae",
	},
	{
		"example 17, second try", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		"f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465" +
			"301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
		"eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848" +
			"a0bef4553a41befc57663b56373a5031",
	},
	{
		"example 18", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
		"9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0" +
			"e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
		"645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c452118fec1219202a0edcf038bb6373241" +
			"578be7217ba85a2687f7a0310b2df19f",
	},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVRFExamples(t *testing.T) {
	for _, v := range rfc9381 {
		t.Run(v.name, func(t *testing.T) {
			alpha := unhex(t, v.alpha)
			p := Prove([32]byte(unhex(t, v.seed)), alpha)
			if got := hex.EncodeToString(p[:]); got != v.proof {
				t.Errorf("proof %s, want %s", got, v.proof)
			}
			out, err := Verify([32]byte(unhex(t, v.key)), alpha, Proof(unhex(t, v.proof)))
			if err != nil || hex.EncodeToString(out[:]) != v.output {
				t.Errorf("output %x (%v), want %s", out, err, v.output)
			}
			if again, err := ProofToHash(p); err != nil || again != out {
				t.Errorf("output of the proof alone %x (%v), want %x", again, err, out)
			}
		})
	}
}

// TestVRFBitFlips changes each byte of key, input and proof: nothing else passes.
func TestVRFBitFlips(t *testing.T) {
	v := rfc9381[2]
	all := append(append(unhex(t, v.key), unhex(t, v.alpha)...), unhex(t, v.proof)...)
	check := func(b []byte) error {
		_, err := Verify([32]byte(b[:32]), b[32:34], Proof(b[34:]))
		return err
	}
	if err := check(all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		bad := bytes.Clone(all)
		bad[i] ^= 1 << (i % 8)
		if check(bad) == nil {
			t.Errorf("byte %d changed, proof still passes", i)
		}
	}
}

// lowOrder are points of order 1, 2, 4, 8 and encodings that are not shortest.
var lowOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080", // negative zero
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 1 + the prime
	"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 3 + the prime
}

func TestVRFRefusesKeys(t *testing.T) {
	alpha, p := unhex(t, rfc9381[1].alpha), Proof(unhex(t, rfc9381[1].proof))
	for _, key := range lowOrder {
		if _, err := Verify([32]byte(unhex(t, key)), alpha, p); !errors.Is(err, ErrKey) {
			t.Errorf("key %s: %v, want ErrKey", key, err)
		}
	}
}

func TestVRFRefusesForm(t *testing.T) {
	v := rfc9381[1]
	key, alpha := [32]byte(unhex(t, v.key)), unhex(t, v.alpha)
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	s, carry := Proof(unhex(t, v.proof)), 0
	for i, b := range order { // s + group order is the same scalar, not reduced
		carry += int(s[48+i]) + int(b)
		s[48+i], carry = byte(carry), carry>>8
	}
	noPoint := Proof(unhex(t, v.proof))
	copy(noPoint[:32], unhex(t, "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))
	for name, p := range map[string]Proof{"response not reduced": s, "point not shortest": noPoint} {
		if _, err := Verify(key, alpha, p); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := ProofToHash(noPoint); !errors.Is(err, ErrMalformed) {
		t.Errorf("output of a malformed proof: %v, want ErrMalformed", err)
	}
}

// TestVRFUnique adds a point of order 8 to Gamma, which a prover that does not
// follow the rules may do: the output, if accepted at all, must not change.
func TestVRFUnique(t *testing.T) {
	p := Proof(unhex(t, rfc9381[0].proof))
	want, err := ProofToHash(p)
	if err != nil {
		t.Fatal(err)
	}
	gamma, err := decodePoint(p[:32])
	if err != nil {
		t.Fatal(err)
	}
	eight, err := new(edwards25519.Point).SetBytes(unhex(t, lowOrder[4]))
	if err != nil {
		t.Fatal(err)
	}
	copy(p[:], gamma.Add(gamma, eight).Bytes())
	if got, err := ProofToHash(p); err != nil || got != want {
		t.Errorf("output %x (%v), want %x", got, err, want)
	}
}

func TestVRFRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		alpha := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "alpha")
		pub := [32]byte(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
		p := Prove(seed, alpha)
		out, err := Verify(pub, alpha, p)
		if again, err2 := ProofToHash(p); err != nil || err2 != nil || again != out {
			t.Fatalf("verify: %v, %v", err, err2)
		}
		if _, err := Verify(pub, append(alpha, 0), p); !errors.Is(err, ErrForged) {
			t.Fatalf("longer input: %v, want ErrForged", err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	for _, v := range rfc9381 {
		f.Add(unhex(f, v.key), unhex(f, v.alpha), unhex(f, v.proof))
	}
	f.Add(unhex(f, lowOrder[0]), []byte{1}, make([]byte, ProofSize))
	f.Fuzz(func(t *testing.T, key, alpha, proof []byte) {
		if len(key) != 32 || len(proof) != ProofSize {
			return
		}
		out, err := Verify([32]byte(key), alpha, Proof(proof))
		if err != nil {
			if out != (Output{}) {
				t.Fatalf("refused with output %x", out)
			}
			return
		}
		if again, err := ProofToHash(Proof(proof)); err != nil || again != out {
			t.Fatalf("output %x (%v), want %x", again, err, out)
		}
	})
}

func BenchmarkProve(b *testing.B) {
	for b.Loop() {
		Prove([32]byte{1}, []byte("input"))
	}
}

func BenchmarkVerify(b *testing.B) {
	key, alpha, p := [32]byte(unhex(b, rfc9381[0].key)), []byte{}, Proof(unhex(b, rfc9381[0].proof))
	for b.Loop() {
		if _, err := Verify(key, alpha, p); err != nil {
			b.Fatal(err)
		}
	}
}
