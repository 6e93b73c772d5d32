package types

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// LogVersion is the version of the log format that this code writes and reads.
const LogVersion = 1

// LogRole says what the lines of a log are about.
type LogRole uint8

// Logs of an epoch (document 003, and the verdicts of ST3).
const (
	LogFarmer LogRole = 1 + iota
	LogBuyer
	LogBandwidth
	LogVerdict
	logRoleEnd
)

// String is the word in the log's file name and URL.
func (r LogRole) String() string {
	return [...]string{"none", "farmer", "buyer", "bandwidth", "verdict", "unknown"}[min(r, logRoleEnd)]
}

// MaxShardBits is the deepest level of shards.
const MaxShardBits = 16

// Shard is the part of the keys whose first Bits bits are Prefix. The zero value
// is everything.
type Shard struct {
	Bits   uint8  // level, 0 to 16
	Prefix uint32 // below 2^Bits
}

// Holds reports whether the key that begins with these two bytes is in the shard.
func (s Shard) Holds(first, second byte) bool {
	return (uint32(first)<<8|uint32(second))>>(16-s.Bits) == s.Prefix
}

// String gives the prefix in hex and the level: "0x3/4".
func (s Shard) String() string { return fmt.Sprintf("%#x/%d", s.Prefix, s.Bits) }

// ParseShard reads what String writes.
func ParseShard(text string) (Shard, error) {
	prefix, bits, ok := strings.Cut(text, "/")
	p, errP := strconv.ParseUint(strings.TrimPrefix(prefix, "0x"), 16, 32)
	b, errB := strconv.ParseUint(bits, 10, 8)
	s := Shard{Bits: uint8(b), Prefix: uint32(p)}
	if !ok || errP != nil || errB != nil || s.check() != nil || s.String() != text {
		return Shard{}, fmt.Errorf("shard %q: want prefix and level such as 0x3/4, at most %d bits", clip(text, 40), MaxShardBits)
	}
	return s, nil
}

func (s Shard) check() error {
	if s.Bits > MaxShardBits || uint64(s.Prefix) >= 1<<s.Bits {
		return fmt.Errorf("shard %#x does not fit %d of at most %d bits", s.Prefix, s.Bits, MaxShardBits)
	}
	return nil
}

// LogHeader describes one log: the lines that one device answers for in one
// role, epoch and shard. A kind 11 commits the root over all of a node's headers.
type LogHeader struct {
	Version  uint8
	Device   Device
	Role     LogRole
	Epoch    Epoch
	Shard    Shard
	Lines    uint64
	Bytes    uint64 // with one LF a line
	Leaves   uint64 // audit leaves behind a farmer's lines (H6.1); 0 for other roles
	Root     Hash   // LineTree over the lines in order
	Previous Hash   // ID of the header of the same device, role and shard before; zero: none
}

// EncodeTo appends the tuple of ten fields; the shard is [bits, prefix].
func (h *LogHeader) EncodeTo(e *Encoder) {
	e.Array(10)
	e.Uint(uint64(h.Version))
	e.Bytes(h.Device[:])
	e.Uint(uint64(h.Role))
	e.Uint(uint64(h.Epoch))
	e.Array(2)
	e.Uint(uint64(h.Shard.Bits))
	e.Uint(uint64(h.Shard.Prefix))
	e.Uint(h.Lines)
	e.Uint(h.Bytes)
	e.Uint(h.Leaves)
	e.Bytes(h.Root[:])
	e.Bytes(h.Previous[:])
}

// DecodeFrom reads the tuple.
func (h *LogHeader) DecodeFrom(d *Decoder) {
	d.Tuple(10)
	h.Version = d.Uint8()
	d.Fixed(h.Device[:])
	h.Role = LogRole(d.Limit(uint64(logRoleEnd - 1)))
	h.Epoch = Epoch(d.Uint())
	d.Tuple(2)
	h.Shard.Bits = uint8(d.Limit(MaxShardBits))
	h.Shard.Prefix = d.Uint32()
	h.Lines, h.Bytes, h.Leaves = d.Uint(), d.Uint(), d.Uint()
	h.Root, h.Previous = d.Hash(), d.Hash()
	if d.Err() == nil {
		if err := h.check(); err != nil {
			d.Fail("%w", err)
		}
	}
}

func (h *LogHeader) check() error {
	switch {
	case h.Version != LogVersion:
		return fmt.Errorf("log version %d, this program reads %d", h.Version, LogVersion)
	case h.Role == 0:
		return fmt.Errorf("log header without a role")
	case h.Leaves > 0 && h.Role != LogFarmer:
		return fmt.Errorf("%s log claims %d leaves", h.Role, h.Leaves)
	case h.Bytes/2 < h.Lines:
		return fmt.Errorf("log of %d lines in %d bytes", h.Lines, h.Bytes)
	}
	return h.Shard.check()
}

// ID names the header, for Previous.
func (h *LogHeader) ID() Hash { return H("staddle/log/1", Marshal(h)) }

// HeadersRoot is what a kind 11 commits: the LineTree over the canonical bytes
// of a node's headers, ascending by role, shard level, shard prefix. All must be
// of one device and epoch, and no log may appear twice.
func HeadersRoot(headers []LogHeader) (Hash, error) {
	sorted := slices.Clone(headers)
	slices.SortFunc(sorted, compareLogs)
	var t LineTree
	for i := range sorted {
		h := &sorted[i]
		if err := h.check(); err != nil {
			return Hash{}, err
		}
		if h.Device != sorted[0].Device || h.Epoch != sorted[0].Epoch {
			return Hash{}, fmt.Errorf("%s log of device %s and epoch %d among those of %s and %d",
				h.Role, h.Device, h.Epoch, sorted[0].Device, sorted[0].Epoch)
		}
		if i > 0 && compareLogs(sorted[i-1], *h) == 0 {
			return Hash{}, fmt.Errorf("two %s logs of shard %s", h.Role, h.Shard)
		}
		t.Add(Marshal(h))
	}
	return t.Root(), nil
}

func compareLogs(a, b LogHeader) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Shard.Bits, b.Shard.Bits), cmp.Compare(a.Shard.Prefix, b.Shard.Prefix))
}

// LineTree computes a Merkle root over lines one after another (RFC 9162
// section 2.1: leaf SHA-256(0x00 line), node SHA-256(0x01 left right)). It keeps
// one hash a level. The zero value is an empty tree.
type LineTree struct {
	count uint64
	peaks []Hash // roots of full subtrees, largest first: one for each bit of count
}

// Add appends one line, without its LF.
func (t *LineTree) Add(line []byte) {
	d := sha256.New()
	d.Write([]byte{0})
	d.Write(line)
	var h Hash
	d.Sum(h[:0])
	for n := t.count; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		h = treeNode(t.peaks[last], h)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, h)
	t.count++
}

// Count is the number of lines so far.
func (t *LineTree) Count() uint64 { return t.count }

// Root is the root over the lines so far; of none, the SHA-256 of nothing.
func (t *LineTree) Root() Hash {
	if len(t.peaks) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		root = treeNode(t.peaks[i], root)
	}
	return root
}

func treeNode(left, right Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+HashSize:], right[:])
	return sha256.Sum256(b[:])
}
