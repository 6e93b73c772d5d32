package transport

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

const (
	mdnsService = "_staddle._udp"
	maxMeetings = 8 // neighbours that are dialled at once; further ones announce themselves again
)

// neighbours finds hosts on the local network by multicast DNS (RFC 6762).
type neighbours struct {
	host    *Host
	service mdns.Service
	places  chan struct{}
}

func (h *Host) findNeighbours() (*neighbours, error) {
	n := &neighbours{host: h, places: make(chan struct{}, maxMeetings)}
	n.service = mdns.NewMdnsService(h.p2p, mdnsService, n)
	return n, n.service.Start()
}

func (n *neighbours) close() error { return n.service.Close() }

// HandlePeerFound is called by libp2p, on a goroutine of its own, for each
// announcement that it hears.
func (n *neighbours) HandlePeerFound(info peer.AddrInfo) {
	if !n.host.begin() {
		return
	}
	defer n.host.work.Done()
	select {
	case n.places <- struct{}{}:
		defer func() { <-n.places }()
	default:
		return
	}
	device, err := deviceOf(info.ID)
	if err != nil || n.host.connections(info.ID) > 0 {
		return
	}
	at := info.Addrs[:min(len(info.Addrs), maxPlaces)]
	ctx, cancel := context.WithTimeout(n.host.ctx, n.host.config.Limits.Meet)
	defer cancel()
	if p, err := n.host.reach(ctx, device, at); err == nil {
		n.host.book.add(p.Account, device, at)
	}
}
