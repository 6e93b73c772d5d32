package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type wordsVector struct {
	Entropy  string `json:"entropy"`
	Words    string `json:"words"`
	Trezor   string `json:"seed_TREZOR"` // passphrase of the published vectors
	Seed     string `json:"seed"`        // empty passphrase
	Account  string `json:"account"`
	Recovery string `json:"recovery"`
	Dataset  string `json:"dataset"` // salt = 32 bytes of 0x07
}

func dataset7(s Seed) string {
	var salt [32]byte
	for i := range salt {
		salt[i] = 7
	}
	secret := s.Dataset(salt)
	return hex.EncodeToString(secret[:])
}

// TestK0 holds the words against the published vectors of BIP-39 and the
// derivations against our own.
func TestK0(t *testing.T) {
	vectors := golden[wordsVector](t, "words.json", nil)
	if len(vectors) != 8 {
		t.Fatalf("have %d vectors, want 8", len(vectors))
	}
	for i, v := range vectors {
		words := NewWords(unhex(t, v.Entropy))
		trezor, err := stretch(words, "TREZOR")
		if err != nil {
			t.Fatal(err)
		}
		seed, err := ParseWords(words)
		if err != nil {
			t.Fatal(err)
		}
		have := wordsVector{
			Entropy: v.Entropy, Words: words,
			Trezor: hex.EncodeToString(trezor[:]), Seed: hex.EncodeToString(seed[:]),
			Account: seed.Account().Account().String(), Recovery: seed.Recovery().Account().String(),
			Dataset: dataset7(seed),
		}
		if have != v {
			t.Errorf("vector %d:\nhave %+v\nwant %+v", i, have, v)
		}
	}
}

func TestWordListIsTheStandardOne(t *testing.T) {
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	sum := sha256.Sum256([]byte(strings.Join(english, "\n") + "\n"))
	if have := hex.EncodeToString(sum[:]); have != want || len(english) != 2048 || !slices.IsSorted(english) {
		t.Fatalf("list of %d words has hash %s, want %s", len(english), have, want)
	}
}

func TestParseWordsTakesAnySpacingAndCase(t *testing.T) {
	words := NewWords([32]byte{1})
	want, err := ParseWords(words)
	if err != nil {
		t.Fatal(err)
	}
	have, err := ParseWords("\n " + strings.ToUpper(strings.ReplaceAll(words, " ", "\t \n")) + " ")
	if err != nil || have != want {
		t.Fatalf("seeds differ, error %v", err)
	}
}

func TestParseWordsTellsWhatIsWrong(t *testing.T) {
	good := strings.Fields(NewWords([32]byte{}))
	with := func(i int, w string) string {
		words := slices.Clone(good)
		words[i] = w
		return strings.Join(words, " ")
	}
	tests := []struct {
		name, phrase string
		want         error
		text         string
	}{
		{"empty", "", ErrWordCount, "have 0, want 24"},
		{"twelve", strings.Join(good[:12], " "), ErrWordCount, "have 12, want 24"},
		{"one more", with(0, "abandon abandon"), ErrWordCount, "have 25, want 24"},
		{"endless", strings.Repeat("a", 1<<20), ErrWordCount, "1048576 bytes of text above limit 1024"},
		{"typing error", with(6, "abandun"), ErrUnknownWord, `number 7, "abandun", is not in the list; did you mean "abandon"?`},
		{"two letters swapped", with(23, "brecuase"), ErrUnknownWord, `number 24, "brecuase", is not in the list; did you mean "because"?`},
		{"not ASCII", with(0, "ábandon"), ErrUnknownWord, `did you mean "abandon"?`},
		{"very long word", with(0, strings.Repeat("z", 400)), ErrUnknownWord, "number 1"},
		{"another listed word", with(0, "zoo"), ErrWordChecksum, "checksum 0x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seed, err := ParseWords(tt.phrase)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("error %q, want %q with %q", err, tt.want, tt.text)
			}
			if seed != (Seed{}) {
				t.Fatal("a seed came with the error")
			}
		})
	}
}

// TestWordsKeepEveryBit checks that words and entropy stand for each other.
func TestWordsKeepEveryBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entropy := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "entropy"))
		words := strings.Fields(NewWords(entropy))
		if err := checkWords(words); err != nil {
			t.Fatal(err)
		}
		bit := rapid.IntRange(0, 255).Draw(t, "bit")
		other := entropy
		other[bit/8] ^= 1 << (bit % 8)
		if slices.Equal(words, strings.Fields(NewWords(other))) {
			t.Fatalf("bit %d is lost", bit)
		}
	})
}

func FuzzParseWords(f *testing.F) {
	f.Add(NewWords([32]byte{1, 2, 3}))
	f.Add("abandon " + strings.Repeat("zoo ", 23))
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, phrase string) {
		words, err := splitWords(phrase)
		if err != nil || checkWords(words) != nil {
			return // the stretching is slow and takes no decision
		}
		if len(words) != WordCount {
			t.Fatalf("accepted %d words", len(words))
		}
	})
}

func TestSecretsDoNotPrint(t *testing.T) {
	seed, err := ParseWords(NewWords([32]byte{9}))
	if err != nil {
		t.Fatal(err)
	}
	signer, device := seed.Account(), DeviceFromSeed([32]byte{5})
	inner := struct {
		s Signer
		d Device
	}{signer, device}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		out := fmt.Sprintf(verb+verb+verb+verb, seed, signer, device, inner)
		for _, secret := range [][32]byte{[32]byte(seed[:32]), signer.Seed(), device.Seed()} {
			for _, form := range []string{"%x", "%v", "%#v"} {
				whole := strings.Trim(fmt.Sprintf(form, secret[:8]), "[]{}")
				if strings.Contains(out, whole) {
					t.Errorf("verb %s shows a secret: %s", verb, out)
				}
			}
		}
	}
}
