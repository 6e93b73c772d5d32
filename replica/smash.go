package replica

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/staddle/staddle/types"
)

// MaxSmashDepth bounds the masks of one SMASH list to 2^16.
const MaxSmashDepth = 16

// ErrSmash marks an answer or a mask that is false.
var ErrSmash = errors.New("smash does not match")

// SmashSeed is secret i of a buyer for a piece or range: the number in the clear,
// then 28 secret bytes. It asks for one leaf of the plain bytes.
type SmashSeed [32]byte

// NewSmashSeed derives secret i from the buyer's master seed. root is the root of
// the piece for ASH, the range id for CRASH.
func NewSmashSeed(master []byte, root types.Hash, i uint32) (s SmashSeed) {
	m := hmac.New(sha256.New, master)
	m.Write([]byte("staddle/smash"))
	m.Write(root[:])
	m.Write(types.Be32(i))
	copy(s[4:], m.Sum(nil)[4:])
	binary.BigEndian.PutUint32(s[:4], i)
	return s
}

// Index is the number of the secret.
func (s SmashSeed) Index() uint32 { return binary.BigEndian.Uint32(s[:4]) }

// leaf is the leaf that the secret asks for: its value modulo the 256 leaves.
func (s SmashSeed) leaf() int { return int(s[31]) }

// chunkLeaves hashes a piece padded with zeros to 256 leaves.
func chunkLeaves(piece []byte) ([]types.Hash, error) {
	if len(piece) > types.PieceSize {
		return nil, checkPiece(len(piece))
	}
	padded := make([]byte, types.PieceSize)
	copy(padded, piece)
	return leafHashes(padded), nil
}

// segment is leaf j of the padded piece.
func segment(piece []byte, j int) []byte {
	out := make([]byte, LeafSize)
	if at := j * LeafSize; at < len(piece) {
		copy(out, piece[at:])
	}
	return out
}

// salted is the leaf hash that ASH puts in the place of the leaf.
func (s SmashSeed) salted(segment []byte) types.Hash {
	h := sha256.Sum256(append(append(make([]byte, 0, LeafSize+32), segment...), s[:]...))
	return LeafHash(h[:])
}

// ChunkRoot is the root of a piece padded to 256 leaves, over which ASH works.
// Error: ErrInput for more than 262,144 bytes.
func ChunkRoot(piece []byte) (types.Hash, error) {
	leaves, err := chunkLeaves(piece)
	if err != nil {
		return types.Hash{}, err
	}
	return Root(leaves), nil
}

// ASH is a host's answer: the piece's root with the asked leaf salted by the
// secret, which nobody can give without that leaf. Error: ErrInput.
func ASH(piece []byte, s SmashSeed) (types.Hash, error) {
	leaves, err := chunkLeaves(piece)
	if err != nil {
		return types.Hash{}, err
	}
	j := s.leaf()
	leaves[j] = s.salted(segment(piece, j))
	return Root(leaves), nil
}

// Mask is what a buyer publishes of an answer before.
func Mask(answer types.Hash) types.Hash { return types.H("staddle/smash/mask", answer[:]) }

// Crash chains ASH over the pieces of a range: each secret depends on the answer
// before, so one answer tests a leaf of every piece. The zero value with Seed set
// is ready.
type Crash struct {
	Seed SmashSeed
	last types.Hash
	any  bool
	tail []byte
}

// Add takes the next piece in order. Error: ErrInput.
func (c *Crash) Add(piece []byte) error {
	s := c.Seed
	if c.any {
		s = sha256.Sum256(append(c.last[:], c.Seed[:]...))
	}
	h, err := ASH(piece, s)
	if err != nil {
		return err
	}
	c.last, c.any, c.tail = h, true, append(c.tail, h[31])
	return nil
}

// Answer is the answer over the pieces so far; zero before the first.
func (c *Crash) Answer() types.Hash { return c.last }

// Trail is the last byte of each answer on the way: who computed the mask keeps
// it to find the first wrong piece.
func (c *Crash) Trail() []byte { return append([]byte(nil), c.tail...) }

// FirstDifference is the first piece where two trails part, or -1.
func FirstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// SmashList is the masks of a buyer for one piece or range, 2^r of them; the
// root is signed by the buyer at the start of the contract.
type SmashList struct{ leaves, masks []types.Hash }

// NewSmashList takes the masks in order of the secrets. Error: ErrInput unless
// their number is a power of two up to 2^16.
func NewSmashList(masks []types.Hash) (*SmashList, error) {
	n := len(masks)
	if n < 1 || n&(n-1) != 0 || n > 1<<MaxSmashDepth {
		return nil, fmt.Errorf("%w: %d masks, want a power of two up to %d", ErrInput, n, 1<<MaxSmashDepth)
	}
	l := &SmashList{masks: append([]types.Hash(nil), masks...)}
	for _, m := range masks {
		l.leaves = append(l.leaves, LeafHash(m[:]))
	}
	return l, nil
}

// Root is the root over the masks.
func (l *SmashList) Root() types.Hash { return Root(l.leaves) }

// Smash opens the mask of a secret, for the buyer's line. Error: ErrPath.
func (l *SmashList) Smash(s SmashSeed) (Smash, error) {
	i := s.Index()
	if uint64(i) >= uint64(len(l.masks)) {
		return Smash{}, fmt.Errorf("%w: secret %d of %d", ErrPath, i, len(l.masks))
	}
	path, err := Path(l.leaves, int(i))
	return Smash{Seed: s, Mask: l.masks[i], Path: path}, err
}

// Smash is field `smash` of a buyer's line: a secret, the mask of its answer and
// the path of the mask.
type Smash struct {
	Seed SmashSeed
	Mask types.Hash
	Path []types.Hash // of the mask to the root of the list, at most 16
}

// EncodeTo appends [seed, mask, [hash, ...]].
func (s *Smash) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Bytes(s.Seed[:])
	e.Bytes(s.Mask[:])
	encodeHashes(e, s.Path)
}

// DecodeFrom reads the record.
func (s *Smash) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	d.Fixed(s.Seed[:])
	s.Mask = d.Hash()
	s.Path = decodeHashes(d, MaxSmashDepth)
	if d.Err() == nil && uint64(s.Seed.Index()) >= 1<<len(s.Path) {
		d.Fail("secret %d in a list of %d", s.Seed.Index(), 1<<len(s.Path))
	}
}

// CheckMask reports whether the mask stands in the list that the buyer signed.
// Error: ErrSmash.
func (s *Smash) CheckMask(listRoot types.Hash) error {
	root, err := Fold(LeafHash(s.Mask[:]), uint64(s.Seed.Index()), 1<<len(s.Path), s.Path)
	if err != nil || root != listRoot {
		return fmt.Errorf("%w: mask %d is not in the list %s", ErrSmash, s.Seed.Index(), listRoot.Short())
	}
	return nil
}

// CheckAnswer reports whether a host's answer is the masked one. Error: ErrSmash.
func (s *Smash) CheckAnswer(answer types.Hash) error {
	if Mask(answer) != s.Mask {
		return fmt.Errorf("%w: answer %s to secret %d", ErrSmash, answer.Short(), s.Seed.Index())
	}
	return nil
}

// CounterProof is what a host shows against a false mask: the leaf that was
// asked for, and its path in the piece.
type CounterProof struct {
	Segment []byte // 1,024 bytes
	Path    []types.Hash
}

// NewCounterProof makes it from the piece. Error: ErrInput.
func NewCounterProof(piece []byte, s SmashSeed) (CounterProof, error) {
	leaves, err := chunkLeaves(piece)
	if err != nil {
		return CounterProof{}, err
	}
	path, err := Path(leaves, s.leaf())
	return CounterProof{segment(piece, s.leaf()), path}, err
}

// Answer is the true answer to the secret, which the proof shows to anybody who
// knows the root of the piece. The buyer lied when its mask is not this one's.
// Error: ErrSmash when the proof does not belong to the piece.
func (c *CounterProof) Answer(chunkRoot types.Hash, s SmashSeed) (types.Hash, error) {
	if len(c.Segment) != LeafSize {
		return types.Hash{}, fmt.Errorf("%w: segment of %d bytes, want %d", ErrSmash, len(c.Segment), LeafSize)
	}
	root, err := Fold(LeafHash(c.Segment), uint64(s.leaf()), PieceLeaves, c.Path)
	if err != nil || root != chunkRoot {
		return types.Hash{}, fmt.Errorf("%w: leaf %d is not in piece %s", ErrSmash, s.leaf(), chunkRoot.Short())
	}
	return Fold(s.salted(c.Segment), uint64(s.leaf()), PieceLeaves, c.Path)
}

// EncodeTo appends [segment, [hash, ...]].
func (c *CounterProof) EncodeTo(e *types.Encoder) {
	e.Array(2)
	e.Bytes(c.Segment)
	encodeHashes(e, c.Path)
}

// DecodeFrom reads the proof.
func (c *CounterProof) DecodeFrom(d *types.Decoder) {
	d.Tuple(2)
	c.Segment = d.Bytes(LeafSize)
	c.Path = decodeHashes(d, maxPath)
}

func encodeHashes(e *types.Encoder, list []types.Hash) {
	e.Array(len(list))
	for i := range list {
		e.Bytes(list[i][:])
	}
}

func decodeHashes(d *types.Decoder, limit int) []types.Hash {
	var list []types.Hash
	for range d.Array(limit) {
		list = append(list, d.Hash())
	}
	return list
}
