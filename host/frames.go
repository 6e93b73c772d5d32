package host

import (
	"crypto/sha256"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Protocol brings a range's replica from its encoder to its host.
const Protocol = "/staddle/replica/1"

const (
	leafSize      = replica.LeafSize
	streamVersion = 1

	framePiece  = 1
	frameRecord = 2

	maxBegin = 512                   // bytes of an opening
	maxFrame = types.PieceSize + 256 // of a piece, or a record
	maxState = 512                   // of the host's answers
)

// Reasons of a reset on this protocol. Numbers are never reused.
const (
	ReasonLater   uint32 = 64 // the attempt does not run here (yet): try later
	ReasonNotYou  uint32 = 65 // the account is not the drawn encoder of the range
	ReasonModulus uint32 = 66
	ReasonPiece   uint32 = 67 // false signature, root or bytes of a piece
	ReasonRecord  uint32 = 68 // false record of the range
	ReasonStore   uint32 = 69 // the host's disk refuses
	ReasonForm    uint32 = 70 // a frame that cannot be read, or out of order
	ReasonOther   uint32 = 71 // a newer stream for the range took over, or the host stops
)

// fault is an error that the peer is told by number.
type fault struct {
	reason uint32
	err    error
}

// Error gives the text for people.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *fault) Unwrap() error { return f.err }

// Reason is the number that crosses the wire.
func (f *fault) Reason() uint32 { return f.reason }

// begin opens a stream: the encoder names the job and its modulus.
type begin struct {
	Lot     types.LotID
	Attempt types.AttemptID
	Range   uint32
	Modulus []byte // 256 bytes
}

// EncodeTo appends [version, lot, attempt, range, modulus].
func (b *begin) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(streamVersion)
	e.Bytes(b.Lot[:])
	e.Bytes(b.Attempt[:])
	e.Uint(uint64(b.Range))
	e.Bytes(b.Modulus)
}

// DecodeFrom reads the tuple.
func (b *begin) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	if v := d.Uint(); d.Err() == nil && v != streamVersion {
		d.Fail("stream of version %d, want %d", v, streamVersion)
	}
	b.Lot, b.Attempt = d.Hash(), d.Hash()
	b.Range = uint32(d.Limit(types.MaxLotRanges - 1))
	b.Modulus = make([]byte, replica.ModulusSize)
	d.Fixed(b.Modulus)
}

// record is what encoder and host agree on for a whole range.
type record struct {
	Count     uint32 // pieces
	Encoded   types.Hash
	Plain     types.Hash
	Modulus   types.Hash // SHA-256; zero without an encoder
	Signature types.Signature
}

// EncodeTo appends [count, encoded, plain, modulus, signature].
func (r *record) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(uint64(r.Count))
	e.Bytes(r.Encoded[:])
	e.Bytes(r.Plain[:])
	e.Bytes(r.Modulus[:])
	e.Bytes(r.Signature[:])
}

// DecodeFrom reads the tuple.
func (r *record) DecodeFrom(d *types.Decoder) {
	d.Tuple(5)
	r.Count = uint32(d.Limit(types.MaxRangePieces))
	r.Encoded, r.Plain, r.Modulus = d.Hash(), d.Hash(), d.Hash()
	d.Fixed(r.Signature[:])
}

// digest is what the encoder signs of a range.
func (r *record) digest(attempt types.AttemptID, rng uint32) types.Hash {
	return types.H("staddle/replica/range/1", attempt[:], types.Be32(rng), types.Be32(r.Count), r.Encoded[:], r.Plain[:], r.Modulus[:])
}

// pieceDigest is what the encoder signs of a piece: its place and the root over
// its encoded bytes.
func pieceDigest(attempt types.AttemptID, rng, piece uint32, root types.Hash) types.Hash {
	return types.H("staddle/replica/piece/1", attempt[:], types.Be32(rng), types.Be32(piece), root[:])
}

// standing is the host's answer to begin: the pieces that it holds under this
// modulus, or the record of a range that it holds whole.
type standing struct {
	Held   []byte // bit i of byte i/8, lowest first: piece i; nil with a record
	Record *record
}

const bitmapSize = types.MaxRangePieces / 8

// EncodeTo appends [version, bitmap, [record]?].
func (s *standing) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(streamVersion)
	if s.Record == nil {
		e.Bytes(s.Held)
		e.Array(0)
		return
	}
	e.Bytes(nil)
	e.Array(1)
	s.Record.EncodeTo(e)
}

// DecodeFrom reads the tuple.
func (s *standing) DecodeFrom(d *types.Decoder) {
	*s = standing{}
	d.Tuple(3)
	if v := d.Uint(); d.Err() == nil && v != streamVersion {
		d.Fail("answer of version %d, want %d", v, streamVersion)
	}
	s.Held = d.Bytes(bitmapSize)
	if d.Array(1) == 1 {
		s.Record = new(record)
		s.Record.DecodeFrom(d)
	}
	if want := bitmapSize; d.Err() == nil && (s.Record == nil && len(s.Held) != want || s.Record != nil && s.Held != nil) {
		d.Fail("bitmap of %d bytes beside a record (%t), want %d or a record", len(s.Held), s.Record != nil, want)
	}
}

// has reports bit i.
func (s *standing) has(i int) bool { return s.Held[i/8]>>(i%8)&1 == 1 }

// frame is what an encoder sends after the answer: a piece or, at the end, the
// record.
type frame struct {
	Piece  *pieceFrame
	Record *record
}

// pieceFrame is one encoded piece.
type pieceFrame struct {
	Index     uint32 // in the range
	Root      types.Hash
	Signature types.Signature
	Bytes     []byte
}

// EncodeTo appends [1, index, root, signature, bytes] or [2, record].
func (f *frame) EncodeTo(e *types.Encoder) {
	if f.Record != nil {
		e.Array(2)
		e.Uint(frameRecord)
		f.Record.EncodeTo(e)
		return
	}
	e.Array(5)
	e.Uint(framePiece)
	e.Uint(uint64(f.Piece.Index))
	e.Bytes(f.Piece.Root[:])
	e.Bytes(f.Piece.Signature[:])
	e.Bytes(f.Piece.Bytes)
}

// DecodeFrom reads either.
func (f *frame) DecodeFrom(d *types.Decoder) {
	*f = frame{}
	fields, kind := d.Array(5), d.Uint()
	switch {
	case d.Err() != nil:
	case kind == framePiece && fields == 5:
		f.Piece = &pieceFrame{Index: uint32(d.Limit(types.MaxRangePieces - 1)), Root: d.Hash()}
		d.Fixed(f.Piece.Signature[:])
		f.Piece.Bytes = d.Bytes(types.PieceSize)
	case kind == frameRecord && fields == 2:
		f.Record = new(record)
		f.Record.DecodeFrom(d)
	default:
		d.Fail("frame %d of %d fields", kind, fields)
	}
}

// modulusHash is by which the chain knows a modulus.
func modulusHash(m []byte) types.Hash { return sha256.Sum256(m) }
