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
}

// Published is a dataset that is durable in the store.
type Published struct {
	Attachment types.Attachment
	Manifest   archive.Manifest
	Stored     int64 // bytes of pieces that were not held before
	Repeated   bool  // the same dataset under the same name was held already
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
	j, err := l.begin(f.path)
	if err != nil {
		return Published{}, err
	}
	defer l.end(j)
	p := &putting{l: l, ctx: ctx, job: j, seal: seal}
	out, err := p.run(f, o, bytes, w.reading(content))
	if err == nil {
		return out, l.sweep()
	}
	return Published{}, p.fail(err)
}

// reading lets the packer report into w.
func (w Watch) reading(total uint64) archive.Options {
	return archive.Options{Warn: w.Warn, Progress: func(p archive.Progress) {
		w.progress(Progress{Phase: Reading, Name: p.Name, Done: p.Bytes, Total: max(total, p.Bytes)})
	}}
}

// putting is a put at work: the sink of its packer.
type putting struct {
	l     *Library
	ctx   context.Context
	job   *job
	seal  *sealing // of a private dataset
	room  *room
	nodes []types.Node // not yet saved
	size  int          // bytes of those
}

func (p *putting) run(f *folder, o PutOptions, bytes int64, a archive.Options) (out Published, err error) {
	if p.room, err = openRoom(p.l.Reserve, p.job.owner, bytes); err != nil {
		return out, err
	}
	a.Name, a.Strict, a.RangePieces = o.Name, o.Strict, o.RangePieces
	out, err = p.pack(f, o, a)
	if err != nil {
		return out, err
	}
	out.Stored = p.room.stored
	return out, p.publish(&out)
}

// pack makes the dataset, through the seal when it is private.
func (p *putting) pack(f *folder, o PutOptions, a archive.Options) (out Published, err error) {
	if p.seal != nil {
		return p.packSealed(f, o, a)
	}
	m, err := pack(p.ctx, f.fsys, a, p)
	return Published{Attachment: attach(&m, o.Visibility), Manifest: m}, err
}

// Piece stores a piece; it becomes durable with publish at the latest.
func (p *putting) Piece(_ uint32, digest types.Hash, data []byte) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if p.seal != nil {
		p.l.hidden.add(digest)
	}
	got, err := p.room.put(data)
	if err == nil && got != digest {
		err = fmt.Errorf("store names it %s, want %s", got.Short(), digest.Short())
	}
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
	p.nodes, p.size = append(p.nodes, n), p.size+len(n.Bytes)
	if p.size < nodesAtOnce {
		return nil
	}
	err := p.l.State.Save(p.nodes, nil)
	p.nodes, p.size = nil, 0
	return err
}

// publish makes pieces durable and then, in one step, the last blocks, the row,
// and the end of the job and of those before it.
func (p *putting) publish(out *Published) error {
	err := p.room.close()
	p.room = nil
	if err != nil {
		return err
	}
	fresh := Held{Attachment: out.Attachment, Added: p.l.Now()}
	return p.l.change(fresh, p.nodes, func(h *Held) []types.Row {
		rows := append(discard(p.job.earlier...), types.Row{Table: tableJobs, Key: p.job.key})
		return append(rows, p.settle(h, out)...)
	})
}

// settle brings the dataset's row up to date. A dataset that was whole before
// keeps its owner, and the references of this job are let go.
func (p *putting) settle(h *Held, out *Published) (rows []types.Row) {
	same := sameAttachment(&h.Attachment, &out.Attachment)
	if out.Repeated = h.Whole && same; out.Repeated {
		return []types.Row{trash(p.job.owner)}
	}
	if h.Whole {
		rows = []types.Row{trash(p.job.owner)}
	} else {
		h.addOwner(p.job.owner)
	}
	h.Attachment, h.TOC, h.Whole, h.Added = out.Attachment, out.Manifest.TOCDigest, true, p.l.Now()
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
	if p.ctx.Err() != nil {
		return err
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
