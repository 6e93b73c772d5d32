package node

import (
	"fmt"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/store"
	"github.com/staddle/staddle/types"
)

// retain lets versions of a folder go that are not to be kept. What a plan of this
// account needs stays.
func (n *Node) retain(folder, name string, keep library.Keep, res *api.PutResult) error {
	bound, err := n.bound()
	if err != nil {
		return err
	}
	gone, err := n.lib.Retain(library.Retaining{
		Folder: folder, Name: name, Keep: keep, Zone: time.Local,
		Bound: func(id types.DatasetID) (bool, error) { return bound[id], nil },
	})
	for _, v := range gone {
		ref := library.Ref{Dataset: v.Dataset}
		res.Removed = append(res.Removed, ref.String())
	}
	return err
}

// bound are the datasets of this account's plans that have not ended.
func (n *Node) bound() (map[types.DatasetID]bool, error) {
	out := map[types.DatasetID]bool{}
	t := n.current()
	if t == nil {
		return out, nil
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	ids, err := v.Plans(n.Account())
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		p, err := v.Plan(id)
		if err != nil {
			return nil, err
		}
		if p != nil && !p.Ended {
			out[p.Plan.Dataset] = true
		}
	}
	return out, nil
}

// Sponsors reports whether the account of a store has ever had copies kept: then
// only its running node knows which versions plans need.
func Sponsors(s *store.Store) (bool, error) {
	d, err := (&Node{store: s}).duties()
	if err != nil {
		return false, fmt.Errorf("read duties: %w", err)
	}
	return d.Sponsor, nil
}
