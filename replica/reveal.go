package replica

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/types"
)

// ErrReveal marks a factor that proves nothing.
var ErrReveal = errors.New("factor does not open the modulus")

// RevealCommitment is what a revealer posts first (rule H8), so that nobody can
// copy the factor out of its transaction: job is the attempt, factor big-endian
// without leading zeros.
func RevealCommitment(job types.Hash, revealer types.Account, factor []byte) types.Hash {
	return types.H("staddle/reveal/1", job[:], revealer[:], types.Sized(factor))
}

// CheckReveal reports whether factor breaks the modulus with that hash (rule
// H8): 1 < factor < N and factor divides N. Both are big-endian without leading
// zeros. Error: ErrReveal.
func CheckReveal(modulusHash types.Hash, modulus, factor []byte) error {
	if len(modulus) == 0 || len(modulus) > ModulusSize || types.Hash(sha256.Sum256(modulus)) != modulusHash {
		return fmt.Errorf("%w: modulus of %d bytes is not the one of the job", ErrReveal, len(modulus))
	}
	if len(factor) == 0 || len(factor) > len(modulus) || factor[0] == 0 {
		return fmt.Errorf("%w: factor of %d bytes for a modulus of %d", ErrReveal, len(factor), len(modulus))
	}
	n, p := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(factor)
	if p.Cmp(big.NewInt(1)) <= 0 || p.Cmp(n) >= 0 {
		return fmt.Errorf("%w: it is 1, or not below the modulus", ErrReveal)
	}
	if new(big.Int).Mod(n, p).Sign() != 0 {
		return fmt.Errorf("%w: it does not divide the modulus", ErrReveal)
	}
	return nil
}
