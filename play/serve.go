package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

const (
	maxHead    = 8 << 10   // bytes of a request's line and header fields
	sendBuffer = 256 << 10 // bytes that the system keeps for a client that does not read
)

// Listen opens a loopback address; any other is refused.
func Listen(addr string) (net.Listener, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err == nil && !at.IP.IsLoopback() {
		err = errors.New("only a loopback address, such as 127.0.0.1:0, is for players of this machine")
	}
	if err != nil {
		return nil, fmt.Errorf("play at %q: %w", addr, err)
	}
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("play: %w", err)
	}
	return l, nil
}

// Serve answers on ln until ctx ends, closes ln and all connections, and returns
// when nothing runs any more.
func (p *Player) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: p.limits.Head, IdleTimeout: p.limits.Idle, MaxHeaderBytes: maxHead,
		ErrorLog:    log.New(io.Discard, "", 0), // what a player does wrong is no news
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	crowd := &crowd{Listener: ln, open: &p.open, room: make(chan struct{}, p.limits.Connections), shut: make(chan struct{})}
	go func() { ended <- server.Serve(crowd) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = server.Close()
		err = <-ended
	}
	for range cap(p.places) { // http.Server.Close does not wait for handlers
		p.places <- struct{}{}
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve players: %w", err)
}

// crowd accepts a connection when fewer than a number are open; the system lets
// others wait.
type crowd struct {
	net.Listener
	open *atomic.Int64 // of them
	room chan struct{} // one token a connection; full: nobody is accepted
	shut chan struct{} // closed with the listener
	once sync.Once
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.room <- struct{}{}:
	case <-c.shut:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.room
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // what lies there was fetched for nothing when a player seeks
	}
	c.open.Add(1)
	return &guest{Conn: conn, leave: sync.OnceFunc(func() {
		c.open.Add(-1)
		<-c.room
	})}, nil
}

// Close implements net.Listener.
func (c *crowd) Close() error {
	c.once.Do(func() { close(c.shut) })
	return c.Listener.Close()
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
