package library

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/staddle/staddle/archive"
)

// List gives the entries of a dataset without fetching its content: of a
// directory those directly in it, of a file itself. Ref.Path "" is the top.
func (l *Library) List(ctx context.Context, ref Ref) ([]archive.Entry, error) {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return nil, err
	}
	r, err := d.reader()
	if err != nil {
		return nil, err
	}
	if ref.Path == "" {
		return r.List(".")
	}
	e, err := r.Stat(ref.Path)
	if err != nil || e.Type != archive.Dir {
		return []archive.Entry{e}, err
	}
	return r.List(ref.Path)
}

// ListAll calls fn with all entries at or below ref.Path, in the order of path
// bytes. An error of fn ends the walk and is given back.
func (l *Library) ListAll(ctx context.Context, ref Ref, fn func(archive.Entry) error) error {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return err
	}
	r, err := d.reader()
	if err != nil {
		return err
	}
	if ref.Path != "" {
		if _, err := r.Stat(ref.Path); err != nil {
			return err
		}
	}
	pick, err := GetOptions{}.picker(ref.Path)
	if err != nil {
		return err
	}
	for e := range r.All() {
		if pick != nil && !pick(e.Name, e.Type) {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Stat gives the entry at ref.Path, which is not "".
func (l *Library) Stat(ctx context.Context, ref Ref) (archive.Entry, error) {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return archive.Entry{}, err
	}
	r, err := d.reader()
	if err != nil {
		return archive.Entry{}, err
	}
	return r.Stat(ref.Path)
}

// catStep is how many bytes of a file are fetched before they are written.
const catStep = 8 << 20

// Cat writes length bytes from offset of the file at ref.Path to w; a negative
// length means to the end. Only the pieces that hold them are fetched.
func (l *Library) Cat(ctx context.Context, ref Ref, w io.Writer, offset, length int64) (int64, error) {
	if offset < 0 {
		return 0, fmt.Errorf("offset %d below 0", offset)
	}
	if ref.Path == "" {
		return 0, fmt.Errorf("%s: %w: name a file in the dataset", ref, ErrAmbiguous)
	}
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return 0, err
	}
	r, err := d.reader()
	if err != nil {
		return 0, err
	}
	f, err := r.Open(ref.Path)
	if err != nil {
		return 0, err
	}
	end := f.Size()
	if length >= 0 && length <= math.MaxInt64-offset {
		end = min(end, offset+length)
	}
	return d.cat(r, f, w, span64{ref.Path, offset, end})
}

// span64 is a part of a file.
type span64 struct {
	name     string
	from, to int64
}

func (d *dataset) cat(r *archive.Reader, f *archive.FileReader, w io.Writer, part span64) (sum int64, err error) {
	buf := make([]byte, min(max(part.to-part.from, 0), archive.DeflatedChunk))
	for ready := part.from; part.from < part.to; {
		if d.ctx.Err() != nil {
			return sum, context.Cause(d.ctx)
		}
		if part.from >= ready {
			step := min(catStep, part.to-part.from)
			first, count, err := r.PiecesFor(part.name, part.from, step)
			if err != nil {
				return sum, err
			}
			if _, err := d.fetch([]span{{first, count}}); err != nil {
				return sum, err
			}
			ready = part.from + step
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), ready-part.from)], part.from)
		if err != nil && (err != io.EOF || n == 0) { //nolint:errorlint // io.EOF is bare by contract
			return sum, err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return sum, fmt.Errorf("write: %w", err)
		}
		sum, part.from = sum+int64(n), part.from+int64(n)
	}
	return sum, nil
}
