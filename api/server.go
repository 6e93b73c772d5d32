package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxRequestBytes bounds what a call may send.
const maxRequestBytes = 4 << 20

// Out is where a running call reports.
type Out struct {
	mu  sync.Mutex // one line at a time
	w   http.ResponseWriter
	enc *json.Encoder
}

// line is one line of an answer.
type line struct {
	Type     string    `json:"type"`
	Progress *Progress `json:"progress,omitempty"`
	Note     string    `json:"note,omitempty"`
	Result   any       `json:"result,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

func (o *Out) send(l line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.enc.Encode(l) // a caller that is gone is noticed by its context
	if f, ok := o.w.(http.Flusher); ok {
		f.Flush()
	}
}

// Progress tells the caller how far the call is.
func (o *Out) Progress(p Progress) { o.send(line{Type: "progress", Progress: &p}) }

// Note tells the caller something a person should read.
func (o *Out) Note(text string) { o.send(line{Type: "note", Note: text}) }

// Server answers calls.
type Server struct {
	mux      *http.ServeMux
	classify func(error) *Error
}

// NewServer makes a server; classify turns errors into what callers see.
func NewServer(classify func(error) *Error) *Server {
	return &Server{mux: http.NewServeMux(), classify: classify}
}

// Handle adds a call with a JSON result.
func Handle[Req, Res any](s *Server, name string, call func(ctx context.Context, req Req, out *Out) (Res, error)) {
	s.mux.HandleFunc("POST /"+Version+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		out := &Out{w: w, enc: json.NewEncoder(w)}
		w.Header().Set("Content-Type", "application/x-ndjson")
		if err := decode(r, &req); err != nil {
			out.send(line{Type: "error", Error: s.classify(err)})
			return
		}
		res, err := call(r.Context(), req, out)
		if err != nil {
			out.send(line{Type: "error", Error: s.classify(err)})
			return
		}
		out.send(line{Type: "result", Result: res})
	})
}

// HandleBytes adds a call whose result is a stream of bytes.
func HandleBytes[Req any](s *Server, name string, call func(ctx context.Context, req Req, w io.Writer) error) {
	s.mux.HandleFunc("POST /"+Version+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		w.Header().Set("Trailer", errorTrailer)
		w.Header().Set("Content-Type", "application/octet-stream")
		err := decode(r, &req)
		if err == nil {
			err = call(r.Context(), req, w)
		}
		if err != nil {
			text, _ := json.Marshal(s.classify(err)) // a struct of strings always encodes
			w.Header().Set(errorTrailer, string(text))
		}
	})
}

const errorTrailer = "X-Staddle-Error"

func decode(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequestBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}

// Listen opens the socket for its owner only. A file that a dead daemon left is
// removed; a living one is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("another daemon answers at %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers on l until ctx ends; running calls get a moment to end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: s.mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close() // what did not end in time is cut
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
