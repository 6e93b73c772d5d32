package library

import (
	"context"

	"github.com/staddle/staddle/archive"
)

// List gives the entries of a dataset without fetching its content: of a
// directory those directly in it, of a file itself. Ref.Path "" is the top.
func (l *Library) List(ctx context.Context, ref Ref) ([]archive.Entry, error) {
	d, err := l.open(ctx, ref, Watch{})
	if err != nil {
		return nil, err
	}
	r, err := d.reader(cached)
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
	r, err := d.reader(cached)
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
	r, err := d.reader(cached)
	if err != nil {
		return archive.Entry{}, err
	}
	return r.Stat(ref.Path)
}
