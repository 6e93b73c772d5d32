package market

import (
	"bytes"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/staddle/staddle/types"
)

// What a host of a market gives for nothing (F1), in bytes.
const (
	FreeMatured  = 1 << 30  // to each account with matured power, ever
	FreeStranger = 64 << 20 // to each other key, and to each of their networks, a day
	freeShare    = 8        // all free traffic of a day is at most this part of the upload
)

// Bounds of what an Allowance remembers of one day. When they are reached, new
// keys and networks get nothing until the next day.
const (
	maxKeys    = 16384
	maxSubnets = 16384
	MaxSubnet  = 64 // length of a network's name, in bytes
)

// Standing says what an account is to the community.
type Standing uint8

// Standings.
const (
	Stranger Standing = iota // a key without matured power
	Matured                  // an account with matured power
	Member                   // of a community without money: all is free
)

// Visitor is a peer that asks for free pieces.
type Visitor struct {
	Account  types.Account
	Subnet   string // its /24 or /48; all with the same one share
	Standing Standing
	Used     uint64 // bytes it has had for nothing, ever; Till.Free
}

// Allowance is what a host has given for nothing today (F1). The zero value
// has given nothing.
type Allowance struct {
	day     uint64
	given   uint64
	keys    map[types.Account]uint64
	subnets map[string]uint64
}

// Left is how many bytes the visitor may still have for nothing. upload is
// what the host is willing to send in a day, in bytes.
func (a *Allowance) Left(v Visitor, upload uint64, now types.Millis) uint64 {
	if v.Standing == Member {
		return ^uint64(0)
	}
	a.turn(now)
	left := rest(upload/freeShare, a.given)
	if v.Standing == Matured {
		return min(left, rest(FreeMatured, v.Used))
	}
	key, known := a.keys[v.Account]
	if !known && len(a.keys) >= maxKeys {
		return 0
	}
	subnet, known := a.subnets[v.Subnet]
	if !known && len(a.subnets) >= maxSubnets {
		return 0
	}
	return min(left, rest(FreeStranger, key), rest(FreeStranger, subnet))
}

// Take uses n bytes and reports whether they were left; if not, nothing
// changed.
func (a *Allowance) Take(v *Visitor, n, upload uint64, now types.Millis) bool {
	if n > a.Left(*v, upload, now) {
		return false
	}
	switch v.Standing {
	case Member:
		return true
	case Matured:
		v.Used += n
	default:
		a.keys[v.Account] += n
		a.subnets[v.Subnet] += n
	}
	a.given += n
	return true
}

// turn forgets the day before. A clock that runs backwards forgets nothing.
func (a *Allowance) turn(now types.Millis) {
	if a.keys == nil || dayOf(now) > a.day {
		*a = Allowance{
			day: max(dayOf(now), a.day), keys: map[types.Account]uint64{}, subnets: map[string]uint64{},
		}
	}
}

func rest(limit, used uint64) uint64 {
	left, below := bits.Sub64(limit, used, 0)
	if below != 0 {
		return 0
	}
	return left
}

// EncodeTo appends [day, given, [[key, bytes], ...], [[network, bytes], ...]],
// both lists ascending.
func (a *Allowance) EncodeTo(e *types.Encoder) {
	e.Array(4)
	e.Uint(a.day)
	e.Uint(a.given)
	accounts := slices.SortedFunc(maps.Keys(a.keys), func(a, b types.Account) int { return bytes.Compare(a[:], b[:]) })
	e.Array(len(accounts))
	for _, k := range accounts {
		e.Array(2)
		e.Bytes(k[:])
		e.Uint(a.keys[k])
	}
	networks := slices.Sorted(maps.Keys(a.subnets))
	e.Array(len(networks))
	for _, n := range networks {
		e.Array(2)
		e.Text(n)
		e.Uint(a.subnets[n])
	}
}

// DecodeFrom reads the tuple.
func (a *Allowance) DecodeFrom(d *types.Decoder) {
	d.Tuple(4)
	*a = Allowance{day: d.Uint(), given: d.Uint()}
	n := d.Array(maxKeys)
	a.keys = make(map[types.Account]uint64, n)
	var last types.Account
	for i := range n {
		d.Tuple(2)
		k := d.Account()
		if i > 0 && bytes.Compare(last[:], k[:]) >= 0 {
			d.Fail("key %d is not in ascending order", i)
		}
		a.keys[k], last = d.Uint(), k
	}
	n = d.Array(maxSubnets)
	a.subnets = make(map[string]uint64, n)
	before := ""
	for i := range n {
		d.Tuple(2)
		s := d.Text(MaxSubnet)
		if i > 0 && strings.Compare(before, s) >= 0 {
			d.Fail("network %d is not in ascending order", i)
		}
		a.subnets[s], before = d.Uint(), s
	}
}
