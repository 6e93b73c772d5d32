package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/sponsor"
	"github.com/staddle/staddle/types"
)

// ErrNotYet marks what the design has and this version does not.
var ErrNotYet = errors.New("not yet")

// progressEvery is how often a running job tells how far it is; it knows that
// after every piece.
const progressEvery = 50 * time.Millisecond

// watch passes a job's progress and warnings on to the caller.
func watch(out *api.Out, warnings *[]string) library.Watch {
	var phase library.Phase
	var last time.Time
	return library.Watch{
		Progress: func(p library.Progress) {
			if now := time.Now(); p.Phase != phase || p.Done == p.Total || now.Sub(last) >= progressEvery {
				phase, last = p.Phase, now
			} else {
				return
			}
			out.Progress(api.Progress{Phase: string(p.Phase), Name: p.Name, Done: p.Done, Total: p.Total})
		},
		Warn: func(w archive.Warning) { *warnings = append(*warnings, w.Error()) },
	}
}

// put publishes a folder: into the library, then as a message on the chain, then
// with a plan when copies are wanted.
func (n *Node) put(ctx context.Context, q api.PutRequest, out *api.Out) (*api.PutResult, error) {
	res := new(api.PutResult)
	o, err := putOptions(&q)
	if err != nil {
		return nil, err
	}
	keep, err := library.ParseKeep(q.Keep)
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	t := n.current()
	if t != nil {
		o.RangePieces = int(t.chain.Genesis().Rules.RangePieces)
	}
	if t == nil && q.Copies > 0 {
		return nil, fmt.Errorf("%d copies: %w", q.Copies, ErrNoCommunity)
	}
	p, err := n.lib.Put(ctx, q.Path, o, watch(out, &res.Warnings))
	if err != nil {
		return nil, err
	}
	fillPut(res, &p)
	if q.IPFS {
		root, err := n.lib.Tree(ctx, q.Path, p.Attachment.Dataset(), library.Watch{})
		if err != nil {
			return nil, err
		}
		res.IPFS = root.String()
	}
	if t != nil {
		err = t.spread(ctx, q, &p.Attachment, res, out)
	}
	if err == nil && q.Keep != "" {
		err = n.retain(q.Path, p.Manifest.Name, keep, res)
	}
	return res, err
}

// spread publishes what is in the library, and has copies kept.
func (t *town) spread(ctx context.Context, q api.PutRequest, a *types.Attachment, res *api.PutResult, out *api.Out) error {
	if err := t.publish(ctx, a, res); err != nil {
		return fmt.Errorf("publish in the community: %w", err)
	}
	if q.Copies == 0 {
		return nil
	}
	return t.plan(ctx, q, a, res, out)
}

// putOptions reads who shall be able to read, and the rest.
func putOptions(q *api.PutRequest) (library.PutOptions, error) {
	o := library.PutOptions{Name: q.Name, Strict: q.Strict, NewKey: q.NewKey, InPlace: q.InPlace, Guard: q.Guard}
	var err error
	if o.Visibility, err = types.ParseVisibility(q.Visibility); err != nil {
		return o, err
	}
	for _, s := range q.To {
		h, err := types.ParseHash(s)
		if err != nil {
			return o, fmt.Errorf("member %.80q: %w", s, err)
		}
		o.To = append(o.To, types.Account(h))
	}
	return o, nil
}

func fillPut(res *api.PutResult, p *library.Published) {
	a, ref := &p.Attachment, p.Ref()
	res.Ref, res.Name, res.Root, res.UnixFS = ref.String(), p.Manifest.Name, a.Index.String(), a.UnixFS.String()
	res.Size, res.Pieces, res.Ranges = a.Size, a.Pieces, a.RangeCount
	res.Repeated, res.Stored, res.InPlace = p.Repeated, p.Stored, p.InPlace
	if s := p.Since; s != nil {
		before := library.Ref{Dataset: s.Dataset}
		res.Since = &api.Since{
			Ref: before.String(), Added: int64(s.Added), Pieces: s.Pieces, Shared: s.Shared,
			Ranges: s.Ranges, SharedRanges: s.SharedRanges,
		}
	}
}

// publish puts the dataset on the chain, once.
func (t *town) publish(ctx context.Context, a *types.Attachment, res *api.PutResult) error {
	v, err := t.chain.View()
	if err != nil {
		return err
	}
	if d, err := v.Dataset(a.Dataset()); err != nil || d != nil {
		if d != nil {
			res.Tx = d.Tx.String()
		}
		return err
	}
	name := "publish/" + a.Dataset().String()
	if err := t.chain.Submit(types.KindMessage, &types.Message{Attachment: a}, name); err != nil {
		return err
	}
	id, _, err := t.chain.Await(ctx, name)
	res.Tx = id.String()
	return err
}

// defaultEpochs is how long a plan runs unless asked otherwise: 30 days of 6-hour
// epochs; a sim counts in seconds and gets less.
func (t *town) defaultEpochs() uint32 {
	if t.chain.Genesis().Rules.Preset == types.Sim {
		return 30
	}
	return 120
}

// plan has copies kept. Repeating it goes on with the plan that runs.
func (t *town) plan(ctx context.Context, q api.PutRequest, a *types.Attachment, res *api.PutResult, out *api.Out) error {
	w, err := t.wish(q, a)
	if err != nil {
		return err
	}
	id, p, err := t.sponsor.Running(w)
	switch {
	case err != nil:
		return err
	case p != nil:
		out.Note(fmt.Sprintf("%d copies are planned until epoch %d already: going on with them", w.Copies, p.Plan.Until))
		res.Plan, res.Locked = id.String(), p.Plan.Lock.String()
	default:
		if id, err = t.buy(ctx, w, res, out); err != nil {
			return err
		}
	}
	if q.Wait {
		err := t.sponsor.Hosted(ctx, id, func(active, all int) {
			out.Progress(api.Progress{Phase: "placing", Done: uint64(active), Total: uint64(all)})
		})
		if err != nil {
			return err
		}
	}
	return t.fillLots(id, res)
}

// wish is what a put asks of hosts.
func (t *town) wish(q api.PutRequest, a *types.Attachment) (sponsor.Wish, error) {
	w := sponsor.Wish{Dataset: a.Dataset(), Copies: q.Copies, Epochs: q.Epochs, Room: q.PriceRoom, Encoding: t.chain.Genesis().Rules.Encoding}
	if w.Epochs == 0 {
		w.Epochs = t.defaultEpochs()
	}
	if q.Encoding != "" {
		enc, err := replica.ByName(q.Encoding)
		if err != nil {
			return w, err
		}
		w.Encoding = enc.ID()
	}
	if q.Lock != "" {
		coins, err := types.ParseCoins(q.Lock)
		if err != nil {
			return w, err
		}
		w.Lock = coins
	}
	return w, nil
}

// buy says what a wish costs and sends its plan.
func (t *town) buy(ctx context.Context, w sponsor.Wish, res *api.PutResult, out *api.Out) (types.PlanID, error) {
	quote, err := t.sponsor.Quote(w)
	if err != nil {
		return types.PlanID{}, err
	}
	symbol := t.chain.Genesis().Symbol
	out.Note(fmt.Sprintf("%d copies of %d pieces for %d epochs: locks %s %s, likely %s; the rest comes back at the end",
		w.Copies, quote.Pieces, w.Epochs, quote.Plan.Lock, symbol, quote.Likely))
	if err := t.node.setDuties(func(d *duties) { d.Sponsor = true }); err != nil {
		return types.PlanID{}, err
	}
	id, err := t.sponsor.Send(ctx, quote)
	if err != nil {
		return id, err
	}
	res.Plan, res.Locked, res.Likely = id.String(), quote.Plan.Lock.String(), quote.Likely.String()
	return id, nil
}

func (t *town) fillLots(id types.PlanID, res *api.PutResult) error {
	_, lots, err := t.sponsor.Lots(id)
	if err != nil {
		return err
	}
	res.Lots = len(lots)
	for _, l := range lots {
		if l.Record.Status != types.LotActive {
			continue
		}
		res.Active++
		if host := l.Record.Host.String(); !slices.Contains(res.Hosts, host) {
			res.Hosts = append(res.Hosts, host)
		}
	}
	return nil
}

func (n *Node) get(ctx context.Context, q api.GetRequest, out *api.Out) (*api.GetResult, error) {
	res := new(api.GetResult)
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	if ctx, err = n.spend(ctx, q.MaxPrice, out); err != nil {
		return nil, err
	}
	before, err := n.spent()
	if err != nil {
		return nil, err
	}
	var got library.Fetched
	if q.Archive {
		got, err = n.export(ctx, ref, &q, watch(out, &res.Warnings))
	} else {
		o := library.GetOptions{Include: q.Include, Exclude: q.Exclude, Replace: q.Replace}
		got, err = n.lib.Get(ctx, ref, q.Dir, o, watch(out, &res.Warnings))
	}
	if err != nil {
		return nil, n.moneyFault(err)
	}
	whole := library.Ref{Dataset: got.Attachment.Dataset()}
	res.Ref, res.Name = whole.String(), got.Name
	res.Files, res.Bytes, res.Fetched = int(got.Unpacked.Files), uint64(got.Unpacked.Bytes), got.Bytes
	res.Skipped = int(got.Unpacked.Skipped)
	if newer, err := n.newer(whole.Dataset); err == nil && newer != "" {
		res.Warnings = append(res.Warnings, "a newer version exists: "+newer)
	}
	after, err := n.spent()
	if err != nil {
		return nil, err
	}
	res.Paid = coinsOf(after.Sub(after, before))
	return res, nil
}

// export writes the TGZ to a file, in one step.
func (n *Node) export(ctx context.Context, ref library.Ref, q *api.GetRequest, w library.Watch) (library.Fetched, error) {
	if _, err := os.Lstat(q.Dir); err == nil && !q.Replace {
		return library.Fetched{}, fmt.Errorf("%s: %w", q.Dir, fs.ErrExist)
	}
	part := q.Dir + ".part"
	f, err := os.Create(part)
	if err != nil {
		return library.Fetched{}, err
	}
	got, err := n.lib.Export(ctx, ref, f, w)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return got, errors.Join(err, os.Remove(part))
	}
	return got, os.Rename(part, q.Dir)
}

func (n *Node) list(ctx context.Context, q api.RefRequest, _ *api.Out) (*api.ListResult, error) {
	res := new(api.ListResult)
	if q.Mine {
		return n.listMine(ctx)
	}
	if q.Ref == "" {
		held, err := n.lib.Datasets()
		for _, h := range held {
			whole := library.Ref{Dataset: h.Attachment.Dataset()}
			risks, err := n.lib.AtRisk(&h)
			if err != nil {
				return nil, err
			}
			res.Datasets = append(res.Datasets, api.Dataset{
				Ref: whole.String(), Name: h.Name, Size: h.Attachment.Size, Whole: h.Whole, Added: int64(h.Added),
				For: h.Attachment.Visibility.String(), InPlace: h.InPlace(), AtRisk: len(risks),
			})
		}
		return res, err
	}
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	add := func(e archive.Entry) error {
		res.Entries = append(res.Entries, api.Entry{
			Name: e.Name, Type: e.Type.String(), Size: e.Size, Mode: uint32(e.Mode), Mtime: e.ModTime, Link: e.Link,
		})
		return nil
	}
	if q.Recursive {
		return res, n.lib.ListAll(ctx, ref, add)
	}
	entries, err := n.lib.List(ctx, ref)
	for _, e := range entries {
		_ = add(e) // never fails
	}
	return res, err
}

// stat describes a dataset that is held here or published in the community.
func (n *Node) stat(ctx context.Context, q api.RefRequest, _ *api.Out) (*api.Dataset, error) {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	a, err := n.lib.Attachment(ref.Dataset)
	if errors.Is(err, library.ErrNotHeld) {
		a, err = remote{n}.Attachment(ctx, ref.Dataset)
	}
	if err != nil {
		return nil, err
	}
	whole := library.Ref{Dataset: ref.Dataset}
	out := &api.Dataset{Ref: whole.String(), Name: a.Name, Size: a.Size, For: a.Visibility.String()}
	if a.Visibility == types.VisibilityPublic {
		return out, nil
	}
	h, size, err := n.lib.Describe(ctx, ref)
	out.Name, out.Size = h.Name, uint64(size)
	return out, err
}

// link gives the reference of a dataset for others, with the key of a private one.
func (n *Node) link(ctx context.Context, q api.RefRequest, _ *api.Out) (*api.LinkResult, error) {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	ref, err = n.lib.Keyed(ctx, ref)
	return &api.LinkResult{Link: ref.Link()}, err
}

// archive writes the TGZ of a dataset.
func (n *Node) archive(ctx context.Context, q api.RefRequest, w io.Writer) error {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return err
	}
	if ctx, err = n.spend(ctx, q.MaxPrice, nil); err != nil {
		return err
	}
	_, err = n.lib.Export(ctx, ref, w, library.Watch{})
	return n.moneyFault(err)
}

func (n *Node) cat(ctx context.Context, q api.CatRequest, w io.Writer) error {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return err
	}
	if ctx, err = n.spend(ctx, q.MaxPrice, nil); err != nil {
		return err
	}
	_, err = n.lib.Cat(ctx, ref, w, q.Offset, q.Length)
	return n.moneyFault(err)
}

func (n *Node) verify(ctx context.Context, q api.RefRequest, out *api.Out) (*api.VerifyResult, error) {
	ref, err := n.ref(q.Ref)
	if err != nil {
		return nil, err
	}
	var warnings []string
	r, err := n.lib.Verify(ctx, ref, watch(out, &warnings))
	if err != nil {
		return nil, err
	}
	res := &api.VerifyResult{Ref: ref.String(), Pieces: r.Good, Bytes: r.Bytes, Sealed: r.Sealed}
	for i := range r.Problems {
		res.Bad = append(res.Bad, r.Problems[i].Error())
	}
	return res, r.Err()
}
