package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Recipe says where a raw block is made from: bytes [Offset, Offset+Size) of a
// file. A folder's tree has one for each of its leaves.
type Recipe struct {
	Path   string // slash-separated, below the folder
	Offset int64
	Size   int // at most types.PieceSize
}

// FindRecipe looks up how a block is made; ok is false when nobody knows.
type FindRecipe func(ctx context.Context, digest types.Hash) (r Recipe, ok bool, err error)

// ErrChanged is the error of a block whose file is not what it was.
var ErrChanged = errors.New("file has changed")

// Recipes are blocks made on demand from the files of a folder, so that nothing
// is kept twice. Each is hashed when it is made: a file that has changed gives
// ErrChanged, never other bytes.
type Recipes struct {
	Folder fs.FS
	Find   FindRecipe
}

var (
	_ Blocks = (*Recipes)(nil)
	_ Sizer  = (*Recipes)(nil)
)

// Get implements Blocks.
func (s *Recipes) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	r, err := s.find(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := s.Folder.Open(r.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", ErrChanged, c, err)
	}
	defer f.Close()
	block := make([]byte, r.Size)
	if err := readAt(f, block, r.Offset); err != nil {
		return nil, fmt.Errorf("%w: block %s: read %d bytes of %q at %d: %w", ErrChanged, c, r.Size, r.Path, r.Offset, err)
	}
	if err := Check(c, block); err != nil {
		return nil, fmt.Errorf("%w: %q at %d: %w", ErrChanged, r.Path, r.Offset, err)
	}
	return block, nil
}

// Has implements Blocks: the recipe is known, whether or not its file is still
// the same.
func (s *Recipes) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := s.find(ctx, c)
	if IsNotHeld(err) {
		return false, nil
	}
	return err == nil, err
}

// Size implements Sizer.
func (s *Recipes) Size(ctx context.Context, c cid.Cid) (int, error) {
	r, err := s.find(ctx, c)
	return r.Size, err
}

func (s *Recipes) find(ctx context.Context, c cid.Cid) (Recipe, error) {
	if err := Accept(c); err != nil {
		return Recipe{}, err
	}
	if !isRaw(c) || isIdentity(c) {
		return Recipe{}, notHeld(c)
	}
	r, ok, err := s.Find(ctx, types.Digest(c))
	switch {
	case err != nil:
		return Recipe{}, fmt.Errorf("recipe of %s: %w", c, err)
	case !ok:
		return Recipe{}, notHeld(c)
	case r.Size < 0 || r.Size > types.PieceSize || r.Offset < 0 || !fs.ValidPath(r.Path):
		return Recipe{}, fmt.Errorf("recipe of %s: %d bytes of %q at %d", c, r.Size, r.Path, r.Offset)
	}
	return r, nil
}

// readAt fills b from an offset of a file.
func readAt(f fs.File, b []byte, offset int64) error {
	if at, ok := f.(io.ReaderAt); ok {
		n, err := at.ReadAt(b, offset)
		if n == len(b) {
			return nil
		}
		return err
	}
	if _, err := io.CopyN(io.Discard, f, offset); err != nil {
		return err
	}
	_, err := io.ReadFull(f, b)
	return err
}
