package ipfs

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"

	"github.com/staddle/staddle/types"
)

// The scanner finds the links that the library finds, in its order, and refuses
// what it must.
func TestCBORLinks(t *testing.T) {
	a, b := types.RawCID([]byte("a")), types.NodeCID([]byte("b"))
	link := func(c cid.Cid) string { return "\xd8*X%\x00" + string(c.Bytes()) }
	for name, block := range map[string]string{
		"none": "\xa0", "one": link(a), "list": "\x83" + link(a) + link(b) + link(a),
		"map":    "\xa2ax" + link(b) + "ay\x82\x01" + link(a),
		"values": "\x88\x20\x39\x01\x00\xf5\xf6\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\x63abc\x42xy\x1b\x00\x00\x00\x01\x00\x00\x00\x00",
	} {
		c := types.NodeCID([]byte(block))
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := dagcbor.Decode(nb, strings.NewReader(block)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all, err := traversal.SelectLinks(nb.Build())
		if err != nil {
			t.Fatal(err)
		}
		want, err := castLinks(c, all)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := Links(c, []byte(block)); err != nil || !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v: %v", name, have, want, err)
		}
	}
	for name, block := range map[string]string{
		"empty": "", "cut list": "\x82\x01", "cut text": "\x65abc", "cut head": "\x19\x01", "trailing": "\x01\x01",
		"indefinite": "\x9f\xff", "other tag": "\xc1\x01", "link of text": "\xd8*ax", "empty link": "\xd8*@",
		"link without zero": "\xd8*X$" + string(a.Bytes()), "link that is none": "\xd8*B\x00x", "cut link": link(a)[:20],
	} {
		if links, err := Links(types.NodeCID([]byte(block)), []byte(block)); err == nil {
			t.Errorf("%s: %v", name, links)
		}
	}
}

// A block of the full size that is all structure takes bounded memory, or is
// refused.
func TestLinksMemory(t *testing.T) {
	empty := append([]byte{0x9a, 0, 0x1f, 0xff, 0xfb}, bytes.Repeat([]byte{0x80}, MaxBlock-5)...)
	tests := map[string]struct {
		codec uint64
		block []byte
	}{
		"dag-cbor lists": {cid.DagCBOR, empty},
		"dag-cbor nulls": {cid.DagCBOR, bytes.Replace(empty, []byte{0x80}, []byte{0xf6}, -1)},
		"dag-cbor deep":  {cid.DagCBOR, bytes.Repeat([]byte{0x81}, MaxBlock)},
		"dag-cbor lie":   {cid.DagCBOR, []byte{0x9b, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"dag-json lists": {cid.DagJSON, append(append([]byte("["), bytes.Repeat([]byte("[],"), MaxBlock/3-2)...), "[]]"...)},
		"dag-json deep":  {cid.DagJSON, bytes.Repeat([]byte("["), MaxBlock)},
		"dag-pb links":   {cid.DagProtobuf, bytes.Repeat([]byte{0x12, 0x06, 0x0a, 0x04, 1, 0x55, 0, 0}, MaxBlock/8)},
		"dag-pb noise":   {cid.DagProtobuf, bytes.Repeat([]byte{0x12, 0}, MaxBlock/2)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := cid.NewCidV1(tt.codec, types.RawCID(tt.block).Hash())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			links, err := Links(c, tt.block)
			runtime.ReadMemStats(&after)
			t.Logf("%d links, %v, %d MiB", len(links), err, (after.TotalAlloc-before.TotalAlloc)>>20)
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 64*MaxBlock {
				t.Errorf("%d bytes taken for a block of %d", taken, len(tt.block))
			}
		})
	}
}
