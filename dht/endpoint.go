package dht

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// EndpointSalt is the salt of an account's endpoint item (rule M3: slot 0, which
// adds nothing to the salt).
func EndpointSalt() []byte { return []byte("ep") }

// Limits of an endpoint item.
const (
	MaxDevices         = 4
	MaxAddresses       = 16  // of a device
	MaxWatchers        = 8   // of a device
	MaxCertificateSize = 200 // bytes
)

// Protocol says what answers at an address.
type Protocol uint8

// The protocols of an endpoint address. Others are refused until a new version.
const (
	ProtocolDHT  Protocol = 1 // KRPC over UDP
	ProtocolQUIC Protocol = 2 // QUIC v1 over UDP
	ProtocolTCP  Protocol = 3 // Noise over TCP

	lastProtocol = ProtocolTCP
	familyIPv6   = 0x80 // bit beside the protocol
)

// Flags of a device; other bits are refused.
const (
	FlagSymmetric = 1 // behind a NAT that maps each destination anew
	FlagFullCone  = 2 // behind a NAT that lets everybody in; not with FlagSymmetric
	FlagRelay     = 4 // forwards for others

	allFlags = FlagSymmetric | FlagFullCone | FlagRelay
)

// Address is one way to reach a device.
type Address struct {
	Protocol Protocol
	At       netip.AddrPort // IPv4 or IPv6 without zone, not IPv4 in IPv6; port above 0
}

// Device is one machine of an account.
type Device struct {
	Flags       uint8
	ID          ID        // of its DHT node
	Addresses   []Address // best first
	Watchers    []Contact // DHT nodes that pass on to it, IPv4
	Certificate []byte    // 1 to 200 bytes: the device certificate (rule K1), in the encoding of package keys
}

// Endpoint is the endpoint item of an account: where its devices are. A device
// that publishes replaces only its own entry, with cas. Certificates are not
// checked here.
type Endpoint struct {
	Minute  uint32   // Unix time of publishing, in minutes
	Devices []Device // 1 to 4, strictly ascending by ID
}

const endpointVersion = 1

// EncodeEndpoint gives the content of the item. The error names the limit that
// e breaks, and wraps ErrFormat.
func EncodeEndpoint(e Endpoint) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint32([]byte{endpointVersion}, e.Minute)
	out = append(out, byte(len(e.Devices)))
	for _, d := range e.Devices {
		out = d.append(out)
	}
	if len(out) > MaxChannelSize {
		return nil, fmt.Errorf("%w: endpoint item of %d bytes, at most %d", ErrFormat, len(out), MaxChannelSize)
	}
	return out, nil
}

func (d Device) append(out []byte) []byte {
	out = append(out, d.Flags)
	out = append(out, d.ID[:]...)
	out = append(out, byte(len(d.Addresses)))
	for _, a := range d.Addresses {
		out = a.append(out)
	}
	out = append(out, byte(len(d.Watchers)))
	out = append(out, compactNodes(d.Watchers)...)
	out = append(out, byte(len(d.Certificate)))
	return append(out, d.Certificate...)
}

func (a Address) append(out []byte) []byte {
	if a.At.Addr().Is4() {
		return appendAddr(append(out, byte(a.Protocol)), a.At)
	}
	ip := a.At.Addr().As16()
	out = append(append(out, byte(a.Protocol)|familyIPv6), ip[:]...)
	return binary.BigEndian.AppendUint16(out, a.At.Port())
}

// DecodeEndpoint reads the content of an endpoint item, at most 900 bytes, in
// its one form. Errors wrap ErrFormat.
func DecodeEndpoint(b []byte) (Endpoint, error) {
	r := &reader{buf: b}
	if len(b) > MaxChannelSize {
		r.fail("endpoint item of %d bytes, at most %d", len(b), MaxChannelSize)
	}
	r.version(endpointVersion)
	e := Endpoint{Minute: r.u32()}
	for range r.count("devices", 1, MaxDevices) {
		e.Devices = append(e.Devices, readDevice(r))
	}
	if err := r.end(); err != nil {
		return Endpoint{}, err
	}
	if err := e.check(); err != nil {
		return Endpoint{}, err
	}
	return e, nil
}

func readDevice(r *reader) (d Device) {
	d.Flags, d.ID = r.u8(), ID(r.take(IDSize))
	for range r.count("addresses", 0, MaxAddresses) {
		d.Addresses = append(d.Addresses, readAddress(r))
	}
	for range r.count("watchers", 0, MaxWatchers) {
		d.Watchers = append(d.Watchers, Contact{ID: ID(r.take(IDSize)), Addr: r.addr4()})
	}
	d.Certificate = r.take(r.count("bytes of certificate", 1, MaxCertificateSize))
	return d
}

func readAddress(r *reader) Address {
	p := r.u8()
	if p&familyIPv6 != 0 {
		return Address{Protocol(p &^ familyIPv6), r.addr6()}
	}
	return Address{Protocol(p), r.addr4()}
}

func (e Endpoint) check() error {
	if n := len(e.Devices); n < 1 || n > MaxDevices {
		return fmt.Errorf("%w: %d devices, want 1 to %d", ErrFormat, n, MaxDevices)
	}
	for i, d := range e.Devices {
		if i > 0 && bytes.Compare(e.Devices[i-1].ID[:], d.ID[:]) >= 0 {
			return fmt.Errorf("%w: device %d does not come after device %d", ErrFormat, i, i-1)
		}
		if err := d.check(); err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
	}
	return nil
}

func (d Device) check() error {
	switch {
	case d.Flags&^allFlags != 0 || d.Flags&(FlagSymmetric|FlagFullCone) == FlagSymmetric|FlagFullCone:
		return fmt.Errorf("%w: flags %#x", ErrFormat, d.Flags)
	case len(d.Addresses) > MaxAddresses:
		return fmt.Errorf("%w: %d addresses, at most %d", ErrFormat, len(d.Addresses), MaxAddresses)
	case len(d.Watchers) > MaxWatchers:
		return fmt.Errorf("%w: %d watchers, at most %d", ErrFormat, len(d.Watchers), MaxWatchers)
	case len(d.Certificate) < 1 || len(d.Certificate) > MaxCertificateSize:
		return fmt.Errorf("%w: certificate of %d bytes, want 1 to %d", ErrFormat, len(d.Certificate), MaxCertificateSize)
	}
	for _, a := range d.Addresses {
		if err := a.check(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(d.Watchers, func(c Contact) bool { return !reachable(c.Addr) }) {
		return fmt.Errorf("%w: watcher without an IPv4 address that can be reached", ErrFormat)
	}
	return nil
}

func (a Address) check() error {
	ip := a.At.Addr()
	switch {
	case a.Protocol < ProtocolDHT || a.Protocol > lastProtocol:
		return fmt.Errorf("%w: protocol %d, want %d to %d", ErrFormat, a.Protocol, ProtocolDHT, lastProtocol)
	case ip.Is4() && !reachable(a.At),
		!ip.IsValid(), ip.Is4In6(), ip.Zone() != "", ip.IsUnspecified(), ip.IsMulticast(), a.At.Port() == 0:
		return fmt.Errorf("%w: address %v is not one host and port", ErrFormat, a.At)
	}
	return nil
}
