package store

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"

	"github.com/staddle/staddle/types"
)

// Replicas are the encoded pieces that a host keeps, by lot, number of the
// range in the lot and number of the piece in the range, both from 0; and a few
// small files beside each lot.
type Replicas struct{ s *Store }

// Limits of the small files of a lot.
const (
	MaxFileName = 64      // bytes; the shortest is 1
	MaxFile     = 1 << 20 // bytes
)

// Replicas gives access to the replicas.
func (s *Store) Replicas() *Replicas { return &Replicas{s} }

func replicaID(lot types.LotID, rng, piece uint32) id {
	return id{kindReplica, types.H("staddle/replica/1", lot[:], types.Be32(rng), types.Be32(piece))}
}

func lotOwner(lot types.LotID) owner { return owner{kindReplica, string(lot[:])} }

// LotReservation is room for the replica of one lot; see Reservation.
type LotReservation struct {
	*grant
	lot types.LotID
}

// Reserve sets n bytes of replica aside, before the first of them is written.
// Errors: ErrQuota, ErrDiskFull.
func (p *Replicas) Reserve(lot types.LotID, n int64) (*LotReservation, error) {
	g, err := p.s.reserve(lotOwner(lot), n)
	if err != nil {
		return nil, fmt.Errorf("lot %s: %w", lot.Short(), err)
	}
	return &LotReservation{g, lot}, nil
}

// Put stores an encoded piece of 1 to MaxPayload bytes durably. The same bytes
// again cost nothing; other bytes replace the old ones and are charged in full.
func (r *LotReservation) Put(rng, piece uint32, encoded []byte) error {
	if err := checkPiece(piece); err != nil {
		return err
	}
	return r.put(replicaID(r.lot, rng, piece).key, encoded)
}

// PutLazy is Put without waiting for the disk.
func (r *LotReservation) PutLazy(rng, piece uint32, encoded []byte) error {
	if err := checkPiece(piece); err != nil {
		return err
	}
	return r.putLazy(replicaID(r.lot, rng, piece).key, encoded)
}

func checkPiece(piece uint32) error {
	if piece >= types.MaxRangePieces {
		return fmt.Errorf("piece %d of a range, want 0 to %d", piece, types.MaxRangePieces-1)
	}
	return nil
}

// Get gives an encoded piece whose checksum was verified. Errors: ErrAbsent,
// ErrCorrupt.
func (p *Replicas) Get(lot types.LotID, rng, piece uint32) ([]byte, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	b, err := p.s.records().payload(replicaID(lot, rng, piece), header.checkPayload)
	return b, atLot(lot, rng, piece, err)
}

// ReadAt gives bytes [off, off+n) of an encoded piece, such as one leaf. They
// are not verified: the proof that they are read for does that. Errors:
// ErrAbsent, or what is outside the piece.
func (p *Replicas) ReadAt(lot types.LotID, rng, piece uint32, off, n int64) ([]byte, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	b, err := p.s.records().read(replicaID(lot, rng, piece), off, n)
	return b, atLot(lot, rng, piece, err)
}

func atLot(lot types.LotID, rng, piece uint32, err error) error {
	if err != nil {
		return fmt.Errorf("lot %s range %d piece %d: %w", lot.Short(), rng, piece, err)
	}
	return nil
}

// Bitmap has a bit for each piece of a range.
type Bitmap [types.MaxRangePieces / 8]byte

// Has reports bit piece; false outside the range.
func (b Bitmap) Has(piece uint32) bool {
	return piece < types.MaxRangePieces && b[piece/8]>>(piece%8)&1 == 1
}

func (b *Bitmap) set(piece uint32) { b[piece/8] |= 1 << (piece % 8) }

// Count is the number of bits that are set.
func (b Bitmap) Count() (n int) {
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// Have tells which pieces of a range are held.
func (p *Replicas) Have(lot types.LotID, rng uint32) (b Bitmap, err error) {
	if err := p.s.gate.enter(); err != nil {
		return b, err
	}
	defer p.s.gate.leave()
	for piece := range uint32(types.MaxRangePieces) {
		_, ok, err := p.s.records().held(replicaID(lot, rng, piece))
		if err != nil {
			return Bitmap{}, err
		}
		if ok {
			b.set(piece)
		}
	}
	return b, nil
}

// Drop deletes the replica of a lot and its files. It is durable, and finished
// after a crash. No reservation of the lot should be in use.
func (p *Replicas) Drop(lot types.LotID) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	return p.s.records().releaseOwner(lotOwner(lot))
}

// dropFiles deletes the small files of a lot; other owners have none.
func (r *records) dropFiles(o owner) error {
	if o.kind != kindReplica {
		return nil
	}
	prefix := append([]byte{prefixFile}, o.name...)
	return scan(r.index.db, prefix, prefix, func(k, _ []byte) error { return r.index.set(bytes.Clone(k), nil) })
}

func fileKey(lot types.LotID, name string) []byte {
	return append(append([]byte{prefixFile}, lot[:]...), name...)
}

// SetFile keeps a small file beside a lot durably, or replaces it. Files do not
// count against the quota.
func (p *Replicas) SetFile(lot types.LotID, name string, b []byte) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	if len(name) == 0 || len(name) > MaxFileName {
		return fmt.Errorf("file name of %d bytes, want 1 to %d", len(name), MaxFileName)
	}
	if len(b) > MaxFile {
		return fmt.Errorf("file %q of %d bytes above limit %d", name, len(b), MaxFile)
	}
	if err := p.s.records().room.floor("write " + name); err != nil {
		return err
	}
	if err := p.s.db.Set(fileKey(lot, name), b, pebble.Sync); err != nil {
		return diskError("write "+name, p.s.dir, err)
	}
	return nil
}

// File reads a small file of a lot, and whether there is one.
func (p *Replicas) File(lot types.LotID, name string) ([]byte, bool, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, false, err
	}
	defer p.s.gate.leave()
	b, err := lookup(p.s.db, fileKey(lot, name))
	return b, b != nil, err
}

// Files lists the names of a lot's small files, sorted.
func (p *Replicas) Files(lot types.LotID) (names []string, err error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	prefix := fileKey(lot, "")
	err = scan(p.s.db, prefix, prefix, func(k, _ []byte) error {
		names = append(names, string(k[len(prefix):]))
		return nil
	})
	return names, err
}

// Lots calls fn with every lot that has a durable piece here, sorted.
func (p *Replicas) Lots(fn func(types.LotID) error) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	return p.s.records().owners(kindReplica, func(o owner) error {
		if len(o.name) != types.HashSize {
			return &CorruptError{What: "index", Reason: fmt.Sprintf("lot of %d bytes", len(o.name))}
		}
		return fn(types.LotID([]byte(o.name)))
	})
}
