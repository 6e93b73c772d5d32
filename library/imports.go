package library

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

const (
	tableImports = "library/imports" // owner -> Imported
	tableSplit   = "library/split"   // digest -> parts of a block above the size of a piece
)

// Limits of what is imported.
const (
	MaxBlock  = 2 << 20 // bytes of a block; the largest that the IPFS world moves
	maxRoots  = 256
	maxSplit  = MaxBlock / types.PieceSize
	maxOrigin = 1024 // bytes of where it came from
)

// importOwner begins the owners of imports.
const importOwner = "import/"

// Imported is blocks that came from elsewhere under CIDs of their own, such as a
// CAR file.
type Imported struct {
	Name   string // where they came from; hostile text
	Roots  []cid.Cid
	Blocks uint64
	Bytes  uint64
	Added  types.Millis
	owner  string
}

// EncodeTo appends [1, name, [root, ..], blocks, bytes, added].
func (i *Imported) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Uint(rowVersion)
	e.Text(i.Name)
	e.Array(len(i.Roots))
	for _, c := range i.Roots {
		e.Bytes(c.Bytes())
	}
	e.Uint(i.Blocks)
	e.Uint(i.Bytes)
	e.Int(int64(i.Added))
}

// DecodeFrom reads the tuple.
func (i *Imported) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	version(d)
	i.Name = d.Text(maxFolder)
	i.Roots = make([]cid.Cid, d.Array(maxRoots))
	for k := range i.Roots {
		raw := d.Bytes(maxRootBytes)
		if d.Err() != nil {
			return
		}
		c, err := cid.Cast(raw)
		if err != nil {
			d.Fail("root %d of an import: %v", k, err)
			return
		}
		i.Roots[k] = c
	}
	i.Blocks = d.Uint()
	i.Bytes = d.Uint()
	i.Added = d.Millis()
}

// maxRootBytes bounds a CID in a row: an identity of 128 bytes and its head.
const maxRootBytes = 160

// Import takes blocks in. It is safe for several goroutines; Commit or Abort
// ends it. One that is killed is discarded like a put that was.
type Import struct {
	l    *Library
	job  *job
	mu   sync.Mutex
	room *room
	rows []types.Row // of split blocks, not saved yet
	done Imported
}

// BeginImport sets room aside for about so many bytes. name says where they come
// from.
func (l *Library) BeginImport(name string, bytes int64) (*Import, error) {
	j, err := l.begin("import "+strings.ToValidUTF8(name[:min(len(name), maxOrigin)], "\ufffd"), importOwner)
	if err != nil {
		return nil, err
	}
	r, err := openRoom(l.Reserve, j.owner, max(bytes, 0))
	if err != nil {
		l.end(j)
		return nil, errors.Join(err, l.State.Save(nil, discard(j.Leftover)))
	}
	return &Import{l: l, job: j, room: r, done: Imported{Name: j.Folder[len("import "):]}}, nil
}

// Put keeps a block, whose SHA-256 must be what the CID names.
func (i *Import) Put(_ context.Context, c cid.Cid, block []byte) error {
	digest, err := sha256Of(c)
	if err != nil {
		return err
	}
	if len(block) > MaxBlock {
		return fmt.Errorf("block %s of %d bytes above limit %d", c, len(block), MaxBlock)
	}
	if have := types.Digest(types.RawCID(block)); have != digest {
		return fmt.Errorf("block %s has digest %s", c, have.Short())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(block) > types.PieceSize {
		err = i.split(digest, block)
	} else if len(block) > 0 {
		err = i.room.putKnown(digest, block)
	}
	if err != nil {
		return err
	}
	i.done.Blocks++
	i.done.Bytes += uint64(len(block))
	return nil
}

// split keeps a block that is longer than a piece in parts. The caller holds the
// mutex.
func (i *Import) split(digest types.Hash, block []byte) error {
	var parts types.Encoder
	parts.Array(2)
	parts.Uint(rowVersion)
	parts.Array((len(block) + types.PieceSize - 1) / types.PieceSize)
	for part := range slices.Chunk(block, types.PieceSize) {
		h := types.Digest(types.RawCID(part))
		if err := i.room.putKnown(h, part); err != nil {
			return err
		}
		parts.Bytes(h[:])
	}
	i.rows = append(i.rows, types.Row{Table: tableSplit, Key: string(digest[:]), Value: parts.Data()})
	if len(i.rows) < splitBatch {
		return nil
	}
	defer func() { i.rows = nil }()
	return i.l.State.Save(nil, i.rows)
}

// splitBatch is how many rows of split blocks are saved together.
const splitBatch = 256

// Commit makes all durable and lists it under its roots.
func (i *Import) Commit(roots []cid.Cid) (Imported, error) {
	defer i.l.end(i.job)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(roots) > maxRoots {
		return i.done, errors.Join(fmt.Errorf("%d roots, at most %d", len(roots), maxRoots), i.abort())
	}
	if err := i.room.close(); err != nil {
		return i.done, err
	}
	i.done.Roots, i.done.Added = slices.Clone(roots), i.l.Now()
	rows := append(i.rows,
		types.Row{Table: tableImports, Key: i.job.owner, Value: types.Marshal(&i.done)},
		types.Row{Table: tableJobs, Key: i.job.key},
	)
	return i.done, errors.Join(i.l.State.Save(nil, append(rows, discard(i.job.earlier...)...)), i.l.sweep())
}

// Abort lets go of all that was put.
func (i *Import) Abort() error {
	defer i.l.end(i.job)
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.abort()
}

func (i *Import) abort() error {
	err := i.room.close()
	return errors.Join(err, i.l.State.Save(nil, discard(i.job.Leftover)), i.l.sweep())
}

// Imports lists what was imported, newest first.
func (l *Library) Imports() ([]Imported, error) {
	var out []Imported
	err := l.State.Scan(tableImports, "", "", func(owner string, value []byte) error {
		in := Imported{owner: owner}
		if err := types.Unmarshal(value, &in); err != nil {
			return &BadError{fmt.Sprintf("row %q of %s", owner, tableImports), err}
		}
		out = append(out, in)
		return nil
	})
	slices.SortStableFunc(out, func(a, b Imported) int { return int(min(max(b.Added-a.Added, -1), 1)) })
	return out, err
}

// RemoveImport lets go of all imports that have a root. The error wraps
// ErrNotHeld when there is none.
func (l *Library) RemoveImport(root cid.Cid) error {
	all, err := l.Imports()
	if err != nil {
		return err
	}
	var rows []types.Row
	for _, in := range all {
		if slices.Contains(in.Roots, root) {
			rows = append(rows, types.Row{Table: tableImports, Key: in.owner}, trash(in.owner))
		}
	}
	if len(rows) == 0 {
		return &NotHeld{fmt.Sprintf("an import with root %s", root)}
	}
	return errors.Join(l.State.Save(nil, rows), l.sweep(), l.forgetSplits())
}

// forgetSplits drops rows of blocks whose parts are gone.
func (l *Library) forgetSplits() error {
	var rows []types.Row
	err := l.State.Scan(tableSplit, "", "", func(key string, value []byte) error {
		parts, err := parseParts(value)
		if err != nil {
			return err
		}
		for _, h := range parts {
			if n, err := l.Pieces.Size(h); err != nil {
				return err
			} else if n == 0 {
				rows = append(rows, types.Row{Table: tableSplit, Key: key})
				return nil
			}
		}
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return l.State.Save(nil, rows)
}

func parseParts(value []byte) ([]types.Hash, error) {
	d := types.NewDecoder(value)
	d.Tuple(2)
	version(d)
	parts := make([]types.Hash, d.Array(maxSplit))
	for i := range parts {
		parts[i] = d.Hash()
	}
	if err := d.End(); err != nil {
		return nil, &BadError{"a row of " + tableSplit, err}
	}
	return parts, nil
}

// Block gives any block that is held: of a dataset or of an import, whatever its
// codec. The error is *types.Missing when it is not here.
func (l *Library) Block(c cid.Cid) ([]byte, error) {
	digest, err := sha256Of(c)
	if err != nil {
		return nil, err
	}
	if digest == emptyDigest {
		return []byte{}, nil
	}
	var missing *types.Missing
	if codec := c.Prefix().Codec; codec == cid.DagCBOR || codec == cid.DagProtobuf {
		if b, err := l.State.Node(cid.NewCidV1(codec, c.Hash())); !errors.As(err, &missing) {
			return b, err
		}
	}
	if b, err := l.Pieces.Get(digest); !errors.As(err, &missing) {
		return b, err
	}
	if b, err := l.joined(digest); !errors.As(err, &missing) {
		return b, err
	}
	return l.made(digest)
}

// joined is a block that was longer than a piece.
func (l *Library) joined(digest types.Hash) ([]byte, error) {
	parts, err := l.parts(digest)
	if err != nil {
		return nil, err
	}
	var whole []byte
	for _, h := range parts {
		b, err := l.Pieces.Get(h)
		if err != nil {
			return nil, err
		}
		whole = append(whole, b...)
	}
	if len(parts) == 0 || types.Digest(types.RawCID(whole)) != digest {
		return nil, &types.Missing{CID: types.RawCIDOf(digest)}
	}
	return whole, nil
}

// BlockSize is the length of a block; *types.Missing when it is not here.
func (l *Library) BlockSize(c cid.Cid) (int, error) {
	digest, err := sha256Of(c)
	if err != nil {
		return 0, err
	}
	n, err := l.Pieces.Size(digest)
	if err != nil || n > 0 {
		return int(n), err
	}
	b, err := l.Block(c)
	return len(b), err
}

func (l *Library) parts(digest types.Hash) ([]types.Hash, error) {
	value, ok, err := l.State.Get(tableSplit, string(digest[:]))
	if err != nil || !ok {
		return nil, err
	}
	return parseParts(value)
}

var emptyDigest = types.Digest(types.RawCID(nil))

// sha256Of is the digest of a CID with SHA-256 in full.
func sha256Of(c cid.Cid) (types.Hash, error) {
	const sha256Code = 0x12
	if !c.Defined() || c.Prefix().MhType != sha256Code || c.Prefix().MhLength != types.HashSize {
		return types.Hash{}, fmt.Errorf("CID %s has another hash than SHA-256", c)
	}
	return types.Digest(c), nil
}
