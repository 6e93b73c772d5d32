package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/multiformats/go-multicodec"
)

// maxFileDepth is the depth of the blocks of one file: 174^10 leaves is more
// than any disk holds.
const maxFileDepth = 10

// ErrUnixFS is the error of blocks that do not make a UnixFS file or directory.
var ErrUnixFS = errors.New("not sound UnixFS")

// node is a block read as UnixFS. A block of codec raw is a file without links.
type node struct {
	kind  pb.Data_DataType
	data  *unixfs.FSNode // nil for codec raw
	body  []byte         // the bytes of a file that stand in this block
	links []pbLink
}

// pbLink is one link of a dag-pb block.
type pbLink struct {
	name string
	cid  cid.Cid
	size int64 // what the link says of all blocks below
}

// readNode loads a block and reads it as UnixFS.
func readNode(ctx context.Context, b Blocks, c cid.Cid) (*node, error) {
	if err := spend(ctx); err != nil {
		return nil, err
	}
	block, err := load(ctx, b, c)
	if err != nil {
		return nil, err
	}
	return parseNode(c, block)
}

func parseNode(c cid.Cid, block []byte) (*node, error) {
	switch multicodec.Code(c.Prefix().Codec) {
	case multicodec.Raw:
		return &node{kind: pb.Data_Raw, body: block}, nil
	case multicodec.DagPb:
	default:
		return nil, fmt.Errorf("%w: block %s has codec %#x", ErrUnixFS, c, c.Prefix().Codec)
	}
	nb := dagpb.Type.PBNode.NewBuilder()
	if err := dagpb.DecodeBytes(nb, block); err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", ErrUnixFS, c, err)
	}
	raw := nb.Build().(dagpb.PBNode)
	if !raw.Data.Exists() {
		return nil, fmt.Errorf("%w: block %s has no data", ErrUnixFS, c)
	}
	data, err := unixfs.FSNodeFromBytes(raw.Data.Must().Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", ErrUnixFS, c, err)
	}
	n := &node{kind: data.Type(), data: data, body: data.Data()}
	for i := raw.Links.Iterator(); !i.Done(); {
		_, l := i.Next()
		n.links = append(n.links, toLink(l))
	}
	return n, n.check(c)
}

func toLink(l dagpb.PBLink) pbLink {
	var link pbLink
	if c, ok := l.Hash.Link().(cidlink.Link); ok {
		link.cid = c.Cid
	}
	if l.Name.Exists() {
		link.name = l.Name.Must().String()
	}
	if l.Tsize.Exists() {
		link.size = l.Tsize.Must().Int()
	}
	return link
}

// check holds a file to its own account of sizes.
func (n *node) check(c cid.Cid) error {
	if !n.isFile() || len(n.links) == 0 {
		return nil
	}
	if n.data.NumChildren() != len(n.links) {
		return fmt.Errorf("%w: block %s has %d links and %d sizes", ErrUnixFS, c, len(n.links), n.data.NumChildren())
	}
	sum := uint64(len(n.body))
	for i := range n.links {
		size := n.data.BlockSize(i)
		if size > 1<<62-sum {
			return fmt.Errorf("%w: block %s names %d bytes and more", ErrUnixFS, c, size)
		}
		sum += size
	}
	if sum != n.data.FileSize() {
		return fmt.Errorf("%w: block %s has parts of %d bytes and says %d", ErrUnixFS, c, sum, n.data.FileSize())
	}
	return nil
}

func (n *node) isFile() bool { return n.kind == pb.Data_File || n.kind == pb.Data_Raw }

func (n *node) isDirectory() bool { return n.kind == pb.Data_Directory || n.kind == pb.Data_HAMTShard }

// size is the length of a file in bytes.
func (n *node) size() int64 {
	if n.data == nil || len(n.links) == 0 {
		return int64(len(n.body))
	}
	return int64(n.data.FileSize())
}

// child is the length of the part of a file behind a link.
func (n *node) child(i int) int64 { return int64(n.data.BlockSize(i)) }

// fileReader reads a UnixFS file in order, holding one block of each level.
type fileReader struct {
	ctx    context.Context //nolint:containedctx // of the request that reads
	blocks Blocks
	root   *node
	path   []step // from the root down to the open leaf
}

// step is a node on the way down and its next link.
type step struct {
	node *node
	next int
	body []byte // of the node itself, unread
}

func newFileReader(ctx context.Context, b Blocks, root *node) *fileReader {
	f := &fileReader{ctx: ctx, blocks: b, root: root}
	f.path = []step{{node: root, body: root.body}}
	return f
}

// Close implements io.Closer.
func (f *fileReader) Close() error { return nil }

// Read implements io.Reader.
func (f *fileReader) Read(p []byte) (int, error) {
	for len(f.path) > 0 {
		top := &f.path[len(f.path)-1]
		if len(top.body) > 0 {
			n := copy(p, top.body)
			top.body = top.body[n:]
			return n, nil
		}
		if top.next == len(top.node.links) {
			f.path = f.path[:len(f.path)-1]
			continue
		}
		top.next++
		if err := f.down(top.node, top.next-1); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// down opens the part behind a link.
func (f *fileReader) down(n *node, i int) error {
	if len(f.path) > maxFileDepth {
		return fmt.Errorf("%w: file of more than %d levels", ErrUnixFS, maxFileDepth)
	}
	if err := context.Cause(f.ctx); err != nil {
		return err
	}
	part, err := readNode(f.ctx, f.blocks, n.links[i].cid)
	if err != nil {
		return err
	}
	if !part.isFile() || part.size() != n.child(i) {
		return fmt.Errorf("%w: part %s of %d bytes where %d were announced", ErrUnixFS, n.links[i].cid, part.size(), n.child(i))
	}
	f.path = append(f.path, step{node: part, body: part.body})
	return nil
}

// skip goes to an offset from the start, at most the size of the file.
func (f *fileReader) skip(offset int64) error {
	f.path = []step{{node: f.root, body: f.root.body}}
	for {
		top := &f.path[len(f.path)-1]
		if offset < int64(len(top.body)) {
			top.body = top.body[offset:]
			return nil
		}
		offset -= int64(len(top.body))
		top.body = nil
		for top.next < len(top.node.links) && offset >= top.node.child(top.next) {
			offset -= top.node.child(top.next)
			top.next++
		}
		if top.next == len(top.node.links) {
			return nil
		}
		top.next++
		if err := f.down(top.node, top.next-1); err != nil {
			return err
		}
	}
}
