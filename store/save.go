package store

import "github.com/staddle/staddle/types"

// Save puts blocks and rows down together or not at all, synced: the one write
// that engines need.
func (s *Store) Save(nodes []types.Node, rows []types.Row) error {
	b := s.Batch()
	for _, n := range nodes {
		b.PutNode(n)
	}
	for _, r := range rows {
		if r.Value == nil {
			b.Delete(r.Table, r.Key)
		} else {
			b.Set(r.Table, r.Key, r.Value)
		}
	}
	return b.Commit()
}
