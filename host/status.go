package host

import (
	"bytes"
	"slices"

	"github.com/staddle/staddle/types"
)

// lastBundle is what became of the newest audit.
type lastBundle struct {
	Epoch  types.Epoch
	Proofs int
	Missed int // leaves that could not be shown
	Posted bool
}

// Status is what a Host does and has.
type Status struct {
	Account types.Account
	State   types.HostState
	Offered uint64 // bytes
	Used    uint64 // bytes of lots that the account keeps, by the chain
	Good    uint64 // attempts and audits
	Failed  uint64
	Misses  uint32      // running epochs without a good bundle
	Bundles types.Epoch // 1 + the last epoch with a good bundle; 0: none
	Audited bool        // a bundle was made since the start
	Audit   types.Epoch // of it
	Proofs  int
	Unshown int // leaves that it misses
	Damaged int // lots with lost bytes
	Lots    []LotStatus
}

// LotStatus is one lot that concerns the account.
type LotStatus struct {
	Lot     types.LotID
	Dataset types.DatasetID // zero when it was not looked up
	Part    Part            // in the running attempt
	Keeper  bool            // the account answers audits for it
	Status  types.LotStatus
	Ranges  uint32
	Done    uint32 // ranges that are whole here, in an attempt
	Bytes   uint64
}

// Status tells what the account does and has, by the newest state.
func (h *Host) Status() (*Status, error) {
	v, err := h.cfg.Chain.View()
	if err != nil {
		return nil, err
	}
	rec, err := v.Host(h.me)
	if err != nil {
		return nil, err
	}
	s := &Status{
		Account: h.me, State: rec.State, Used: rec.Leaves * leafSize, Good: rec.Good, Failed: rec.Failed,
		Misses: rec.Missed, Bundles: rec.Bundles,
	}
	reg, err := v.Registry(h.me)
	if err != nil {
		return nil, err
	}
	if reg != nil {
		s.Offered = uint64(reg.Register.FreeGiB) << 30
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Audited, s.Audit, s.Proofs, s.Unshown = h.last.Posted, h.last.Epoch, h.last.Proofs, h.last.Missed
	s.Damaged = len(h.hurt)
	for _, l := range h.lots {
		if l.rec != nil {
			s.Lots = append(s.Lots, h.lotStatus(l))
		}
	}
	slices.SortFunc(s.Lots, func(a, b LotStatus) int { return bytes.Compare(a.Lot[:], b.Lot[:]) })
	return s, nil
}

// lotStatus reads a lot; the mutex is held.
func (h *Host) lotStatus(l *lot) LotStatus {
	s := LotStatus{
		Lot: l.id, Dataset: l.dataset, Part: partIn(l.rec, h.me), Keeper: l.rec.Keeper() == h.me,
		Status: l.rec.Status, Ranges: l.rec.Count, Bytes: l.rec.Leaves * leafSize,
	}
	if l.in != nil {
		s.Done = uint32(len(l.in.whole()))
	}
	return s
}
