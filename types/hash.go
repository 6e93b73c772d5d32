package types

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// HashSize is the length of every digest in bytes.
const HashSize = 32

// Hash is a SHA-256 digest. Its zero value means "none".
type Hash [HashSize]byte

// String gives 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short gives the first 8 hex digits, for people.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// IsZero reports whether h is "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash reads 64 hex digits.
func ParseHash(s string) (h Hash, err error) {
	return h, parseHex("hash", s, h[:])
}

func parseHex(what, s string, dst []byte) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%s %q has %d characters, want %d hex digits", what, clip(s, 80), len(s), 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("%s %q: %w", what, s, err)
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// H is the domain-separated hash of rule D1: SHA-256(dom, 0x00, parts).
// dom ends in a version ("staddle/tx/1"). Each part has a fixed width by its
// spec page, or is wrapped in Sized.
func H(dom string, parts ...[]byte) Hash {
	d := sha256.New()
	d.Write([]byte(dom))
	d.Write([]byte{0})
	for _, p := range parts {
		d.Write(p)
	}
	var h Hash
	d.Sum(h[:0])
	return h
}

// Be32 is the 4-byte big-endian form of n.
func Be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// Be64 is the 8-byte big-endian form of n.
func Be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Sized puts the be32 length before a part that has no fixed width (D1).
func Sized(p []byte) []byte { return append(Be32(uint32(len(p))), p...) }

// U64 is the big-endian number in the first 8 bytes of h.
func (h Hash) U64() uint64 { return binary.BigEndian.Uint64(h[:8]) }
