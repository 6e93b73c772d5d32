package logbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// draft is the logs of an epoch on their way to the disk.
type draft struct {
	b          *Logbook
	src        *lines.Source
	exceptions *lines.Exceptions // nil: none
	traffic    []lines.Traffic
	leaves     uint64
	previous   lines.Headers // of the epoch before that has logs
	roles      []types.LogRole
}

// build derives and writes the logs of an epoch; nil when there is nothing to
// say. Without the digests of some range it fails, unless it is the last try:
// then the range's lines are left out, for readers derive them anyway, and
// without the claim the host would lose the epoch.
func (b *Logbook) build(ctx context.Context, frozen *consensus.View, e types.Epoch, last bool) (*head, error) {
	sums, _, err := claims(frozen, b.cfg.Account)
	if err != nil {
		return nil, err
	}
	roles := lines.Roles()
	d := &draft{b: b, roles: roles[:], leaves: sums.Leaves, src: &lines.Source{Epoch: e, Frozen: frozen, Digests: b.digests(ctx, frozen, last)}}
	if d.previous, err = b.newest(e); err != nil {
		return nil, err
	}
	if err := d.differences(e, last); err != nil {
		return nil, err
	}
	h, err := b.write(e, d)
	if err != nil {
		return nil, fmt.Errorf("write logs of epoch %d: %w", e, err)
	}
	return h, nil
}

// claims is the sum over the lots that a host has to commit (H6.1).
func claims(frozen *consensus.View, a types.Account) (sum replica.Sum, lots uint32, err error) {
	list, err := frozen.Claims(a)
	if err != nil {
		return sum, 0, fmt.Errorf("lots of this host: %w", err)
	}
	tree, err := replica.ClaimTree(list)
	if err != nil {
		return sum, 0, fmt.Errorf("sums of this host: %w", err)
	}
	return tree.Root(), uint32(len(list)), nil
}

// digests bounds what the index may take.
func (b *Logbook) digests(ctx context.Context, v *consensus.View, last bool) lines.Digests {
	one, all := patience(v.Rules.BlockMillis)
	until := time.Now().Add(all)
	return func(a *types.Attachment, r types.Range) ([]types.Hash, error) {
		deadline := time.Now().Add(one)
		if deadline.After(until) {
			deadline = until
		}
		inner, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		list, err := b.cfg.Index.Digests(inner, a, r)
		if err != nil && last && ctx.Err() == nil {
			b.cfg.Report("logs: without range %s: %v", r.ID.Short(), err)
			return nil, lines.ErrAbsent
		}
		return list, err
	}
}

// differences gathers what is not derived: receipts, which are money that is due
// now, and then own exceptions, as far as they fit. In the last try what fails is
// left out.
func (d *draft) differences(e types.Epoch, last bool) error {
	list, err := d.evidence(e)
	if err != nil && !last {
		return fmt.Errorf("receipts of epoch %d: %w", e, err)
	}
	own, err := d.own(e)
	if err != nil && !last {
		return fmt.Errorf("exceptions of epoch %d: %w", e, err)
	}
	if err != nil {
		d.b.cfg.Report("logs: epoch %d without exceptions: %v", e, err)
	}
	if list = fit(list, own); len(list) == 0 {
		return nil
	}
	if d.exceptions, err = lines.NewExceptions(list); err != nil {
		return fmt.Errorf("exceptions of epoch %d: %w", e, err)
	}
	return nil
}

// entryRoom is more than the bytes of an entry of a block of exceptions besides
// its line.
const entryRoom = 8

// fit appends of more what a block of exceptions still holds.
func fit(list, more []lines.Exception) []lines.Exception {
	room := lines.MaxExceptionsBytes - 16
	for _, x := range list {
		room -= len(x.Line) + entryRoom
	}
	for _, x := range more {
		room -= len(x.Line) + entryRoom
		if room < 0 || len(list) == lines.MaxExceptions {
			break
		}
		list = append(list, x)
	}
	return list
}

func (d *draft) evidence(e types.Epoch) ([]lines.Exception, error) {
	all, err := d.b.traffic(e)
	return d.receipts(all), err
}

func (b *Logbook) traffic(e types.Epoch) ([]Evidence, error) {
	if b.cfg.Traffic == nil {
		return nil, nil
	}
	return b.cfg.Traffic.Traffic(e)
}

// receipts takes those of this account with the most units, as many as a block
// of exceptions holds, one for each payer, payee and device.
func (d *draft) receipts(all []Evidence) (list []lines.Exception) {
	all = slices.DeleteFunc(slices.Clone(all), func(x Evidence) bool {
		return x.Payer != d.b.cfg.Account && x.Payee != d.b.cfg.Account
	})
	bytes := make(map[types.Hash][]byte, len(all))
	var traffic []lines.Traffic
	for _, x := range all {
		bytes[x.Traffic.Receipt] = x.Receipt
		traffic = append(traffic, x.Traffic)
	}
	traffic = lines.Newest(traffic)
	slices.SortStableFunc(traffic, func(a, b lines.Traffic) int { return cmp.Compare(b.Units, a.Units) })
	for _, t := range traffic {
		list = append(list, lines.Exception{Role: types.LogBandwidth, Op: lines.OpReceipt, Line: bytes[t.Receipt]})
	}
	list = fit(nil, list)
	if n := len(traffic) - len(list); n > 0 {
		d.b.cfg.Report("logs: %d small receipts do not fit", n)
	}
	d.traffic = traffic[:len(list)]
	return list
}

// own gives the node's exceptions that fit the derived lines; a list that does
// not is reported and left out whole.
func (d *draft) own(e types.Epoch) ([]lines.Exception, error) {
	if d.b.cfg.Own == nil {
		return nil, nil
	}
	list, err := d.b.cfg.Own.Exceptions(e)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	x, err := lines.NewExceptions(list)
	if err == nil {
		trial := &draft{b: d.b, src: d.src, exceptions: x}
		for _, role := range []types.LogRole{types.LogFarmer, types.LogBuyer} {
			if err = trial.derive(role, func([]byte) error { return nil }); err != nil {
				break
			}
		}
	}
	if errors.Is(err, lines.ErrException) {
		d.b.cfg.Report("logs: exceptions of epoch %d left out: %v", e, err)
		return nil, nil
	}
	return list, err
}

// derive gives the lines of one log.
func (d *draft) derive(role types.LogRole, emit lines.Emit) error {
	me := d.b.cfg.Account
	base := map[types.LogRole]func(types.Account, lines.Emit) error{
		types.LogFarmer: d.src.Farmer, types.LogBuyer: d.src.Buyer,
	}[role]
	if base == nil {
		return lines.Bandwidth(me, d.traffic, emit)
	}
	return d.exceptions.Apply(role, me.Address(), func(e lines.Emit) error { return base(me, e) }, emit)
}

// log writes one log and gives its header.
func (d *draft) log(role types.LogRole, w io.Writer) (types.LogHeader, error) {
	t := lines.Tally{W: w}
	if err := d.derive(role, t.Add); err != nil {
		return types.LogHeader{}, err
	}
	h := t.Header(d.b.cfg.Device, role, d.src.Epoch)
	if role == types.LogFarmer {
		h.Leaves = d.leaves
	}
	if before := d.previous.Find(role); before != nil {
		h.Previous = before.ID()
	}
	return h, nil
}

// block is the exceptions as a block; undefined for none.
func (d *draft) block() (cid.Cid, []byte) {
	if d.exceptions == nil {
		return cid.Undef, nil
	}
	n := d.exceptions.Block()
	return n.CID, n.Bytes
}

// empty tells whether nothing would be said.
func (h *head) empty() bool {
	for i := range h.Headers {
		if h.Headers[i].Lines > 0 || h.Headers[i].Leaves > 0 {
			return false
		}
	}
	return !h.Exceptions.Defined()
}
