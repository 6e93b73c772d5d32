package library

import (
	"fmt"
	"slices"
	"sync"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

const (
	keptReaders = 8       // tables of contents that are kept in memory
	keptEntries = 200_000 // files of all of them together
)

// readers keeps tables of contents that were read lately, the newest first: a
// player opens the same dataset again with every seek. What is kept was verified
// and never changes, since its dataset is named by its hash.
type readers struct {
	mu   sync.Mutex
	kept []keptReader
}

type keptReader struct {
	id types.DatasetID
	r  *archive.Reader
}

func (c *readers) get(id types.DatasetID) *archive.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.kept, func(k keptReader) bool { return k.id == id })
	if i < 0 {
		return nil
	}
	k := c.kept[i]
	c.kept = slices.Insert(slices.Delete(c.kept, i, i+1), 0, k)
	return k.r
}

func (c *readers) put(id types.DatasetID, r *archive.Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.kept, func(k keptReader) bool { return k.id == id }) {
		return
	}
	c.kept = slices.Insert(c.kept, 0, keptReader{id, r.Over(nil)})
	sum := 0
	for i := range c.kept {
		if sum += c.kept[i].r.Len(); sum > keptEntries || i >= keptReaders {
			c.kept = slices.Delete(c.kept, i, len(c.kept))
			return
		}
	}
}

// reader opens the table of contents over slots pieces of memory. It may be one
// that was read before.
func (d *dataset) reader(slots int) (*archive.Reader, error) {
	if d.opener == nil {
		if err := d.unseal(Key{}); err != nil {
			return nil, err
		}
	}
	if kept := d.l.readers.get(d.id); kept != nil && (d.held.TOC.IsZero() || d.held.TOC == kept.TOCDigest()) {
		d.held.TOC = kept.TOCDigest()
		return kept.Over(newTGZ(d, slots)), nil
	}
	r, err := d.readTOC(slots)
	if err == nil {
		d.l.readers.put(d.id, r)
	}
	return r, err
}

// readTOC is reader from the pieces themselves.
func (d *dataset) readTOC(slots int) (*archive.Reader, error) {
	r, err := archive.Open(newTGZ(d, slots), d.plainSize(), 0)
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", d.id.Short(), err)
	}
	if d.held.TOC.IsZero() {
		d.held.TOC = r.TOCDigest()
	}
	if d.held.TOC != r.TOCDigest() {
		err = &BadError{"table of contents", fmt.Errorf("hashes to %s, want %s", r.TOCDigest().Short(), d.held.TOC.Short())}
	}
	return r, err
}
