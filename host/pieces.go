package host

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Sizes of the caches: decoded pieces of 256 KiB, and ranges with their modulus
// and slots of some 30 KiB.
const (
	cachedPieces  = 64
	cachedReaders = 256
)

// ErrNotHere is the error of a piece, a lot or a bundle that this host does not
// have.
var ErrNotHere = errors.New("not kept here")

// rangeKey names a range that is kept.
type rangeKey struct {
	lot types.LotID
	rng uint32
}

// reader reads the bytes of a whole range back.
type reader struct {
	kept    keptRange
	slots   *replica.Slots
	modulus *replica.Modulus // nil without an encoder
	scheme  replica.Encoding
	copy    uint32
	digests []types.Hash
}

// openRange reads the files of a whole range; ErrNotHere when it is not whole.
func (h *Host) openRange(at rangeKey) (*reader, error) {
	if r, ok := h.readers.get(at); ok {
		return r, nil
	}
	kept, err := h.shelf.lot(at.lot)
	if err != nil {
		return nil, err
	}
	if kept == nil || int(at.rng) >= len(kept.Ranges) || kept.Ranges[at.rng].Entry == nil {
		return nil, fmt.Errorf("range %d of lot %s: %w", at.rng, at.lot.Short(), ErrNotHere)
	}
	r, err := h.loadRange(at, kept)
	if err != nil {
		return nil, err
	}
	h.readers.put(at, r)
	return r, nil
}

func (h *Host) loadRange(at rangeKey, kept *keptLot) (*reader, error) {
	var code keptCode
	var slots keptSlots
	for name, into := range map[string]types.Decodable{fileRange(at.rng): &code, fileSlots(at.rng): &slots} {
		if ok, err := h.shelf.read(at.lot, name, into); err != nil || !ok {
			return nil, errors.Join(err, fmt.Errorf("lot %s file %s (there: %t)", at.lot.Short(), name, ok))
		}
	}
	r := &reader{kept: kept.Ranges[at.rng], slots: slots.Encoded, copy: kept.Copy, digests: code.Digests}
	var err error
	if r.scheme, err = replica.Lookup(kept.Encoding); err != nil {
		return nil, err
	}
	if len(code.Modulus) > 0 {
		r.modulus, err = replica.ParseModulus(code.Modulus)
	}
	return r, err
}

// pieceKey is the row that tells where a piece is: its digest, lot, range and
// place.
func pieceKey(digest types.Hash, lot types.LotID, rng, piece uint32) string {
	return keyPiece + string(digest[:]) + string(lot[:]) + string(types.Be32(rng)) + string(types.Be32(piece))
}

// list notes where the pieces of a whole range are.
func (h *Host) list(lot types.LotID, rng uint32, digests []types.Hash) error {
	rows := make([]types.Row, len(digests))
	for i, d := range digests {
		rows[i] = types.Row{Table: table, Key: pieceKey(d, lot, rng, uint32(i)), Value: []byte{1}}
	}
	return h.cfg.Table.Save(nil, rows)
}

// dropBytes deletes a lot's replica and where its pieces were, and forgets what
// was remembered of it. Rows that outlive a crash lead nowhere.
func (h *Host) dropBytes(lot types.LotID) error {
	var rows []types.Row
	for r := range uint32(types.MaxLotRanges) {
		var code keptCode
		if ok, err := h.shelf.read(lot, fileRange(r), &code); err != nil || !ok {
			continue // it had no pieces that can be looked up
		}
		for i, d := range code.Digests {
			rows = append(rows, types.Row{Table: table, Key: pieceKey(d, lot, r, uint32(i))})
		}
	}
	if err := h.cfg.Table.Save(nil, rows); err != nil {
		return err
	}
	h.readers.clear()
	h.mu.Lock()
	delete(h.hurt, lot)
	h.mu.Unlock()
	return h.cfg.Replicas.Drop(lot)
}

// Piece gives a plain piece by its SHA-256 out of a replica that is kept here,
// decoded and checked. Pieces that are asked for often stay decoded. The bytes
// must not be changed. Errors: ErrNotHere, those of the disk.
func (h *Host) Piece(ctx context.Context, digest types.Hash) ([]byte, error) {
	if b, ok := h.decoded.get(digest); ok {
		return b, nil
	}
	places, err := h.places(digest)
	if err != nil {
		return nil, err
	}
	fault := error(nil)
	for _, p := range places {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b, err := h.decode(p, digest)
		if err == nil {
			h.decoded.put(digest, b)
			return b, nil
		}
		fault = errors.Join(fault, err)
	}
	if fault != nil {
		return nil, fault
	}
	return nil, fmt.Errorf("piece %s: %w", digest.Short(), ErrNotHere)
}

// place is where a piece is kept.
type place struct {
	rangeKey
	piece uint32
}

func (h *Host) places(digest types.Hash) (out []place, err error) {
	prefix := keyPiece + string(digest[:])
	err = h.cfg.Table.Scan(table, prefix, "", func(key string, _ []byte) error {
		b := []byte(key[len(prefix):])
		if len(b) != types.HashSize+8 {
			return fmt.Errorf("row of %d bytes is no place of a piece", len(key))
		}
		out = append(out, place{
			rangeKey{types.LotID(b[:32]), binary.BigEndian.Uint32(b[32:])}, binary.BigEndian.Uint32(b[36:]),
		})
		return nil
	})
	return out, err
}

// decode reads one piece and makes sure of its digest.
func (h *Host) decode(p place, digest types.Hash) ([]byte, error) {
	r, err := h.openRange(p.rangeKey)
	if err != nil {
		return nil, err
	}
	if int(p.piece) >= len(r.digests) || r.digests[p.piece] != digest {
		return nil, fmt.Errorf("piece %s: %w", digest.Short(), ErrNotHere)
	}
	encoded, err := h.get(p.lot, p.rng, p.piece)
	if err != nil {
		return nil, err
	}
	tag := replica.Tag{Range: r.kept.Range.ID, Piece: uint64(p.piece), Copy: r.copy, Host: h.me}
	b, err := r.scheme.Decode(tag, r.modulus, encoded, r.kept.lengthOf(p.piece))
	if err != nil {
		return nil, err
	}
	if types.Hash(sha256.Sum256(b)) != digest {
		h.wound(p.lot)
		return nil, fmt.Errorf("piece %d of range %d of lot %s decodes to other bytes", p.piece, p.rng, p.lot.Short())
	}
	return b, nil
}

// get reads an encoded piece and notes when its bytes are lost.
func (h *Host) get(lot types.LotID, rng, piece uint32) ([]byte, error) {
	b, err := h.cfg.Replicas.Get(lot, rng, piece)
	if err != nil && h.cfg.Damaged(err) {
		h.wound(lot)
	}
	return b, err
}

// wound notes that bytes of a lot are lost: the lot is given up at the next tip.
func (h *Host) wound(lot types.LotID) {
	h.mu.Lock()
	known := h.hurt[lot]
	h.hurt[lot] = true
	h.mu.Unlock()
	if !known {
		h.cfg.Report("host: lot %s has lost bytes", lot.Short())
	}
}

// giveUp drops lots whose bytes are lost, so that they are not claimed (H7).
func (h *Host) giveUp() {
	h.mu.Lock()
	var lots []*lot
	for id := range h.hurt {
		if l := h.lots[id]; l != nil && l.rec != nil && l.rec.Status == types.LotActive && l.rec.Host == h.me {
			lots = append(lots, l)
		}
	}
	h.mu.Unlock()
	for _, l := range lots {
		h.duty(l, types.DutyDrop, DamagedReplica)
	}
}

// Holds reports whether a replica of the dataset, or a part of one, is kept here.
func (h *Host) Holds(d types.DatasetID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lots {
		if l.dataset == d {
			return true
		}
	}
	return false
}
