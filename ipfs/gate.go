package ipfs

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// Limits of a path.
const (
	maxPath     = 4096 // bytes, escapes undone
	maxSegments = 256
)

// retryAfter is how many seconds a client that found no place should wait.
const retryAfter = "2"

// flushAbove is the size of an answer in bytes whose end may have to wait for
// the client; net/http holds smaller ones back to count them.
const flushAbove = 2048

// errStalled ends a request whose client takes nothing, or whose blocks do not
// come.
var errStalled = errors.New("no byte could be sent for too long")

// gate lets so many requests in and watches over their time.
type gate struct {
	places chan struct{}
	o      GatewayOptions
	next   http.Handler
}

func newGate(o GatewayOptions, next http.Handler) *gate {
	return &gate{places: make(chan struct{}, o.Requests), o: o, next: next}
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code, why := refuse(r.URL.Path); code != 0 {
		http.Error(w, why, code)
		return
	}
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.o.Stall)) // so long may the rest take
		w.Header().Set("Connection", "close")
		http.Error(w, "requests here have no body", http.StatusRequestEntityTooLarge)
		return
	}
	select {
	case g.places <- struct{}{}:
		defer func() { <-g.places }()
	default:
		w.Header().Set("Retry-After", retryAfter)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "all places of this gateway are taken, try again soon", http.StatusTooManyRequests)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	left := new(atomic.Int64)
	left.Store(g.o.Blocks)
	ctx = context.WithValue(ctx, budgetKey{}, left)
	paced := newPaced(w, g.o.Stall, func() { cancel(errStalled) })
	defer paced.end()
	g.next.ServeHTTP(paced, r.WithContext(ctx))
}

// refuse says with which status a path is refused; 0: it is not. Names with a
// slash, "." and ".." cannot be told from paths, so they are never looked up.
func refuse(path string) (code int, why string) {
	if strings.HasPrefix(path, "/ipns/") {
		return http.StatusNotImplemented, "names are not resolved here"
	}
	if !strings.HasPrefix(path, "/ipfs/") {
		return http.StatusNotFound, "want a path below /ipfs/"
	}
	if len(path) > maxPath {
		return http.StatusRequestURITooLong, "path is too long"
	}
	segments := strings.Split(path, "/")
	if len(segments) > maxSegments {
		return http.StatusRequestURITooLong, "path has too many parts"
	}
	if slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return http.StatusBadRequest, `path has a part "." or ".."`
	}
	if strings.ContainsRune(path, 0) {
		return http.StatusBadRequest, "path has a zero byte"
	}
	if c, err := cid.Decode(segments[2]); err == nil {
		if err := Accept(c); err != nil {
			return http.StatusBadRequest, err.Error()
		}
	}
	return 0, ""
}

// paced is a response whose client must keep taking bytes: every write has until
// stall, and between two writes no more time may pass either.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	timer   *time.Timer
	written int64
}

func newPaced(w http.ResponseWriter, stall time.Duration, stalled func()) *paced {
	p := &paced{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
	p.timer = time.AfterFunc(stall, stalled)
	p.extend()
	return p
}

// extend gives the next write its time. A writer without deadlines, as in tests,
// has none to extend.
func (p *paced) extend() {
	p.timer.Reset(p.stall)
	_ = p.control.SetWriteDeadline(time.Now().Add(p.stall))
}

// WriteHeader implements http.ResponseWriter.
func (p *paced) WriteHeader(code int) {
	p.escape()
	p.ResponseWriter.WriteHeader(code)
}

// escape makes a header out of the path of a request, which may hold bytes that
// no header may.
func (p *paced) escape() {
	const name = "X-Ipfs-Path"
	if path := p.Header().Get(name); strings.ContainsFunc(path, unicode.IsControl) || !utf8.ValidString(path) {
		p.Header().Set(name, (&url.URL{Path: path}).EscapedPath())
	}
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (int, error) {
	if p.written == 0 {
		p.escape()
	}
	p.extend()
	n, err := p.ResponseWriter.Write(b)
	p.written += int64(n)
	return n, err
}

// Flush implements http.Flusher.
func (p *paced) Flush() {
	p.extend()
	_ = p.control.Flush()
}

// end sends what is buffered while the deadline still holds, and lifts it for
// whoever serves the connection next.
func (p *paced) end() {
	if p.written > flushAbove {
		p.Flush()
	}
	p.timer.Stop()
	_ = p.control.SetWriteDeadline(time.Time{})
}
