package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/staddle/staddle/types"
)

// ErrKey marks what a key does not open: it is another dataset's, or the bytes
// were changed by someone who has no key.
var ErrKey = errors.New("the key does not open this")

const headVersion = 1

// Head is what the last piece of a private dataset says about it, besides the
// nonces and tags of the first pieces. The table of contents lies where that of
// every TGZ lies, in sealed pieces.
type Head struct {
	Name       string // hostile text, at most types.MaxName bytes
	MediaTypes []string
	Size       uint64     // bytes of the TGZ
	TOCOffset  uint64     // where its table of contents begins
	TOCDigest  types.Hash // SHA-256 of that
	Boxed      bool       // the piece before carries the key to members
}

// EncodeTo appends [1, name, [media type, ...], size, toc offset, toc digest,
// boxed].
func (h *Head) EncodeTo(e *types.Encoder) {
	e.Array(7)
	e.Uint(headVersion)
	e.Text(h.Name)
	e.Array(len(h.MediaTypes))
	for _, m := range h.MediaTypes {
		e.Text(m)
	}
	e.Uint(h.Size)
	e.Uint(h.TOCOffset)
	e.Bytes(h.TOCDigest[:])
	e.Bool(h.Boxed)
}

// DecodeFrom reads the tuple.
func (h *Head) DecodeFrom(d *types.Decoder) {
	d.Tuple(7)
	if v := d.Uint(); d.Err() == nil && v != headVersion {
		d.Fail("encrypted index of version %d, want %d", v, headVersion)
	}
	h.Name = d.Text(types.MaxName)
	h.MediaTypes = make([]string, d.Array(types.MaxMediaTypes))
	for i := range h.MediaTypes {
		h.MediaTypes[i] = d.Text(types.MaxMediaType)
	}
	h.Size = d.Limit(MaxFile)
	h.TOCOffset = d.Limit(MaxFile)
	h.TOCDigest = d.Hash()
	h.Boxed = d.Bool()
	if d.Err() == nil && (h.Size < FooterSize || h.TOCOffset > h.Size-FooterSize) {
		d.Fail("table of contents at offset %d of %d bytes", h.TOCOffset, h.Size)
	}
}

// write puts be32 length and the record at the start of dst.
func (h *Head) write(dst []byte) error {
	b := types.Marshal(h)
	if len(b) > headSpace-4 {
		return fmt.Errorf("head of %d bytes above limit %d", len(b), headSpace-4)
	}
	binary.BigEndian.PutUint32(dst, uint32(len(b)))
	copy(dst[4:], b)
	return nil
}

// parseHead reads the plain bytes of a head; what is not used must be zero.
func parseHead(plain []byte) (*Head, error) {
	n := binary.BigEndian.Uint32(plain)
	if n > headSpace-4 {
		return nil, fmt.Errorf("head of %d bytes above limit %d", n, headSpace-4)
	}
	h := new(Head)
	if err := types.Unmarshal(plain[4:4+n], h); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	used := min(uint64(PieceCount(int64(h.Size))), headEntries)
	if !zero(plain[4+n:headSpace]) || !zero(plain[headSpace+used*entrySize:]) {
		return nil, fmt.Errorf("head: %w", types.ErrTrailing)
	}
	return h, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Unsealer opens the pieces of a private dataset. It belongs to one goroutine.
type Unsealer struct {
	Head
	keys    *pieceKeys
	source  func(number uint32) ([]byte, error)
	entries []byte // of the head
	page    uint32 // in paged, from 1; 0: none
	paged   []byte
}

// Unseal opens the head of a private dataset of that many pieces. source gives
// sealed pieces, whose hashes it has checked. Errors wrap ErrKey when the key is
// not this dataset's, and those of source.
func Unseal(key [32]byte, pieces uint32, source func(number uint32) ([]byte, error)) (*Unsealer, error) {
	if pieces == 0 || pieces%SealedGroup != 0 {
		return nil, fmt.Errorf("%d sealed pieces, want a multiple of %d", pieces, SealedGroup)
	}
	sealed, err := source(pieces)
	if err != nil {
		return nil, err
	}
	u := &Unsealer{keys: newPieceKeys(key), source: source}
	plain, err := u.keys.openOwn(labelHead, sealed)
	if err != nil {
		return nil, err
	}
	h, err := parseHead(plain)
	if err != nil {
		return nil, err
	}
	u.Head, u.entries = *h, plain[headSpace:]
	if _, _, all := sealedLayout(u.Plain(), u.Boxed); all != uint64(pieces) {
		return nil, fmt.Errorf("%d bytes take %d sealed pieces, have %d", u.Size, all, pieces)
	}
	return u, nil
}

// Plain is the number of pieces of the TGZ; sealed piece n holds plain piece n.
func (u *Unsealer) Plain() uint32 { return uint32(PieceCount(int64(u.Size))) }

// Open gives the plain bytes of a sealed piece of the TGZ. The error wraps ErrKey
// when they were not sealed under this key, and those of the source.
func (u *Unsealer) Open(number uint32, sealed []byte) ([]byte, error) {
	if number == 0 || number > u.Plain() || len(sealed) != types.PieceSize {
		return nil, fmt.Errorf("sealed piece %d of %d with %d bytes", number, u.Plain(), len(sealed))
	}
	entry, err := u.entry(number)
	if err != nil {
		return nil, err
	}
	buf := append(append(make([]byte, 0, types.PieceSize+tagSize), sealed...), entry[nonceSize:]...)
	plain, err := u.keys.enc.Open(buf[:0], entry[:nonceSize], buf, nil)
	if err != nil {
		return nil, fmt.Errorf("sealed piece %d: %w", number, ErrKey)
	}
	n := PieceLength(number, int64(u.Size))
	if !zero(plain[n:]) {
		return nil, fmt.Errorf("sealed piece %d: %w", number, types.ErrTrailing)
	}
	return plain[:n], nil
}

// entry gives nonce and tag of a piece.
func (u *Unsealer) entry(number uint32) ([]byte, error) {
	at := number - 1
	if at < headEntries {
		return u.entries[at*entrySize:][:entrySize], nil
	}
	at -= headEntries
	if page := at/pageEntries + 1; page != u.page {
		sealed, err := u.source(u.Plain() + page)
		if err != nil {
			return nil, err
		}
		plain, err := u.keys.openOwn(labelPage, sealed)
		if err != nil {
			return nil, fmt.Errorf("page %d of the encrypted index: %w", page, err)
		}
		u.page, u.paged = page, plain
	}
	return u.paged[at%pageEntries*entrySize:][:entrySize], nil
}

// ReadAt reads bytes of the TGZ. It opens a piece for each call: a caller that
// reads little at a time keeps opened pieces itself.
func (u *Unsealer) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at byte %d", off)
	}
	for n < len(p) && off < int64(u.Size) {
		number := uint32(off/types.PieceSize) + 1
		sealed, err := u.source(number)
		if err != nil {
			return n, err
		}
		plain, err := u.Open(number, sealed)
		if err != nil {
			return n, err
		}
		got := copy(p[n:], plain[off%types.PieceSize:])
		n, off = n+got, off+int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
