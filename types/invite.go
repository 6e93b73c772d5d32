package types

import (
	"encoding/base32"
	"fmt"
	"strings"
)

// Limits of an invite.
const (
	InviteVersion  = 1
	MaxInvitePeers = 8
	MaxPeerAddrs   = 8
	maxInviteText  = 16 << 10
	inviteScheme   = "staddle-invite:"
)

// InvitePeer is a member that a newcomer can begin with.
type InvitePeer struct {
	Account Account
	Device  Device
	Addrs   []string // multiaddrs without the device
}

// Invite is all that a newcomer needs to join a community (C7).
type Invite struct {
	Chain      ChainID
	Name       string
	Peers      []InvitePeer
	Checkpoint Cursor // a fork without this block is not followed
	Time       Millis // of the checkpoint
	Gift       []byte // 32-byte seed of a key that holds some coins; empty: none
}

// EncodeTo appends the tuple.
func (i *Invite) EncodeTo(e *Encoder) {
	e.Array(7)
	e.Uint(InviteVersion)
	e.Bytes(i.Chain[:])
	e.Text(i.Name)
	e.Array(len(i.Peers))
	for _, p := range i.Peers {
		e.Array(3)
		e.Bytes(p.Account[:])
		e.Bytes(p.Device[:])
		e.Array(len(p.Addrs))
		for _, a := range p.Addrs {
			e.Text(a)
		}
	}
	i.Checkpoint.EncodeTo(e)
	e.Uint(uint64(i.Time))
	e.Bytes(i.Gift)
}

// DecodeFrom reads the tuple.
func (i *Invite) DecodeFrom(d *Decoder) {
	d.Tuple(7)
	if v := d.Uint(); d.Err() == nil && v != InviteVersion {
		d.Fail("invite of version %d, this program knows %d", v, InviteVersion)
	}
	i.Chain = d.Hash()
	i.Name = d.Text(MaxCommunity)
	i.Peers = make([]InvitePeer, d.Array(MaxInvitePeers))
	for k := range i.Peers {
		p := &i.Peers[k]
		d.Tuple(3)
		p.Account = d.Account()
		d.Fixed(p.Device[:])
		p.Addrs = make([]string, d.Array(MaxPeerAddrs))
		for j := range p.Addrs {
			p.Addrs[j] = d.Text(MaxEndpoint)
		}
	}
	i.Checkpoint.DecodeFrom(d)
	i.Time = d.Millis()
	if i.Gift = d.Bytes(32); len(i.Gift) != 0 && len(i.Gift) != 32 {
		d.Fail("gift key of %d bytes, want 32", len(i.Gift))
	}
}

var inviteText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String is the link: the scheme and the base32 of the canonical bytes with the
// first four bytes of their digest behind.
func (i *Invite) String() string {
	b := Marshal(i)
	sum := H("staddle/invite/1", b)
	return inviteScheme + inviteText.EncodeToString(append(b, sum[:4]...))
}

// ParseInvite reads what String wrote.
func ParseInvite(s string) (*Invite, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), inviteScheme)
	if !ok || len(rest) > maxInviteText {
		return nil, fmt.Errorf("%q is not an invite: it begins with %q", clip(s, 40), inviteScheme)
	}
	b, err := inviteText.DecodeString(rest)
	if err != nil || len(b) < 4 {
		return nil, fmt.Errorf("invite is cut or mistyped")
	}
	b, tail := b[:len(b)-4], b[len(b)-4:]
	if sum := H("staddle/invite/1", b); string(sum[:4]) != string(tail) {
		return nil, fmt.Errorf("invite is cut or mistyped: its checksum does not fit")
	}
	i := new(Invite)
	if err := Unmarshal(b, i); err != nil {
		return nil, fmt.Errorf("read invite: %w", err)
	}
	return i, nil
}
