package ipfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	blockformat "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// shelf is a store of blocks in memory: Blocks, Sizer and Put, and the DAG
// service that importers write to.
type shelf struct {
	mu     sync.Mutex
	blocks map[string][]byte // by multihash
	gets   int
}

func newShelf() *shelf { return &shelf{blocks: map[string][]byte{}} }

func (s *shelf) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if b, ok := s.blocks[string(c.Hash())]; ok {
		return b, nil
	}
	return nil, &types.Missing{CID: c}
}

func (s *shelf) Has(_ context.Context, c cid.Cid) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.blocks[string(c.Hash())]
	return ok, nil
}

func (s *shelf) Size(_ context.Context, c cid.Cid) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.blocks[string(c.Hash())]; ok {
		return len(b), nil
	}
	return 0, &types.Missing{CID: c}
}

func (s *shelf) Put(_ context.Context, c cid.Cid, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks[string(c.Hash())] = b
	return nil
}

// dag is the shelf as importers want it.
type dag struct {
	format.DAGService
	*shelf
}

func (d dag) Add(ctx context.Context, n format.Node) error {
	return d.Put(ctx, n.Cid(), n.RawData())
}

func (d dag) AddMany(ctx context.Context, ns []format.Node) error {
	for _, n := range ns {
		if err := d.Add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d dag) Get(ctx context.Context, c cid.Cid) (format.Node, error) {
	b, err := d.shelf.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	block, err := blockformat.NewBlockWithCid(b, c)
	if err != nil {
		return nil, err
	}
	return merkledag.DecodeProtobufBlock(block)
}

// file imports bytes as `ipfs add --cid-version=1` does.
func (s *shelf) file(t testing.TB, b []byte, size int64) cid.Cid {
	t.Helper()
	p := helpers.DagBuilderParams{
		Dagserv: dag{shelf: s}, RawLeaves: true, Maxlinks: helpers.DefaultLinksPerBlock,
		CidBuilder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256},
	}
	db, err := p.New(chunk.NewSizeSplitter(bytes.NewReader(b), size))
	if err != nil {
		t.Fatal(err)
	}
	n, err := balanced.Layout(db)
	if err != nil {
		t.Fatal(err)
	}
	return n.Cid()
}

// raw stores a leaf.
func (s *shelf) raw(b []byte) cid.Cid {
	c := types.RawCID(b)
	_ = s.Put(context.Background(), c, b)
	return c
}

// link is a named link of a dag-pb block.
type link struct {
	name string
	cid  cid.Cid
	size int64
}

// pb stores a dag-pb block with the links in the order given.
func (s *shelf) pb(t testing.TB, data []byte, links ...link) cid.Cid {
	t.Helper()
	n, err := qp.BuildMap(dagpb.Type.PBNode, -1, func(ma datamodel.MapAssembler) {
		qp.MapEntry(ma, "Links", qp.List(-1, func(la datamodel.ListAssembler) {
			for _, l := range links {
				qp.ListEntry(la, qp.Map(-1, func(ma datamodel.MapAssembler) {
					qp.MapEntry(ma, "Hash", qp.Link(cidlink.Link{Cid: l.cid}))
					qp.MapEntry(ma, "Name", qp.String(l.name))
					qp.MapEntry(ma, "Tsize", qp.Int(l.size))
				}))
			}
		}))
		if data != nil {
			qp.MapEntry(ma, "Data", qp.Bytes(data))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := dagpb.Encode(n, &b); err != nil {
		t.Fatal(err)
	}
	c := pbCID(t, b.Bytes())
	_ = s.Put(context.Background(), c, b.Bytes())
	return c
}

// dir stores a basic UnixFS directory; the names must be in order.
func (s *shelf) dir(t testing.TB, links ...link) cid.Cid {
	return s.pb(t, []byte{0x08, 1}, links...)
}

func pbCID(t testing.TB, b []byte) cid.Cid {
	t.Helper()
	mh, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.DagProtobuf, mh)
}

// noise is n bytes that no compressor likes, other ones for each seed.
func noise(seed string, n int) []byte {
	b := make([]byte, 0, n+32)
	for i := 0; len(b) < n; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i))
		b = append(b, h[:]...)
	}
	return b[:n]
}

// hashes lists the multihashes of a shelf.
func (s *shelf) hashes() []string { return slices.Sorted(maps.Keys(s.blocks)) }

// section is one section of a CAR.
func section(c cid.Cid, block []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(c.ByteLen()+len(block)))
	return append(append(b, c.Bytes()...), block...)
}

// foreign is a block as other packages want it.
type foreign struct {
	c cid.Cid
	b []byte
}

func (f foreign) RawData() []byte          { return f.b }
func (f foreign) Cid() cid.Cid             { return f.c }
func (f foreign) String() string           { return f.c.String() }
func (f foreign) Loggable() map[string]any { return nil }

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shardData is the UnixFS message of a HAMT shard in which all places are taken.
func shardData(t testing.TB) []byte {
	t.Helper()
	b, err := shardDataOf(256)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shardDataOf(width uint64) ([]byte, error) {
	return unixfs.HAMTShardData(bytes.Repeat([]byte{0xff}, 32), width, multihash.MURMUR3X64_64)
}

func appendVarint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }
