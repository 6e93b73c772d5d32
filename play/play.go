package play

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/archive"
)

// Item is what stands at a path.
type Item struct {
	Root  cid.Cid // of the dataset
	Entry archive.Entry
}

// Source reads datasets. root is the CID of one or the name of one that is held
// here, path is clean; "" is the top. Errors that wrap fs.ErrNotExist become 404,
// those of ctx end the request, others become 502.
type Source interface {
	// Stat describes a path; the top is a directory.
	Stat(ctx context.Context, root, path string) (Item, error)
	// List gives the entries directly in a directory.
	List(ctx context.Context, root, path string) ([]archive.Entry, error)
	// Read writes a part of a file to w, fetches what is missing, and ends with ctx.
	Read(ctx context.Context, root, path string, part Part, w io.Writer) error
}

// Part is bytes [From, To) of a file.
type Part struct{ From, To int64 }

// Limits bound what clients may cost. Zero values stand for the defaults.
type Limits struct {
	Connections int           // open at once; others wait to be accepted; 1024
	Requests    int           // at work at once; 64
	Wait        time.Duration // of a request for its turn, then it is 503; 5 s
	Stall       time.Duration // that a client may take nothing; 2 min
	Head        time.Duration // for the head of a request; 10 s
	Idle        time.Duration // between requests; 10 s
}

// Player answers HTTP. Many goroutines may use it at once.
type Player struct {
	source Source
	limits Limits
	places chan struct{} // one for each request at work; full: wait
	open   atomic.Int64  // connections
}

// New is a Player over a source. It starts nothing.
func New(source Source, l Limits) *Player {
	l.Connections = cmp.Or(l.Connections, 1024)
	l.Requests = cmp.Or(l.Requests, 64)
	l.Wait = cmp.Or(l.Wait, 5*time.Second)
	l.Stall = cmp.Or(l.Stall, 2*time.Minute)
	l.Head = cmp.Or(l.Head, 10*time.Second)
	l.Idle = cmp.Or(l.Idle, 10*time.Second)
	return &Player{source: source, limits: l, places: make(chan struct{}, l.Requests)}
}

// URL is where a player finds a path of a dataset.
func URL(addr, root, path string) string {
	return (&url.URL{Scheme: "http", Host: addr, Path: "/" + root + "/" + path}).String()
}

// ServeHTTP answers one request.
func (p *Player) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.open.Load() > int64(p.limits.Connections/2) { // others wait to be accepted
		w.Header().Set("Connection", "close")
	}
	if why, code := refusal(r); why != "" {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // a body is not waited for
		fail(w, code, why)
		return
	}
	if !p.enter(r.Context()) {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "too many requests at once")
		return
	}
	defer func() { <-p.places }()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Header().Set("Referrer-Policy", "no-referrer")
	root, path, err := split(r.URL)
	if err == nil {
		err = p.answer(&patient{ResponseWriter: w, control: http.NewResponseController(w), stall: p.limits.Stall}, r, root, path)
	}
	if err != nil && r.Context().Err() == nil {
		failed(w, err)
	}
}

// enter waits for a place.
func (p *Player) enter(ctx context.Context) bool {
	select {
	case p.places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(p.limits.Wait)
	defer timer.Stop()
	select {
	case p.places <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// refusal says what is wrong with a request before its path is looked at.
func refusal(r *http.Request) (string, int) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "only GET and HEAD", http.StatusMethodNotAllowed
	}
	if r.ContentLength != 0 {
		return "no body, please", http.StatusBadRequest
	}
	if !loopback(r.Host) {
		return "only for programs of this machine", http.StatusForbidden
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return "not for pages of other sites", http.StatusForbidden
	}
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
		return "not for pages of other sites", http.StatusForbidden
	}
	return "", 0
}

// loopback reports whether a Host header names this machine by address or as
// localhost. Any other name may be somebody's who makes it mean 127.0.0.1.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

var errPath = errors.New("not a path of a dataset")

// split takes a URL apart: /ROOT/path. A path that leads up, or is not clean
// UTF-8, is refused and not mended.
func split(u *url.URL) (root, path string, err error) {
	root, path, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	path = strings.TrimSuffix(path, "/")
	if root == "" || path != "" && !fs.ValidPath(path) || strings.ContainsRune(u.Path, 0) {
		return "", "", fmt.Errorf("%w: %.80q", errPath, u.Path)
	}
	return root, path, nil
}

// answer serves a file or lists a directory.
func (p *Player) answer(w *patient, r *http.Request, root, path string) error {
	item, err := p.source.Stat(r.Context(), root, path)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Etag", etag(item.Root, path))
	h.Set("Cache-Control", "no-cache") // a name may mean another dataset tomorrow
	if root == item.Root.String() {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	switch item.Entry.Type {
	case archive.Dir:
		return p.list(w, r, root, path)
	case archive.File:
		if !strings.HasSuffix(r.URL.Path, "/") {
			return p.file(w, r, root, &item)
		}
	}
	return fmt.Errorf("%q is no directory: %w", path, fs.ErrNotExist)
}

// etag is strong: it names the bytes.
func etag(root cid.Cid, path string) string {
	return `"` + root.String() + "/" + strings.ReplaceAll(url.PathEscape(path), "%2F", "/") + `"`
}

func failed(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errPath):
		fail(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		fail(w, http.StatusNotFound, err.Error())
	default:
		fail(w, http.StatusBadGateway, err.Error())
	}
}

// fail answers with a text, if nothing was answered yet.
func fail(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	for _, name := range []string{"Etag", "Content-Length", "Content-Range", "Accept-Ranges", "Content-Security-Policy"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}
