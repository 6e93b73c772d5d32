package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/staddle/staddle/types"
)

// Protocol carries one HTTP/1.1 request and its answer a stream.
const Protocol = "/staddle/gateway/1"

// Stream is a two-way flow of bytes to a proven device.
type Stream interface {
	io.Reader
	io.Writer
	// Deadline is the moment at which reads and writes give up.
	Deadline(t time.Time) error
	// CloseWrite tells the peer that no more bytes come.
	CloseWrite() error
	Close() error
}

// ServeStream answers the one request of a stream whose other end is proven to be
// that device of that account, and closes it.
func (g *Gateway) ServeStream(s Stream, remote types.Account, device types.Device) {
	defer s.Close()
	if s.Deadline(time.Now().Add(g.cfg.Limits.Meet)) != nil {
		return
	}
	r, err := http.ReadRequest(headReader(s))
	if err != nil {
		return
	}
	w := &reply{s: s, head: http.Header{}, bare: r.Method == http.MethodHead}
	if a, err := g.people.account(device); err != nil || a != remote {
		http.Error(w, "not in the registry", http.StatusForbidden)
	} else {
		g.answer(w, r, caller{remote, device})
	}
	if w.finish() == nil {
		_ = s.CloseWrite()
	}
}

// reply writes an HTTP/1.1 answer that ends with its stream.
type reply struct {
	s      Stream
	head   http.Header
	bare   bool // the answer to HEAD
	out    *bufio.Writer
	chunks io.WriteCloser // when the length is not known before
	err    error
}

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header { return w.head }

// SetWriteDeadline is for http.ResponseController.
func (w *reply) SetWriteDeadline(t time.Time) error { return w.s.Deadline(t) }

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(code int) {
	if w.out != nil {
		return
	}
	w.out = bufio.NewWriterSize(w.s, paceBytes)
	w.head.Set("Connection", "close")
	none := code == http.StatusNoContent || code == http.StatusNotModified
	if none {
		w.bare = true
	} else if w.head.Get("Content-Length") == "" && !w.bare {
		w.head.Set("Transfer-Encoding", "chunked")
		w.chunks = httputil.NewChunkedWriter(w.out)
	}
	_, w.err = fmt.Fprintf(w.out, "HTTP/1.1 %03d %s\r\n", code, http.StatusText(code))
	if w.err == nil {
		w.err = w.head.Write(w.out)
	}
	if w.err == nil {
		_, w.err = w.out.WriteString("\r\n")
	}
}

// Write implements io.Writer.
func (w *reply) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.err != nil {
		return 0, w.err
	}
	if w.bare || len(b) == 0 {
		return len(b), nil
	}
	var out io.Writer = w.out
	if w.chunks != nil {
		out = w.chunks
	}
	n, err := out.Write(b)
	w.err = err
	return n, err
}

func (w *reply) finish() error {
	w.WriteHeader(http.StatusOK)
	if w.chunks != nil && w.err == nil {
		if w.err = w.chunks.Close(); w.err == nil {
			_, w.err = w.out.WriteString("\r\n")
		}
	}
	if w.err != nil {
		return w.err
	}
	return w.out.Flush()
}
