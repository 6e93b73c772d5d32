package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/ipfs"
	"github.com/staddle/staddle/library"
)

// exportCAR writes a CAR of a dataset, or of what was imported.
func (n *Node) exportCAR(ctx context.Context, q api.CARExport, w io.Writer) error {
	roots, err := n.carRoots(q)
	if err != nil {
		return err
	}
	_, err = ipfs.Export(ctx, w, blocks{n.lib}, roots, ipfs.ExportOptions{Version: ipfs.CARVersion(q.Version)})
	return err
}

// carRoots are the roots that a request means: a CID stands for itself, a dataset
// for its UnixFS file, its index, or both.
func (n *Node) carRoots(q api.CARExport) ([]cid.Cid, error) {
	if c, err := cid.Decode(q.Ref); err == nil && c.Prefix().Codec != cid.DagCBOR {
		return []cid.Cid{c}, nil
	}
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	if ref.Path != "" {
		return nil, fmt.Errorf("%w: a CAR holds a whole dataset, not %q of it", library.ErrAmbiguous, ref.Path)
	}
	a, err := n.lib.Attachment(ref.Dataset)
	if err != nil {
		if c, plain := cid.Decode(q.Ref); plain == nil {
			return []cid.Cid{c}, nil // dag-cbor of an import
		}
		return nil, err
	}
	switch q.Root {
	case "", "unixfs":
		return []cid.Cid{a.UnixFS}, nil
	case "index":
		return []cid.Cid{a.Index}, nil
	case "both":
		return []cid.Cid{a.UnixFS, a.Index}, nil
	}
	return nil, fmt.Errorf("%w: root %q, want unixfs, index or both", library.ErrAmbiguous, q.Root)
}

// importCAR takes the blocks of a CAR in.
func (n *Node) importCAR(ctx context.Context, q api.CARImport, out *api.Out) (*api.Imported, error) {
	f, err := os.Open(q.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	im, err := n.lib.BeginImport(q.Path, info.Size())
	if err != nil {
		return nil, err
	}
	got, err := ipfs.Import(ctx, counted{f, out, uint64(info.Size()), new(uint64)}, im.Put)
	if err != nil {
		return nil, errors.Join(err, im.Abort())
	}
	return finish(im, got.Roots)
}

// counted tells how much of a file was read.
type counted struct {
	io.Reader
	out   *api.Out
	total uint64
	done  *uint64
}

// Read implements io.Reader.
func (c counted) Read(p []byte) (int, error) {
	k, err := c.Reader.Read(p)
	*c.done += uint64(k)
	c.out.Progress(api.Progress{Phase: string(library.Reading), Done: *c.done, Total: c.total})
	return k, err
}

func finish(im *library.Import, roots []cid.Cid) (*api.Imported, error) {
	done, err := im.Commit(roots)
	if err != nil {
		return nil, err
	}
	return describeImport(&done), nil
}

func describeImport(in *library.Imported) *api.Imported {
	out := &api.Imported{Name: in.Name, Roots: []string{}, Blocks: in.Blocks, Bytes: in.Bytes, Added: int64(in.Added)}
	for _, c := range in.Roots {
		out.Roots = append(out.Roots, c.String())
	}
	return out
}

func (n *Node) listImports(context.Context, api.None, *api.Out) (*api.Imports, error) {
	all, err := n.lib.Imports()
	res := &api.Imports{Imports: []api.Imported{}}
	for i := range all {
		res.Imports = append(res.Imports, *describeImport(&all[i]))
	}
	return res, err
}

func (n *Node) removeImport(_ context.Context, q api.RefRequest, _ *api.Out) (api.None, error) {
	c, err := cid.Decode(q.Ref)
	if err != nil {
		return api.None{}, fmt.Errorf("%w: %q is no CID: %w", library.ErrAmbiguous, q.Ref, err)
	}
	return api.None{}, n.lib.RemoveImport(c)
}

// ErrNoFace is the error of what needs the IPFS host.
var ErrNoFace = errors.New("this node does not speak to the IPFS world")

// fetchIPFS gets all below a CID from peers of the IPFS world.
func (n *Node) fetchIPFS(ctx context.Context, q api.IPFSFetch, _ *api.Out) (*api.Imported, error) {
	if n.face.world == nil {
		return nil, ErrNoFace
	}
	root, err := cid.Decode(q.CID)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is no CID: %w", library.ErrAmbiguous, q.CID, err)
	}
	if len(q.From) == 0 {
		return nil, fmt.Errorf("%w: from whom? --from takes a multiaddr that ends in /p2p/ID", library.ErrAmbiguous)
	}
	im, err := n.lib.BeginImport("ipfs "+q.CID, 0)
	if err != nil {
		return nil, err
	}
	if q.GraphSync {
		var span *ipfs.Span
		if q.End > 0 {
			span = &ipfs.Span{First: q.First, End: q.End, Total: q.Total}
		}
		_, err = n.face.world.Sync(ctx, root, span, q.From[0], intake{blocks{n.lib}, im})
	} else {
		_, err = n.face.world.Fetch(ctx, root, q.From, im.Put)
	}
	if err != nil {
		return nil, errors.Join(err, im.Abort())
	}
	return finish(im, []cid.Cid{root})
}

// intake is an import that can be read back while it runs.
type intake struct {
	blocks
	*library.Import
}
