package transport

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Config says what a Host is and how far it trusts the world.
type Config struct {
	Device      keys.Device      // identity of this machine
	Certificate keys.Certificate // the account's word for Device
	Listen      []string         // multiaddrs such as /ip4/0.0.0.0/tcp/0; empty: only dials
	MDNS        bool             // find and be found on the local network
	PortMap     bool             // ask the router for a port (PCP, NAT-PMP, UPnP)
	Limits      Limits
	Now         func() types.Millis // clock for certificates and bans; nil: the system's
}

// Limits bound what peers may cost. Zero values stand for the defaults.
type Limits struct {
	Peers              int           // connected peers above which idle ones are let go; 256
	StreamsPerPeer     int           // streams of one peer that are served at once; 64
	StreamsPerProtocol int           // streams of one protocol that are served at once; 512
	Meet               time.Duration // for a peer to show its certificate; 10 s
	Idle               time.Duration // for one Read, Write, Send or Receive without a Deadline; 60 s
	MemoryBytes        int64         // libp2p's buffers; an eighth of the machine's memory
	Files              int           // sockets; half of the process's limit
}

func (l Limits) filled() Limits {
	l.Peers = or(l.Peers, 256)
	l.StreamsPerPeer = or(l.StreamsPerPeer, 64)
	l.StreamsPerProtocol = or(l.StreamsPerProtocol, 512)
	l.Meet = or(l.Meet, 10*time.Second)
	l.Idle = or(l.Idle, time.Minute)
	return l
}

func or[T int | time.Duration](have, otherwise T) T {
	if have == 0 {
		return otherwise
	}
	return have
}

// check refuses a configuration that no peer would accept.
func (c Config) check(now types.Millis) error {
	if c.Certificate.Device != c.Device.ID() {
		return fmt.Errorf("%w: certificate is for %s, the key is %s", ErrWrongDevice, c.Certificate.Device, c.Device.ID())
	}
	return c.Certificate.Verify(now)
}

func systemNow() types.Millis { return types.Millis(time.Now().UnixMilli()) }

// options turns the configuration into libp2p's. Relays come with a later
// version; ping, metrics and the other transports are not needed.
func (c Config) options(gate *gate) ([]libp2p.Option, error) {
	seed, id := c.Device.Seed(), c.Device.ID()
	identity, err := crypto.UnmarshalEd25519PrivateKey(append(seed[:], id[:]...))
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	resources, err := c.Limits.resources()
	if err != nil {
		return nil, err
	}
	connections, err := connmgr.NewConnManager(max(c.Limits.Peers*3/4, 1), c.Limits.Peers)
	if err != nil {
		return nil, fmt.Errorf("connection limits: %w", err)
	}
	options := []libp2p.Option{
		libp2p.Identity(identity),
		libp2p.UserAgent("staddle"),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.ConnectionGater(gate),
		libp2p.ConnectionManager(connections),
		resources,
		libp2p.DisableMetrics(),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
	}
	if c.PortMap {
		options = append(options, libp2p.NATPortMap())
	}
	if len(c.Listen) == 0 {
		return append(options, libp2p.NoListenAddrs), nil
	}
	return append(options, libp2p.ListenAddrStrings(c.Listen...)), nil
}

func (l Limits) resources() (libp2p.Option, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	limits := scaling.AutoScale()
	if l.MemoryBytes > 0 && l.Files > 0 {
		limits = scaling.Scale(l.MemoryBytes, l.Files)
	}
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	return libp2p.ResourceManager(manager), nil
}
