package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/types"
)

// PutOptions say how to publish.
type PutOptions struct {
	Name        string           // of the dataset; "" means the folder's
	Visibility  types.Visibility // who can read it (P1.3)
	To          []types.Account  // of VisibilityMembers: who, besides the publisher
	NewKey      bool             // of a private dataset: its earlier keys shall not open this version
	Strict      bool             // the first thing that would be left out is an error
	RangePieces int              // N of rule G7; 0 means 256
	InPlace     bool             // pieces that are bytes of files are not copied: the files must stay
	Guard       bool             // ErrVanished when more than 30 % of the files of the version before are gone
}

// Published is a dataset that is durable in the store.
type Published struct {
	Attachment types.Attachment
	Manifest   archive.Manifest
	Stored     int64  // bytes of pieces that were not held before
	InPlace    int64  // bytes of pieces that were noted as parts of files
	Repeated   bool   // the same dataset under the same name was held already
	Since      *Since // what it shares with the version before; nil when there is none, or no other
}

// Ref is the reference to the dataset.
func (p *Published) Ref() Ref { return Ref{Dataset: p.Attachment.Dataset()} }

// Put publishes a folder, or one file. Pieces are durable before the blocks that
// name them, and those together with the dataset's row. Room is reserved before
// the first byte. Stopped by ctx or killed, it keeps the pieces for the next Put
// of that folder; any other error gives them back. An unchanged folder writes
// nothing new.
func (l *Library) Put(ctx context.Context, path string, o PutOptions, w Watch) (Published, error) {
	f, err := openFolder(path)
	if err != nil {
		return Published{}, fmt.Errorf("open folder: %w", err)
	}
	defer f.Close()
	return l.put(ctx, f, o, w)
}

func (l *Library) put(ctx context.Context, f *folder, o PutOptions, w Watch) (Published, error) {
	if o.Name == "" {
		o.Name = f.name
	}
	if err := CheckName(o.Name); err != nil {
		return Published{}, err
	}
	seal, err := l.sealing(&o)
	if err != nil {
		return Published{}, err
	}
	content, bytes, err := estimate(ctx, f.fsys)
	if err != nil {
		return Published{}, err
	}
	if o.InPlace {
		bytes /= placedPart
	}
	p := &putting{l: l, ctx: ctx, folder: f, opts: o, estimate: bytes, seal: seal}
	defer p.end()
	if err := p.compare(); err != nil {
		return Published{}, err
	}
	if o.Guard {
		if err := p.guard(); err != nil {
			return Published{}, err
		}
	}
	out, err := p.run(w.reading(content))
	if err == nil {
		return out, l.sweep()
	}
	return Published{}, p.fail(err)
}

// placedPart of the bytes of a folder is set aside when it is kept in place.
const placedPart = 50

// reading lets the packer report into w.
func (w Watch) reading(total uint64) archive.Options {
	return archive.Options{Warn: w.Warn, Progress: func(p archive.Progress) {
		w.progress(Progress{Phase: Reading, Name: p.Name, Done: p.Bytes, Total: max(total, p.Bytes)})
	}}
}

// putting is a put at work: the sink of its packer. It writes nothing while all
// pieces are those of the version before, which is read along.
type putting struct {
	l        *Library
	ctx      context.Context
	folder   *folder
	opts     PutOptions
	estimate int64 // bytes of pieces

	before *Held        // the version before; nil when there is none
	when   types.Millis // it was put
	along  *dataset     // that version, while nothing differs from it; else nil
	same   uint32       // pieces that were found equal
	ahead  []types.Hash // of along, those that come next

	job   *job
	seal  *sealing // of a private dataset
	room  *room
	trace *trace       // when pieces are kept in place
	rows  []types.Row  // of recipes, not yet saved
	place int64        // bytes kept in place
	nodes []types.Node // not yet saved
	size  int          // bytes of those
}

func (p *putting) run(a archive.Options) (out Published, err error) {
	a.Name, a.Strict, a.RangePieces = p.opts.Name, p.opts.Strict, p.opts.RangePieces
	if p.opts.InPlace {
		p.trace = &trace{folder: p.folder}
		a.Runs = p.trace.run
	}
	if p.along == nil {
		if err := p.begin(); err != nil {
			return out, err
		}
	}
	if out, err = p.pack(a); err != nil {
		return out, err
	}
	if p.along != nil && out.Attachment.Dataset() != p.before.Attachment.Dataset() {
		if err := p.differ(); err != nil {
			return out, err
		}
	}
	return out, p.publish(&out)
}

// pack makes the dataset, through the seal when it is private.
func (p *putting) pack(a archive.Options) (out Published, err error) {
	if p.seal != nil {
		return p.packSealed(a)
	}
	m, err := pack(p.ctx, p.folder.fsys, a, p)
	return Published{Attachment: attach(&m, p.opts.Visibility), Manifest: m}, err
}

// Piece stores a piece; it becomes durable with publish at the latest.
func (p *putting) Piece(number uint32, digest types.Hash, data []byte) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if p.seal != nil {
		p.l.hidden.add(digest)
	}
	if p.along != nil {
		if p.equal(number, digest) {
			return nil
		}
		if err := p.differ(); err != nil {
			return err
		}
	}
	if p.trace != nil {
		if r, ok := p.trace.recipe(number, data); ok {
			p.place += int64(len(data))
			return p.keep(p.l.placed.rows(digest, p.job.owner, r))
		}
	}
	return p.room.putKnown(digest, data)
}

// keep saves rows of recipes, many at once.
func (p *putting) keep(rows []types.Row) error {
	if p.rows = append(p.rows, rows...); len(p.rows) < rowsAtOnce {
		return nil
	}
	err := p.l.State.Save(nil, p.rows)
	p.rows = nil
	return err
}

// nodesAtOnce is how many bytes of blocks are saved in one step.
const nodesAtOnce = 4 << 20

// Node keeps a block. A block that is saved early names pieces that are not yet
// durable, which harms nobody: no row names the block.
func (p *putting) Node(n types.Node) error {
	if p.seal != nil {
		p.l.hidden.add(types.Digest(n.CID))
	}
	if _, err := p.l.State.Node(n.CID); err == nil {
		return nil
	}
	p.nodes, p.size = append(p.nodes, n), p.size+len(n.Bytes)
	if p.size < nodesAtOnce {
		return nil
	}
	err := p.l.State.Save(p.nodes, nil)
	p.nodes, p.size = nil, 0
	return err
}

// publish makes pieces durable and then, in one step, the last blocks, the rows,
// and the end of the job and of those before it. A folder that is as it was, under
// the name that it had, writes nothing.
func (p *putting) publish(out *Published) error {
	if p.job != nil {
		out.Stored, out.InPlace = p.room.stored, p.place
		err := p.room.close()
		if p.room = nil; err != nil {
			return err
		}
	}
	now := p.l.Now()
	rows, err := p.ending(out, now)
	if err != nil {
		return err
	}
	if p.job == nil && p.opts.InPlace {
		if err := p.l.placed.forgive(p.before.owners); err != nil {
			return err
		}
	}
	fresh := Held{Attachment: out.Attachment, Added: now}
	err = p.l.change(fresh, p.nodes, func(h *Held) []types.Row { return append(rows, p.settle(h, out, now)...) })
	if err == nil && p.before != nil && p.before.Attachment.Dataset() != out.Attachment.Dataset() {
		// What nobody can tell is not told: the dataset is published all the same.
		out.Since, _ = p.l.sharing(p.ctx, p.before, p.when, out)
	}
	return err
}

// ending gives the rows that end this job and earlier ones, and make the dataset
// the newest version.
func (p *putting) ending(out *Published, now types.Millis) ([]types.Row, error) {
	rows, err := p.l.newest(p.folder.path, out, now)
	if err != nil {
		return nil, err
	}
	if p.job != nil {
		rows = append(append(rows, p.rows...), discard(p.job.earlier...)...)
		return append(rows, types.Row{Table: tableJobs, Key: p.job.key}), nil
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	earlier, err := p.l.leftovers(jobsOf(p.folder.path))
	return append(rows, discard(earlier...)...), err
}

// settle brings the dataset's row up to date. A dataset that was whole before
// keeps its owners, and the references of this job are let go; unless it goes from
// copies to files or back, or its files have moved: then this job's take their
// place.
func (p *putting) settle(h *Held, out *Published, now types.Millis) (rows []types.Row) {
	kept := h.Whole && h.InPlace() == p.opts.InPlace && (p.job == nil || !p.opts.InPlace)
	if p.job != nil && kept {
		rows = append(rows, trash(p.job.owner))
	}
	if out.Repeated = kept && sameAttachment(&h.Attachment, &out.Attachment); out.Repeated {
		return rows
	}
	if p.job != nil && !kept {
		if h.Whole {
			for _, o := range h.owners {
				rows = append(rows, trash(o))
			}
			h.owners = nil
		}
		h.addOwner(p.job.owner)
	}
	h.Attachment, h.TOC, h.Whole, h.Added = out.Attachment, out.Manifest.TOCDigest, true, now
	if p.seal != nil {
		own := private{Name: out.Manifest.Name}
		rows = append(rows, own.row(h.Attachment.Dataset()))
	}
	return append(rows, h.row())
}

// fail ends a job that did not succeed. What a stopped one has stored is kept.
func (p *putting) fail(err error) error {
	if p.room != nil {
		err = errors.Join(err, p.room.close())
	}
	if p.job == nil {
		return err
	}
	if p.ctx.Err() != nil {
		return errors.Join(err, p.l.State.Save(nil, p.rows))
	}
	return errors.Join(err, p.l.State.Save(nil, discard(p.job.Leftover)), p.l.sweep())
}

func attach(m *archive.Manifest, v types.Visibility) types.Attachment {
	return types.Attachment{
		Index: m.Index, UnixFS: m.UnixFS, Pieces: m.Pieces, Size: m.Size,
		Ranges: m.RangesRoot, RangeCount: uint32(len(m.Ranges)),
		Name: m.Name, MediaTypes: m.MediaTypes, Visibility: v,
	}
}
