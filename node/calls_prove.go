package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/sponsor"
)

// prove challenges every host of a dataset now.
func (n *Node) prove(ctx context.Context, q api.ProveRequest, _ *api.Out) (*api.ProveResult, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	if q.Samples < 1 || q.Samples > 4096 {
		return nil, fmt.Errorf("%d samples, want 1 to 4096", q.Samples)
	}
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	if ref, err = n.lib.Resolve(ref); err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	if d, err := v.Dataset(ref.Dataset); err != nil || d == nil {
		return nil, errors.Join(err, fmt.Errorf("dataset %s: %w", ref.Dataset.Short(), sponsor.ErrNotPublished))
	}
	answers, err := t.sponsor.Prove(ctx, ref.Dataset, q.Samples, rand.Reader)
	if err != nil {
		return nil, err
	}
	least := q.Samples
	res := &api.ProveResult{AllWhole: true}
	for _, a := range answers {
		p := api.Proved{Host: a.Host.String(), Lots: a.Lots, Good: a.Good, Asked: a.Asked, Millis: a.Took.Milliseconds()}
		if a.Err != nil {
			p.Why = a.Err.Error()
		}
		res.AllWhole = res.AllWhole && a.Good == a.Asked
		least = min(least, a.Asked)
		res.Hosts = append(res.Hosts, p)
	}
	sure := sponsor.Certainty(least)
	res.Sure = fmt.Sprintf("%d.%02d", sure/100, sure%100)
	return res, nil
}
