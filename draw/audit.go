package draw

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/staddle/staddle/types"
)

// rotationEpochs is the period in which each lot shows one leaf more (rule H6.2).
const rotationEpochs = 28

// Samples are the numbers of the n leaves that a host must show for an epoch
// (rule H6.1), in order, each below total; a leaf may come twice. beacon is R_E.
// total is the sum of leaves in the host's log header; with none, no samples.
func Samples(chain types.ChainID, beacon types.Hash, host types.Account, n int, total uint64) []uint64 {
	return sample(types.H("staddle/audit/1", chain[:], beacon[:], host[:]), n, total)
}

// ContractSamples are leaves of one contract alone, by which anybody may ask a
// host outside of the epoch's audit.
func ContractSamples(seed ContractSeed, n int, total uint64) []uint64 {
	return sample(seed.hash(), n, total)
}

// ContractSeed says whose leaves ContractSamples draws.
type ContractSeed struct {
	Chain    types.ChainID
	Beacon   types.Hash
	Contract types.LotID
	Host     types.Account
}

func (s ContractSeed) hash() types.Hash {
	return types.H("staddle/audit/1", s.Chain[:], s.Beacon[:], s.Contract[:], s.Host[:])
}

func sample(seed types.Hash, n int, total uint64) []uint64 {
	if n <= 0 || total == 0 {
		return nil
	}
	out := make([]uint64, n)
	for j := range out {
		h := sha256.Sum256(append(seed[:], types.Be32(uint32(j))...))
		out[j] = mod128(h, total)
	}
	return out
}

// mod128 is the big-endian number in the first 16 bytes of h modulo m.
func mod128(h types.Hash, m uint64) uint64 {
	return bits.Rem64(h.U64(), binary.BigEndian.Uint64(h[8:16]), m)
}

// RotationDue reports whether the lot shows a leaf of its own in that epoch,
// which each does once in 28 (rule H6.2).
func RotationDue(lot types.LotID, epoch types.Epoch) bool {
	return types.H("staddle/audit/rot/1", lot[:]).U64()%rotationEpochs == uint64(epoch)%rotationEpochs
}

// RotationLeaf is the number of that leaf inside the lot of so many leaves
// (rule H6.2); 0 when it has none.
func RotationLeaf(beacon types.Hash, lot types.LotID, leaves uint64) uint64 {
	if leaves == 0 {
		return 0
	}
	return mod128(types.H("staddle/audit/leaf/1", beacon[:], lot[:]), leaves)
}
