//go:build engine

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/types"
)

// TestJoin: a second process joins by invite and gets the folder, byte for byte;
// invites that are wrong in one way each join nothing.
func TestJoin(t *testing.T) {
	a, b := start(t, "a"), start(t, "b")
	call[api.Community](a, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})
	films := folder(t, 1<<20, 1)
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: films, Visibility: "public"}).Ref
	await(t, "a few blocks", func() bool { return a.community().Height >= 3 })
	inv := invite(a)

	t.Run("mistyped", func(t *testing.T) {
		b.on(t).refused(swapped(inv))
	})
	t.Run("cut", func(t *testing.T) {
		b.on(t).refused(inv[:len(inv)-5])
	})
	t.Run("nobody there", func(t *testing.T) {
		b.on(t).refused(changed(t, inv, func(i *types.Invite) {
			for k := range i.Peers {
				i.Peers[k].Addrs = []string{freePort(t)}
			}
		}))
	})
	t.Run("without peers", func(t *testing.T) {
		b.on(t).refused(changed(t, inv, func(i *types.Invite) { i.Peers = i.Peers[:0] }))
	})
	t.Run("another chain", func(t *testing.T) {
		b.on(t).refused(changed(t, inv, func(i *types.Invite) { i.Chain[0] ^= 1 }))
	})
	if t.Failed() {
		return
	}

	b.does("community", "join", inv)
	tip := a.community().Height
	await(t, "b follows the chain", func() bool { return b.community().Height >= tip })
	if one, two := a.community().Chain, b.community().Chain; one != two {
		t.Fatalf("chains %s and %s", one, two)
	}
	to := filepath.Join(t.TempDir(), "got")
	b.does("get", ref, "-o", to)
	sameTree(t, films, to)
	b.does("community", "join", inv) // again: nothing happens
	b.exits(1, "community", "join", changed(t, inv, func(i *types.Invite) { i.Chain[0] ^= 1 }))
}

// TestAnchor: an invite with the genesis of a community and an anchor that is no
// block of it leads nowhere: the newcomer follows no fork without the anchor.
func TestAnchor(t *testing.T) {
	a, b, c := start(t, "a"), start(t, "b"), start(t, "c")
	call[api.Community](a, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})
	await(t, "a settled block", func() bool { return a.community().Height >= 12 })
	inv := invite(a)
	wrong := changed(t, inv, func(i *types.Invite) {
		other := types.H("staddle/test/1", []byte("no block"))
		i.Checkpoint.Root = types.NodeCID(other[:])
	})
	call[api.Community](b, api.CallCommunityJoin, api.JoinRequest{Invite: wrong})
	call[api.Community](c, api.CallCommunityJoin, api.JoinRequest{Invite: inv})
	anchor := parsed(t, inv).Checkpoint.Height
	await(t, "c passes the anchor", func() bool { return c.community().Height > uint64(anchor)+5 })
	if h := b.community().Height; h >= uint64(anchor) {
		t.Fatalf("b follows a fork without its anchor %d to height %d", anchor, h)
	}
}

// TestMeet: an invite without addresses is enough where both sides know one node
// of the DHT.
func TestMeet(t *testing.T) {
	seed := start(t, "seed", "--dht", "127.0.0.1:0")
	at := call[api.Status](seed, api.CallStatus, api.None{}).DHT
	a := start(t, "a", "--dht", "127.0.0.1:0", "--dht-seed", at)
	b := start(t, "b", "--dht", "127.0.0.1:0", "--dht-seed", at)
	lost := start(t, "lost")
	call[api.Community](a, api.CallCommunityCreate, api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"})
	films := folder(t, 300_000, 2)
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: films, Visibility: "public"}).Ref
	inv := changed(t, invite(a), func(i *types.Invite) {
		for k := range i.Peers {
			i.Peers[k].Addrs, i.Peers[k].Device = nil, types.Device{}
		}
	})
	wantText(t, lost.exits(1, "community", "join", inv).stderr, "there is no DHT")

	await(t, "b joins over the DHT", func() bool {
		_, err := try[api.Community](b, api.CallCommunityJoin, api.JoinRequest{Invite: inv})
		return err == nil
	})
	to := filepath.Join(t.TempDir(), "got")
	await(t, "b knows the dataset", func() bool { return b.cli("get", ref, "-o", to).code == 0 })
	sameTree(t, films, to)
}

// on reports to a subtest.
func (p *peer) on(t *testing.T) *peer {
	q := *p
	q.t = t
	return &q
}

// refused joins by a wrong invite and wants to be in no community then.
func (p *peer) refused(invite string) {
	p.t.Helper()
	if r := p.cli("community", "join", invite); r.code == 0 || r.stderr == "" {
		p.t.Fatalf("joined: exit code %d, %s", r.code, r.stderr)
	}
	p.exits(5, "community", "info")
}

func parsed(t *testing.T, text string) *types.Invite {
	t.Helper()
	inv, err := types.ParseInvite(text)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func changed(t *testing.T, text string, change func(*types.Invite)) string {
	t.Helper()
	inv := parsed(t, text)
	change(inv)
	return inv.String()
}

// swapped swaps two neighbours that differ, as hurried fingers do.
func swapped(text string) string {
	b := []byte(text)
	for i := len(b) / 2; i+1 < len(b); i++ {
		if b[i] != b[i+1] {
			b[i], b[i+1] = b[i+1], b[i]
			break
		}
	}
	return string(b)
}
