package node

import (
	"context"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
)

// exportTo writes a dataset into a directory.
func (n *Node) exportTo(ctx context.Context, q api.CarryRequest, out *api.Out) (*api.CarryResult, error) {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	var warnings []string
	c, err := n.lib.ExportTo(ctx, ref, q.Dir, watch(out, &warnings))
	if err != nil {
		return nil, err
	}
	return CarryResult(&c), nil
}

// importFrom takes a dataset from a directory.
func (n *Node) importFrom(ctx context.Context, q api.CarryRequest, out *api.Out) (*api.CarryResult, error) {
	var warnings []string
	c, err := n.lib.ImportFrom(ctx, q.Dir, library.ImportOptions{InPlace: q.InPlace}, watch(out, &warnings))
	if err != nil {
		return nil, err
	}
	return CarryResult(&c), nil
}

// CarryResult is what callers see of a dataset that was exported or imported.
func CarryResult(c *library.Carried) *api.CarryResult {
	a := &c.Attachment
	ref := library.Ref{Dataset: a.Dataset()}
	return &api.CarryResult{Ref: ref.String(), Name: c.Name, Size: a.Size, Pieces: a.Pieces, Moved: c.Moved, InPlace: c.InPlace}
}
