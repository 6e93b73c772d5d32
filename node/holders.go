package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/types"
)

// remote is where the library gets what is not here: from the members that hold
// the dataset by the chain's word.
type remote struct{ n *Node }

// Attachment reads the dataset's description from the chain.
func (r remote) Attachment(_ context.Context, id types.DatasetID) (types.Attachment, error) {
	t := r.n.current()
	if t == nil {
		return types.Attachment{}, &library.NotHeld{What: "dataset " + id.Short()}
	}
	v, err := t.chain.View()
	if err != nil {
		return types.Attachment{}, err
	}
	d, err := v.Dataset(id)
	if err != nil {
		return types.Attachment{}, err
	}
	if d == nil {
		return types.Attachment{}, &library.NotHeld{What: "dataset " + id.Short() + " is not published in this community and"}
	}
	return d.Attachment, nil
}

// Nodes gets blocks of the dataset.
func (r remote) Nodes(ctx context.Context, id types.DatasetID, want []cid.Cid) ([]types.Node, error) {
	t, err := r.n.member()
	if err != nil {
		return nil, &library.NotHeld{What: fmt.Sprintf("block %s", want[0])}
	}
	peers, err := t.Holders(ctx, id)
	if err != nil {
		return nil, err
	}
	return t.swarm.NodesOn(ctx, t.terms(ctx), want, peers)
}

// Pieces gets pieces of the dataset.
func (r remote) Pieces(ctx context.Context, id types.DatasetID, want []types.Hash, to func(int, []byte) error) error {
	t, err := r.n.member()
	if err != nil {
		return &library.NotHeld{What: fmt.Sprintf("piece %s", want[0].Short())}
	}
	peers, err := t.Holders(ctx, id)
	if err != nil {
		return err
	}
	return t.swarm.FetchOn(ctx, t.terms(ctx), want, peers, to)
}

// Holders implements swarm.Holders: the publisher has plain pieces, the hosts of
// active lots decode theirs.
func (t *town) Holders(_ context.Context, id types.DatasetID) ([]swarm.Peer, error) {
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	d, err := v.Dataset(id)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, &library.NotHeld{What: "dataset " + id.Short()}
	}
	out := []swarm.Peer{{Account: d.Publisher, Plain: true}}
	sponsors, err := v.Role(types.RoleSponsor)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(sponsors, d.Publisher) {
		sponsors = append(sponsors, d.Publisher)
	}
	for _, s := range sponsors {
		plans, err := v.Plans(s)
		if err != nil {
			return nil, err
		}
		for _, p := range plans {
			hosts, err := t.hostsOf(p, id)
			if err != nil {
				return nil, err
			}
			out = append(out, hosts...)
		}
	}
	slices.SortStableFunc(out, func(a, b swarm.Peer) int { return slices.Compare(a.Account[:], b.Account[:]) })
	return slices.CompactFunc(out, func(a, b swarm.Peer) bool { return a.Account == b.Account }), nil
}

// hostsOf lists the hosts of a plan's active lots, when it is for the dataset.
func (t *town) hostsOf(plan types.PlanID, id types.DatasetID) ([]swarm.Peer, error) {
	p, lots, err := t.sponsor.Lots(plan)
	if err != nil || p.Plan.Dataset != id {
		return nil, err
	}
	var out []swarm.Peer
	for _, l := range lots {
		if l.Record.Status == types.LotActive {
			out = append(out, swarm.Peer{Account: l.Record.Host, Plain: p.Plan.Encoding == 0})
		}
	}
	return out, nil
}

// digests names the pieces of a range, from the dataset's index; index blocks
// that are not here are fetched and kept.
func (t *town) digests(ctx context.Context, a *types.Attachment, r types.Range) ([]types.Hash, error) {
	for {
		list, err := t.heldDigests(a, r)
		var missing *types.Missing
		if !errors.As(err, &missing) {
			return list, err
		}
		want, err := t.indexGaps(a, r, missing.CID)
		if err != nil {
			return nil, err
		}
		nodes, err := remote{t.node}.Nodes(ctx, a.Dataset(), want)
		if err != nil {
			return nil, fmt.Errorf("index of dataset %s: %w", a.Dataset().Short(), err)
		}
		if err := t.node.store.Save(nodes, nil); err != nil {
			return nil, err
		}
	}
}

// heldDigests is digests from what is here: the error wraps *types.Missing.
func (t *town) heldDigests(a *types.Attachment, r types.Range) ([]types.Hash, error) {
	x, err := archive.OpenIndex(t.node.store, a.Index, a.Pieces)
	if err != nil {
		return nil, err
	}
	out := make([]types.Hash, r.Count)
	for i := range out {
		if out[i], err = x.Piece(r.First + uint32(i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// indexGaps lists all blocks of one level of the index that the range needs.
func (t *town) indexGaps(a *types.Attachment, r types.Range, first cid.Cid) ([]cid.Cid, error) {
	x, err := archive.OpenIndex(t.node.store, a.Index, a.Pieces)
	if err != nil {
		return []cid.Cid{first}, nil // the root itself
	}
	gaps, err := x.Missing(r.First, r.Count)
	if err == nil && len(gaps) == 0 {
		gaps = []cid.Cid{first}
	}
	return gaps, err
}
