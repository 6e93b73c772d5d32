package transport

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/staddle/staddle/types"
)

// maxAddress bounds the text of a multiaddr, in bytes.
const maxAddress = 512

// peerOf is the libp2p name of a device. A device key that is no valid key
// still has a name; nobody can prove it.
func peerOf(device types.Device) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(device[:])
	if err != nil {
		return "", fmt.Errorf("device %s: %w", device, err)
	}
	return peer.IDFromPublicKey(public)
}

// deviceOf is the device behind a libp2p name; only ed25519 keys are devices.
func deviceOf(id peer.ID) (types.Device, error) {
	public, err := id.ExtractPublicKey()
	if err != nil {
		return types.Device{}, fmt.Errorf("%w: peer %s: %w", ErrAddress, id, err)
	}
	raw, err := public.Raw()
	if err != nil || public.Type() != crypto.Ed25519 || len(raw) != len(types.Device{}) {
		return types.Device{}, fmt.Errorf("%w: peer %s has no ed25519 key", ErrAddress, id)
	}
	return types.Device(raw), nil
}

// Address is a multiaddr that names its device: /ip4/../tcp/../p2p/<device>.
func Address(addr string, device types.Device) (string, error) {
	at, err := parseAddress(addr, device)
	if err != nil {
		return "", err
	}
	id, err := peerOf(device)
	if err != nil {
		return "", err
	}
	return at.String() + "/p2p/" + id.String(), nil
}

// SplitAddress takes the device off a multiaddr that ends in /p2p/<device>.
func SplitAddress(addr string) (at string, device types.Device, err error) {
	info, device, err := splitAddress(addr)
	if err != nil {
		return "", types.Device{}, err
	}
	if len(info.Addrs) != 1 {
		return "", types.Device{}, fmt.Errorf("%w: %q has no place before its device", ErrAddress, addr)
	}
	return info.Addrs[0].String(), device, nil
}

func splitAddress(addr string) (*peer.AddrInfo, types.Device, error) {
	if len(addr) > maxAddress {
		return nil, types.Device{}, fmt.Errorf("%w: %d characters above limit %d", ErrAddress, len(addr), maxAddress)
	}
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, types.Device{}, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	device, err := deviceOf(info.ID)
	return info, device, err
}

// parseAddress reads a multiaddr without device, or with exactly this one.
func parseAddress(addr string, device types.Device) (multiaddr.Multiaddr, error) {
	if len(addr) > maxAddress {
		return nil, fmt.Errorf("%w: %d characters above limit %d", ErrAddress, len(addr), maxAddress)
	}
	m, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	at, id := peer.SplitAddr(m)
	if len(at) == 0 {
		return nil, fmt.Errorf("%w: %q names no place", ErrAddress, addr)
	}
	if id == "" {
		return at, nil
	}
	named, err := deviceOf(id)
	if err != nil {
		return nil, err
	}
	if named != device {
		return nil, fmt.Errorf("%w: %q is of device %s, want %s", ErrAddress, addr, named, device)
	}
	return at, nil
}
