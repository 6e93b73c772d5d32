package transport

import (
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// gate lets in only peers whose key can be a device: libp2p also knows RSA,
// secp256k1 and ECDSA, for which no certificate can exist.
type gate struct{}

var _ connmgr.ConnectionGater = (*gate)(nil)

// InterceptPeerDial is asked before dialling.
func (*gate) InterceptPeerDial(id peer.ID) bool { return isDevice(id) }

// InterceptAddrDial is asked for each address.
func (*gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return true }

// InterceptAccept is asked before the peer is known.
func (*gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured is asked when the peer has proved its key.
func (*gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return isDevice(id)
}

// InterceptUpgraded is asked last.
func (*gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

func isDevice(id peer.ID) bool {
	_, err := deviceOf(id)
	return err == nil
}
