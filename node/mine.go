package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/types"
)

// listMine lists the datasets that hosts keep for this account by the chain's word,
// whether anything of them is here or not: what words alone bring back.
func (n *Node) listMine(ctx context.Context) (*api.ListResult, error) {
	_, v, err := n.view()
	if err != nil {
		return nil, err
	}
	plans, err := v.Plans(n.Account())
	if err != nil {
		return nil, err
	}
	res := new(api.ListResult)
	var seen []types.DatasetID
	for _, id := range plans {
		p, err := v.Plan(id)
		if err != nil {
			return nil, err
		}
		if p == nil || slices.Contains(seen, p.Plan.Dataset) {
			continue
		}
		seen = append(seen, p.Plan.Dataset)
		d, err := n.mine(ctx, v, p.Plan.Dataset)
		if err != nil {
			return nil, err
		}
		res.Datasets = append(res.Datasets, *d)
	}
	return res, nil
}

// mine describes one of them. The name of a private one is in its last piece, which
// is fetched; when nobody gives it now, the name stays empty.
func (n *Node) mine(ctx context.Context, v *consensus.View, id types.DatasetID) (*api.Dataset, error) {
	rec, err := v.Dataset(id)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, fmt.Errorf("a plan keeps dataset %s, which nobody published", id.Short())
	}
	ref := library.Ref{Dataset: id}
	out := &api.Dataset{Ref: ref.String(), Name: rec.Attachment.Name, Size: rec.Attachment.Size, For: rec.Attachment.Visibility.String()}
	h, err := n.lib.Held(id)
	if err == nil {
		out.Name, out.Whole, out.Added = h.Name, h.Whole, int64(h.Added)
	} else if !errors.Is(err, library.ErrNotHeld) {
		return nil, err
	}
	if out.Name == "" {
		if h, _, err := n.lib.Describe(ctx, ref); err == nil {
			out.Name = h.Name
		}
	}
	return out, nil
}
