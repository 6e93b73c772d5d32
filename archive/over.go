package archive

import "io"

// Over is the same table of contents over another reader of the same bytes. A
// table that was read once serves many jobs, each with its own context.
func (r *Reader) Over(below io.ReaderAt) *Reader {
	c := *r
	c.r = below
	return &c
}
