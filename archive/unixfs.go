package archive

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// unixfsWidth is the number of links of a full node in the balanced layout that
// IPFS importers build by default.
const unixfsWidth = 174

// UnixFS computes the UnixFS file root over pieces as raw leaves from their
// digests and sizes alone: what `ipfs add --cid-version=1 --raw-leaves
// --chunker=size-262144` gives for the TGZ, as long as its layout is balanced
// with 174 links.
type UnixFS struct {
	levels [][]unixfsLink
	emit   func(types.Node) error
}

// unixfsLink is a child: its block, the bytes of the file below it, and the
// bytes of all its blocks.
type unixfsLink struct {
	cid        cid.Cid
	file, tree uint64
}

// NewUnixFS hands each dag-pb block to emit as it is complete.
func NewUnixFS(emit func(types.Node) error) *UnixFS { return &UnixFS{emit: emit} }

// Add takes the next piece.
func (u *UnixFS) Add(digest types.Hash, size int) error {
	return u.put(0, unixfsLink{types.RawCIDOf(digest), uint64(size), uint64(size)})
}

// put appends a child at a level. A full node is closed only when one more
// child comes, so a root never gets a parent of one link.
func (u *UnixFS) put(level int, link unixfsLink) error {
	if level == len(u.levels) {
		u.levels = append(u.levels, nil)
	}
	if len(u.levels[level]) == unixfsWidth {
		if err := u.close(level); err != nil {
			return err
		}
	}
	u.levels[level] = append(u.levels[level], link)
	return nil
}

// close turns the open node of a level into a link of the level above.
func (u *UnixFS) close(level int) error {
	parent, node := makeUnixFS(u.levels[level])
	u.levels[level] = u.levels[level][:0]
	if err := u.emit(node); err != nil {
		return err
	}
	return u.put(level+1, parent)
}

// Root closes what is open and gives the root; undefined when nothing was added.
func (u *UnixFS) Root() (cid.Cid, error) {
	link, err := u.root()
	return link.cid, err
}

func (u *UnixFS) root() (unixfsLink, error) {
	for level := 0; level < len(u.levels); level++ {
		open := u.levels[level]
		if level == len(u.levels)-1 && len(open) == 1 {
			return open[0], nil
		}
		if len(open) == 0 {
			continue
		}
		if err := u.close(level); err != nil {
			return unixfsLink{}, err
		}
	}
	return unixfsLink{}, nil
}

// makeUnixFS writes one inner node: dag-pb with the links first, then the UnixFS
// message {type file, filesize, blocksizes}.
func makeUnixFS(links []unixfsLink) (unixfsLink, types.Node) {
	var block, sizes []byte
	var file, tree uint64
	for _, l := range links {
		block = appendPBLink(block, "", l)
		sizes = binary.AppendUvarint(append(sizes, 0x20), l.file)
		file, tree = file+l.file, tree+l.tree
	}
	data := binary.AppendUvarint([]byte{0x08, unixfsFile, 0x18}, file)
	block = appendField(block, 0x0a, append(data, sizes...))
	node := types.Node{CID: pbCID(block), Bytes: block}
	return unixfsLink{node.CID, file, tree + uint64(len(block))}, node
}

// appendPBLink appends a link of a dag-pb block: CID, name, bytes of the blocks
// below.
func appendPBLink(dst []byte, name string, l unixfsLink) []byte {
	link := appendField(nil, 0x0a, l.cid.Bytes())
	link = appendField(link, 0x12, []byte(name))
	return appendField(dst, 0x12, binary.AppendUvarint(append(link, 0x18), l.tree))
}

// appendField appends a length-delimited protobuf field.
func appendField(dst []byte, tag byte, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}

func pbCID(block []byte) cid.Cid {
	digest := sha256.Sum256(block)
	mh, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // 32 bytes of SHA-256 always encode
	}
	return cid.NewCidV1(cid.DagProtobuf, mh)
}
