package archive

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

func hmacOf(key [32]byte, message []byte) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write(message)
	return m.Sum(nil)
}

// memoryNodes is a source of blocks.
type memoryNodes map[cid.Cid][]byte

func (m memoryNodes) Node(c cid.Cid) ([]byte, error) {
	if b, ok := m[c]; ok {
		return b, nil
	}
	return nil, &types.Missing{CID: c}
}
