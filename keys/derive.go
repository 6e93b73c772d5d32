package keys

import (
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/staddle/staddle/types"
)

// Names of the derivations of K0. They are for ever.
const (
	infoAccount  = "staddle/key/account/1"
	infoRecovery = "staddle/key/recovery/1"
	infoDataset  = "staddle/key/dataset/1"

	domRecovery = "staddle/recovery/1"
)

// Account is the signer of the account that the seed stands for (K0).
func (s Seed) Account() Signer { return SignerFromSeed(s.derive(infoAccount)) }

// Recovery is the signer that may replace the account's key (K3). The daemon
// never keeps it: it is derived from the words when it is needed.
func (s Seed) Recovery() Signer { return SignerFromSeed(s.derive(infoRecovery)) }

// Dataset is the secret from which the piece keys of a private dataset grow
// (P1.1). The salt is public, stands in the attachment and is new with each
// dataset, so that equal files of two datasets do not look alike.
func (s Seed) Dataset(salt [32]byte) [32]byte { return s.derive(infoDataset + string(salt[:])) }

// derive is HKDF-SHA256 (RFC 5869) with an empty salt.
func (s Seed) derive(info string) (out [32]byte) {
	key, err := hkdf.Key(sha256.New, s[:], nil, info, len(out))
	if err != nil {
		panic(err) // 32 bytes are below the limit of HKDF, 8,160
	}
	copy(out[:], key)
	return out
}

// RecoveryHash is what kind 3 publishes of the recovery key (K3): it binds the
// key without showing it.
func RecoveryHash(recovery types.Account) types.Hash { return types.H(domRecovery, recovery[:]) }
