package transport

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// maxBans bounds the list of banned accounts; the ban that ends first gives way.
const maxBans = 4096

// Stats count bytes and streams. Bytes are those of streams, certificates and
// frame lengths included, without what libp2p adds.
type Stats struct {
	Sent, Received uint64 // bytes
	Opened         uint64 // streams by this host
	Accepted       uint64 // streams by peers
	Refused        uint64 // streams by peers above a limit
}

// Peer is a connected device whose certificate holds.
type Peer struct {
	Account types.Account
	Device  types.Device
	Roles   keys.Roles
	Since   types.Millis // when its certificate was first seen on this connection
	Addrs   []string     // multiaddrs of its connections, without device
	Stats   Stats
}

type tally struct{ sent, received, opened, accepted, refused atomic.Uint64 }

func (t *tally) stats() Stats {
	return Stats{
		Sent: t.sent.Load(), Received: t.received.Load(),
		Opened: t.opened.Load(), Accepted: t.accepted.Load(), Refused: t.refused.Load(),
	}
}

// link is what is known of a connected device. Its fields but tally belong to
// the lock of peers.
type link struct {
	device      types.Device
	certificate keys.Certificate // zero until the device has shown one
	since       types.Millis
	serving     int         // streams that the device opened and we serve
	alarm       *time.Timer // ends the connection of a device that shows none
	tally
}

func (l *link) count(total *tally, add func(*tally)) {
	add(&l.tally)
	add(total)
}

// peers is the table of connected devices and banned accounts.
type peers struct {
	mu      sync.Mutex
	links   map[types.Device]*link
	serving map[string]int // by protocol
	bans    map[types.Account]types.Millis
	watch   []func(Peer)
}

func newPeers() *peers {
	return &peers{
		links:   map[types.Device]*link{},
		serving: map[string]int{},
		bans:    map[types.Account]types.Millis{},
	}
}

// link finds the entry of a device or makes it; connected says whether the
// device still is, so that no entry outlives its connection.
func (p *peers) link(device types.Device, connected func() bool) (l *link, made bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.links[device]; ok {
		return l, false
	}
	l = &link{device: device}
	if connected() {
		p.links[device] = l
		return l, true
	}
	return l, false
}

func (p *peers) unlink(device types.Device, connected func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.links[device]
	if !ok || connected() {
		return
	}
	if l.alarm != nil {
		l.alarm.Stop()
	}
	delete(p.links, device)
}

// arm ends, after d, the connection of a device that has not shown a
// certificate by then.
func (p *peers) arm(l *link, d time.Duration, end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.alarm = time.AfterFunc(d, func() {
		if p.sinceOf(l) == 0 {
			end()
		}
	})
}

func (p *peers) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if l.alarm != nil {
			l.alarm.Stop()
		}
	}
}

// enter takes one of the device's places for a stream, or says no.
func (p *peers) enter(l *link, limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.serving >= limit {
		return false
	}
	l.serving++
	return true
}

func (p *peers) leave(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.serving--
}

// enterProtocol takes one of the protocol's places, or says no. Only streams
// of proven accounts get that far, so that strangers cannot fill them.
func (p *peers) enterProtocol(name string, limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serving[name] >= limit {
		return false
	}
	p.serving[name]++
	return true
}

func (p *peers) leaveProtocol(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving[name]--
}

// met enters a certificate that holds. For the device's first one it gives the
// functions that want to know. A device has one account as long as it is
// connected, and a certificate with a lower serial does not take back a higher
// one's roles.
func (p *peers) met(l *link, c keys.Certificate, now types.Millis) ([]func(Peer), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.since == 0 {
		l.since, l.certificate = max(now, 1), c
		return slices.Clone(p.watch), nil
	}
	if l.certificate.Account != c.Account {
		return nil, fmt.Errorf("%w: device %s came as %s and now as %s",
			ErrWrongAccount, l.device, l.certificate.Account, c.Account)
	}
	if c.Serial >= l.certificate.Serial {
		l.certificate = c
	}
	return nil, nil
}

// observe adds f to those that want to know and gives the links that f has
// missed; none is in both.
func (p *peers) observe(f func(Peer)) (missed []*link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = append(p.watch, f)
	for _, l := range p.links {
		if l.since != 0 {
			missed = append(missed, l)
		}
	}
	return missed
}

// proven gives the certificate of a connected device while it is valid.
func (p *peers) proven(l *link, now types.Millis) (keys.Certificate, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.certificate, l.since != 0 && now < l.certificate.Expiry
}

// sinceOf is when the device showed its first certificate, 0 for not yet.
func (p *peers) sinceOf(l *link) types.Millis {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.since
}

// list gives the links whose certificate is valid and fits, the longest
// connected first.
func (p *peers) list(now types.Millis, fits func(keys.Certificate) bool) []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*link
	for _, l := range p.links {
		if l.since != 0 && now < l.certificate.Expiry && fits(l.certificate) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *link) int {
		if a.since != b.since {
			return int(min(max(a.since-b.since, -1), 1))
		}
		return bytes.Compare(a.device[:], b.device[:])
	})
	return all
}

func (p *peers) banned(account types.Account, now types.Millis) (until types.Millis, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, yes = p.bans[account]
	if yes && until <= now {
		delete(p.bans, account)
		return 0, false
	}
	return until, yes
}

func (p *peers) ban(account types.Account, until, now types.Millis) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until <= now {
		delete(p.bans, account)
		return
	}
	p.bans[account] = until
	if len(p.bans) <= maxBans {
		return
	}
	soonest := account
	for a, end := range p.bans {
		if end < p.bans[soonest] || end == p.bans[soonest] && bytes.Compare(a[:], soonest[:]) < 0 {
			soonest = a
		}
	}
	delete(p.bans, soonest)
}
