package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// intake is the host's side of a running attempt: the ranges of the lot as they
// come in.
type intake struct {
	h       *Host
	ctx     context.Context // of the attempt
	terms   *terms
	attempt types.AttemptID
	by      []types.Account // encoder of each range; empty: none
	scheme  replica.Encoding
	ranges  []*incoming

	gate  sync.RWMutex // writers share it
	over  bool         // the attempt ended: nothing is written any more
	room  Room         // nil: could not be refilled
	bytes atomic.Int64 // of pieces that count

	mu   sync.Mutex
	kept *keptLot // Entry is guarded by mu, the rest never changes
}

// incoming is one range there. Who has the turn owns code, slots and modulus.
type incoming struct {
	number  uint32
	turn    chan struct{} // one token
	code    keptCode
	slots   keptSlots
	modulus *replica.Modulus

	mu    sync.Mutex
	newer Stream // the newest stream for the range
}

// openIntake reserves the room of the whole lot before its first byte, and finds
// what came before a restart. The Reason says why the lot is not taken.
func (h *Host) openIntake(ctx context.Context, t *terms, l *types.LotRecord) (*intake, Reason, error) {
	if why := h.cfg.Policy.judge(t); why != Welcome {
		return nil, why, nil
	}
	scheme, err := replica.Lookup(t.plan.Plan.Encoding)
	if err != nil {
		return nil, UnknownScheme, nil //nolint:nilerr // the reason says it
	}
	in := &intake{h: h, ctx: ctx, terms: t, attempt: l.Attempt, by: l.Encoders, scheme: scheme}
	if err := in.recall(); err != nil {
		return nil, Welcome, err
	}
	for _, x := range in.ranges {
		in.bytes.Add(in.held(x))
	}
	if err := in.refill(); err != nil {
		h.cfg.Report("host: no room for lot %s of %d bytes: %v", t.lot.Short(), t.bytes(), err)
		return nil, NoRoom, nil
	}
	return in, Welcome, h.shelf.write(t.lot, fileLot, in.kept)
}

// refill reserves what is still to come.
func (in *intake) refill() error {
	if in.room != nil {
		if err := in.room.Commit(); err != nil {
			return err
		}
	}
	var err error
	in.room, err = in.h.cfg.Reserve(in.terms.lot, int64(in.terms.bytes())-in.bytes.Load())
	if err != nil {
		in.room = nil
	}
	return err
}

// settle ends all writing and gives back what was not used.
func (in *intake) settle() error {
	in.gate.Lock()
	defer in.gate.Unlock()
	in.over = true
	if in.room == nil {
		return nil
	}
	return in.room.Commit()
}

// recall reads what is here of the attempt. What an earlier attempt left is
// deleted: its bytes are of other moduli.
func (in *intake) recall() error {
	kept, err := in.h.shelf.lot(in.terms.lot)
	if err != nil {
		return err
	}
	if kept != nil && kept.Attempt != in.attempt {
		if err := in.h.dropBytes(in.terms.lot); err != nil {
			return fmt.Errorf("make room for attempt %s: %w", in.attempt.Short(), err)
		}
		kept = nil
	}
	in.kept = kept
	if kept == nil {
		in.kept = newKept(in.terms, in.attempt)
	}
	for i := range in.kept.Ranges {
		x := &incoming{number: uint32(i), turn: make(chan struct{}, 1)}
		if err := in.recallRange(x); err != nil {
			return err
		}
		in.ranges = append(in.ranges, x)
	}
	return nil
}

func newKept(t *terms, attempt types.AttemptID) *keptLot {
	a := &t.dataset.Attachment
	k := &keptLot{Attempt: attempt, Dataset: a.Dataset(), Copy: t.copy, Encoding: t.plan.Plan.Encoding}
	for _, r := range t.ranges {
		last := uint32(types.PieceSize)
		if r.First+r.Count-1 == a.Pieces {
			last = uint32(a.Size - uint64(a.Pieces-1)*types.PieceSize)
		}
		k.Ranges = append(k.Ranges, keptRange{Range: r, Last: last})
	}
	return k
}

func (in *intake) recallRange(x *incoming) error {
	ok, err := in.h.shelf.read(in.terms.lot, fileRange(x.number), &x.code)
	if err != nil {
		return err
	}
	if ok {
		if ok, err = in.h.shelf.read(in.terms.lot, fileSlots(x.number), &x.slots); err != nil {
			return err
		}
	}
	if !ok {
		x.code = keptCode{}
		return in.emptySlots(x)
	}
	if len(x.code.Modulus) > 0 {
		x.modulus, err = replica.ParseModulus(x.code.Modulus)
	}
	return err
}

func (in *intake) emptySlots(x *incoming) (err error) {
	r := &in.kept.Ranges[x.number]
	if x.slots.Encoded, err = r.newSlots(); err != nil {
		return err
	}
	x.slots.Plain, err = r.newSlots()
	return err
}

// held is the bytes of a range's pieces that count.
func (in *intake) held(x *incoming) (n int64) {
	r := &in.kept.Ranges[x.number]
	for p := range r.Range.Count {
		if x.slots.Encoded.Has(int(p)) {
			n += int64(replica.PaddedLen(r.lengthOf(p)))
		}
	}
	return n
}

// whole lists the ranges that are here already.
func (in *intake) whole() (out []types.Commitment) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range in.kept.Ranges {
		if e := in.kept.Ranges[i].Entry; e != nil {
			out = append(out, in.commitment(uint32(i), e))
		}
	}
	return out
}

func (in *intake) commitment(r uint32, e *replica.Entry) types.Commitment {
	return types.Commitment{Lot: in.terms.lot, Attempt: in.attempt, Range: r, Encoded: e.Encoded, Plain: e.Plain, Modulus: e.Modulus}
}

// isWhole reports whether a range is complete and durable.
func (in *intake) isWhole(r uint32) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.kept.Ranges[r].Entry != nil
}

var errOver = &fault{ReasonOther, errors.New("another stream took the range over, or the attempt ended")}

// enter waits for the turn on a range. The newest stream wins: the one before is
// reset, for its connection may be dead without knowing.
func (in *intake) enter(x *incoming, s Stream) (leave func(), err error) {
	x.mu.Lock()
	old := x.newer
	x.newer = s
	x.mu.Unlock()
	if old != nil {
		_ = old.Reset(ReasonOther)
	}
	select {
	case x.turn <- struct{}{}:
	case <-in.ctx.Done():
		return nil, errOver
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.newer != s {
		<-x.turn
		return nil, errOver
	}
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.newer == s {
			x.newer = nil
		}
		<-x.turn
	}, nil
}

// adopt begins or continues a range under a modulus. Another modulus than before
// means that the encoder starts anew: what came under the old one counts no
// more.
func (in *intake) adopt(x *incoming, raw []byte) error {
	if x.modulus != nil && x.modulus.Hash() == modulusHash(raw) {
		return nil
	}
	m, err := replica.ParseModulus(raw)
	if err != nil {
		return &fault{ReasonModulus, err}
	}
	digests, err := in.h.digests(in.ctx, in.terms, x.number)
	if err != nil {
		return &fault{ReasonLater, err}
	}
	if err := in.restart(x, keptCode{Encoder: in.by[x.number], Modulus: raw, Digests: digests}); err != nil {
		return err
	}
	x.modulus = m
	return nil
}

// restart empties a range and notes how its bytes will be read back. The empty
// slots go first: bytes of another modulus are never counted.
func (in *intake) restart(x *incoming, code keptCode) error {
	if err := in.forget(x); err != nil {
		return &fault{ReasonStore, err}
	}
	x.modulus, x.code = nil, keptCode{}
	if err := in.emptySlots(x); err != nil {
		return &fault{ReasonStore, err}
	}
	if err := in.write(fileSlots(x.number), &x.slots); err != nil {
		return &fault{ReasonStore, err}
	}
	if err := in.write(fileRange(x.number), &code); err != nil {
		return &fault{ReasonStore, err}
	}
	x.code = code
	return nil
}

// forget reserves room for the pieces of a range a second time: they will be
// written over, and are charged in full again.
func (in *intake) forget(x *incoming) error {
	n := in.held(x)
	if n == 0 {
		return nil
	}
	in.gate.Lock()
	defer in.gate.Unlock()
	if in.over {
		return errOver
	}
	in.bytes.Add(-n)
	return in.refill()
}

// write puts a file beside the lot.
func (in *intake) write(name string, v types.Encodable) error {
	in.gate.RLock()
	defer in.gate.RUnlock()
	if in.over {
		return errOver
	}
	return in.h.shelf.write(in.terms.lot, name, v)
}

// put writes a piece durably into the reserved room.
func (in *intake) put(rng, piece uint32, encoded []byte) error {
	in.gate.RLock()
	defer in.gate.RUnlock()
	if in.over {
		return errOver
	}
	if in.room == nil {
		return fmt.Errorf("no room for piece %d of range %d", piece, rng)
	}
	if err := in.room.Put(rng, piece, encoded); err != nil {
		return err
	}
	in.bytes.Add(int64(len(encoded)))
	return nil
}

// tag binds the replica bytes of a piece to their place.
func (t *terms) tag(host types.Account, rng, piece uint32) replica.Tag {
	return replica.Tag{Range: t.ranges[rng].ID, Piece: uint64(piece), Copy: t.copy, Host: host}
}

// take checks an encoded piece from the range's encoder and keeps it.
func (in *intake) take(x *incoming, p *pieceFrame) error {
	r := &in.kept.Ranges[x.number] // Range and Last never change
	if p.Index >= r.Range.Count {
		return &fault{ReasonPiece, fmt.Errorf("piece %d of %d", p.Index, r.Range.Count)}
	}
	digest := pieceDigest(in.attempt, x.number, p.Index, p.Root)
	switch {
	case replica.PieceRoot(p.Bytes) != p.Root:
		return &fault{ReasonPiece, fmt.Errorf("piece %d has root %s, announced %s", p.Index, replica.PieceRoot(p.Bytes).Short(), p.Root.Short())}
	case !keys.Verify(in.by[x.number], digest[:], p.Signature):
		return &fault{ReasonPiece, fmt.Errorf("piece %d has a wrong signature", p.Index)}
	}
	plain, err := in.scheme.Decode(in.terms.tag(in.h.me, x.number, p.Index), x.modulus, p.Bytes, r.lengthOf(p.Index))
	if err != nil {
		return &fault{ReasonPiece, fmt.Errorf("decode piece %d: %w", p.Index, err)}
	}
	if got := types.Hash(sha256.Sum256(plain)); got != x.code.Digests[p.Index] {
		return &fault{ReasonPiece, fmt.Errorf("piece %d decodes to %s, want %s", p.Index, got.Short(), x.code.Digests[p.Index].Short())}
	}
	return in.keep(x, p.Index, p.Bytes, plain)
}

// keep stores a checked piece: the bytes are durable before the slots say so.
func (in *intake) keep(x *incoming, piece uint32, encoded, plain []byte) error {
	if x.slots.Encoded.Has(int(piece)) {
		return nil // it came before, under the same modulus
	}
	if err := in.put(x.number, piece, encoded); err != nil {
		return &fault{ReasonStore, err}
	}
	if err := x.slots.Encoded.Put(int(piece), replica.PieceRoot(encoded)); err != nil {
		return &fault{ReasonPiece, err}
	}
	if err := x.slots.Plain.Put(int(piece), replica.PieceRoot(plain)); err != nil {
		return &fault{ReasonPiece, err}
	}
	if err := in.write(fileSlots(x.number), &x.slots); err != nil {
		return &fault{ReasonStore, err}
	}
	return nil
}

// bitmap tells which pieces of a range are here.
func (x *incoming) bitmap(count uint32) []byte {
	b := make([]byte, bitmapSize)
	for i := range count {
		if x.slots.Encoded.Has(int(i)) {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// roots are the record of a whole range, without signature.
func (in *intake) roots(x *incoming) (rec record, err error) {
	rec.Count = in.kept.Ranges[x.number].Range.Count
	if rec.Encoded, err = x.slots.Encoded.Root(); err != nil {
		return rec, err
	}
	if rec.Plain, err = x.slots.Plain.Root(); err != nil {
		return rec, err
	}
	if x.modulus != nil {
		rec.Modulus = x.modulus.Hash()
	}
	return rec, nil
}

// seal compares the encoder's record with what is here, and makes the range
// whole.
func (in *intake) seal(x *incoming, said *record) error {
	mine, err := in.roots(x)
	if err != nil {
		return &fault{ReasonRecord, err}
	}
	mine.Signature = said.Signature
	if mine != *said {
		return &fault{ReasonRecord, fmt.Errorf("record of %d pieces, root %s and %s; here are %d, %s and %s", said.Count,
			said.Encoded.Short(), said.Plain.Short(), mine.Count, mine.Encoded.Short(), mine.Plain.Short())}
	}
	digest := said.digest(in.attempt, x.number)
	if !keys.Verify(in.by[x.number], digest[:], said.Signature) {
		return &fault{ReasonRecord, fmt.Errorf("record of range %d has a wrong signature", x.number)}
	}
	return in.complete(x, said)
}

// complete writes the range's files in order, and tells the machine.
func (in *intake) complete(x *incoming, rec *record) error {
	x.code.Record = rec
	if err := in.write(fileRange(x.number), &x.code); err != nil {
		return &fault{ReasonStore, err}
	}
	if err := in.h.list(in.terms.lot, x.number, x.code.Digests); err != nil {
		return &fault{ReasonStore, err}
	}
	entry, err := in.note(x, rec)
	if err != nil {
		return &fault{ReasonStore, err}
	}
	in.h.tell(in.ctx, in.terms.lot, Stored{in.commitment(x.number, entry)})
	return nil
}

// note writes into the lot's file that a range is whole.
func (in *intake) note(x *incoming, rec *record) (*replica.Entry, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := &in.kept.Ranges[x.number]
	r.Entry = &replica.Entry{
		Range: r.Range.ID, Encoded: rec.Encoded, Plain: rec.Plain, Modulus: rec.Modulus, Leaves: x.slots.Encoded.Leaves(),
	}
	if err := in.write(fileLot, in.kept); err != nil {
		r.Entry = nil
		return nil, err
	}
	return r.Entry, nil
}
