package library

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// GetOptions say what to fetch and how to treat the target.
type GetOptions struct {
	Include []string // patterns of path.Match on a path, a part of its beginning or its last name; none means all
	Exclude []string // the same; wins
	Replace bool     // unpack into a folder that is not empty, over files of the same name
}

// Fetched is what a Get has done.
type Fetched struct {
	Attachment types.Attachment
	Name       string // of the dataset; hostile text
	Unpacked   archive.Unpacked
	Bytes      int64 // of pieces that came from the source
}

// Get fetches a dataset, or what ref.Path and o choose of it, and unpacks it into
// the folder dir and nowhere else. dir appears whole or not at all when it did
// not exist or was empty; else it is ErrOccupied without o.Replace. Repeating a
// Get that was stopped or killed fetches only what is still missing.
func (l *Library) Get(ctx context.Context, ref Ref, dir string, o GetOptions, w Watch) (Fetched, error) {
	pick, err := o.picker(ref.Path)
	if err != nil {
		return Fetched{}, err
	}
	to, err := openTarget(dir, o)
	if err != nil {
		return Fetched{}, err
	}
	d, err := l.open(ctx, ref, w)
	if err != nil {
		return Fetched{}, err
	}
	r, err := d.reader(cached)
	if err != nil {
		return Fetched{}, err
	}
	if _, err := r.Stat(ref.Path); ref.Path != "" && err != nil {
		return Fetched{}, err
	}
	out := Fetched{Attachment: d.held.Attachment, Name: d.held.Name}
	if out.Bytes, err = d.obtain(r, pick); err != nil {
		return out, err
	}
	out.Unpacked, err = d.unpack(r, to, pick)
	return out, err
}

// obtain fetches the pieces of the files that pick chooses; nil chooses all.
func (d *dataset) obtain(r *archive.Reader, pick func(string, archive.Type) bool) (int64, error) {
	if pick == nil {
		n, err := d.fetch(d.whole())
		if err != nil {
			return n, err
		}
		return n, d.complete()
	}
	var spans []span
	for e := range r.All() {
		if e.Type != archive.File || !pick(e.Name, e.Type) {
			continue
		}
		first, count, err := r.PiecesFor(e.Name, 0, e.Size)
		if err != nil {
			return 0, err
		}
		spans = appendSpan(spans, span{first, count})
	}
	return d.fetch(spans)
}

// appendSpan joins s with the last span when they touch; spans come in order.
func appendSpan(spans []span, s span) []span {
	if s.count == 0 {
		return spans
	}
	last := len(spans) - 1
	if last < 0 || s.first > spans[last].first+spans[last].count {
		return append(spans, s)
	}
	end := max(spans[last].first+spans[last].count, s.first+s.count)
	spans[last].count = end - spans[last].first
	return spans
}

// complete makes a dataset whole of which all pieces are held: it checks the
// ranges and the UnixFS root against them and saves their blocks.
func (d *dataset) complete() error {
	if d.held.Whole {
		return nil
	}
	var nodes []types.Node
	err := d.checkRoots(d.rangeNode, func(n types.Node) error {
		if d.private() {
			d.l.hidden.add(types.Digest(n.CID))
		}
		if nodes = append(nodes, n); len(nodes) < window {
			return nil
		}
		err := d.l.State.Save(nodes, nil)
		nodes = nil
		return err
	})
	if err != nil {
		return err
	}
	toc := d.held.TOC
	return d.l.change(d.held, nodes, func(h *Held) []types.Row {
		h.TOC, h.Whole = toc, true
		d.held = *h
		return []types.Row{h.row()}
	})
}

// rangeNode gives a block of the range list, from here or from the source.
func (d *dataset) rangeNode(c cid.Cid) ([]byte, error) {
	b, err := d.l.State.Node(c)
	if _, missing := isMissing(err); !missing {
		return b, err
	}
	if err := d.fetchNodes([]cid.Cid{c}); err != nil {
		return nil, err
	}
	return d.l.State.Node(c)
}

// checkRoots recomputes the UnixFS file from the pieces' digests, handing its
// blocks to emit, and holds the range list against them.
func (d *dataset) checkRoots(node func(cid.Cid) ([]byte, error), emit func(types.Node) error) error {
	a := &d.held.Attachment
	file := archive.NewUnixFS(emit)
	ranges := rangeCheck{node: node, next: a.Ranges}
	err := d.each(d.whole(), func(first uint32, digests []types.Hash) error {
		for i, digest := range digests {
			if err := file.Add(digest, int(d.length(first+uint32(i)))); err != nil {
				return err
			}
			if err := ranges.add(digest); err != nil {
				return badUnlessGone("range list", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := ranges.end(a.RangeCount); err != nil {
		return &BadError{"range list", err}
	}
	root, err := file.Root()
	if err == nil && root != a.UnixFS {
		err = &BadError{"UnixFS root", fmt.Errorf("the pieces give %s, want %s", root, a.UnixFS)}
	}
	return err
}

// badUnlessGone marks err as damage, unless something is only not held or the
// job was stopped.
func badUnlessGone(what string, err error) error {
	if _, missing := isMissing(err); missing || isGone(err) {
		return err
	}
	return &BadError{what, err}
}

// picker turns a path and patterns into a choice; nil when everything is chosen.
func (o GetOptions) picker(below string) (func(string, archive.Type) bool, error) {
	for _, p := range append(append([]string{}, o.Include...), o.Exclude...) {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", clip(p), err)
		}
	}
	if below == "" && len(o.Include)+len(o.Exclude) == 0 {
		return nil, nil
	}
	return func(name string, _ archive.Type) bool {
		if below != "" && name != below && !strings.HasPrefix(name, below+"/") {
			return false
		}
		return (len(o.Include) == 0 || matches(o.Include, name)) && !matches(o.Exclude, name)
	}, nil
}

// matches reports whether a pattern matches the path, a directory above it, or
// its last name.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, path.Base(name)); ok {
			return true
		}
		for at := name; at != "."; at = path.Dir(at) {
			if ok, _ := path.Match(p, at); ok {
				return true
			}
		}
	}
	return false
}

// Export writes the TGZ itself, which every tar unpacks.
func (l *Library) Export(ctx context.Context, ref Ref, to io.Writer, w Watch) (Fetched, error) {
	d, err := l.open(ctx, Ref{Dataset: ref.Dataset, Name: ref.Name, Key: ref.Key}, w)
	if err != nil {
		return Fetched{}, err
	}
	r, err := d.reader(cached)
	if err != nil {
		return Fetched{}, err
	}
	out := Fetched{Attachment: d.held.Attachment, Name: d.held.Name}
	if out.Bytes, err = d.obtain(r, nil); err != nil {
		return out, err
	}
	size := uint64(d.plainSize())
	for n := uint32(1); n <= uint32(archive.PieceCount(d.plainSize())); n++ {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		b, err := d.plain(n)
		if err != nil {
			return out, err
		}
		if _, err := to.Write(b); err != nil {
			return out, fmt.Errorf("write the TGZ: %w", err)
		}
		w.progress(Progress{Phase: Writing, Done: min(uint64(n)*types.PieceSize, size), Total: size})
	}
	return out, nil
}
