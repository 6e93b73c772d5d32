package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// Carried is what an ExportTo or ImportFrom has done.
type Carried struct {
	Attachment types.Attachment
	Name       string // of the dataset, as far as it is known; hostile text
	Moved      int64  // bytes of pieces that were written; the rest was there
	InPlace    int64  // bytes of pieces that stay in the directory
}

// ExportTo writes a dataset into a directory that a disk can carry: its pieces,
// the blocks that name them, and a manifest. What is not held here is fetched
// first. A private dataset goes as it is, without a key. Given again after it was
// stopped it writes only what is not there; the manifest comes last.
func (l *Library) ExportTo(ctx context.Context, ref Ref, dir string, w Watch) (Carried, error) {
	d, err := l.describe(ctx, ref, w)
	if err != nil {
		return Carried{}, err
	}
	if err := d.openIndex(); err != nil {
		return Carried{}, err
	}
	if _, err := d.obtain(nil, nil); err != nil {
		return Carried{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Carried{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Carried{}, err
	}
	e := &exporting{d: d, root: root}
	return e.out, errors.Join(e.run(), root.Close())
}

// exporting is an ExportTo at work.
type exporting struct {
	d    *dataset
	root *os.Root
	out  Carried
	done int64 // bytes of pieces, written or found
}

func (e *exporting) run() error {
	a := &e.d.held.Attachment
	e.out.Attachment, e.out.Name = *a, e.d.held.Name
	if err := e.claim(); err != nil {
		return err
	}
	if err := e.root.Mkdir(piecesDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	files := &parts{root: e.root, flag: os.O_RDWR | os.O_CREATE}
	err := e.d.each(e.d.whole(), func(first uint32, digests []types.Hash) error {
		for i, digest := range digests {
			if err := e.piece(files, first+uint32(i), digest); err != nil {
				return fmt.Errorf("export piece %d: %w", first+uint32(i), err)
			}
		}
		return nil
	})
	if err = errors.Join(err, files.close()); err != nil {
		return err
	}
	m := manifest{Attachment: *a}
	if m.Blocks, err = e.blocks(); err != nil {
		return fmt.Errorf("export blocks: %w", err)
	}
	return e.write(manifestFile, m.text())
}

// claim refuses a directory that holds another dataset, or something else.
func (e *exporting) claim() error {
	m, err := readManifest(e.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case m.Attachment.Dataset() != e.d.id:
		return fmt.Errorf("%s holds %s: %w", e.root.Name(), Ref{Dataset: m.Attachment.Dataset()}, ErrOccupied)
	default:
		return nil
	}
	list, err := fs.ReadDir(e.root.FS(), ".")
	for _, f := range list {
		if n := f.Name(); err == nil && n != piecesDir && n != blocksFile && n != blocksFile+".new" && n != manifestFile+".new" {
			return fmt.Errorf("%s holds %q: %w", e.root.Name(), clip(n), ErrOccupied)
		}
	}
	return err
}

// piece writes a piece, unless it is there.
func (e *exporting) piece(files *parts, number uint32, digest types.Hash) error {
	if e.d.ctx.Err() != nil {
		return context.Cause(e.d.ctx)
	}
	length := e.d.length(number)
	f, off, err := files.at(number)
	if err != nil {
		return err
	}
	if off == 0 {
		if err := cut(f, partSize(number, e.d.size())); err != nil {
			return err
		}
	}
	if _, err := files.read(number, length, digest); err != nil {
		b, err := e.d.piece(number)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		e.out.Moved += length
	}
	e.done += length
	e.d.watch.progress(Progress{Phase: Writing, Done: uint64(e.done), Total: uint64(e.d.size())})
	return nil
}

// cut shortens a file that is longer than it should be.
func cut(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() <= size {
		return err
	}
	return f.Truncate(size)
}

// blocks writes the CAR of index, range list and UnixFS file, which are held
// against the pieces on the way, and gives its length.
func (e *exporting) blocks() (int64, error) {
	a := &e.d.held.Attachment
	f, err := e.root.OpenFile(blocksFile+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	w, err := newCARWriter(f, a.Index)
	if err == nil {
		err = e.fill(w)
	}
	if err == nil {
		err = w.w.Flush()
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return w.size, e.root.Rename(blocksFile+".new", blocksFile)
}

func (e *exporting) fill(w *carWriter) error {
	a := &e.d.held.Attachment
	x, err := archive.OpenIndex(recorder{e.d.l.State, w}, a.Index, a.Pieces)
	if err != nil {
		return err
	}
	if err := x.Check(); err != nil {
		return err
	}
	return e.d.checkRoots(recorder{e.d.l.State, w}.Node, w.add)
}

// recorder writes every block that is read through it.
type recorder struct {
	from State
	to   *carWriter
}

// Node gives a block.
func (r recorder) Node(c cid.Cid) ([]byte, error) {
	b, err := r.from.Node(c)
	if err == nil {
		err = r.to.add(types.Node{CID: c, Bytes: b})
	}
	return b, err
}

// write replaces a file in one step.
func (e *exporting) write(name string, data []byte) error {
	f, err := e.root.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := e.root.Rename(name+".new", name); err != nil {
		return err
	}
	dir, err := e.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ImportOptions say how to take a dataset in.
type ImportOptions struct {
	InPlace bool // pieces stay in the directory, which must stay, too
}

// ImportFrom takes a dataset from a directory that ExportTo wrote. Every piece and
// block is checked before it counts. Given again after it was stopped it takes
// only what is missing. The error wraps ErrExport when the directory holds no whole
// export, ErrBad when something in it is damaged.
func (l *Library) ImportFrom(ctx context.Context, dir string, o ImportOptions, w Watch) (Carried, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Carried{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Carried{}, err
	}
	i := &importing{l: l, root: root, dir: dir, opts: o}
	return i.out, errors.Join(i.run(ctx, w), root.Close())
}

// importing is an ImportFrom at work: the Source of its dataset.
type importing struct {
	Offline
	l     *Library
	root  *os.Root
	dir   string // absolute
	opts  ImportOptions
	m     manifest
	car   *carIndex
	out   Carried
	done  int64
	owner string
	room  *room
	files *parts
	rows  []types.Row // of recipes, not yet saved
}

// Nodes gives blocks of the CAR.
func (i *importing) Nodes(_ context.Context, _ types.DatasetID, want []cid.Cid) ([]types.Node, error) {
	out := make([]types.Node, len(want))
	for k, c := range want {
		b, err := i.car.Node(c)
		if err != nil {
			return nil, err
		}
		out[k] = types.Node{CID: c, Bytes: b}
	}
	return out, nil
}

func (i *importing) run(ctx context.Context, w Watch) (err error) {
	if i.m, err = readManifest(i.root); err != nil {
		return err
	}
	a := &i.m.Attachment
	f, err := i.root.Open(blocksFile)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExport, err)
	}
	defer f.Close()
	if i.car, err = readCAR(f, i.m.Blocks, a.Index); err != nil {
		return err
	}
	d := &dataset{l: i.l, ctx: ctx, watch: w, id: a.Dataset(), source: i}
	d.held, err = i.l.Held(d.id)
	if errors.Is(err, ErrNotHeld) {
		d.held, err = Held{Attachment: *a, Name: a.Name, Added: i.l.Now()}, nil
	}
	if err == nil && d.private() {
		i.l.hidden.roots(a)
	}
	if err == nil {
		err = d.openIndex()
	}
	if err == nil {
		err = i.take(d)
	}
	if err == nil {
		err = d.complete()
	}
	if err == nil {
		err = i.name(d)
	}
	return err
}

// take makes the dataset an owner of each of its pieces: of those that are held,
// and of those that it stores or finds in the directory.
func (i *importing) take(d *dataset) error {
	if d.held.Whole {
		return nil
	}
	lacking, err := d.lacking(d.whole())
	if err != nil {
		return err
	}
	if i.owner = d.owner(); i.opts.InPlace {
		i.owner, lacking = inPlace+d.id.String(), 0
	}
	if err := errors.Join(d.ownAs(i.owner), i.l.placed.forgive([]string{i.owner})); err != nil {
		return err
	}
	if i.room, err = openRoom(i.l.Reserve, i.owner, lacking); err != nil {
		return err
	}
	i.files = &parts{root: i.root, flag: os.O_RDONLY}
	err = d.each(d.whole(), func(first uint32, digests []types.Hash) error {
		for k, digest := range digests {
			if err := i.piece(d, first+uint32(k), digest); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, i.files.close(), i.room.close(), i.keep(nil))
}

func (i *importing) piece(d *dataset, number uint32, digest types.Hash) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	length := d.length(number)
	known, err := i.known(digest)
	if err == nil && !known {
		err = i.bring(number, length, digest)
	}
	i.done += length
	d.watch.progress(Progress{Phase: Reading, Done: uint64(i.done), Total: uint64(d.size())})
	return err
}

// known makes the dataset an owner of a piece of the store, and reports whether the
// piece needs nothing more.
func (i *importing) known(digest types.Hash) (bool, error) {
	ok, err := i.room.now.Adopt(digest)
	if err != nil || ok || !i.opts.InPlace {
		return ok, err
	}
	_, ok, err = i.l.State.Get(tableRecipes, string(digest[:])+i.owner)
	if err != nil || !ok {
		return false, err
	}
	n, err := i.l.Pieces.Size(digest)
	return n > 0, err
}

// bring checks a piece in the directory, and stores it or notes where it is.
func (i *importing) bring(number uint32, length int64, digest types.Hash) error {
	b, err := i.files.read(number, length, digest)
	if err != nil {
		return err
	}
	if !i.opts.InPlace {
		i.out.Moved += length
		return i.room.putKnown(digest, b)
	}
	info, err := i.files.file.Stat()
	if err != nil {
		return err
	}
	name, off := place(number)
	r := &recipe{
		folder: i.dir, parts: []part{{file: 1, off: off, n: length}},
		files: []recipeFile{{filepath.ToSlash(name), info.Size(), info.ModTime().UnixNano()}},
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("piece %d in place: %w", number, err)
	}
	i.out.InPlace += length
	return i.keep(i.l.placed.rows(digest, i.owner, r))
}

// keep saves rows of recipes, many at once; nil saves what is left.
func (i *importing) keep(rows []types.Row) error {
	if i.rows = append(i.rows, rows...); len(i.rows) == 0 || rows != nil && len(i.rows) < rowsAtOnce {
		return nil
	}
	err := i.l.State.Save(nil, i.rows)
	i.rows = nil
	return err
}

// name finds out what the dataset is called, if there is a key for it.
func (i *importing) name(d *dataset) error {
	err := d.unseal(Key{})
	if errors.Is(err, ErrSealed) {
		err = nil
	}
	i.out.Attachment, i.out.Name = d.held.Attachment, d.held.Name
	return err
}
