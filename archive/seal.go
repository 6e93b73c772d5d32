package archive

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/staddle/staddle/types"
)

// The exact sizes of spec/private.md.
const (
	// SealedGroup is what the number of pieces of a private dataset is a multiple
	// of (P2).
	SealedGroup = 16
	// BoxSize is the length of one dataset key sealed to a member, in bytes.
	BoxSize = 48
	// MaxBoxes is how many members a dataset can be sealed to.
	MaxBoxes = 5460

	tagSize      = chacha20poly1305.Overhead
	nonceSize    = chacha20poly1305.NonceSizeX
	entrySize    = nonceSize + tagSize                     // of one piece in the encrypted index
	ownSize      = types.PieceSize - nonceSize - tagSize   // plain bytes of a piece of the index itself
	headSpace    = 4096                                    // bytes of the head before its entries
	headEntries  = (ownSize - headSpace) / entrySize       // 6,450
	pageEntries  = ownSize / entrySize                     // 6,552
	boxesFill    = types.PieceSize - 32 - MaxBoxes*BoxSize // bytes after the last box
	infoPieceEnc = "staddle/key/piece-enc/1"
	infoPieceMAC = "staddle/key/piece-nonce/1"
)

// Labels of the HMACs of P1.1; those of the index's own pieces are also their
// associated data, so that none can stand for another.
const (
	labelPiece  = "piece"
	labelHead   = "head"
	labelPage   = "page"
	labelFiller = "filler"
)

// pieceKeys are K_enc and K_nonce of one dataset key (P1.1).
type pieceKeys struct {
	enc   cipher.AEAD
	nonce [32]byte
}

func newPieceKeys(dataset [32]byte) *pieceKeys {
	enc, nonce := derivePieceKeys(dataset)
	aead, err := chacha20poly1305.NewX(enc[:])
	if err != nil {
		panic(err) // 32 bytes are the length of a key
	}
	return &pieceKeys{aead, nonce}
}

// derivePieceKeys gives K_enc and K_nonce (P1.1).
func derivePieceKeys(dataset [32]byte) (enc, nonce [32]byte) {
	for _, k := range []struct {
		info string
		to   *[32]byte
	}{{infoPieceEnc, &enc}, {infoPieceMAC, &nonce}} {
		b, err := hkdf.Key(sha256.New, dataset[:], nil, k.info, len(k.to))
		if err != nil {
			panic(err) // 32 bytes are below the limit of HKDF
		}
		copy(k.to[:], b)
	}
	return enc, nonce
}

// nonceOf is HMAC-SHA256(K_nonce, label || SHA-256(plain))[0:24] (P1.1): equal
// bytes under one key give equal ciphertext, and nothing else repeats a nonce.
func (k *pieceKeys) nonceOf(label string, plain types.Hash) []byte {
	m := hmac.New(sha256.New, k.nonce[:])
	m.Write([]byte(label))
	m.Write(plain[:])
	return m.Sum(nil)[:nonceSize]
}

// sealOwn makes a piece that carries its own nonce and tag: nonce, ciphertext of
// ownSize bytes, tag.
func (k *pieceKeys) sealOwn(label string, plain []byte) []byte {
	nonce := k.nonceOf(label, PieceDigest(plain))
	out := append(make([]byte, 0, types.PieceSize), nonce...)
	return k.enc.Seal(out, nonce, plain, []byte(label))
}

// openOwn is the way back.
func (k *pieceKeys) openOwn(label string, sealed []byte) ([]byte, error) {
	if len(sealed) != types.PieceSize {
		return nil, fmt.Errorf("sealed %s of %d bytes, want %d", label, len(sealed), types.PieceSize)
	}
	plain, err := k.enc.Open(nil, sealed[:nonceSize], sealed[nonceSize:], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, ErrKey)
	}
	return plain, nil
}

// Boxes carry the dataset key to members; who makes them knows how.
type Boxes struct {
	Ephemeral [32]byte        // public key that all of them share
	Keys      [][BoxSize]byte // at most MaxBoxes
	Fill      [32]byte        // secret from which the places that are left get bytes that look like boxes
}

// piece writes the boxes as one piece whose bytes all look alike.
func (b *Boxes) piece() ([]byte, error) {
	if len(b.Keys) == 0 || len(b.Keys) > MaxBoxes {
		return nil, fmt.Errorf("%d members, want 1 to %d", len(b.Keys), MaxBoxes)
	}
	out := append(make([]byte, 0, types.PieceSize+tagSize), b.Ephemeral[:]...)
	for _, k := range b.Keys {
		out = append(out, k[:]...)
	}
	fill := newPieceKeys(b.Fill)
	nonce := make([]byte, nonceSize)
	return fill.enc.Seal(out, nonce, make([]byte, types.PieceSize-len(out)), nil)[:types.PieceSize], nil
}

// ParseBoxes gives the shared public key and the places of boxes, BoxSize bytes
// each, of the piece before the last of a dataset for members.
func ParseBoxes(piece []byte) (ephemeral [32]byte, places []byte, err error) {
	if len(piece) != types.PieceSize {
		return ephemeral, nil, fmt.Errorf("boxes of %d bytes, want %d", len(piece), types.PieceSize)
	}
	return [32]byte(piece[:32]), piece[32 : types.PieceSize-boxesFill], nil
}

// SealOptions say how a dataset is sealed.
type SealOptions struct {
	Key         [32]byte // of the dataset (K0)
	RangePieces int      // as in Options
	Boxes       *Boxes   // of a dataset for members; else nil
}

// Sealer is a Sink that encrypts the pieces it is given and hands the ciphertext
// on (P1). Blocks over plain pieces end here: no hash of a plain piece leaves.
// It keeps 72 bytes a piece in memory.
type Sealer struct {
	opts    SealOptions
	keys    *pieceKeys
	to      Sink
	ranger  *Ranger
	unixfs  *UnixFS
	digests digestList
	entries entryList
	number  uint32
	short   bool // a piece that was not full has come: it is the last
	scratch []byte
}

// NewSealer begins a private dataset; to gets its pieces and blocks.
func NewSealer(opts SealOptions, to Sink) (*Sealer, error) {
	if opts.RangePieces == 0 {
		opts.RangePieces = DefaultRangePieces
	}
	ranger, err := NewRanger(opts.RangePieces)
	if err != nil {
		return nil, err
	}
	s := &Sealer{opts: opts, keys: newPieceKeys(opts.Key), to: to, ranger: ranger, unixfs: NewUnixFS(to.Node)}
	s.scratch = make([]byte, types.PieceSize+tagSize)
	return s, nil
}

// Node drops a block over plain pieces.
func (s *Sealer) Node(types.Node) error { return nil }

// Piece seals the next piece of the TGZ: its bytes, zeros up to the length of a
// full piece, encrypted. Nonce and tag go to the encrypted index.
func (s *Sealer) Piece(number uint32, digest types.Hash, data []byte) error {
	if number != s.number+1 || len(data) > types.PieceSize || s.short {
		return fmt.Errorf("seal piece %d of %d bytes after %d", number, len(data), s.number)
	}
	s.short = len(data) < types.PieceSize
	nonce := s.keys.nonceOf(labelPiece, digest)
	plain := s.scratch[:types.PieceSize]
	clear(plain[copy(plain, data):])
	sealed := s.keys.enc.Seal(s.scratch[:0], nonce, plain, nil)
	s.entries.add(nonce, sealed[types.PieceSize:])
	return s.keep(sealed[:types.PieceSize])
}

// keep counts a sealed piece and hands it on.
func (s *Sealer) keep(sealed []byte) error {
	digest := PieceDigest(sealed)
	s.number++
	s.digests.add(digest)
	s.ranger.Add(digest)
	if err := s.unixfs.Add(digest, len(sealed)); err != nil {
		return fmt.Errorf("keep a block of the UnixFS file: %w", err)
	}
	if err := s.to.Piece(s.number, digest, sealed); err != nil {
		return fmt.Errorf("keep sealed piece %d: %w", s.number, err)
	}
	return nil
}

// sealedLayout says how many pieces hold the rest of the encrypted index, how
// many only fill up, and how many there are in all, for a TGZ of plain pieces.
func sealedLayout(plain uint32, boxed bool) (pages, fillers, all uint64) {
	if plain > headEntries {
		pages = (uint64(plain) - headEntries + pageEntries - 1) / pageEntries
	}
	used := uint64(plain) + pages + 1
	if boxed {
		used++
	}
	all = (used + SealedGroup - 1) / SealedGroup * SealedGroup
	return pages, all - used, all
}

// Finish writes the encrypted index and computes the roots. m describes the TGZ
// that was sealed; what comes back describes the ciphertext and says nothing of
// names, types and true size.
func (s *Sealer) Finish(m Manifest) (out Manifest, err error) {
	if m.Pieces != s.number || s.number == 0 {
		return out, fmt.Errorf("seal: %d pieces came, want %d", s.number, m.Pieces)
	}
	if err := s.tail(&m); err != nil {
		return out, err
	}
	out = m
	out.Name, out.MediaTypes, out.TOCOffset, out.TOCDigest = "", nil, 0, types.Hash{}
	out.Pieces, out.Size = s.number, uint64(s.number)*types.PieceSize
	if out.UnixFS, err = s.unixfs.Root(); err != nil {
		return out, fmt.Errorf("keep a block of the UnixFS file: %w", err)
	}
	out.Ranges = s.ranger.Finish()
	root, nodes := types.RangeBlocks(out.Ranges)
	for out.RangesRoot = root; len(nodes) > 0; nodes = nodes[1:] {
		if err := s.to.Node(nodes[0]); err != nil {
			return out, fmt.Errorf("keep a block of the range list: %w", err)
		}
	}
	if out.Index, err = BuildIndex(out.Pieces, s.digests.at, s.to.Node); err != nil {
		return out, fmt.Errorf("build the index: %w", err)
	}
	return out, nil
}

// tail writes the pieces after those of the TGZ: pages of the index, fillers, the
// boxes, the head.
func (s *Sealer) tail(m *Manifest) error {
	plain := s.number
	pages, fillers, all := sealedLayout(plain, s.opts.Boxes != nil)
	if all > 1<<32-1 {
		return fmt.Errorf("%d sealed pieces above limit %d", all, uint64(1<<32-1))
	}
	buf := make([]byte, ownSize)
	for page := range uint32(pages) {
		clear(buf)
		first := headEntries + page*pageEntries
		s.entries.copyTo(buf, first, min(plain-first, pageEntries))
		if err := s.keep(s.keys.sealOwn(labelPage, buf)); err != nil {
			return err
		}
	}
	for range fillers {
		clear(buf)
		binary.BigEndian.PutUint32(buf, s.number+1)
		if err := s.keep(s.keys.sealOwn(labelFiller, buf)); err != nil {
			return err
		}
	}
	if s.opts.Boxes != nil {
		boxes, err := s.opts.Boxes.piece()
		if err != nil {
			return err
		}
		if err := s.keep(boxes); err != nil {
			return err
		}
	}
	head := Head{
		Name: m.Name, MediaTypes: m.MediaTypes, Size: m.Size,
		TOCOffset: uint64(m.TOCOffset), TOCDigest: m.TOCDigest, Boxed: s.opts.Boxes != nil,
	}
	clear(buf)
	if err := head.write(buf); err != nil {
		return err
	}
	s.entries.copyTo(buf[headSpace:], 0, min(plain, headEntries))
	return s.keep(s.keys.sealOwn(labelHead, buf))
}

// entryList keeps nonces and tags in parts that are never copied again.
type entryList struct{ parts [][]byte }

const entryPart = 1 << 12

func (l *entryList) add(nonce, tag []byte) {
	last := len(l.parts) - 1
	if last < 0 || len(l.parts[last]) == entryPart*entrySize {
		l.parts = append(l.parts, make([]byte, 0, entryPart*entrySize))
		last++
	}
	l.parts[last] = append(append(l.parts[last], nonce...), tag...)
}

// copyTo copies count entries from the one with that place, from 0.
func (l *entryList) copyTo(dst []byte, first, count uint32) {
	for i := range count {
		at := first + i
		from := l.parts[at/entryPart][at%entryPart*entrySize:]
		copy(dst[i*entrySize:], from[:entrySize])
	}
}
