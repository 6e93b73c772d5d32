package consensus

import "github.com/staddle/staddle/types"

// message is the rule of kind 2: a text, a dataset, or both. The range list of
// a dataset must be held by whoever judges the block; it is part of the state's
// blocks from then on.
func (s *state) message(r *request, b *types.Message) (effect, error) {
	if b.Attachment == nil {
		if b.TextLength == 0 {
			return nil, refuse("a message without text and attachment")
		}
		return func() error { return nil }, nil
	}
	a := b.Attachment
	if err := a.CheckVisibility(); err != nil {
		return nil, refuse("%w", err)
	}
	id := a.Dataset()
	old, err := s.Dataset(id)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return func() error { return nil }, nil // published before: the first one stands
	}
	if err := s.checkRanges(a); err != nil {
		return nil, err
	}
	rec := &types.DatasetRecord{
		Attachment: *a, Publisher: r.Sender, Height: s.head.Height, Time: s.head.Time, Tx: r.id,
	}
	return func() error { return s.put(keyDataset(id), rec) }, nil
}

// checkRanges walks the range list: ranges follow each other, none is longer
// than the community's, and together they are the dataset (G9).
func (s *state) checkRanges(a *types.Attachment) error {
	link, next, count := a.Ranges, uint32(1), uint32(0)
	for link.Defined() {
		var l types.RangeList
		b, err := s.src.Node(link)
		if err != nil {
			return err
		}
		if err := types.Unmarshal(b, &l); err != nil {
			return refuse("range list: %w", err)
		}
		for _, r := range l.Ranges {
			if r.First != next || r.Count > s.Rules.RangePieces || uint64(next)+uint64(r.Count) > uint64(a.Pieces)+1 {
				return refuse("range %d has pieces %d+%d, want from %d at most %d of %d", count, r.First, r.Count, next, s.Rules.RangePieces, a.Pieces)
			}
			next += r.Count
			count++
		}
		if len(l.Ranges) == 0 {
			return refuse("empty block in the range list")
		}
		link = l.Next
	}
	if next != a.Pieces+1 || count != a.RangeCount {
		return refuse("range list has %d ranges of %d pieces, attachment says %d of %d", count, next-1, a.RangeCount, a.Pieces)
	}
	return nil
}
