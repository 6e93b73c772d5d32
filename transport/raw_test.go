package transport

import (
	"io"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// rawPeer speaks libp2p without the manners of this package.
type rawPeer struct {
	t *testing.T
	h *Host
}

// connect connects and gives a channel that hears when a connection ends.
func (r rawPeer) connect(to *Host) <-chan struct{} {
	r.t.Helper()
	gone := make(chan struct{}, 16)
	r.h.p2p.Network().Notify(&network.NotifyBundle{
		DisconnectedF: func(network.Network, network.Conn) { gone <- struct{}{} },
	})
	if err := r.h.p2p.Connect(soon(r.t), peer.AddrInfo{ID: to.p2p.ID(), Addrs: to.p2p.Addrs()}); err != nil {
		r.t.Fatal(err)
	}
	return gone
}

// openAndWait opens a stream, says nothing and gives the error that ends it.
func (r rawPeer) openAndWait(to *Host) error {
	r.t.Helper()
	s, err := r.h.p2p.NewStream(soon(r.t), to.p2p.ID(), helloProtocol)
	if err == nil {
		_, err = s.Write(nil)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, s)
	}
	return fault(err)
}

// listen takes hello streams and leaves them unanswered.
func (r rawPeer) listen() {
	r.h.p2p.SetStreamHandler(helloProtocol, func(network.Stream) {})
}
