package dht

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// ErrFormat marks the content of an item of ours that breaks its format.
var ErrFormat = errors.New("malformed item")

// reader takes fixed binary apart. The first error sticks; nothing it returns
// shares memory with the input.
type reader struct {
	buf []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
}

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.buf) < n {
		r.fail("%d bytes left, want %d", len(r.buf), n)
	}
	if r.err != nil {
		return make([]byte, n) // n is a constant or checked by its caller
	}
	out := append([]byte(nil), r.buf[:n]...)
	r.buf = r.buf[n:]
	return out
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// count reads a byte from least to most.
func (r *reader) count(what string, least, most int) int {
	n := int(r.u8())
	if r.err == nil && (n < least || n > most) {
		r.fail("%d %s, want %d to %d", n, what, least, most)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) end() error {
	if r.err == nil && len(r.buf) > 0 {
		r.fail("%d bytes after the end", len(r.buf))
	}
	return r.err
}

func (r *reader) version(want uint8) {
	if v := r.u8(); r.err == nil && v != want {
		r.fail("version %d, want %d", v, want)
	}
}

func (r *reader) addr4() netip.AddrPort { return addrOf(r.take(compactAddrSize)) }

func (r *reader) addr6() netip.AddrPort {
	b := r.take(18)
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])), binary.BigEndian.Uint16(b[16:]))
}
