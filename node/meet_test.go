package node

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/staddle/staddle/dht"
)

// TestEndpointAddrs: what a host says of itself goes into an endpoint item and
// comes back as it was, without the device.
func TestEndpointAddrs(t *testing.T) {
	const device = "/p2p/12D3KooWKSmBu7SPYaK5fDx9utzjHHowsSgJaAPqufHs5k921V8S"
	at := func(s string, p dht.Protocol) dht.Address { return dht.Address{At: netip.MustParseAddrPort(s), Protocol: p} }
	for _, tt := range []struct {
		name string
		in   []string
		want []dht.Address
		back []string
	}{
		{"tcp", []string{"/ip4/127.0.0.1/tcp/4001" + device}, []dht.Address{at("127.0.0.1:4001", dht.ProtocolTCP)}, []string{"/ip4/127.0.0.1/tcp/4001"}},
		{"without a device", []string{"/ip4/10.0.0.1/tcp/1"}, []dht.Address{at("10.0.0.1:1", dht.ProtocolTCP)}, []string{"/ip4/10.0.0.1/tcp/1"}},
		{"quic over 6", []string{"/ip6/2001:db8::1/udp/4001/quic-v1" + device}, []dht.Address{at("[2001:db8::1]:4001", dht.ProtocolQUIC)}, []string{"/ip6/2001:db8::1/udp/4001/quic-v1"}},
		{"others are left out", []string{"/ip4/1.2.3.4/tcp/80/ws" + device, "/dns4/example.org/tcp/80", "/ip4/1.2.3.4", "", "/ip4/1.2.3.4/tcp/0"}, nil, nil},
		{"four at most", slices.Repeat([]string{"/ip4/10.0.0.1/tcp/1"}, 5), slices.Repeat([]dht.Address{at("10.0.0.1:1", dht.ProtocolTCP)}, 4), slices.Repeat([]string{"/ip4/10.0.0.1/tcp/1"}, 4)},
	} {
		got := endpointAddrs(tt.in)
		if !slices.Equal(got, tt.want) || !slices.Equal(multiaddrs(got), tt.back) {
			t.Errorf("%s: %v, back %v", tt.name, got, multiaddrs(got))
		}
	}
}
