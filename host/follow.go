package host

import (
	"context"
	"fmt"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

const (
	followStep = 256 // blocks at once
	followPast = 512 // blocks below the tip at which a first run begins
)

// follow goes to the newest tip: first what the blocks say of lots that were not
// known, then every lot that something may have happened to.
func (h *Host) follow(ctx context.Context) error {
	touched, undone, err := h.pull(ctx)
	if err != nil {
		return fmt.Errorf("follow chain: %w", err)
	}
	v, err := h.cfg.Chain.View()
	if err != nil {
		return err
	}
	whole := undone || v.Head.Height%types.Height(v.Rules.EpochBlocks) == 0
	for id, l := range h.lots {
		if l.rec != nil && !whole && l.machine.Quiet() && !touched[id] {
			continue
		}
		if err := h.look(ctx, v, l); err != nil {
			return err
		}
	}
	h.giveUp()
	return h.audit(ctx, v)
}

// look shows a lot's record at the tip to its machine.
func (h *Host) look(ctx context.Context, v *consensus.View, l *lot) error {
	rec, err := v.Lot(l.id)
	if err != nil {
		return err
	}
	h.mu.Lock()
	l.rec = rec
	h.mu.Unlock()
	return h.step(ctx, v, l, Seen{rec})
}

// pull reads the blocks since the cursor. The lots that concern this account are
// noted in the same write as the cursor.
func (h *Host) pull(ctx context.Context) (touched map[types.LotID]bool, undone bool, err error) {
	at, err := h.cursor()
	if err != nil {
		return nil, false, err
	}
	touched = map[types.LotID]bool{}
	for ctx.Err() == nil {
		undo, do, err := h.cfg.Chain.Updates(at, followStep)
		if err != nil {
			return nil, false, err
		}
		if len(undo) == 0 && len(do) == 0 {
			return touched, undone, nil
		}
		undone = undone || len(undo) > 0
		if at, err = h.apply(touched, undo, do); err != nil {
			return nil, false, err
		}
	}
	return touched, undone, ctx.Err()
}

// apply notes what some blocks name, done or undone, and moves the cursor.
func (h *Host) apply(touched map[types.LotID]bool, undo, do []types.Update) (at types.Cursor, err error) {
	v, err := h.cfg.Chain.View()
	if err != nil {
		return at, err
	}
	var rows []types.Row
	for _, u := range append(undo, do...) {
		for _, e := range u.Events {
			id, now := lotOf(e)
			if now == nil {
				continue
			}
			touched[id] = true
			if h.lots[id] != nil || !h.named(now) && !h.namedAt(v, id) {
				continue
			}
			h.know(id)
			rows = append(rows, types.Row{Table: table, Key: keyLot + string(id[:]), Value: []byte{1}})
		}
	}
	if n := len(do); n > 0 {
		at = types.Cursor{Height: do[n-1].Block.Header.Height, Root: do[n-1].Block.Name}
	} else {
		last := undo[len(undo)-1].Block.Header
		at = types.Cursor{Height: last.Height - 1, Root: last.Previous}
	}
	rows = append(rows, types.Row{Table: table, Key: rowCursor, Value: types.Marshal(&at)})
	return at, h.cfg.Table.Save(nil, rows)
}

func lotOf(e types.Event) (types.LotID, *types.LotRecord) {
	switch e := e.(type) {
	case types.Drawn:
		return e.Lot, &e.Now
	case types.Moved:
		return e.Lot, &e.Now
	}
	return types.LotID{}, nil
}

// named reports whether a record concerns this account.
func (h *Host) named(l *types.LotRecord) bool {
	return l != nil && (partIn(l, h.me) != None || l.Keeper() == h.me)
}

func (h *Host) namedAt(v *consensus.View, id types.LotID) bool {
	l, err := v.Lot(id)
	return err == nil && h.named(l)
}

// cursor is how far the blocks were read. A first run begins some blocks below
// the tip, with the lots that the state gives this account.
func (h *Host) cursor() (at types.Cursor, err error) {
	raw, ok, err := h.cfg.Table.Get(table, rowCursor)
	if err != nil {
		return at, err
	}
	if ok {
		return at, types.Unmarshal(raw, &at)
	}
	v, err := h.cfg.Chain.View()
	if err != nil {
		return at, err
	}
	lots, err := v.Lots(h.me)
	if err != nil {
		return at, err
	}
	var rows []types.Row
	for _, id := range lots {
		h.know(id)
		rows = append(rows, types.Row{Table: table, Key: keyLot + string(id[:]), Value: []byte{1}})
	}
	if v.Head.Height > followPast {
		at.Height = v.Head.Height - followPast
		if at.Root, err = v.Name(at.Height); err != nil {
			return at, err
		}
	}
	return at, h.cfg.Table.Save(nil, rows)
}
