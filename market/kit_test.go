package market

import (
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

var (
	chain = types.H("staddle/test/chain")
	cost  = types.Wei(262_144_000_000)
)

func person(n byte) keys.Signer          { return keys.SignerFromSeed([32]byte{n}) }
func account(n byte) types.Account       { return person(n).Account() }
func device(n byte) types.Device         { return keys.DeviceFromSeed([32]byte{n, 1}).ID() }
func payee(n byte) Paid                  { return Paid{Payee: account(n), Device: device(n)} }
func wei(units uint64) *big.Int          { return Wei(units, cost) }
func times(n int64, b *big.Int) *big.Int { return new(big.Int).Mul(big.NewInt(n), b) }

// signed is a receipt by person 1 to payee n.
func signed(n byte, units uint64, total *big.Int) Receipt {
	r := Receipt{
		Chain: chain, Payer: account(1), Payee: account(n), Device: device(n),
		Epoch: 7, Units: units, Total: total,
	}
	digest := r.digest()
	r.Signature = person(1).Sign(digest[:])
	return r
}

func termsOf(n byte, lock types.Amount) Terms {
	return Terms{Chain: chain, Payer: account(1), Payee: account(n), Device: device(n), Epoch: 7, Cost: cost, Lock: lock}
}

func newPurse(t testing.TB) *Purse {
	t.Helper()
	p, err := NewPurse(chain, account(1), 7, cost)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// enough is a lock for at least so many units, the least such (U2).
func enough(units uint64) types.Amount { return types.Amount(types.BaseCeil(wei(units)).Uint64()) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
