package archive

import (
	"fmt"
	"io/fs"
	"math"

	"github.com/staddle/staddle/types"
)

// MaxRecipe is the longest encoding of a Recipe in bytes.
const MaxRecipe = MaxPath + 64

// Recipe says where a raw block is made from: bytes [Offset, Offset+Size) of the
// file at Path below a folder. The digest is what they must hash to.
type Recipe struct {
	Digest types.Hash
	Path   string // slash-separated, as fs.ValidPath wants it
	Offset int64
	Size   int // 0 to types.PieceSize; 0 only for an empty file
}

// MarshalRecipe encodes a recipe without its digest, under which it is kept:
// dag-cbor [path, offset, size].
func MarshalRecipe(r *Recipe) []byte {
	var e types.Encoder
	e.Array(3)
	e.Text(r.Path)
	e.Uint(uint64(r.Offset))
	e.Uint(uint64(r.Size))
	return e.Data()
}

// ParseRecipe reads what MarshalRecipe wrote for the block of that digest.
func ParseRecipe(digest types.Hash, b []byte) (*Recipe, error) {
	if len(b) > MaxRecipe {
		return nil, fmt.Errorf("recipe of %d bytes above limit %d", len(b), MaxRecipe)
	}
	d := types.NewDecoder(b)
	d.Tuple(3)
	r := &Recipe{Digest: digest, Path: d.Text(MaxPath)}
	offset, size := d.Uint(), d.Uint()
	if err := d.End(); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	if !fs.ValidPath(r.Path) || r.Path == "." {
		return nil, fmt.Errorf("recipe with path %q", r.Path)
	}
	if size > types.PieceSize || offset > math.MaxInt64-size {
		return nil, fmt.Errorf("recipe of %d bytes at %d", size, offset)
	}
	r.Offset, r.Size = int64(offset), int(size)
	return r, nil
}
