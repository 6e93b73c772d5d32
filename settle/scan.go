package settle

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/staddle/staddle/types"
)

// Grammar selects which forms of ids a reader accepts and a writer prints.
type Grammar struct {
	// LegacyIDs admits the short ids of document 003's examples: chunk ids of 40
	// hex digits, which mean the same followed by 24 zeros, and nodes named by
	// one capital letter, which mean the address whose last byte is the letter.
	// Such values are then also printed in the short form.
	LegacyIDs bool
}

// hexValue is 1 + the value of a lower-case hex digit, 0 for all other bytes.
var hexValue = [256]uint8{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10,
	'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

// unhex decodes lower-case hex of exactly twice the length of dst, eight digits
// at a time: this is most of the work of reading a log.
func unhex(dst, src []byte) bool {
	src = src[:2*len(dst)]
	var bad uint64
	for len(dst) >= 4 {
		word, wrong := unhexWord(binary.LittleEndian.Uint64(src))
		bad |= wrong
		binary.LittleEndian.PutUint32(dst, word)
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		hi, lo := hexValue[src[2*i]]-1, hexValue[src[2*i+1]]-1
		bad |= uint64(hi|lo) & 0xf0 // an unknown digit is 0xff
		dst[i] = hi<<4 | lo&15
	}
	return bad == 0
}

// unhexWord decodes eight digits, the first in the lowest byte. wrong is not zero
// when one of them is no digit: its value does not lead back to it.
func unhexWord(x uint64) (word uint32, wrong uint64) {
	const each = 0x0101010101010101 // times a byte: that byte in all eight places
	letters := x >> 6 & each        // 1 where the digit is a letter
	v := x&(15*each) + 9*letters
	above9 := (v + 6*each) >> 4 & each
	wrong = x ^ (v + '0'*each + ('a'-'9'-1)*above9) | v&(0xf0*each)
	v = (v<<4 | v>>8) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16), wrong
}

// scanner reads one canonical line from left to right. The first failure sticks:
// a reader of a whole line is straight code with one check at the end.
type scanner struct {
	line []byte
	at   int
	code Code
	Grammar
}

func (s *scanner) reset(line []byte) { s.line, s.at, s.code = line, 0, Accepted }

func (s *scanner) fail(c Code) {
	if s.code == Accepted {
		s.code = c
	}
	s.at = len(s.line) // later reads fail too and keep the first code
}

// end is the verdict on the line; bytes after the last field are refused.
func (s *scanner) end() Code {
	if s.code == Accepted && s.at != len(s.line) {
		s.code = ErrGrammar
	}
	return s.code
}

func (s *scanner) peek(text string) bool {
	return len(s.line)-s.at >= len(text) && string(s.line[s.at:s.at+len(text)]) == text
}

// skip reads text if it is next.
func (s *scanner) skip(text string) bool {
	if !s.peek(text) {
		return false
	}
	s.at += len(text)
	return true
}

func (s *scanner) lit(text string) {
	if !s.skip(text) {
		s.fail(ErrGrammar)
	}
}

// chunk reads a chunk id without its quotes.
func (s *scanner) chunk() (h types.Hash) {
	rest := s.line[s.at:]
	if len(rest) >= 64 && unhex(h[:], rest) {
		s.at += 64
		return h
	}
	h = types.Hash{}
	if s.LegacyIDs && len(rest) > 40 && rest[40] == '"' && unhex(h[:20], rest) {
		s.at += 40
		return h
	}
	s.fail(ErrGrammar)
	return types.Hash{}
}

// address reads an address without its quotes.
func (s *scanner) address() (a types.Address) {
	rest := s.line[s.at:]
	if len(rest) >= 42 && rest[0] == '0' && rest[1] == 'x' && unhex(a[:], rest[2:]) {
		s.at += 42
		return a
	}
	a = types.Address{}
	if s.LegacyIDs && len(rest) > 1 && rest[1] == '"' && 'A' <= rest[0] && rest[0] <= 'Z' {
		s.at++
		a[len(a)-1] = rest[0]
		return a
	}
	s.fail(ErrGrammar)
	return a
}

// integer reads 0 or -?[1-9][0-9]* between lo and hi.
func (s *scanner) integer(lo, hi int64) int64 {
	i := s.at
	negative := i < len(s.line) && s.line[i] == '-'
	if negative {
		i++
	}
	first := i
	var n uint64
	for ; i < len(s.line) && s.line[i]-'0' <= 9; i++ {
		if n > math.MaxInt64/10 {
			n = math.MaxUint64 / 16 // stays above every limit, never wraps
		}
		n = n*10 + uint64(s.line[i]-'0')
	}
	zero := i > first && s.line[first] == '0'
	if i == first || zero && (negative || i > first+1) {
		s.fail(ErrGrammar)
		return 0
	}
	s.at = i
	if n > math.MaxInt64 {
		s.fail(ErrRange)
		return 0
	}
	v := int64(n)
	if negative {
		v = -v
	}
	if v < lo || v > hi {
		s.fail(ErrRange)
		return 0
	}
	return v
}

// text reads bytes that allowed admits, up to a closing quote that it leaves.
func (s *scanner) text(limit int, allowed *[256]bool) string {
	i := s.at
	for i < len(s.line) && allowed[s.line[i]] {
		i++
	}
	if i == len(s.line) || s.line[i] != '"' {
		s.fail(ErrGrammar)
		return ""
	}
	if i-s.at > limit {
		s.fail(ErrRange)
		return ""
	}
	t := s.line[s.at:i]
	s.at = i
	return string(t)
}

var (
	hexText   = allow("0123456789abcdef")
	tokenText = allow("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")
)

func allow(chars string) *[256]bool {
	var t [256]bool
	for i := range len(chars) {
		t[chars[i]] = true
	}
	return &t
}

func (g Grammar) appendChunk(dst []byte, h types.Hash) []byte {
	if g.LegacyIDs && [12]byte(h[20:]) == [12]byte{} {
		return hex.AppendEncode(dst, h[:20])
	}
	return hex.AppendEncode(dst, h[:])
}

func (g Grammar) appendAddress(dst []byte, a types.Address) []byte {
	last := a[len(a)-1]
	if g.LegacyIDs && [19]byte(a[:19]) == [19]byte{} && 'A' <= last && last <= 'Z' {
		return append(dst, last)
	}
	return appendAddress(dst, a)
}

func appendAddress(dst []byte, a types.Address) []byte {
	return hex.AppendEncode(append(dst, "0x"...), a[:])
}
