package lines

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// run is ranges of a dataset whose pieces give lines of one form.
type run struct {
	attachment   *types.Attachment
	first, count uint32 // of the dataset's range list
	pieces       uint32
	line         func(dst []byte, chunk types.Hash) []byte
}

// entry is one piece before its line is written.
type entry struct {
	chunk types.Hash
	run   uint32
}

// stream writes the lines of all runs, ascending and each once. The lines of one
// call must begin with the same bytes up to the chunk id. Pieces beyond what is
// held at once are sorted in passes over parts of the chunk ids.
func (s *Source) stream(runs []run, emit Emit) error {
	var total uint64
	for _, r := range runs {
		total += uint64(r.pieces)
	}
	held := s.Held
	if held == 0 {
		held = DefaultHeld
	}
	passes := min(1+total/held, 1<<16)
	var w writer
	for pass := range passes {
		entries, err := s.collect(runs, func(c *types.Hash) bool {
			first := uint64(c[0])<<8 | uint64(c[1])
			return first*passes>>16 == pass && s.Shard.Holds(c[0], c[1])
		})
		if err != nil {
			return err
		}
		if err := w.write(entries, runs, emit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) collect(runs []run, want func(*types.Hash) bool) ([]entry, error) {
	var entries []entry
	for i, r := range runs {
		ranges, err := s.Frozen.Ranges(r.attachment, r.first, r.count)
		if err != nil {
			return nil, fmt.Errorf("ranges of dataset %s: %w", r.attachment.Dataset().Short(), err)
		}
		for _, x := range ranges {
			digests, err := s.digests(r.attachment, x)
			if err != nil {
				return nil, err
			}
			for k := range digests {
				if want(&digests[k]) {
					entries = append(entries, entry{digests[k], uint32(i)})
				}
			}
		}
	}
	return entries, nil
}

// digests asks for a range's pieces. What does not hash to the range's id gives
// no lines: no host may have taken it (G10).
func (s *Source) digests(a *types.Attachment, r types.Range) ([]types.Hash, error) {
	list, err := s.Digests(a, r)
	if errors.Is(err, ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("digests of range %s: %w", r.ID.Short(), err)
	}
	if types.RangeOf(list) != r.ID {
		return nil, nil
	}
	return list, nil
}

// writer keeps buffers between groups of lines.
type writer struct {
	buf   []byte
	group [][]byte
}

func (w *writer) write(entries []entry, runs []run, emit Emit) error {
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.chunk[:], b.chunk[:]) })
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].chunk == entries[0].chunk {
			n++
		}
		if err := w.same(entries[:n], runs, emit); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// same writes the lines of one chunk.
func (w *writer) same(entries []entry, runs []run, emit Emit) error {
	if len(entries) == 1 {
		w.buf = runs[entries[0].run].line(w.buf[:0], entries[0].chunk)
		return emit(w.buf)
	}
	w.group = w.group[:0]
	for _, e := range entries {
		w.group = append(w.group, runs[e.run].line(nil, e.chunk))
	}
	slices.SortFunc(w.group, bytes.Compare)
	w.group = slices.CompactFunc(w.group, bytes.Equal)
	for _, line := range w.group {
		if err := emit(line); err != nil {
			return err
		}
	}
	return nil
}
