package logbook

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Who was away when the logs of an epoch were due shows the receipts that it took
// in one of the next epochs (ST1). A late log is a bandwidthlog alone: the other
// lines follow from the state, and what was not claimed in time stays missed. The
// logs of the payer say nothing that a receipt does not say, so that only a payee
// commits late.

// commitLate commits the receipts of an epoch whose logs were due before; without
// receipts it does nothing. Headers that are on the disk already are the ones that
// count, late or not (K2).
func (b *Logbook) commitLate(e types.Epoch) error {
	head, err := b.head(e)
	if errors.Is(err, ErrNoLog) {
		head, err = b.buildLate(e)
	}
	if err != nil || head == nil {
		return err
	}
	if some, err := b.showsReceipts(head); err != nil || !some {
		return err
	}
	root, err := head.Headers.Root()
	if err != nil {
		return fmt.Errorf("headers of epoch %d: %w", e, err)
	}
	body := &types.LogCommitment{Epoch: e, Root: root, Headers: uint32(len(head.Headers)), Exceptions: head.Exceptions}
	if err := b.cfg.Chain.Submit(types.KindLog, body, fmt.Sprintf("log/late/%d", e)); err != nil {
		return fmt.Errorf("commit late logs of epoch %d: %w", e, err)
	}
	return nil
}

// showsReceipts tells whether the exceptions of a head hold a receipt.
func (b *Logbook) showsReceipts(h *head) (bool, error) {
	block, err := b.Exceptions(h.epoch())
	if err != nil || block == nil {
		return false, err
	}
	x, err := lines.ParseExceptions(h.Exceptions, block)
	if err != nil {
		return false, err
	}
	return len(x.Of(types.LogBandwidth, lines.OpReceipt)) > 0, nil
}

// buildLate writes the bandwidthlog of an epoch with what this account earned; nil
// when it earned nothing.
func (b *Logbook) buildLate(e types.Epoch) (*head, error) {
	all, err := b.earned(e)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	d := &draft{b: b, roles: []types.LogRole{types.LogBandwidth}, src: &lines.Source{Epoch: e}}
	if d.previous, err = b.newest(e); err != nil {
		return nil, err
	}
	if d.exceptions, err = lines.NewExceptions(d.receipts(all)); err != nil {
		return nil, fmt.Errorf("receipts of epoch %d: %w", e, err)
	}
	h, err := b.write(e, d)
	if err != nil {
		return nil, fmt.Errorf("write late logs of epoch %d: %w", e, err)
	}
	return h, nil
}

// earned lists the receipts of an epoch that this account took.
func (b *Logbook) earned(e types.Epoch) (list []Evidence, err error) {
	all, err := b.traffic(e)
	if err != nil {
		return nil, fmt.Errorf("receipts of epoch %d: %w", e, err)
	}
	for _, x := range all {
		if x.Payee == b.cfg.Account && x.Units > 0 {
			list = append(list, x)
		}
	}
	return list, nil
}

// lookBack is for how many epochs a logbook that was just opened looks for
// receipts whose time is over.
const lookBack = 64

// void says once of which epochs receipts were not committed until their time was
// over: they count no more, unless their payers showed them.
func (b *Logbook) void(v *consensus.View) error {
	over := v.Epochal() - min(v.Epochal(), consensus.LateEpochs) // its late logs are due in the running epoch
	if over > 0 && v.Height() < consensus.LateLogsDue(v.Rules, over-1) {
		over--
	}
	first := max(b.judged, over-min(over, lookBack))
	var units uint64
	var lost []types.Epoch
	for e := first; e < over; e++ {
		claim, err := v.Claim(e, b.cfg.Account)
		if err != nil {
			return err
		}
		list, err := b.earned(e)
		if err != nil {
			return err
		}
		if claim != nil || len(list) == 0 {
			continue
		}
		lost = append(lost, e)
		for _, t := range lines.Newest(trafficOf(list)) {
			units += t.Units
		}
	}
	b.judged = max(b.judged, over)
	if len(lost) > 0 {
		b.cfg.Report("logs: receipts of epochs %v for %d units were not committed in %d epochs: they are void, unless their payers showed them",
			lost, units, consensus.LateEpochs)
	}
	return nil
}

func trafficOf(list []Evidence) (out []lines.Traffic) {
	for i := range list {
		out = append(out, list[i].Traffic)
	}
	return out
}
