package store

import (
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// Pieces are blobs of 1 to types.PieceSize bytes under their SHA-256, stored
// once however many owners they have. An owner is any name of 1 to MaxOwner
// bytes, such as a dataset or a job.
type Pieces struct{ s *Store }

// Pieces gives access to the pieces.
func (s *Store) Pieces() *Pieces { return &Pieces{s} }

// Reservation is room for pieces of one owner. Several goroutines may put
// through one Reservation; Commit or Release ends it. A reservation does not
// outlive the process; what was put through it does.
type Reservation struct {
	*grant
	flush underway
}

// Reserve sets n bytes of pieces aside, before the first of them is written.
// Errors: ErrQuota, ErrDiskFull.
func (p *Pieces) Reserve(owned string, n int64) (*Reservation, error) {
	g, err := p.s.reserve(owner{kindPiece, owned}, n)
	if err != nil {
		return nil, err
	}
	return &Reservation{grant: g}, nil
}

// Put stores a piece durably and gives its digest. A piece that is held already
// gains an owner and uses no bytes of the reservation; a damaged one is healed.
// Errors: ErrQuota when the reservation has no room, ErrDiskFull, ErrSettled.
func (r *Reservation) Put(piece []byte) (types.Hash, error) { return r.keep(piece, r.put) }

// PutLazy stores a piece that becomes durable at the next Sync, Put or Commit
// of anybody. A lazy piece can be read at once.
func (r *Reservation) PutLazy(piece []byte) (types.Hash, error) { return r.keep(piece, r.putLazy) }

func (r *Reservation) keep(piece []byte, put func(types.Hash, []byte) error) (types.Hash, error) {
	if len(piece) > types.PieceSize {
		return types.Hash{}, fmt.Errorf("piece of %d bytes above limit %d", len(piece), types.PieceSize)
	}
	digest := types.Digest(types.RawCID(piece))
	return digest, put(digest, piece)
}

// Get gives a piece whose hash was checked. Errors: *types.Missing, ErrCorrupt.
func (p *Pieces) Get(digest types.Hash) ([]byte, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	b, err := p.s.records().payload(id{kindPiece, digest}, header.checkPayload)
	return b, missing(digest, err)
}

// Load is Get for whoever is going to check the hash, such as the peer that a
// piece is sent to: only what a disk may have changed is looked for, which costs
// a tenth.
func (p *Pieces) Load(digest types.Hash) ([]byte, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	b, err := p.s.records().payload(id{kindPiece, digest}, header.checkSum)
	return b, missing(digest, err)
}

// ReadAt gives bytes [off, off+n) of a piece. The hash is not checked: that
// takes the whole piece. Errors: *types.Missing, or what is outside the piece.
func (p *Pieces) ReadAt(digest types.Hash, off, n int64) ([]byte, error) {
	if err := p.s.gate.enter(); err != nil {
		return nil, err
	}
	defer p.s.gate.leave()
	b, err := p.s.records().read(id{kindPiece, digest}, off, n)
	return b, missing(digest, err)
}

func missing(digest types.Hash, err error) error {
	if errors.Is(err, ErrAbsent) {
		return &types.Missing{CID: types.RawCIDOf(digest)}
	}
	return err
}

// Has reports whether a piece is held, without reading it.
func (p *Pieces) Has(digest types.Hash) (bool, error) {
	n, err := p.Size(digest)
	return n > 0, err
}

// Size is the length of a piece in bytes; 0 when it is not held.
func (p *Pieces) Size(digest types.Hash) (int64, error) {
	if err := p.s.gate.enter(); err != nil {
		return 0, err
	}
	defer p.s.gate.leave()
	e, ok, err := p.s.records().held(id{kindPiece, digest})
	if err != nil || !ok {
		return 0, err
	}
	return int64(e.n), nil
}

// Owned calls fn with the digests of an owner's durable pieces, in the order of
// the digests. An error of fn ends the walk and is given back.
func (p *Pieces) Owned(owned string, fn func(types.Hash) error) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	o := owner{kindPiece, owned}
	if err := o.check(); err != nil {
		return err
	}
	head := len(o.prefix())
	return scan(p.s.db, o.prefix(), o.prefix(), func(k, _ []byte) error { return fn(types.Hash(k[head:])) })
}

// Release takes the pieces of an owner away; those without another owner are
// gone at once and their room is given back by compaction. It is durable, and
// finished after a crash. No reservation of the owner should be in use.
func (p *Pieces) Release(owned string) error {
	if err := p.s.gate.enter(); err != nil {
		return err
	}
	defer p.s.gate.leave()
	o := owner{kindPiece, owned}
	if err := o.check(); err != nil {
		return err
	}
	return p.s.records().releaseOwner(o)
}
