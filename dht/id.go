package dht

import (
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
)

// IDSize is the length of a node id and of a target in bytes (BEP 5).
const IDSize = 20

// ID is a place in the space of the DHT: a node's own, or an item's target.
type ID [IDSize]byte

// String gives 40 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is "none".
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads 40 hex digits.
func ParseID(s string) (id ID, err error) {
	if len(s) != 2*IDSize {
		return ID{}, fmt.Errorf("dht id has %d characters, want %d hex digits", len(s), 2*IDSize)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("dht id: %w", err)
	}
	return id, nil
}

// sharedBits counts the leading bits that a and b have in common, 0 to 160.
func sharedBits(a, b ID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 8 * IDSize
}

// compareDistance orders a and b by XOR distance to target.
func compareDistance(target, a, b ID) int {
	for i := range target {
		if x, y := a[i]^target[i], b[i]^target[i]; x != y {
			return int(x) - int(y)
		}
	}
	return 0
}

// randomID reads an id from rand.
func randomID(rand io.Reader) (id ID, err error) {
	_, err = io.ReadFull(rand, id[:])
	return id, err
}

// randomNear is a random id that shares exactly n leading bits with self; n is
// at most 159.
func randomNear(rand io.Reader, self ID, n int) (ID, error) {
	id, err := randomID(rand)
	if err != nil {
		return ID{}, err
	}
	whole, mask := n/8, byte(0xff)>>(n%8) // mask: the free bits of the byte where they part
	copy(id[:whole], self[:whole])
	differs := self[whole] ^ byte(0x80)>>(n%8)
	free := mask >> 1
	id[whole] = differs&^free | id[whole]&free
	return id, nil
}

// Contact is another node: its place and where it answers.
type Contact struct {
	ID   ID
	Addr netip.AddrPort
}

const (
	compactAddrSize = 6                        // IPv4 and port (BEP 5)
	compactNodeSize = IDSize + compactAddrSize // id, IPv4 and port
	maxNodesInReply = 16                       // we send 8; others may be generous
)

// appendAddr appends an IPv4 address and its port, big-endian.
func appendAddr(dst []byte, a netip.AddrPort) []byte {
	ip := a.Addr().As4()
	dst = append(dst, ip[:]...)
	return append(dst, byte(a.Port()>>8), byte(a.Port()))
}

// addrOf reads what appendAddr wrote; b has 6 bytes.
func addrOf(b []byte) netip.AddrPort {
	ip := netip.AddrFrom4([4]byte(b[:4]))
	return netip.AddrPortFrom(ip, uint16(b[4])<<8|uint16(b[5]))
}

func compactNodes(nodes []Contact) []byte {
	out := make([]byte, 0, len(nodes)*compactNodeSize)
	for _, n := range nodes {
		out = append(out, n.ID[:]...)
		out = appendAddr(out, n.Addr)
	}
	return out
}

// nodesOf reads compact nodes told by the node at from. It keeps the first 16
// and drops addresses that nobody should be sent to. Nil if the length is wrong.
func nodesOf(b []byte, from netip.AddrPort) []Contact {
	if len(b)%compactNodeSize != 0 {
		return nil
	}
	var out []Contact
	for len(b) > 0 && len(out) < maxNodesInReply {
		n := Contact{ID: ID(b[:IDSize]), Addr: addrOf(b[IDSize:compactNodeSize])}
		b = b[compactNodeSize:]
		if reachable(n.Addr) && tellable(from.Addr(), n.Addr.Addr()) {
			out = append(out, n)
		}
	}
	return out
}

// reachable reports whether a can be one node: an IPv4 host and a port.
func reachable(a netip.AddrPort) bool {
	ip := a.Addr()
	return ip.Is4() && a.Port() != 0 && !ip.IsMulticast() && ip.As4()[0] != 0 && ip.As4()[0] < 240
}

// local reports whether ip belongs to one machine or one site. The limits on
// nodes per subnet do not hold there.
func local(ip netip.Addr) bool { return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() }

// tellable reports whether a node at from may know of ip: strangers on the
// internet must not point us at our own machine or site.
func tellable(from, ip netip.Addr) bool {
	return !local(ip) || ip.IsLoopback() && from.IsLoopback() || !ip.IsLoopback() && local(from)
}

// subnet is the source that quotas count: the /24 around ip.
func subnet(ip netip.Addr) netip.Prefix {
	p, err := ip.Prefix(24)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func fixed[T ~[IDSize]byte | ~[32]byte | ~[64]byte](b []byte, ok bool) (out T, fine bool) {
	if !ok || len(b) != len(out) {
		return out, false
	}
	return T(b), true
}
