package archive

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Limits of the fields of a ustar header (POSIX 1003.1-1988).
const (
	ustarName   = 100
	ustarPrefix = 155
	ustarNumber = 0o77777777777 // 11 octal digits: 8 GiB - 1
)

// ustar is one 512-byte header before it is written.
type ustar struct {
	name, prefix, link, uname string
	mode                      fs.FileMode
	size, modTime             int64
	typeflag                  byte
}

// appendTarHeader appends the tar header of e, with a PAX header before it when
// a field does not fit. Nothing in it comes from the machine.
func appendTarHeader(dst []byte, e *Entry) []byte {
	h := ustar{mode: e.Mode, size: e.Size, modTime: e.ModTime, typeflag: typeflag(e.Type)}
	var pax []byte
	if h.link = e.Link; !fitsASCII(e.Link, ustarName) {
		pax, h.link = appendRecord(pax, "linkpath", e.Link), plain(e.Link)
	}
	if e.ModTime < 0 || e.ModTime > ustarNumber {
		pax, h.modTime = appendRecord(pax, "mtime", strconv.FormatInt(e.ModTime, 10)), 0
	}
	var fits bool
	if h.prefix, h.name, fits = splitName(e.key()); !fits {
		pax, h.name = appendRecord(pax, "path", e.key()), plain(e.key())
	}
	if e.Size > ustarNumber {
		pax, h.size = appendRecord(pax, "size", strconv.FormatInt(e.Size, 10)), 0
	}
	if pax != nil {
		dst = ustar{name: "././@PaxHeader", mode: 0o644, size: int64(len(pax)), typeflag: 'x'}.append(dst)
		dst = append(dst, pax...)
		dst = append(dst, make([]byte, tarPadding(int64(len(pax))))...)
	}
	return h.append(dst)
}

func typeflag(t Type) byte {
	switch t {
	case Dir:
		return '5'
	case Symlink:
		return '2'
	}
	return '0'
}

// tarPadding is the number of zero bytes that follow size bytes in tar.
func tarPadding(size int64) int64 { return (tarBlock - size%tarBlock) % tarBlock }

func (h ustar) append(dst []byte) []byte {
	start := len(dst)
	text := func(s string, width int) {
		dst = append(dst, s...)
		dst = append(dst, make([]byte, width-len(s))...)
	}
	octal := func(n int64, width int) { dst = fmt.Appendf(dst, "%0*o\x00", width-1, n) }
	text(h.name, ustarName)
	octal(int64(h.mode), 8)
	octal(0, 8) // owner
	octal(0, 8) // group
	octal(h.size, 12)
	octal(h.modTime, 12)
	text("        ", 8) // the checksum counts as spaces
	dst = append(dst, h.typeflag)
	text(h.link, ustarName)
	text("ustar\x0000", 8)
	text(h.uname, 32)
	text("", 32)
	octal(0, 8) // device numbers
	octal(0, 8)
	text(h.prefix, ustarPrefix)
	text("", 12)
	sum := 0
	for _, b := range dst[start:] {
		sum += int(b)
	}
	copy(dst[start+148:], fmt.Sprintf("%06o\x00 ", sum))
	return dst
}

// appendRecord appends one PAX record; its length counts its own digits.
func appendRecord(dst []byte, key, value string) []byte {
	rest := len(key) + len(value) + len(" =\n")
	size := rest + len(strconv.Itoa(rest))
	if n := rest + len(strconv.Itoa(size)); n != size {
		size = n
	}
	return fmt.Appendf(dst, "%d %s=%s\n", size, key, value)
}

// splitName puts a name into the two ustar fields, cut at its last possible
// slash, or reports that it does not fit.
func splitName(name string) (prefix, rest string, fits bool) {
	if fitsASCII(name, ustarName) {
		return "", name, true
	}
	if !fitsASCII(name, ustarPrefix+1+ustarName) {
		return "", "", false
	}
	end := min(len(name)-1, ustarPrefix+1)
	i := strings.LastIndexByte(name[:end], '/')
	if i <= 0 || len(name)-i-1 > ustarName {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

func fitsASCII(s string, limit int) bool {
	if len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// plain is what a tar without PAX sees in place of a name.
func plain(s string) string {
	b := []byte(s[:min(len(s), ustarName)])
	for i := range b {
		if b[i] >= 0x80 {
			b[i] = '_'
		}
	}
	return string(b)
}
