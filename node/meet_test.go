package node

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/staddle/staddle/dht"
)

func TestEndpointAddrs(t *testing.T) {
	list := []string{
		"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWSomething",
		"/ip4/10.1.2.3/udp/4002/quic-v1",
		"/ip6/2001:db8::1/tcp/4003",
		"/ip4/1.2.3.4/tcp/0", "/dns/example/tcp/1", "/ip4/1.2.3.4/udp/5", "nonsense", "/ip4/1.2.3.4/tcp/99999",
	}
	want := []dht.Address{
		{Protocol: dht.ProtocolTCP, At: netip.MustParseAddrPort("127.0.0.1:4001")},
		{Protocol: dht.ProtocolQUIC, At: netip.MustParseAddrPort("10.1.2.3:4002")},
		{Protocol: dht.ProtocolTCP, At: netip.MustParseAddrPort("[2001:db8::1]:4003")},
	}
	got := endpointAddrs(list)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	back := []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/10.1.2.3/udp/4002/quic-v1", "/ip6/2001:db8::1/tcp/4003"}
	if diff := cmp.Diff(back, multiaddrs(got)); diff != "" {
		t.Error(diff)
	}
}
