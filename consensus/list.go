package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// A list is a bag of 32-byte ids under a key: the count there, the ids in pages
// of pageIDs below it. The state's map cannot be walked in key order, so what
// must be found without knowing its key (candidates, lots of a host, what is due
// at a height) stands in a list.
const pageIDs = 64

func (v *View) count(list string) (int, error) {
	b, ok, err := v.m.Get(list)
	if err != nil || !ok {
		return 0, err
	}
	d := types.NewDecoder(b)
	n := d.Uint32()
	return int(n), d.End()
}

func (v *View) page(list string, n int) ([]types.Hash, error) {
	b, ok, err := v.m.Get(keyPage(list, n))
	if err != nil || !ok {
		return nil, orMalformed(err, "list %q lacks page %d", list[:min(len(list), 8)], n)
	}
	d := types.NewDecoder(b)
	raw := d.Bytes(pageIDs * types.HashSize)
	if err := d.End(); err != nil {
		return nil, err
	}
	if len(raw)%types.HashSize != 0 {
		return nil, fmt.Errorf("list page of %d bytes", len(raw))
	}
	ids := make([]types.Hash, len(raw)/types.HashSize)
	for i := range ids {
		copy(ids[i][:], raw[i*types.HashSize:])
	}
	return ids, nil
}

// list gives the ids in the order in which they lie.
func (v *View) list(list string) ([]types.Hash, error) {
	n, err := v.count(list)
	if err != nil {
		return nil, err
	}
	out := make([]types.Hash, 0, n)
	for p := 0; p*pageIDs < n; p++ {
		ids, err := v.page(list, p)
		if err != nil {
			return nil, err
		}
		out = append(out, ids...)
	}
	if len(out) != n {
		return nil, fmt.Errorf("list %q has %d ids, counts %d", list[:min(len(list), 8)], len(out), n)
	}
	return out, nil
}

func (v *View) accounts(list string) ([]types.Account, error) {
	ids, err := v.list(list)
	if err != nil {
		return nil, err
	}
	out := make([]types.Account, len(ids))
	for i, id := range sorted(ids) {
		out[i] = types.Account(id)
	}
	return out, nil
}

func sorted(ids []types.Hash) []types.Hash {
	out := slices.Clone(ids)
	slices.SortFunc(out, func(a, b types.Hash) int { return bytes.Compare(a[:], b[:]) })
	return out
}

func (s *state) setCount(list string, n int) error {
	if n == 0 {
		return s.drop(list)
	}
	var e types.Encoder
	e.Uint(uint64(n))
	return s.m.Set(list, e.Data())
}

func (s *state) setPage(list string, n int, ids []types.Hash) error {
	if len(ids) == 0 {
		return s.drop(keyPage(list, n))
	}
	var e types.Encoder
	e.Bytes(slices.Concat(raw(ids)...))
	return s.m.Set(keyPage(list, n), e.Data())
}

func raw(ids []types.Hash) [][]byte {
	out := make([][]byte, len(ids))
	for i := range ids {
		out[i] = ids[i][:]
	}
	return out
}

// listAdd appends id.
func (s *state) listAdd(list string, id types.Hash) error {
	n, err := s.count(list)
	if err != nil {
		return err
	}
	var ids []types.Hash
	if n%pageIDs != 0 {
		if ids, err = s.page(list, n/pageIDs); err != nil {
			return err
		}
	}
	if err := s.setPage(list, n/pageIDs, append(ids, id)); err != nil {
		return err
	}
	return s.setCount(list, n+1)
}

// listRemove takes id out and puts the last one in its place. An id that is not
// there is an error: counts and lists would part.
func (s *state) listRemove(list string, id types.Hash) error {
	n, err := s.count(list)
	if err != nil {
		return err
	}
	for p := 0; p*pageIDs < n; p++ {
		ids, err := s.page(list, p)
		if err != nil {
			return err
		}
		if i := slices.Index(ids, id); i >= 0 {
			return s.removeAt(list, n, p, i)
		}
	}
	return fmt.Errorf("list %q has no %s", list[:min(len(list), 8)], id.Short())
}

func (s *state) removeAt(list string, n, p, i int) error {
	last := (n - 1) / pageIDs
	tail, err := s.page(list, last)
	if err != nil {
		return err
	}
	moved, rest := tail[len(tail)-1], tail[:len(tail)-1]
	if p == last {
		if i < len(rest) {
			rest[i] = moved
		}
		return errors.Join(s.setPage(list, last, rest), s.setCount(list, n-1))
	}
	ids, err := s.page(list, p)
	if err != nil {
		return err
	}
	ids[i] = moved
	return errors.Join(s.setPage(list, p, ids), s.setPage(list, last, rest), s.setCount(list, n-1))
}

// listTake gives the whole list and deletes it.
func (s *state) listTake(list string) ([]types.Hash, error) {
	ids, err := s.list(list)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	for p := 0; p*pageIDs < len(ids); p++ {
		if err := s.drop(keyPage(list, p)); err != nil {
			return nil, err
		}
	}
	return ids, s.drop(list)
}
