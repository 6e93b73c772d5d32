package ipfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/staddle/staddle/types"
)

// station opens a host on loopback.
func station(t testing.TB) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func at(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// swap opens bitswap on a host of its own.
func swap(t testing.TB, b Blocks) *Bitswap {
	t.Helper()
	s := OpenBitswap(station(t), b)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestBitswapFetch(t *testing.T) {
	s, back := newShelf(), newShelf()
	root := folder(t, s)
	server, client := swap(t, s), swap(t, nil)
	from := []peer.AddrInfo{at(server.host)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := client.Fetch(ctx, root, from)
	if err != nil || !bytes.Equal(b, s.blocks[string(root.Hash())]) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	done, err := client.FetchDAG(ctx, root, from, back.Put)
	if err != nil || done.Blocks != len(s.blocks) || !slices.Equal(back.hashes(), s.hashes()) {
		t.Fatalf("%+v, %v", done, err)
	}
	if b, err := client.b.GetBlock(ctx, s.raw(nil)); err != nil || len(b.RawData()) > 0 {
		t.Errorf("empty block over the wire: %v, %v", b, err)
	}
	if b, err := swap(t, nil).Fetch(ctx, types.RawCID(nil), nil); err != nil || len(b) > 0 {
		t.Errorf("empty block: %q, %v", b, err)
	}
	inline, err := client.Fetch(ctx, hashed(t, multihash.IDENTITY, []byte("inline")), nil)
	if err != nil || string(inline) != "inline" {
		t.Errorf("%q, %v", inline, err)
	}
}

// Blocks come from several peers that have a part each.
func TestBitswapSeveralPeers(t *testing.T) {
	whole, back := newShelf(), newShelf()
	root := whole.file(t, noise("film", 4<<20), 64<<10)
	parts := []*shelf{newShelf(), newShelf()}
	for i, h := range whole.hashes() {
		parts[i%2].blocks[h] = whole.blocks[h]
	}
	client := swap(t, nil)
	from := []peer.AddrInfo{at(swap(t, parts[0]).host), at(swap(t, parts[1]).host)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done, err := client.FetchDAG(ctx, root, from, back.Put)
	if err != nil || done.Bytes < 4<<20 || !slices.Equal(back.hashes(), whole.hashes()) {
		t.Fatalf("%+v, %v", done, err)
	}
}

// What the policy keeps back is not served, nor is said to be there.
func TestBitswapPolicy(t *testing.T) {
	s := newShelf()
	public, private := s.raw([]byte("public")), s.raw([]byte("private"))
	server := swap(t, Public(s, only{string(public.Hash()): true}))
	client := swap(t, nil)
	from := []peer.AddrInfo{at(server.host)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if b, err := client.Fetch(ctx, public, from); err != nil || string(b) != "public" {
		t.Fatalf("public block: %q, %v", b, err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if b, err := client.Fetch(short, private, from); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("private block: %q, %v", b, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gets != 1 {
		t.Errorf("%d reads for one block", s.gets)
	}
}

func TestBitswapRefuses(t *testing.T) {
	client := swap(t, nil)
	nobody := peer.AddrInfo{ID: station(t).ID()}
	tests := map[string]struct {
		want cid.Cid
		from []peer.AddrInfo
		err  error
		text string
	}{
		"sha1":             {hashed(t, multihash.SHA1, []byte("x")), nil, ErrHash, "sha1"},
		"long identity":    {hashed(t, multihash.IDENTITY, make([]byte, 1000)), nil, ErrIdentity, "1000"},
		"undefined":        {cid.Undef, nil, errNoCID, ""},
		"too many sources": {types.RawCID(nil), make([]peer.AddrInfo, 17), nil, "17 sources above limit 16"},
		"nobody answers":   {types.RawCID(nil), []peer.AddrInfo{nobody}, nil, "reach 1 sources"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := client.Fetch(t.Context(), tt.want, tt.from)
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) || !bytes.Contains([]byte(err.Error()), []byte(tt.text)) {
				t.Errorf("%v, want %v with %q", err, tt.err, tt.text)
			}
		})
	}
}

// A batch of a fetch is checked, bounded, and ends where a source fails.
func TestFetchDAG(t *testing.T) {
	s := newShelf()
	root := s.file(t, noise("film", 2<<20), 16<<10)
	from := func(ctx context.Context, want []cid.Cid, got func(cid.Cid, []byte) error) error {
		if len(want) > fetchBatch {
			t.Errorf("%d blocks at once", len(want))
		}
		for _, c := range slices.Backward(want) {
			b, err := s.Get(ctx, c)
			if err != nil {
				return err
			}
			if err := got(c, b); err != nil {
				return err
			}
		}
		return nil
	}
	back := newShelf()
	if done, err := fetchDAG(t.Context(), from, root, back.Put, Bounds{}); err != nil || done.Blocks != len(s.blocks) {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := fetchDAG(t.Context(), from, root, back.Put, Bounds{Blocks: 100}); !errors.Is(err, ErrBounds) {
		t.Errorf("bounds: %v", err)
	}
	leaf := string(types.RawCID(noise("film", 2<<20)[:16<<10]).Hash())
	s.blocks[leaf] = []byte("something else")
	if _, err := fetchDAG(t.Context(), from, root, back.Put, Bounds{}); !errors.Is(err, ErrMismatch) {
		t.Errorf("a lying source: %v", err)
	}
	delete(s.blocks, leaf)
	if _, err := fetchDAG(t.Context(), from, root, back.Put, Bounds{}); !IsNotHeld(err) {
		t.Errorf("a missing block: %v", fmt.Sprint(err))
	}
}
