package dht

import (
	"crypto/subtle"
	"io"
	"net/netip"
	"time"

	"github.com/staddle/staddle/types"
)

const (
	tokenLife = 5 * time.Minute // a secret is fresh this long and valid twice as long
	tokenSize = 8
	// maxForeignToken bounds tokens that others give us, in bytes.
	maxForeignToken = 64
)

// tokens makes and checks the proof that a sender owns its address (BEP 5): a
// hash of the address and a secret that changes every 5 minutes.
type tokens struct {
	rand     io.Reader
	secrets  [2][16]byte // newest first
	rotateAt time.Time
}

func newTokens(now time.Time, rand io.Reader) (tokens, error) {
	t := tokens{rand: rand, rotateAt: now.Add(tokenLife)}
	for i := range t.secrets {
		if _, err := io.ReadFull(rand, t.secrets[i][:]); err != nil {
			return tokens{}, err
		}
	}
	return t, nil
}

// turn brings the secrets up to now. If chance fails, the old ones stay.
func (t *tokens) turn(now time.Time) {
	for range len(t.secrets) {
		if now.Before(t.rotateAt) {
			return
		}
		var fresh [16]byte
		if _, err := io.ReadFull(t.rand, fresh[:]); err != nil {
			return
		}
		t.secrets[1], t.secrets[0] = t.secrets[0], fresh
		t.rotateAt = t.rotateAt.Add(tokenLife)
	}
	// After a long sleep both secrets are new and the rhythm starts anew.
	if !now.Before(t.rotateAt) {
		t.rotateAt = now.Add(tokenLife)
	}
}

func tokenOf(secret [16]byte, ip netip.Addr) []byte {
	addr := ip.As16()
	h := types.H("staddle/dht/token/1", secret[:], addr[:])
	return h[:tokenSize]
}

// give is the token for ip.
func (t *tokens) give(now time.Time, ip netip.Addr) []byte {
	t.turn(now)
	return tokenOf(t.secrets[0], ip)
}

// valid reports whether token was given to ip within the last 5 to 10 minutes.
func (t *tokens) valid(now time.Time, ip netip.Addr, token []byte) bool {
	t.turn(now)
	ok := 0
	for _, s := range t.secrets {
		ok |= subtle.ConstantTimeCompare(token, tokenOf(s, ip))
	}
	return ok == 1
}
