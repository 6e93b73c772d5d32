package ipfs

import (
	"bytes"
	"fmt"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	"github.com/multiformats/go-multicodec"
)

// maxNesting is the depth of maps and lists inside one block.
const maxNesting = 256

// Links lists what a block links to, in the order of the block and with
// repetitions. Blocks of codecs that cannot link (raw, cbor, json) have none;
// those of a codec that we do not know are an error.
func Links(c cid.Cid, block []byte) ([]cid.Cid, error) {
	switch multicodec.Code(c.Prefix().Codec) {
	case multicodec.Raw, multicodec.Cbor, multicodec.Json:
		return nil, nil
	case multicodec.DagPb:
		return pbLinks(c, block)
	case multicodec.DagCbor:
		links, err := cborLinks(block)
		if err != nil {
			return nil, fmt.Errorf("decode block %s: %w", c, err)
		}
		return links, nil
	case multicodec.DagJson:
		return jsonLinks(c, block)
	}
	return nil, fmt.Errorf("block %s: codec %#x is not known", c, c.Prefix().Codec)
}

func jsonLinks(c cid.Cid, block []byte) ([]cid.Cid, error) {
	b := basicnode.Prototype.Any.NewBuilder()
	err := dagjson.DecodeOptions{ParseLinks: true, ParseBytes: true, MaxDepth: maxNesting}.Decode(b, bytes.NewReader(block))
	if err != nil {
		return nil, fmt.Errorf("decode block %s: %w", c, err)
	}
	links, err := traversal.SelectLinks(b.Build())
	if err != nil {
		return nil, fmt.Errorf("links of block %s: %w", c, err)
	}
	return castLinks(c, links)
}

func castLinks(c cid.Cid, links []datamodel.Link) ([]cid.Cid, error) {
	list := make([]cid.Cid, 0, len(links))
	for _, l := range links {
		link, ok := l.(cidlink.Link)
		if !ok {
			return nil, fmt.Errorf("links of block %s: %s is not a CID", c, l)
		}
		list = append(list, link.Cid)
	}
	return list, nil
}

// pbLinks reads dag-pb, the bulk of all inner blocks.
func pbLinks(c cid.Cid, block []byte) ([]cid.Cid, error) {
	b := dagpb.Type.PBNode.NewBuilder()
	if err := dagpb.DecodeBytes(b, block); err != nil {
		return nil, fmt.Errorf("decode block %s: %w", c, err)
	}
	var list []cid.Cid
	links := b.Build().(dagpb.PBNode).Links.Iterator()
	for !links.Done() {
		_, l := links.Next()
		link, ok := l.Hash.Link().(cidlink.Link)
		if !ok {
			return nil, fmt.Errorf("links of block %s: %s is not a CID", c, l.Hash.Link())
		}
		list = append(list, link.Cid)
	}
	return list, nil
}
