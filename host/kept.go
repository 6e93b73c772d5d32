package host

import (
	"fmt"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// The small files that stand beside the bytes of a lot: "lot", and "range/<r>"
// and "slots/<r>" of each range, r in decimal from 0. Pieces are durable before
// the slots that name them, slots and range before the lot's file says that the
// range is whole.

const (
	fileLot     = "lot"
	keptVersion = 1
)

func fileRange(r uint32) string { return fmt.Sprintf("range/%d", r) }
func fileSlots(r uint32) string { return fmt.Sprintf("slots/%d", r) }

// keptLot is the file "lot": what the replica is of, and which of its ranges are
// whole.
type keptLot struct {
	Attempt  types.AttemptID // in which it was made
	Dataset  types.DatasetID
	Copy     uint32
	Encoding uint32
	Ranges   []keptRange
}

// keptRange is one range there. Entry is nil until the range is whole.
type keptRange struct {
	Range types.Range
	Last  uint32 // bytes of its last piece
	Entry *replica.Entry
}

// EncodeTo appends [version, attempt, dataset, copy, encoding,
// [[range, last, [entry]?], ...]].
func (k *keptLot) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Uint(keptVersion)
	e.Bytes(k.Attempt[:])
	e.Bytes(k.Dataset[:])
	e.Uint(uint64(k.Copy))
	e.Uint(uint64(k.Encoding))
	e.Array(len(k.Ranges))
	for i := range k.Ranges {
		r := &k.Ranges[i]
		e.Array(3)
		r.Range.EncodeTo(e)
		e.Uint(uint64(r.Last))
		if r.Entry == nil {
			e.Array(0)
			continue
		}
		e.Array(1)
		r.Entry.EncodeTo(e)
	}
}

// DecodeFrom reads the tuple.
func (k *keptLot) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	keptVersionOf(d, "lot")
	k.Attempt, k.Dataset = d.Hash(), d.Hash()
	k.Copy, k.Encoding = d.Uint32(), d.Uint32()
	k.Ranges = make([]keptRange, d.Array(types.MaxLotRanges))
	for i := range k.Ranges {
		d.Tuple(3)
		k.Ranges[i].Range.DecodeFrom(d)
		k.Ranges[i].Last = uint32(d.Limit(types.PieceSize))
		if d.Array(1) == 1 {
			k.Ranges[i].Entry = new(replica.Entry)
			k.Ranges[i].Entry.DecodeFrom(d)
		}
	}
}

func keptVersionOf(d *types.Decoder, what string) {
	if v := d.Uint(); d.Err() == nil && v != keptVersion {
		d.Fail("%s file of version %d, want %d", what, v, keptVersion)
	}
}

// entries are the leaves of the lot's tree; false while ranges are missing.
func (k *keptLot) entries() ([]replica.Entry, bool) {
	out := make([]replica.Entry, len(k.Ranges))
	for i := range k.Ranges {
		if k.Ranges[i].Entry == nil {
			return nil, false
		}
		out[i] = *k.Ranges[i].Entry
	}
	return out, len(out) > 0
}

// lengthOf is the bytes of a plain piece.
func (r *keptRange) lengthOf(piece uint32) int {
	if piece+1 == r.Range.Count {
		return int(r.Last)
	}
	return types.PieceSize
}

// newSlots is for the pieces of the range.
func (r *keptRange) newSlots() (*replica.Slots, error) {
	return replica.NewSlots(int(r.Range.Count), replica.PaddedLen(int(r.Last))/leafSize)
}

// keptCode is the file "range/<r>": how its bytes are read back. Without an
// encoder there is no modulus. Record is nil until the range is whole.
type keptCode struct {
	Encoder types.Account
	Modulus []byte
	Digests []types.Hash // of the plain pieces
	Record  *record
}

// EncodeTo appends [version, encoder, modulus, [digest, ...], [record]?].
func (k *keptCode) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(keptVersion)
	e.Bytes(k.Encoder[:])
	e.Bytes(k.Modulus)
	e.Array(len(k.Digests))
	for _, h := range k.Digests {
		e.Bytes(h[:])
	}
	if k.Record == nil {
		e.Array(0)
		return
	}
	e.Array(1)
	k.Record.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (k *keptCode) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	keptVersionOf(d, "range")
	k.Encoder = d.Account()
	k.Modulus = d.Bytes(replica.ModulusSize)
	k.Digests = make([]types.Hash, d.Array(types.MaxRangePieces))
	for i := range k.Digests {
		k.Digests[i] = d.Hash()
	}
	k.Record = nil
	if d.Array(1) == 1 {
		k.Record = new(record)
		k.Record.DecodeFrom(d)
	}
}

// keptSlots is the file "slots/<r>": the roots of the pieces that are here,
// encoded and plain.
type keptSlots struct{ Encoded, Plain *replica.Slots }

// EncodeTo appends [version, slots, slots].
func (k *keptSlots) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(keptVersion)
	k.Encoded.EncodeTo(e)
	k.Plain.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (k *keptSlots) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	keptVersionOf(d, "slots")
	k.Encoded, k.Plain = new(replica.Slots), new(replica.Slots)
	k.Encoded.DecodeFrom(d)
	k.Plain.DecodeFrom(d)
}

// Replicas keep encoded pieces by lot, range and piece, with small files beside
// each lot. Drop deletes all of a lot, durably.
type Replicas interface {
	Get(lot types.LotID, rng, piece uint32) ([]byte, error)
	File(lot types.LotID, name string) ([]byte, bool, error)
	SetFile(lot types.LotID, name string, b []byte) error
	Drop(lot types.LotID) error
}

// Room is space that was set aside for one lot. Put is durable when it returns;
// the same bytes again cost nothing. Commit gives back what was not used.
type Room interface {
	Put(rng, piece uint32, encoded []byte) error
	Commit() error
}

// shelf reads and writes the files of lots.
type shelf struct{ r Replicas }

// read fills v from a file; false when there is none.
func (s shelf) read(lot types.LotID, name string, v types.Decodable) (bool, error) {
	b, ok, err := s.r.File(lot, name)
	if err != nil || !ok {
		return false, err
	}
	if err := types.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("lot %s file %s: %w", lot.Short(), name, err)
	}
	return true, nil
}

func (s shelf) write(lot types.LotID, name string, v types.Encodable) error {
	return s.r.SetFile(lot, name, types.Marshal(v))
}

// lot reads the file of a lot; nil when there is none.
func (s shelf) lot(id types.LotID) (*keptLot, error) {
	k := new(keptLot)
	ok, err := s.read(id, fileLot, k)
	if err != nil || !ok {
		return nil, err
	}
	return k, nil
}
