package keys

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sizes of BIP-39 with 256 bits of entropy: 24 words of 11 bits carry the
// entropy and the first byte of its SHA-256.
const (
	WordCount   = 24
	EntropySize = 32
	SeedSize    = 64

	wordBits   = 11
	wordRounds = 2048
	maxPhrase  = 1024 // bytes; 24 of the longest words take 215
)

var english = strings.Fields(englishList)

// Errors of ParseWords, wrapped with what exactly is wrong.
var (
	ErrWordCount    = errors.New("wrong number of words")
	ErrUnknownWord  = errors.New("unknown word")
	ErrWordChecksum = errors.New("words do not belong together")
)

// Seed is the secret that the words stand for (K0).
type Seed [SeedSize]byte

// Format hides the secret from every verb of package fmt.
func (Seed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seed (secret)") }

// NewWords gives the 24 English words of BIP-39 for 32 bytes of true chance.
func NewWords(entropy [EntropySize]byte) string {
	sum := sha256.Sum256(entropy[:])
	bits := append(entropy[:], sum[0])
	words := make([]string, WordCount)
	for i := range words {
		words[i] = english[wordAt(bits, i)]
	}
	return strings.Join(words, " ")
}

// wordAt reads the 11 bits of word i, most significant first.
func wordAt(bits []byte, i int) int {
	n := 0
	for b := i * wordBits; b < (i+1)*wordBits; b++ {
		n = n<<1 | int(bits[b/8]>>(7-b%8)&1)
	}
	return n
}

// ParseWords checks 24 words and stretches them to the seed (BIP-39, empty
// passphrase). Case and white space do not matter. The error wraps
// ErrWordCount, ErrUnknownWord (with the number of the word, and the nearest
// word of the list) or ErrWordChecksum.
func ParseWords(phrase string) (Seed, error) {
	words, err := splitWords(phrase)
	if err != nil {
		return Seed{}, err
	}
	if err := checkWords(words); err != nil {
		return Seed{}, err
	}
	return stretch(strings.Join(words, " "), "")
}

func splitWords(phrase string) ([]string, error) {
	if len(phrase) > maxPhrase {
		return nil, fmt.Errorf("%w: %d bytes of text above limit %d", ErrWordCount, len(phrase), maxPhrase)
	}
	words := strings.Fields(strings.ToLower(phrase))
	if len(words) != WordCount {
		return nil, fmt.Errorf("%w: have %d, want %d", ErrWordCount, len(words), WordCount)
	}
	return words, nil
}

func checkWords(words []string) error {
	var bits [EntropySize + 1]byte
	for i, w := range words {
		n, known := slices.BinarySearch(english, w)
		if !known {
			return fmt.Errorf("%w: number %d, %q, is not in the list; did you mean %q?", ErrUnknownWord, i+1, w, nearest(w))
		}
		for b := 0; b < wordBits; b++ {
			at := i*wordBits + b
			bits[at/8] |= byte(n>>(wordBits-1-b)&1) << (7 - at%8)
		}
	}
	sum := sha256.Sum256(bits[:EntropySize])
	if sum[0] != bits[EntropySize] {
		return fmt.Errorf("%w: all are in the list, but checksum 0x%02x is not 0x%02x; a word is wrong or two are swapped",
			ErrWordChecksum, bits[EntropySize], sum[0])
	}
	return nil
}

// stretch is BIP-39's seed. The list is plain ASCII, so its NFKD form is itself.
func stretch(phrase, passphrase string) (s Seed, err error) {
	key, err := pbkdf2.Key(sha512.New, phrase, []byte("mnemonic"+passphrase), wordRounds, SeedSize)
	if err != nil {
		return Seed{}, fmt.Errorf("stretch words: %w", err)
	}
	copy(s[:], key)
	return s, nil
}

// nearest is the listed word with the fewest edits to w; the first of equals.
func nearest(w string) string {
	w = w[:min(len(w), 16)]
	best, least := "", len(w)+16
	for _, candidate := range english {
		if d := edits(w, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
