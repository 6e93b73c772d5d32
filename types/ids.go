package types

import (
	"crypto/sha256"
	"encoding/hex"
)

// Account is a person's ed25519 public key: account on every chain, BEP 44
// writer, name in chat.
type Account [32]byte

// Device is the ed25519 public key of one machine, certified by an account; it
// is the libp2p peer and the TLS key.
type Device [32]byte

// Signature is an ed25519 signature.
type Signature [64]byte

// Address names an account in settlement logs: the first 20 bytes of the
// SHA-256 of its key.
type Address [20]byte

// Names of things on a chain; all are digests (rule D4).
type (
	// ChainID is H("staddle/chain/1", genesis).
	ChainID = Hash
	// TxID is H("staddle/tx/1", unsigned bytes).
	TxID = Hash
	// DatasetID is the digest of the index root CID.
	DatasetID = Hash
	// PlanID is the id of the transaction that made the plan.
	PlanID = Hash
	// LotID is H("staddle/lot/1", plan, be32 copy, be32 index).
	LotID = Hash
	// AttemptID is H("staddle/attempt/1", lot, be32 number, beacon).
	AttemptID = Hash
	// RangeID is H("staddle/range/1", be32 count, digests in order).
	RangeID = Hash
)

// String gives 64 hex digits.
func (a Account) String() string { return hex.EncodeToString(a[:]) }

// Short gives the first 8 hex digits, for people.
func (a Account) Short() string { return hex.EncodeToString(a[:4]) }

// IsZero reports whether a is "none".
func (a Account) IsZero() bool { return a == Account{} }

// ParseAccount reads 64 hex digits.
func ParseAccount(s string) (a Account, err error) { return a, parseHex("account", s, a[:]) }

// Address is the account's name in settlement logs.
func (a Account) Address() (out Address) {
	sum := sha256.Sum256(a[:])
	copy(out[:], sum[:])
	return out
}

// String gives 64 hex digits.
func (d Device) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is "none".
func (d Device) IsZero() bool { return d == Device{} }

// String gives 0x and 40 hex digits.
func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// ParseAddress reads 0x and 40 hex digits.
func ParseAddress(s string) (a Address, err error) {
	if len(s) > 2 && s[:2] == "0x" {
		s = s[2:]
	}
	return a, parseHex("address", s, a[:])
}

// LotOf is the id of a plan's lot (D4); copy and index count from 0.
func LotOf(plan PlanID, copyNumber, index uint32) LotID {
	return H("staddle/lot/1", plan[:], Be32(copyNumber), Be32(index))
}

// AttemptOf is the id of one drawing of a lot (D4). beacon is R of the drawing
// block; numbers count from 0.
func AttemptOf(lot LotID, number uint32, beacon Hash) AttemptID {
	return H("staddle/attempt/1", lot[:], Be32(number), beacon[:])
}

// RangeOf is the id of a range (G8): its piece digests in order.
func RangeOf(digests []Hash) RangeID {
	parts := make([][]byte, 1, 1+len(digests))
	parts[0] = Be32(uint32(len(digests)))
	for i := range digests {
		parts = append(parts, digests[i][:])
	}
	return H("staddle/range/1", parts...)
}
