package consensus

import (
	"math/big"
	"slices"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// Drawing of a lot's host, encoders and validators by the beacon of the block
// in which it is due (H1).

// piecesPerGiB turns a host's offer into pieces.
const piecesPerGiB = 1 << 30 / types.PieceSize

// parties are the outcome of a draw.
type parties struct {
	host      types.Account
	encoders  []types.Account // one a range
	attestors []types.Account
	assurance uint8
}

// assign draws the parties of a waiting lot, or puts it back into the queue for
// the next block when there are too few candidates (H1.5: it waits in waves).
func (s *state) assign(id types.LotID) error {
	l, err := s.Lot(id)
	if err != nil || l == nil || l.Status != types.LotWaiting || l.Deadline > s.head.Height {
		return err // ended, restored by its old host, or failed again in the meantime
	}
	p, err := s.Plan(l.Plan)
	if err != nil || p == nil {
		return orMalformed(err, "lot %s has no plan", id.Short())
	}
	who, ok, err := s.drawParties(id, l, p)
	if err != nil {
		return err
	}
	if !ok {
		return s.listAdd(listDue(s.head.Height+1, dueDraw), id)
	}
	l.Host, l.Encoders, l.Attestors, l.Assurance = who.host, who.encoders, who.attestors, who.assurance
	l.Attempt = types.AttemptOf(id, l.Number, s.g.R)
	l.HostIn, l.Accepted, l.Encoded, l.Hosted, l.Attested = false, 0, 0, 0, 0
	l.Status, l.DrawnAt, l.Root = types.LotDrawn, s.head.Height, types.Hash{}
	if err := s.owe(l, +1); err != nil {
		return err
	}
	if err := s.countDraw(l); err != nil {
		return err
	}
	if err := s.until(id, l, types.Height(s.Rules.AcceptBlocks)); err != nil {
		return err
	}
	s.emit(types.Drawn{Lot: id, Now: *l})
	return nil
}

// until gives the lot so many blocks for its present state and stores it.
func (s *state) until(id types.LotID, l *types.LotRecord, blocks types.Height) error {
	l.Deadline = s.head.Height + blocks
	if err := s.put(keyLot(id), l); err != nil {
		return err
	}
	return s.listAdd(listDue(l.Deadline, dueDeadline), id)
}

func (s *state) drawParties(id types.LotID, l *types.LotRecord, p *types.PlanRecord) (who parties, ok bool, err error) {
	taken, err := s.holders(l, p)
	if err != nil {
		return who, false, err
	}
	taken = append(append(taken, p.Sponsor), l.Refused...)
	hosts, err := s.hostCandidates(l, p, taken)
	if err != nil {
		return who, false, err
	}
	if who.host, ok = draw.Pick("staddle/place/1", s.g.R, id, 0, hosts); !ok {
		return who, false, nil
	}
	busy := []types.Account{who.host, p.Sponsor}
	if p.Plan.Encoding != 0 {
		if who.encoders, ok, err = s.drawEncoders(id, l, busy); err != nil || !ok {
			return who, false, err
		}
		busy = append(busy, who.encoders...)
	}
	return s.drawAttestors(id, who, busy, p.Plan.Assurance)
}

// drawAttestors completes the parties and names the rung of the ladder (H2):
// 2 with all validators (subnets are not told apart yet, so never 3), 1 with one.
func (s *state) drawAttestors(id types.LotID, who parties, busy []types.Account, least uint8) (parties, bool, error) {
	cands, err := s.validators(func(a types.Account) bool { return slices.Contains(busy, a) })
	if err != nil {
		return who, false, err
	}
	who.attestors = draw.PickN("staddle/attest/1", s.g.R, id, int(s.Rules.Attestors), cands)
	who.assurance = uint8(min(len(who.attestors), 2))
	return who, len(who.attestors) > 0 && who.assurance >= least, nil
}

// holders are the accounts that keep, or are drawn to keep, a replica of the
// same ranges: no account holds two (H1.1).
func (s *state) holders(l *types.LotRecord, p *types.PlanRecord) ([]types.Account, error) {
	var out []types.Account
	for c := range p.Plan.Copies {
		other, err := s.Lot(types.LotOf(l.Plan, c, l.Index))
		if err != nil {
			return nil, err
		}
		if other == nil {
			continue
		}
		out = append(out, other.Old)
		if other.Status != types.LotWaiting && other.Status != types.LotEnded {
			out = append(out, other.Host)
		}
	}
	return out, nil
}

// hostCandidates are the registered hosts that are online, keep the encoding
// and have the space they offered.
func (s *state) hostCandidates(l *types.LotRecord, p *types.PlanRecord, taken []types.Account) ([]draw.Candidate, error) {
	list, err := s.Role(types.RoleHost)
	if err != nil {
		return nil, err
	}
	var out []draw.Candidate
	for _, a := range list {
		if slices.Contains(taken, a) {
			continue
		}
		w, err := s.hostWeight(a, l, p.Plan.Encoding)
		if err != nil {
			return nil, err
		}
		if w > 0 {
			out = append(out, draw.Candidate{Account: a, Weight: w})
		}
	}
	return out, nil
}

func (s *state) hostWeight(a types.Account, l *types.LotRecord, encoding uint32) (uint64, error) {
	w, err := s.worker(a)
	if err != nil || w == nil || w.host.State != types.HostOnline {
		return 0, err
	}
	space := uint64(w.reg.FreeGiB) * piecesPerGiB
	if w.reg.Encodings>>encoding&1 == 0 || w.host.Pieces+uint64(l.Pieces) > space {
		return 0, nil
	}
	free := (space - w.host.Pieces) / piecesPerGiB
	return draw.Weight(draw.HostBase(max(free, 1), w.acc.HostBond > 0), w.host.Good, w.host.Failed), nil
}

// worker is what a draw needs to know of an account.
type worker struct {
	reg  *types.Register
	host *types.HostRecord
	acc  *types.AccountRecord
}

// worker gives nil for an account whose registration does not count yet.
func (s *state) worker(a types.Account) (*worker, error) {
	reg, err := s.Registry(a)
	if err != nil || reg == nil || reg.From > s.epoch {
		return nil, err
	}
	h, err := s.Host(a)
	if err != nil {
		return nil, err
	}
	acc, err := s.Account(a)
	return &worker{&reg.Register, h, acc}, err
}

// drawEncoders draws one encoder a range, in slots 0, 1, ..
func (s *state) drawEncoders(id types.LotID, l *types.LotRecord, busy []types.Account) ([]types.Account, bool, error) {
	ranges, err := s.lotRanges(l)
	if err != nil {
		return nil, false, err
	}
	pool, err := s.encoderPool(busy)
	if err != nil {
		return nil, false, err
	}
	var out []types.Account
	for i, r := range ranges {
		a, ok := draw.Pick("staddle/encode/1", s.g.R, id, uint32(i), pool.with(r.Count))
		if !ok {
			return nil, false, nil
		}
		pool.use(a, r.Count)
		out = append(out, a)
	}
	return out, true, nil
}

// encoder is a candidate with the room that it has left.
type encoder struct {
	draw.Candidate
	good, failed uint64 // attempts in its record (H1.3)
	ranges       uint32 // that it may still accept (H1.5)
	pieces       uint64 // that its bond still covers (H3)
}

type encoders []encoder

func (p encoders) with(pieces uint32) []draw.Candidate {
	var out []draw.Candidate
	for _, e := range p {
		if e.ranges > 0 && e.pieces >= uint64(pieces) {
			out = append(out, e.Candidate)
		}
	}
	return out
}

func (p encoders) use(a types.Account, pieces uint32) {
	for i := range p {
		if p[i].Account == a {
			p[i].ranges--
			p[i].pieces -= uint64(pieces)
		}
	}
}

func (s *state) encoderPool(busy []types.Account) (encoders, error) {
	list, err := s.Role(types.RoleEncoder)
	if err != nil {
		return nil, err
	}
	var pool encoders
	var bonds []uint64
	for _, a := range list {
		if slices.Contains(busy, a) {
			continue
		}
		e, bond, err := s.encoderOf(a)
		if err != nil {
			return nil, err
		}
		if e.ranges > 0 && e.pieces > 0 {
			pool, bonds = append(pool, e), append(bonds, bond)
		}
	}
	if len(pool) == 0 {
		return nil, nil
	}
	smallest := slices.Min(bonds)
	for i := range pool {
		pool[i].Weight = draw.Weight(draw.BondBase(bonds[i], smallest), pool[i].good, pool[i].failed)
	}
	return pool, nil
}

// encoderOf tells what an encoder may still take: EncoderOpen ranges at once,
// and pieces whose pay for EncoderBond epochs its bond covers (H3).
func (s *state) encoderOf(a types.Account) (encoder, uint64, error) {
	w, err := s.worker(a)
	if err != nil || w == nil || w.host.State != types.HostOnline || w.host.Open >= s.Rules.EncoderOpen {
		return encoder{}, 0, err
	}
	pay := new(big.Int).Mul(s.g.Storage, big.NewInt(int64(s.Rules.EncoderBond)))
	bond := new(big.Int).Mul(new(big.Int).SetUint64(uint64(w.acc.EncodeBond)), big.NewInt(types.WeiPerBase))
	if pay.Sign() > 0 {
		bond.Quo(bond, pay)
	}
	covered := uint64(1 << 40)
	if bond.IsUint64() {
		covered = min(covered, bond.Uint64())
	}
	e := encoder{
		Candidate: draw.Candidate{Account: a},
		good:      w.host.Good,
		failed:    w.host.Failed,
		ranges:    s.Rules.EncoderOpen - w.host.Open,
		pieces:    covered - min(covered, w.host.Bonded),
	}
	return e, uint64(w.acc.EncodeBond), nil
}

// lotRanges reads the ranges of a lot.
func (v *View) lotRanges(l *types.LotRecord) ([]types.Range, error) {
	p, err := v.Plan(l.Plan)
	if err != nil || p == nil {
		return nil, orMalformed(err, "lot without a plan")
	}
	d, err := v.Dataset(p.Plan.Dataset)
	if err != nil || d == nil {
		return nil, orMalformed(err, "plan without a dataset")
	}
	return v.Ranges(&d.Attachment, l.First, l.Count)
}

// owe books (sign +1) or clears (sign -1) what the encoders of a lot have
// accepted and not delivered (H1.5), and what their bond stands for (H3).
func (s *state) owe(l *types.LotRecord, sign int) error {
	ranges, err := s.lotRanges(l)
	if err != nil {
		return err
	}
	for i, a := range l.Encoders {
		if !l.Owes(a, uint32(i)) {
			continue
		}
		pieces := uint64(ranges[i].Count)
		err := s.changeHost(a, func(h *types.HostRecord) {
			if sign > 0 {
				h.Open, h.OpenPieces, h.Bonded = h.Open+1, h.OpenPieces+pieces, h.Bonded+pieces
			} else {
				h.Open, h.OpenPieces, h.Bonded = h.Open-1, h.OpenPieces-pieces, h.Bonded-pieces
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
