package dht

import (
	"container/list"
	"net/netip"
	"slices"
	"time"
)

const (
	peerLife      = 30 * time.Minute
	peersPerSwarm = 64
	peersInAnswer = 32
)

type peer struct {
	addr netip.AddrPort
	at   time.Time
}

type swarm struct {
	hash  ID
	peers []peer // oldest first
	place *list.Element
}

// peerStore remembers who announced an info hash (BEP 5), in memory and within
// bounds; the swarm that was announced to longest ago makes room.
type peerStore struct {
	max    int
	swarms map[ID]*swarm
	order  list.List // of *swarm, longest quiet first
}

func newPeerStore(l Limits) *peerStore {
	return &peerStore{max: l.Swarms, swarms: make(map[ID]*swarm)}
}

// announce notes a peer. One IP has one place in a swarm.
func (p *peerStore) announce(now time.Time, hash ID, addr netip.AddrPort) {
	s := p.swarms[hash]
	if s == nil {
		if len(p.swarms) >= p.max {
			p.remove(p.order.Front().Value.(*swarm))
		}
		s = &swarm{hash: hash}
		s.place = p.order.PushBack(s)
		p.swarms[hash] = s
	}
	s.peers = slices.DeleteFunc(s.peers, func(o peer) bool { return sameHost(o.addr, addr) })
	if len(s.peers) == peersPerSwarm {
		s.peers = slices.Delete(s.peers, 0, 1)
	}
	s.peers = append(s.peers, peer{addr, now})
	p.order.MoveToBack(s.place)
}

func sameHost(a, b netip.AddrPort) bool { return hostOf(a) == hostOf(b) }

func (p *peerStore) remove(s *swarm) {
	p.order.Remove(s.place)
	delete(p.swarms, s.hash)
}

// get gives the newest peers of a swarm, at most 32.
func (p *peerStore) get(now time.Time, hash ID) []netip.AddrPort {
	s := p.swarms[hash]
	if s == nil {
		return nil
	}
	var out []netip.AddrPort
	for i := len(s.peers) - 1; i >= 0 && len(out) < peersInAnswer; i-- {
		if now.Sub(s.peers[i].at) < peerLife {
			out = append(out, s.peers[i].addr)
		}
	}
	return out
}

// expire drops swarms to which nobody announced for half an hour.
func (p *peerStore) expire(now time.Time) {
	for front := p.order.Front(); front != nil; front = p.order.Front() {
		s := front.Value.(*swarm)
		if now.Sub(s.peers[len(s.peers)-1].at) < peerLife {
			return
		}
		p.remove(s)
	}
}
