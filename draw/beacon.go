package draw

import (
	"crypto/sha256"

	"github.com/staddle/staddle/types"
)

// Alpha is the VRF input of the miner of block height: the beacon of the block
// before it and the height as be64 (rule C2.1).
func Alpha(prevR types.Hash, height types.Height) []byte {
	return append(prevR[:], types.Be64(uint64(height))...)
}

// Mix is the beacon of a block from the one before and the block's VRF output
// (rule C2.1): SHA-256("staddle/beacon", prev, output), with no byte between.
func Mix(prev types.Hash, out Output) types.Hash {
	return joined("staddle/beacon", prev[:], out[:])
}

// NextGensig is the generation signature of block n+1 (rule C2.1) from that of
// block n, the account that mines block n+1 and the VRF output of block n.
func NextGensig(prev types.Hash, miner types.Account, out Output) types.Hash {
	return joined("staddle/pot/1", prev[:], miner[:], out[:])
}

// EpochBeacon is R_E, by which epoch E is audited and settled. r is the beacon
// of the block at checkpoint E+1, one epoch after E's claims were frozen.
func EpochBeacon(r types.Hash) types.Hash { return types.H("staddle/epoch", r[:]) }

// joined is SHA-256 over the name and the parts without the zero byte of rule
// D1: the two hashes that rule C2.1 writes out (rule D2).
func joined(name string, parts ...[]byte) (h types.Hash) {
	d := sha256.New()
	d.Write([]byte(name))
	for _, p := range parts {
		d.Write(p)
	}
	d.Sum(h[:0])
	return h
}
