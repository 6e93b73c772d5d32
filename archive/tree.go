package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// TreeOptions are the choices of NewTree.
type TreeOptions struct {
	Hidden bool          // names that begin with a dot too, as `ipfs add --hidden`
	Strict bool          // the first Warning is an error
	Warn   func(Warning) // told of each thing that is left out; may be nil
}

// TreeSink receives what a UnixFS directory consists of, parts before what they
// are parts of. An error ends the walk.
type TreeSink struct {
	Node func(types.Node) error // dag-pb blocks: directories, shards, links, inner nodes of files
	Leaf func(Recipe) error     // raw blocks, which are bytes of files
}

// TreeTotals says what a Tree has met.
type TreeTotals struct {
	Files, Dirs, Links uint64
	Bytes              uint64 // of the files
	Size               uint64 // of all blocks, each as often as it is linked
}

// Tree computes the UnixFS directory of a folder with the CIDs that
// `ipfs add --recursive --cid-version=1` gives: pieces as raw leaves, balanced
// files of 174 links, directories that are sharded when names and CIDs pass
// 256 KiB; no modes and times. Memory is bounded by one directory on each level.
type Tree struct {
	fsys fs.FS
	o    TreeOptions
	sink TreeSink
	buf  []byte

	Totals TreeTotals
}

// NewTree prepares the walk over fsys.
func NewTree(fsys fs.FS, o TreeOptions, sink TreeSink) *Tree {
	return &Tree{fsys: fsys, o: o, sink: sink, buf: make([]byte, types.PieceSize)}
}

// Root walks the folder and gives the CID of its directory.
func (t *Tree) Root() (cid.Cid, error) {
	list, err := fs.ReadDir(t.fsys, ".")
	if err != nil {
		return cid.Undef, fmt.Errorf("read the folder: %w", err)
	}
	link, err := t.dir(".", list)
	t.Totals.Size = link.tree
	return link.cid, err
}

// treeEntry is one entry of a directory.
type treeEntry struct {
	name string
	link unixfsLink
}

// dir makes the directory that holds list.
func (t *Tree) dir(name string, list []fs.DirEntry) (unixfsLink, error) {
	entries := make([]treeEntry, 0, len(list))
	for _, d := range list {
		if strings.HasPrefix(d.Name(), ".") && !t.o.Hidden {
			continue
		}
		link, err := t.visit(path.Join(name, d.Name()), d)
		if w := new(Warning); errors.As(err, &w) && !t.o.Strict {
			t.say(*w)
			continue
		}
		if err != nil {
			return unixfsLink{}, err
		}
		entries = append(entries, treeEntry{d.Name(), link})
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return cmp.Compare(a.name, b.name) })
	t.Totals.Dirs++
	if isSharded(entries) {
		return t.shard(hashNames(entries), 0)
	}
	return t.node(entries, []byte{0x08, unixfsDirectory})
}

func (t *Tree) say(w Warning) {
	if t.o.Warn != nil {
		t.o.Warn(w)
	}
}

// visit makes the DAG of one name. A *Warning means that it is left out.
func (t *Tree) visit(name string, d fs.DirEntry) (unixfsLink, error) {
	switch {
	case !utf8.ValidString(name):
		return unixfsLink{}, &Warning{name, "the name is not UTF-8"}
	case len(name) > MaxPath:
		return unixfsLink{}, &Warning{name, fmt.Sprintf("name of %d bytes above limit %d", len(name), MaxPath)}
	}
	switch mode := d.Type(); {
	case mode.IsDir():
		list, err := fs.ReadDir(t.fsys, name)
		if err != nil {
			return unixfsLink{}, &Warning{name, "the directory cannot be read: " + reason(err)}
		}
		return t.dir(name, list)
	case mode.IsRegular():
		return t.file(name)
	case mode == fs.ModeSymlink:
		target, err := fs.ReadLink(t.fsys, name)
		if err != nil {
			return unixfsLink{}, &Warning{name, "the link cannot be read: " + reason(err)}
		}
		t.Totals.Links++
		return t.node(nil, appendField([]byte{0x08, unixfsSymlink}, 0x12, []byte(target)))
	default:
		return unixfsLink{}, &Warning{name, "is a " + kindOf(mode)}
	}
}

// file cuts a file into leaves. Its last block is the root, also when that is a
// leaf.
func (t *Tree) file(name string) (unixfsLink, error) {
	f, err := t.fsys.Open(name)
	if err != nil {
		return unixfsLink{}, &Warning{name, "cannot be opened: " + reason(err)}
	}
	defer f.Close()
	u := NewUnixFS(t.sink.Node)
	for at := int64(0); ; {
		n, err := io.ReadFull(f, t.buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return unixfsLink{}, fmt.Errorf("read %q: %w", name, err)
		}
		if n > 0 || at == 0 {
			r := Recipe{Digest: PieceDigest(t.buf[:n]), Path: name, Offset: at, Size: n}
			if err := errors.Join(t.sink.Leaf(r), u.Add(r.Digest, n)); err != nil {
				return unixfsLink{}, err
			}
		}
		if at += int64(n); n < len(t.buf) {
			t.Totals.Files++
			t.Totals.Bytes += uint64(at)
			return u.root()
		}
	}
}

// node emits a dag-pb block with the entries as links.
func (t *Tree) node(entries []treeEntry, data []byte) (unixfsLink, error) {
	var block []byte
	var tree uint64
	for _, e := range entries {
		block = appendPBLink(block, e.name, e.link)
		tree += e.link.tree
	}
	block = appendField(block, 0x0a, data)
	n := types.Node{CID: pbCID(block), Bytes: block}
	return unixfsLink{cid: n.CID, tree: tree + uint64(len(block))}, t.sink.Node(n)
}
