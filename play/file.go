package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxRanges is how many ranges of one request are looked at; with more, all of
// the file is the answer, as RFC 9110 section 14.2 allows.
const maxRanges = 16

// contentTypes are those that players ask for by name; the system's table, which
// differs from machine to machine, is only asked for others.
var contentTypes = map[string]string{
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska", ".mov": "video/quicktime",
	".avi": "video/x-msvideo", ".ogv": "video/ogg", ".ts": "video/mp2t", ".mpg": "video/mpeg", ".mpeg": "video/mpeg",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".oga": "audio/ogg",
	".flac": "audio/flac", ".wav": "audio/wav", ".aac": "audio/aac", ".vtt": "text/vtt; charset=utf-8",
	".srt": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8",
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp",
	".pdf": "application/pdf", ".json": "application/json",
}

func contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := contentTypes[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// inert are types that hold no scripts.
func inert(t string) bool {
	for _, kind := range []string{"video/", "audio/", "image/"} {
		if strings.HasPrefix(t, kind) && !strings.Contains(t, "xml") {
			return true
		}
	}
	return false
}

// noScripts is the policy of everything else: what a dataset brings along must not
// act as a page of this address, from where it could read other datasets.
const noScripts = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

// file serves a file: net/http knows ranges and conditions, content brings what
// it asks for.
func (p *Player) file(w *patient, r *http.Request, root string, item *Item) error {
	kind := contentType(item.Entry.Name)
	w.Header().Set("Content-Type", kind)
	if !inert(kind) {
		w.Header().Set("Content-Security-Policy", noScripts)
	}
	ends, err := ranges(r.Header.Get("Range"), item.Entry.Size)
	if err != nil {
		r.Header.Del("Range")
	}
	c := &content{p: p, ctx: r.Context(), root: root, path: item.Entry.Name, size: item.Entry.Size, ends: ends}
	defer c.stop()
	http.ServeContent(w, r, "", time.Time{}, c)
	if c.fault != nil && w.code != 0 { // nothing was sent: there is time to say why
		w.code = 0
		return c.fault
	}
	w.head() // else a body that is too short ends the connection, which tells the client
	return nil
}

// ranges reads a Range header just far enough to know where reading ends: what
// lies behind must not be fetched. Whether the ranges are good is for net/http to
// say. The error says that there are too many.
func ranges(header string, size int64) (out []Part, err error) {
	list, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil, nil
	}
	if strings.Count(list, ",") >= maxRanges {
		return nil, fmt.Errorf("%d ranges, limit %d", strings.Count(list, ",")+1, maxRanges)
	}
	for one := range strings.SplitSeq(list, ",") {
		first, last, _ := strings.Cut(strings.TrimSpace(one), "-")
		from, errA := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
		to, errB := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
		switch {
		case errA == nil && errB == nil:
			out = append(out, Part{from, min(to, size-1) + 1})
		case errA == nil:
			out = append(out, Part{from, size})
		case errB == nil:
			out = append(out, Part{max(size-to, 0), size})
		}
	}
	return out, nil
}

// content is a file as net/http reads it: from a place, on and on. It reads from
// the source from there to the end of the range that the place lies in. It
// belongs to the goroutine of its request, or the one that net/http starts for
// several ranges.
type content struct {
	p          *Player
	ctx        context.Context
	root, path string
	size, at   int64
	ends       []Part

	began int64          // place at which reading began
	in    *io.PipeReader // of what is being read; nil: nothing
	done  chan struct{}  // closed when that has ended
	halt  context.CancelFunc
	fault error
}

var errNegative = errors.New("place before the beginning")

// Seek moves the place. Reading from the old one ends.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errNegative
	}
	if offset != c.at {
		c.stop()
		c.at = offset
	}
	return offset, nil
}

// Read reads on from the place.
func (c *content) Read(b []byte) (int, error) {
	if c.at >= c.size {
		return 0, io.EOF
	}
	if c.in == nil {
		c.start()
	}
	n, err := c.in.Read(b)
	c.at += int64(n)
	if err == nil {
		return n, nil
	}
	c.stop()
	switch {
	case !errors.Is(err, io.EOF):
		c.fault = err
		return n, err
	case c.at == c.began:
		c.fault = fmt.Errorf("%w at byte %d", io.ErrUnexpectedEOF, c.at)
		return n, c.fault
	}
	return n, nil // a range has ended; who reads on begins anew
}

// start begins to read from the place.
func (c *content) start() {
	end := c.size
	for _, r := range c.ends {
		if c.at >= r.From && c.at < r.To {
			end = r.To
			break
		}
	}
	ctx, halt := context.WithCancel(c.ctx)
	in, out := io.Pipe()
	from, done := c.at, make(chan struct{})
	c.began = from
	c.in, c.done, c.halt = in, done, halt
	go func() {
		defer close(done)
		err := c.p.source.Read(ctx, c.root, c.path, Part{from, end}, out)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		_ = out.CloseWithError(err) // never fails
	}()
}

// stop ends reading and waits for it.
func (c *content) stop() {
	if c.in == nil {
		return
	}
	c.halt()
	_ = c.in.Close()
	<-c.done
	c.in = nil
}

// patient gives a client time for each write: the deadline moves with what it
// takes. The head leaves with the first byte, so that what fails before can still
// be told.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	code    int // of a head that waits; 0: none
}

// WriteHeader keeps the head back.
func (w *patient) WriteHeader(code int) { w.code = code }

// head sends the head that waits.
func (w *patient) head() {
	if w.code != 0 {
		w.ResponseWriter.WriteHeader(w.code)
		w.code = 0
	}
}

// Write writes in small steps, so that a slow client shows that it is alive.
func (w *patient) Write(b []byte) (sum int, err error) {
	for len(b) > 0 {
		n := min(len(b), 32<<10)
		if err := w.control.SetWriteDeadline(time.Now().Add(w.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return sum, err
		}
		w.head()
		n, err := w.ResponseWriter.Write(b[:n])
		sum += n
		if err != nil {
			return sum, err
		}
		b = b[n:]
	}
	return sum, nil
}
