package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

const (
	tableTrees  = "library/trees"  // dataset -> root of its UnixFS directory
	tableLeaves = "library/leaves" // digest of a leaf -> leaf
	leavesBatch = 1024             // rows that are saved together
)

// leaf says which bytes of a file of a dataset a block of its UnixFS directory is.
// The block is made when somebody asks for it, and hashed.
type leaf struct {
	dataset types.DatasetID
	recipe  []byte // archive.MarshalRecipe
}

// EncodeTo appends [1, dataset, recipe].
func (f *leaf) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(rowVersion)
	e.Bytes(f.dataset[:])
	e.Bytes(f.recipe)
}

// DecodeFrom reads the tuple.
func (f *leaf) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	version(d)
	f.dataset = d.Hash()
	f.recipe = d.Bytes(archive.MaxRecipe)
}

// Tree gives the folder of a public dataset that is held here the UnixFS directory
// that `ipfs add --recursive --cid-version=1` would: its inner blocks are kept, its
// leaves are made of the dataset on demand, so that nothing is kept twice.
func (l *Library) Tree(ctx context.Context, folder string, of types.DatasetID, w Watch) (cid.Cid, error) {
	h, err := l.Held(of)
	if err != nil {
		return cid.Undef, err
	}
	if h.Attachment.Visibility != types.VisibilityPublic {
		return cid.Undef, fmt.Errorf("a UnixFS directory of a dataset for %s would be readable by all", h.Attachment.Visibility)
	}
	f, err := openFolder(folder)
	if err != nil {
		return cid.Undef, fmt.Errorf("open folder: %w", err)
	}
	defer f.Close()
	b := &branches{l: l, ctx: ctx, of: of}
	t := archive.NewTree(f.fsys, archive.TreeOptions{Warn: w.Warn}, archive.TreeSink{Node: b.node, Leaf: b.leaf})
	root, err := t.Root()
	if err != nil {
		return cid.Undef, fmt.Errorf("make the UnixFS directory: %w", err)
	}
	b.rows = append(b.rows, types.Row{Table: tableTrees, Key: string(of[:]), Value: root.Bytes()})
	return root, b.save()
}

// branches saves the blocks and rows of a tree, many at once.
type branches struct {
	l     *Library
	ctx   context.Context
	of    types.DatasetID
	nodes []types.Node
	rows  []types.Row
}

func (b *branches) node(n types.Node) error {
	b.nodes = append(b.nodes, n)
	return b.full()
}

func (b *branches) leaf(r archive.Recipe) error {
	row := leaf{b.of, archive.MarshalRecipe(&r)}
	b.rows = append(b.rows, types.Row{Table: tableLeaves, Key: string(r.Digest[:]), Value: types.Marshal(&row)})
	return b.full()
}

func (b *branches) full() error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if len(b.nodes)+len(b.rows) < leavesBatch {
		return nil
	}
	return b.save()
}

func (b *branches) save() error {
	err := b.l.State.Save(b.nodes, b.rows)
	b.nodes, b.rows = nil, nil
	return err
}

// made gives a leaf of a UnixFS directory out of its dataset; *types.Missing when
// there is none of that digest, or its dataset is not here any more.
func (l *Library) made(digest types.Hash) ([]byte, error) {
	absent := &types.Missing{CID: types.RawCIDOf(digest)}
	value, ok, err := l.State.Get(tableLeaves, string(digest[:]))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, absent
	}
	var row leaf
	if err := types.Unmarshal(value, &row); err != nil {
		return nil, &BadError{"a row of " + tableLeaves, err}
	}
	recipe, err := archive.ParseRecipe(digest, row.recipe)
	if err != nil {
		return nil, &BadError{"a row of " + tableLeaves, err}
	}
	h, err := l.Held(row.dataset)
	if errors.Is(err, ErrNotHeld) {
		return nil, absent
	}
	if err != nil {
		return nil, err
	}
	return l.bytesOf(&h, recipe)
}

func (l *Library) bytesOf(h *Held, recipe *archive.Recipe) ([]byte, error) {
	d := &dataset{l: l, ctx: context.Background(), id: h.Attachment.Dataset(), held: *h, source: Offline{}}
	if err := d.openIndex(); err != nil {
		return nil, err
	}
	r, err := d.reader(cached)
	if err != nil {
		return nil, err
	}
	f, err := r.Open(recipe.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", &types.Missing{CID: types.RawCIDOf(recipe.Digest)}, err)
	}
	block := make([]byte, recipe.Size)
	if n, err := f.ReadAt(block, recipe.Offset); n < len(block) {
		return nil, fmt.Errorf("%w: %w", &types.Missing{CID: types.RawCIDOf(recipe.Digest)}, err)
	}
	if types.Digest(types.RawCID(block)) != recipe.Digest { // the folder changed between put and tree
		return nil, &types.Missing{CID: types.RawCIDOf(recipe.Digest)}
	}
	return block, nil
}

// fell gives the rows that take a dataset's directory away.
func (l *Library) fell(of types.DatasetID) ([]types.Row, error) {
	_, ok, err := l.State.Get(tableTrees, string(of[:]))
	if err != nil || !ok {
		return nil, err
	}
	rows := []types.Row{{Table: tableTrees, Key: string(of[:])}}
	err = l.State.Scan(tableLeaves, "", "", func(key string, value []byte) error {
		var row leaf
		if err := types.Unmarshal(value, &row); err != nil {
			return &BadError{"a row of " + tableLeaves, err}
		}
		if row.dataset == of {
			rows = append(rows, types.Row{Table: tableLeaves, Key: key})
		}
		return nil
	})
	return rows, err
}
