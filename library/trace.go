package library

import (
	"io/fs"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// trace notes, while a folder is packed, which bytes of the TGZ are bytes of
// which file, and makes recipes of it.
type trace struct {
	folder *folder
	runs   []archive.Run // not yet behind the last piece
	file   *archive.Entry
	seen   recipeFile // of file; no name when it cannot be kept in place
}

// run takes the next run of the packer.
func (t *trace) run(r archive.Run) { t.runs = append(t.runs, r) }

// drop forgets runs that end at or before an offset of the TGZ.
func (t *trace) drop(end int64) {
	gone := 0
	for gone < len(t.runs) && t.runs[gone].At+t.runs[gone].Size <= end {
		gone++
	}
	t.runs = append(t.runs[:0], t.runs[gone:]...)
}

// recipe makes the recipe of the next piece, and reports whether it is worth
// keeping instead of the piece.
func (t *trace) recipe(number uint32, data []byte) (*recipe, bool) {
	start := int64(number-1) * types.PieceSize
	end := start + int64(len(data))
	defer t.drop(end)
	r, at := &recipe{folder: t.folder.base}, start
	for _, run := range t.runs {
		from, to := max(run.At, start), min(run.At+run.Size, end)
		if from >= to {
			continue
		}
		file, ok := t.number(r, run.File)
		if !ok {
			return nil, false
		}
		r.parts = literals(r.parts, data[at-start:from-start])
		r.parts = append(r.parts, part{file: file, off: run.Offset + from - run.At, n: to - from})
		at = to
	}
	r.parts = literals(r.parts, data[at-start:])
	return r, len(r.parts) <= maxParts && len(r.files) <= maxFiles && r.check() == nil
}

// number gives a file its place in r.
func (t *trace) number(r *recipe, e *archive.Entry) (int, bool) {
	if t.file != e {
		t.file, t.seen = e, recipeFile{}
		info, err := fs.Stat(t.folder.fsys, e.Name)
		if err == nil && info.Size() == e.Size && info.ModTime().Unix() == e.ModTime {
			t.seen = recipeFile{e.Name, e.Size, info.ModTime().UnixNano()}
		}
	}
	for i := range r.files {
		if r.files[i] == t.seen {
			return i + 1, t.seen.name != ""
		}
	}
	r.files = append(r.files, t.seen)
	return len(r.files), t.seen.name != ""
}
