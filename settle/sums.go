package settle

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// ErrOverflow ends a run whose sums leave 64 bits.
var ErrOverflow = errors.New("sum leaves 64 bits")

// sums adds up what ids earned. It holds one entry for each id.
type sums struct {
	index map[types.Address]int
	list  []Net
}

func newSums() *sums { return &sums{index: make(map[types.Address]int)} }

func (s *sums) add(id types.Address, replicas, units int64) error {
	at, ok := s.index[id]
	if !ok {
		at = len(s.list)
		s.index[id] = at
		s.list = append(s.list, Net{ID: id})
	}
	return s.list[at].add(replicas, units)
}

func (n *Net) add(replicas, units int64) error {
	s, okS := types.AddInt(n.S, replicas)
	b, okB := types.AddInt(n.B, units)
	// The smallest number of 64 bits has no counterpart, and the grammar refuses it.
	if !okS || !okB || s < -maxNet || b < -maxNet {
		return fmt.Errorf("%s: %d + %d, %d + %d: %w", n.ID, n.S, replicas, n.B, units, ErrOverflow)
	}
	n.S, n.B = s, b
	return nil
}

// write gives the rows ascending by id, without zeros.
func (s *sums) write(out *lineWriter, g Grammar) error {
	slices.SortFunc(s.list, func(a, b Net) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, n := range s.list {
		if err := out.net(n, g); err != nil {
			return err
		}
	}
	return out.flush()
}

// net writes zero, one or two lines.
func (o *lineWriter) net(n Net, g Grammar) error {
	for _, half := range [2]Net{{ID: n.ID, S: n.S}, {ID: n.ID, B: n.B}} {
		if half.S == 0 && half.B == 0 {
			continue
		}
		o.buf = half.Append(o.buf, g)
		if err := o.end(); err != nil {
			return err
		}
	}
	return nil
}
