package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// Header names a log's canonical header, in hex, beside its lines.
const Header = "Staddle-Log-Header"

// giveLog streams one log, or the part of it that belongs to a shard: lines
// ascend by their key, so a part is one run of bytes.
func (g *Gateway) giveLog(w http.ResponseWriter, r *http.Request, t *target, e types.Epoch) error {
	f, h, err := g.cfg.Logs.Open(t.role, e)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set(Header, hex.EncodeToString(types.Marshal(&h)))
	w.Header().Set("Vary", "Accept-Encoding")
	w.Header().Set("ETag", fmt.Sprintf(`"%s/%s"`, h.Root, t.shard))
	if t.have != nil && *t.have == h.Root {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	part, err := shardOf(f, &h, t.shard)
	if err != nil {
		return err
	}
	if !wantsGzip(r) {
		http.ServeContent(w, r, "", time.Time{}, part)
		return nil
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%s/%s/gzip"`, h.Root, t.shard))
	w.Header().Set("Content-Encoding", "gzip")
	if r.Method == http.MethodHead {
		return nil
	}
	z := gzip.NewWriter(w)
	_, err = io.Copy(z, part)
	return gone(errors.Join(err, z.Close()))
}

// wantsGzip: only whole logs are compressed.
func wantsGzip(r *http.Request) bool {
	if r.Header.Get("Range") != "" {
		return false
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// shardOf cuts a log down to the lines of a shard.
func shardOf(f io.ReadSeeker, h *types.LogHeader, s types.Shard) (io.ReadSeeker, error) {
	size := int64(h.Bytes)
	if s.Bits == 0 {
		return &section{f: f, size: size}, nil
	}
	before := func(k uint32) bool { return k < s.Prefix }
	upTo := func(k uint32) bool { return k <= s.Prefix }
	start, err := boundary(f, h, s.Bits, before)
	if err != nil {
		return nil, err
	}
	end, err := boundary(f, h, s.Bits, upTo)
	if err != nil {
		return nil, err
	}
	return &section{f: f, base: start, size: end - start}, nil
}

// boundary is the offset of the first line whose key, cut to some bits, is not
// below: a binary search over offsets.
func boundary(f io.ReadSeeker, h *types.LogHeader, bits uint8, below func(uint32) bool) (int64, error) {
	low, high := int64(0), int64(h.Bytes) // all lines before low are below; the line at high is not
	for low < high {
		start, line, err := lineAt(f, low, (low+high)/2, high)
		if err != nil {
			return 0, err
		}
		k, err := key(h.Role, line)
		if err != nil {
			return 0, err
		}
		if below(k >> (16 - bits)) {
			low = start + int64(len(line)) + 1
		} else {
			high = start
		}
	}
	return low, nil
}

// lineAt is the line that holds the byte at offset at; low is the start of a
// line before it, and high the end of one behind.
func lineAt(f io.ReadSeeker, low, at, high int64) (start int64, line []byte, err error) {
	from := max(low, at-settle.MaxLine-1)
	buf := make([]byte, min(high, at+settle.MaxLine+1)-from)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(f, buf); err != nil {
		return 0, nil, fmt.Errorf("read log: %w", err)
	}
	begin := bytes.LastIndexByte(buf[:at-from], '\n') + 1 // 0 only when from is the start of a line
	length := bytes.IndexByte(buf[begin:], '\n')
	if length < 0 || begin == 0 && from != low {
		return 0, nil, errors.New("log has a line without end")
	}
	return from + int64(begin), buf[begin : begin+length], nil
}

// key is the first 16 bits of what decides a line's shard: the chunk, or the
// smaller address of a pair.
func key(role types.LogRole, line []byte) (uint32, error) {
	var a, b byte
	var err error
	switch role {
	case types.LogFarmer:
		var l settle.Farmer
		l, err = settle.ParseFarmer(line, settle.Grammar{})
		a, b = l.Chunk[0], l.Chunk[1]
	case types.LogBuyer:
		var l settle.Buyer
		l, err = settle.ParseBuyer(line, settle.Grammar{})
		a, b = l.Chunk[0], l.Chunk[1]
	default:
		var l settle.Bandwidth
		l, err = settle.ParseBandwidth(line, settle.Grammar{})
		if bytes.Compare(l.ID[:], l.Remote[:]) > 0 {
			l.ID = l.Remote
		}
		a, b = l.ID[0], l.ID[1]
	}
	if err != nil {
		return 0, fmt.Errorf("line of the %s log: %w", role, err)
	}
	return uint32(a)<<8 | uint32(b), nil
}

// section is a run of bytes of a file.
type section struct {
	f          io.ReadSeeker
	base, size int64
	at         int64
}

// Seek implements io.Seeker.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d before the start", offset)
	}
	s.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if _, err := s.f.Seek(s.base+s.at, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := s.f.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	return n, err
}

// smash answers a challenge with ASH over the plain piece.
func (g *Gateway) smash(w http.ResponseWriter, r *http.Request, t *target) error {
	piece, err := g.cfg.Pieces.Piece(r.Context(), t.chunk)
	if err != nil {
		return fmt.Errorf("piece %s: %w", t.chunk.Short(), err)
	}
	if types.Digest(types.RawCID(piece)) != t.chunk {
		return fmt.Errorf("piece %s came with other bytes", t.chunk.Short())
	}
	answer, err := replica.ASH(piece, replica.SmashSeed(t.challenge))
	if err != nil {
		return fmt.Errorf("answer for piece %s: %w", t.chunk.Short(), err)
	}
	return plain(w, "text/plain; charset=utf-8", []byte(answer.String()+"\n"))
}

// pacer gives a caller time for each part of an answer, so that a long log may
// take long and a caller that stops reading may not.
type pacer struct {
	http.ResponseWriter
	control *http.ResponseController
	slow    time.Duration
}

const paceBytes = 64 << 10

// Write implements io.Writer.
func (p *pacer) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), paceBytes)]
		if err = p.control.SetWriteDeadline(time.Now().Add(p.slow)); err != nil {
			return n, err
		}
		var k int
		k, err = p.ResponseWriter.Write(part)
		n, b = n+k, b[len(part):]
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (p *pacer) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// headReader reads a request's head and no more than its limit.
func headReader(r io.Reader) *bufio.Reader {
	return bufio.NewReaderSize(io.LimitReader(r, maxHead), 4096)
}
