package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/staddle/staddle/types"
)

const (
	maxHead   = 8 << 10 // bytes of a request's line and header fields
	closeTime = 2 * time.Second
)

// Serve answers HTTPS on ln until ctx ends, then gives running answers two
// seconds, closes ln and all connections, and returns when nothing runs any more.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	config, err := settings(g.cfg.Device, func(d types.Device) error {
		_, err := g.people.account(d)
		return err
	})
	if err != nil {
		return err
	}
	limits := g.cfg.Limits
	var work door // http.Server.Close does not wait for handlers
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if work.enter() {
				defer work.inside.Done()
				g.overTLS(w, r)
			}
		}),
		ReadHeaderTimeout: limits.Meet, ReadTimeout: limits.Meet, IdleTimeout: limits.Idle, MaxHeaderBytes: maxHead,
		ErrorLog:    log.New(io.Discard, "", 0), // handshakes of strangers are no news
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(tls.NewListener(newGate(ln, limits.Connections), config)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if server.Shutdown(short) != nil {
			_ = server.Close()
		}
		err = <-ended
	}
	work.shut()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve gateway: %w", err)
}

// door counts who is inside until nobody may come in any more.
type door struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.inside.Add(1)
	}
	return !d.closed
}

func (d *door) shut() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.inside.Wait()
}

// overTLS knows the caller by its key. The registry is read again: between the
// handshake and this request it may have changed.
func (g *Gateway) overTLS(w http.ResponseWriter, r *http.Request) {
	d, err := deviceOf(r.TLS)
	if err != nil {
		http.Error(w, "no certificate", http.StatusForbidden)
		return
	}
	a, err := g.people.account(d)
	if err != nil {
		http.Error(w, "not in the registry", http.StatusForbidden)
		return
	}
	g.answer(w, r, caller{a, d})
}

// gate closes connections above a number at once.
type gate struct {
	net.Listener
	room chan struct{} // one token a connection; full: refused
}

func newGate(ln net.Listener, n int) *gate { return &gate{ln, make(chan struct{}, n)} }

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case g.room <- struct{}{}:
			return &guest{Conn: c, leave: sync.OnceFunc(func() { <-g.room })}, nil
		default:
			_ = c.Close()
		}
	}
}

type guest struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
