package ipfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
)

// CARVersion is a version of the CAR format (https://ipld.io/specs/transport/car).
type CARVersion uint64

// The versions in use: 1 is a header and sections; 2 wraps one such payload and
// adds an index by hash.
const (
	CARv1 CARVersion = 1
	CARv2 CARVersion = 2
)

// Limits of a CAR: the header of version 1 in bytes, and its roots.
const (
	MaxCARHeader = 1 << 20
	MaxCARRoots  = 10_000
)

// maxSection is the longest section: a block and its CID, whose identity hash
// may be long.
const maxSection = MaxBlock + maxCID

// maxCID bounds the binary form of the CIDs that Accept lets pass.
const maxCID = 4*binary.MaxVarintLen64 + MaxIdentity

// ErrCAR is the error of a CAR that breaks the format. The text says at which
// byte of the stream.
var ErrCAR = errors.New("damaged CAR")

// carPragma begins a CAR of version 2: a header of version 1 that says "2".
var carPragma = []byte{0x0a, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 0x02}

// carV2Size is the length of the second header of version 2.
const carV2Size = 40

// carV2 is the header of version 2. Offsets count from the start of the file.
type carV2 struct {
	indexed   bool // the index lists every section
	dataStart uint64
	dataSize  uint64
	index     uint64 // 0: none
}

func (h carV2) encode() []byte {
	b := make([]byte, 16, carV2Size)
	if h.indexed {
		b[0] = 0x80
	}
	b = binary.LittleEndian.AppendUint64(b, h.dataStart)
	b = binary.LittleEndian.AppendUint64(b, h.dataSize)
	return binary.LittleEndian.AppendUint64(b, h.index)
}

func parseCARv2(b []byte) (carV2, error) {
	h := carV2{
		indexed:   b[0]&0x80 != 0,
		dataStart: binary.LittleEndian.Uint64(b[16:]),
		dataSize:  binary.LittleEndian.Uint64(b[24:]),
		index:     binary.LittleEndian.Uint64(b[32:]),
	}
	least := uint64(len(carPragma) + carV2Size)
	switch {
	case h.dataStart < least:
		return h, fmt.Errorf("data at %d overlap the header of %d bytes", h.dataStart, least)
	case h.dataSize == 0 || h.dataSize > math.MaxInt64-h.dataStart || h.dataStart > math.MaxInt64:
		return h, fmt.Errorf("%d bytes of data at %d", h.dataSize, h.dataStart)
	case h.index != 0 && h.index < h.dataStart+h.dataSize:
		return h, fmt.Errorf("index at %d, inside the data that end at %d", h.index, h.dataStart+h.dataSize)
	}
	return h, nil
}

// carHeader writes the header of version 1, dag-cbor {roots, version}, with its
// length in front.
func carHeader(roots []cid.Cid) ([]byte, error) {
	if len(roots) > MaxCARRoots {
		return nil, fmt.Errorf("%d roots above limit %d", len(roots), MaxCARRoots)
	}
	b := cborHead([]byte{0xa2, 0x65, 'r', 'o', 'o', 't', 's'}, 0x80, uint64(len(roots)))
	for _, c := range roots {
		raw := append([]byte{0}, c.Bytes()...)
		b = append(b, 0xd8, 42)
		b = append(cborHead(b, 0x40, uint64(len(raw))), raw...)
	}
	b = append(b, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', byte(CARv1))
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...), nil
}

// cborHead appends the head of a CBOR item of a major type (in the upper bits).
func cborHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
}

// parseCARHeader reads a header of version 1 without its length.
func parseCARHeader(b []byte) (roots []cid.Cid, err error) {
	nb := basicnode.Prototype.Map.NewBuilder()
	options := dagcbor.DecodeOptions{AllowLinks: true, AllocationBudget: 4 * MaxCARHeader, MaxDepth: 3}
	if err := options.Decode(nb, bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	header := nb.Build()
	version, err := headerVersion(header)
	if err != nil {
		return nil, err
	}
	if version != int64(CARv1) {
		return nil, fmt.Errorf("header has version %d, want %d", version, CARv1)
	}
	list, err := header.LookupByString("roots")
	if err != nil || list.Kind() != datamodel.Kind_List {
		return nil, errors.New("header has no list of roots")
	}
	if header.Length() != 2 {
		return nil, fmt.Errorf("header has %d fields, want 2", header.Length())
	}
	return headerRoots(list)
}

func headerVersion(header datamodel.Node) (int64, error) {
	version, err := header.LookupByString("version")
	if err != nil {
		return 0, errors.New("header has no version")
	}
	v, err := version.AsInt()
	if err != nil {
		return 0, errors.New("header has a version that is no number")
	}
	return v, nil
}

func headerRoots(list datamodel.Node) ([]cid.Cid, error) {
	if list.Length() > MaxCARRoots {
		return nil, fmt.Errorf("%d roots above limit %d", list.Length(), MaxCARRoots)
	}
	var roots []cid.Cid
	for i := list.ListIterator(); !i.Done(); {
		n, node, err := i.Next()
		if err != nil {
			return nil, err
		}
		link, err := node.AsLink()
		if err != nil {
			return nil, fmt.Errorf("root %d is no CID", n)
		}
		c := link.(cidlink.Link).Cid
		if err := Accept(c); err != nil {
			return nil, fmt.Errorf("root %d: %w", n, err)
		}
		roots = append(roots, c)
	}
	return roots, nil
}

// carIndex collects where the sections of a payload begin: digest, then offset.
type carIndex [][40]byte

func (x *carIndex) add(c cid.Cid, offset uint64) {
	var entry [40]byte
	copy(entry[:], digest(c))
	binary.LittleEndian.PutUint64(entry[32:], offset)
	*x = append(*x, entry)
}

// head sorts the index and gives what stands before its entries: codec
// MultihashIndexSorted, one hash function, one width.
func (x carIndex) head() []byte {
	slices.SortFunc(x, func(a, b [40]byte) int { return bytes.Compare(a[:], b[:]) })
	b := binary.AppendUvarint(nil, 0x0401)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint64(b, 0x12)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 40)
	return binary.LittleEndian.AppendUint64(b, 40*uint64(len(x)))
}
