package keys

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/staddle/staddle/types"
)

// zip215 is the acceptance rule of D3: the equation is multiplied by the
// cofactor, points may have small order and non-canonical encodings, s is
// below the group order. Only this rule gives one verdict for a signature
// whether it is checked alone or in a batch (ZIP-215).
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// Verify reports whether sig is a signature of msg by pub (D3, ZIP-215).
func Verify(pub types.Account, msg []byte, sig types.Signature) bool {
	return ed25519.VerifyWithOptions(pub[:], msg, sig[:], zip215)
}

// VerifyDevice is Verify for the key of a device.
func VerifyDevice(pub types.Device, msg []byte, sig types.Signature) bool {
	return Verify(types.Account(pub), msg, sig)
}

// Batch checks many signatures about three times as fast as one by one, with
// the same verdicts. The zero value is empty and ready. One goroutine a Batch.
type Batch struct {
	entries *ed25519.BatchVerifier
	count   int
	script  hash.Hash
}

// Add appends a signature; its index is the count of those before it. The
// arguments are not kept.
func (b *Batch) Add(pub types.Account, msg []byte, sig types.Signature) {
	if b.entries == nil {
		b.entries, b.script = ed25519.NewBatchVerifier(), sha256.New()
	}
	digest := sha256.Sum256(msg)
	b.script.Write(pub[:])
	b.script.Write(digest[:])
	b.script.Write(sig[:])
	b.entries.AddWithOptions(pub[:], msg, sig[:], zip215)
	b.count++
}

// Len counts the signatures added.
func (b *Batch) Len() int { return b.count }

// Verify gives the indexes of the signatures that Verify refuses, in rising
// order; none means that all are good. An empty batch is good.
//
// The coefficients of the sum are drawn from a hash of the whole batch: whoever
// wants a false sum to vanish must find it by about 2^128 tries, and no source
// of chance has to be handed in.
func (b *Batch) Verify() []int {
	if b.count == 0 {
		return nil
	}
	ok, each := b.entries.Verify(&coefficients{seed: types.H("staddle/batch/1", b.script.Sum(nil))})
	if ok {
		return nil
	}
	var bad []int
	for i, good := range each {
		if !good {
			bad = append(bad, i)
		}
	}
	return bad
}

// coefficients is an endless stream of bytes: H(seed, 0), H(seed, 1), ...
type coefficients struct {
	seed  types.Hash
	block uint64
	left  []byte
}

var _ io.Reader = (*coefficients)(nil)

// Read fills p and never fails.
func (c *coefficients) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(c.left) == 0 {
			next := types.H("staddle/batch/1", c.seed[:], types.Be64(c.block))
			c.left = next[:]
			c.block++
		}
		k := copy(p[n:], c.left)
		c.left, n = c.left[k:], n+k
	}
	return len(p), nil
}
