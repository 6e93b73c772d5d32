package library

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Scheme begins a full reference.
const Scheme = "staddle:"

// Ref names a dataset, or a file or directory in it.
type Ref struct {
	Dataset types.DatasetID // zero when Name or Title is set
	Name    string          // of a dataset held here
	Title   Title           // of a name on chain
	Path    string          // in the dataset; "" is all of it
	Key     Key             // of a private dataset, when the reference brings it
}

// ParseRef reads staddle:ROOT[/path], ROOT[/path], NAME[/path] or
// staddle:COMMUNITY[/ACCOUNT]/NAME[@DATE][/path], where ROOT is the CID of the index
// or its digest as 64 hex digits; #k= and a key may follow. The path is cleaned and
// cannot lead out. Errors wrap ErrAmbiguous and hold no key.
func ParseRef(s string) (Ref, error) {
	s, key, err := cutKey(s)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	}
	ref, err := parseRef(s)
	ref.Key = key
	return ref, err
}

func parseRef(s string) (Ref, error) {
	rest, full := strings.CutPrefix(s, Scheme)
	head, tail, _ := strings.Cut(rest, "/")
	p, err := refPath(tail)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	}
	id, isRoot, err := parseRoot(head)
	switch {
	case err != nil:
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	case isRoot:
		return Ref{Dataset: id, Path: p}, nil
	case full:
		return titleRef(s, rest)
	}
	if err := CheckName(head); err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	}
	return Ref{Name: head, Path: p}, nil
}

func titleRef(s, rest string) (Ref, error) {
	t, tail, err := parseTitle(rest)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	}
	p, err := refPath(tail)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), ErrAmbiguous, err)
	}
	return Ref{Title: t, Path: p}, nil
}

// parseRoot reads a root; false when s looks like none.
func parseRoot(s string) (types.DatasetID, bool, error) {
	if len(s) == 2*types.HashSize {
		if id, err := types.ParseHash(strings.ToLower(s)); err == nil && !id.IsZero() {
			return id, true, nil
		}
	}
	if len(s) < 40 || len(s) > 128 {
		return types.DatasetID{}, false, nil
	}
	c, err := cid.Decode(s)
	if err != nil {
		return types.DatasetID{}, false, nil // a name may be as long
	}
	if _, err := types.ParseCIDBytes(c.Bytes()); err != nil {
		return types.DatasetID{}, false, err
	}
	if c.Prefix().Codec != cid.DagCBOR {
		return types.DatasetID{}, false, errors.New("this is a piece or a UnixFS root, not the root of a dataset")
	}
	return types.Digest(c), true, nil
}

func refPath(tail string) (string, error) {
	p := path.Clean("/" + tail)[1:]
	if p == "" {
		return "", nil
	}
	if !fs.ValidPath(p) || strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("path %q is not clean UTF-8", clip(tail))
	}
	for part := range strings.SplitSeq(tail, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q leads up", clip(tail))
		}
	}
	return p, nil
}

// CheckName says why a dataset cannot have that name: it is empty, longer than
// types.MaxName bytes, not UTF-8, holds a slash or a zero byte, or begins like a
// full reference.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("empty name")
	case len(name) > types.MaxName:
		return fmt.Errorf("name of %d bytes above limit %d", len(name), types.MaxName)
	case !utf8.ValidString(name) || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q is not UTF-8 without slash and zero byte", clip(name))
	case strings.HasPrefix(name, Scheme):
		return fmt.Errorf("name %q begins with %s", clip(name), Scheme)
	}
	return nil
}

// Root is the reference's dataset as the CID of its index.
func (r Ref) Root() cid.Cid { return types.NodeCIDOf(r.Dataset) }

// String is the full reference without a key; with a Name only, that name.
func (r Ref) String() string {
	s := r.Name
	switch {
	case r.Title != (Title{}):
		s = Scheme + r.Title.String()
	case s == "":
		s = Scheme + r.Root().String()
	}
	if r.Path != "" {
		s += "/" + r.Path
	}
	return s
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
