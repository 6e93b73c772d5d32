package archive

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/multiformats/go-multihash"
)

// Types of UnixFS messages.
const (
	unixfsDirectory = 1
	unixfsFile      = 2
	unixfsSymlink   = 4
	unixfsShard     = 5
)

// shardAbove is the size at which IPFS importers shard a directory: the bytes of
// its names and CIDs, without what is around them. shardWidth is the places of
// one shard; a byte of the hash chooses among them.
const (
	shardAbove = 256 << 10
	shardWidth = 256
)

func isSharded(entries []treeEntry) bool {
	size := 0
	for _, e := range entries {
		size += len(e.name) + e.link.cid.ByteLen()
	}
	return size > shardAbove
}

// hashed is an entry with the murmur3 of its name: the first half of the variant
// of 128 bits for 64-bit machines.
type hashed struct {
	hash  [8]byte
	entry treeEntry
}

func hashNames(entries []treeEntry) []hashed {
	list := make([]hashed, len(entries))
	for i, e := range entries {
		list[i] = hashed{murmur([]byte(e.name)), e}
	}
	slices.SortStableFunc(list, func(a, b hashed) int { return slices.Compare(a.hash[:], b.hash[:]) })
	return list
}

func murmur(name []byte) [8]byte {
	mh, err := multihash.Sum(name, multihash.MURMUR3X64_64, -1)
	if err != nil {
		panic(err) // the function is built in
	}
	return [8]byte(mh[len(mh)-8:])
}

// shard makes the shard of a sharded directory that holds list, which is sorted
// by hash and agrees in the first depth bytes of it. An entry that is alone at
// its place stands there; others share a shard below.
func (t *Tree) shard(list []hashed, depth int) (unixfsLink, error) {
	if depth == len(list[0].hash) {
		return unixfsLink{}, fmt.Errorf("names %q and %q have the same hash", list[0].entry.name, list[1].entry.name)
	}
	var entries []treeEntry
	var taken [shardWidth / 8]byte
	for len(list) > 0 {
		place := list[0].hash[depth]
		n := 1
		for n < len(list) && list[n].hash[depth] == place {
			n++
		}
		e := treeEntry{fmt.Sprintf("%02X", place), list[0].entry.link}
		if n == 1 {
			e.name += list[0].entry.name
		} else {
			below, err := t.shard(list[:n], depth+1)
			if err != nil {
				return unixfsLink{}, err
			}
			e.link = below
		}
		entries = append(entries, e)
		taken[len(taken)-1-int(place/8)] |= 1 << (place % 8)
		list = list[n:]
	}
	return t.node(entries, shardMessage(taken[:]))
}

// shardMessage is the UnixFS message of a shard: the places that are taken, as a
// number without leading zeros, the hash function and the width.
func shardMessage(taken []byte) []byte {
	for len(taken) > 0 && taken[0] == 0 {
		taken = taken[1:]
	}
	data := appendField([]byte{0x08, unixfsShard}, 0x12, taken)
	data = binary.AppendUvarint(append(data, 0x28), multihash.MURMUR3X64_64)
	return binary.AppendUvarint(append(data, 0x30), shardWidth)
}
