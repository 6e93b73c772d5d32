package transport

import (
	"fmt"
	"slices"
	"sync"

	"github.com/multiformats/go-multiaddr"

	"github.com/staddle/staddle/types"
)

// Bounds of the address book. What is older gives way to what is newer.
const (
	maxAccounts = 4096
	maxDevices  = 8  // of an account
	maxPlaces   = 16 // addresses of a device
	maxClaims   = 4  // accounts whose word on a device is heard when it is dialled by itself
)

// book remembers where devices are said to be. It proves nothing.
type book struct {
	mu       sync.Mutex
	accounts map[types.Account][]place
	order    []types.Account // oldest first
}

// place is a device and its addresses, the newest first.
type place struct {
	device types.Device
	at     []multiaddr.Multiaddr
}

func newBook() *book { return &book{accounts: map[types.Account][]place{}} }

// add puts the device before the account's others and the addresses before the
// device's others.
func (b *book) add(account types.Account, device types.Device, at []multiaddr.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	places, known := b.accounts[account]
	if !known {
		b.order = append(b.order, account)
	}
	p := place{device: device, at: slices.Clone(at)}
	if i := slices.IndexFunc(places, func(q place) bool { return q.device == device }); i >= 0 {
		p.at = append(p.at, places[i].at...)
		places = slices.Delete(places, i, i+1)
	}
	p.at = distinct(p.at)
	places = append([]place{p}, places...)
	b.accounts[account] = places[:min(len(places), maxDevices)]
	for len(b.order) > maxAccounts {
		delete(b.accounts, b.order[0])
		b.order = b.order[1:]
	}
}

func distinct(all []multiaddr.Multiaddr) (kept []multiaddr.Multiaddr) {
	for _, a := range all {
		same := func(b multiaddr.Multiaddr) bool { return a.Equal(b) }
		if len(kept) < maxPlaces && !slices.ContainsFunc(kept, same) {
			kept = append(kept, a)
		}
	}
	return kept
}

// find gives the account's devices, the newest first.
func (b *book) find(account types.Account) []place {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.accounts[account])
}

// drop forgets a device that turned out not to be the account's.
func (b *book) drop(account types.Account, device types.Device) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(b.accounts[account]), func(p place) bool { return p.device == device })
	if len(left) > 0 {
		b.accounts[account] = left
		return
	}
	delete(b.accounts, account)
	b.order = slices.DeleteFunc(b.order, func(a types.Account) bool { return a == account })
}

// device finds the addresses of a device, whichever accounts it is said to be
// of, the newest accounts first.
func (b *book) device(device types.Device) (at []multiaddr.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, account := range slices.Backward(b.order) {
		for _, p := range b.accounts[account] {
			if p.device == device && len(at) < maxClaims*maxPlaces {
				at = append(at, p.at...)
			}
		}
	}
	return at
}

// Add writes into the address book that a device of the account is said to be
// at the given multiaddrs, with or without /p2p/<device> at their end. At most
// 16 addresses of a device, 8 devices of an account and 4,096 accounts are
// kept, the newest. The error is ErrAddress, and then nothing is added.
func (h *Host) Add(account types.Account, device types.Device, addrs ...string) error {
	if len(addrs) > maxPlaces {
		return fmt.Errorf("%w: %d addresses of one device above limit %d", ErrAddress, len(addrs), maxPlaces)
	}
	at := make([]multiaddr.Multiaddr, 0, len(addrs))
	for _, a := range addrs {
		m, err := parseAddress(a, device)
		if err != nil {
			return err
		}
		at = append(at, m)
	}
	h.book.add(account, device, at)
	return nil
}
