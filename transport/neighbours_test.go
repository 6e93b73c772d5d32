package transport

import (
	"os"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

func (h *Host) announcement() peer.AddrInfo {
	return peer.AddrInfo{ID: h.p2p.ID(), Addrs: h.p2p.Addrs()}
}

// TestNeighbours hands over what multicast DNS hears.
func TestNeighbours(t *testing.T) {
	a, b, c := open(t, 1, networks["tcp"]), open(t, 2, networks["tcp"]), open(t, 3, networks["tcp"])
	n := &neighbours{host: a, places: make(chan struct{}, 1)}
	n.HandlePeerFound(b.announcement())
	if peers := a.Peers(); len(peers) != 1 || peers[0].Account != b.Account() {
		t.Fatalf("peers %+v, want b", peers)
	}
	if places := a.book.find(b.Account()); len(places) != 1 || places[0].device != b.Device() {
		t.Errorf("book %v, want b", places)
	}
	n.HandlePeerFound(b.announcement()) // again, as they do
	if opened := a.Stats().Opened; opened != 1 {
		t.Errorf("%d streams to a neighbour already met, want 1", opened)
	}
	n.places <- struct{}{} // all places are taken
	n.HandlePeerFound(c.announcement())
	if len(a.Peers()) != 1 {
		t.Error("dialled more neighbours at once than allowed")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	<-n.places
	n.HandlePeerFound(c.announcement())
}

// TestMulticast needs a real local network.
func TestMulticast(t *testing.T) {
	if os.Getenv("STADDLE_TEST_MDNS") == "" {
		t.Skip("multicast DNS leaves loopback; set STADDLE_TEST_MDNS=1 on a network of your own")
	}
	on := func(c *Config) { c.MDNS = true }
	const everyAddress = "/ip4/0.0.0.0/tcp/0"
	a, b := open(t, 1, everyAddress, on), open(t, 2, everyAddress, on)
	met := make(chan Peer, 4)
	a.OnPeer(func(p Peer) { met <- p })
	if p := next(t, met); p.Account != b.Account() {
		t.Fatalf("met %s, want %s", p.Account, b.Account())
	}
}
