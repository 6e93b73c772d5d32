package ipfs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/multiformats/go-multiaddr"
)

// Connections of a World, beyond which the idle ones are closed.
const (
	fewPeers  = 64
	manyPeers = 128
)

// World is a host of its own that speaks bitswap and graphsync to strangers. It
// has another key than the node, so that what is served there says nothing of
// who serves it here.
type World struct {
	host host.Host
	swap *Bitswap
	sync *GraphSync
}

// OpenWorld listens at multiaddrs with the peer id of an ed25519 seed and serves
// blocks, which must be Public; nil serves nothing.
func OpenWorld(seed [32]byte, listen []string, public Blocks) (*World, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return nil, fmt.Errorf("open IPFS host: %w", err)
	}
	manager, err := connmgr.NewConnManager(fewPeers, manyPeers)
	if err != nil {
		return nil, fmt.Errorf("open IPFS host: %w", err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings(listen...), libp2p.ConnectionManager(manager),
		libp2p.DisableRelay(), libp2p.UserAgent("staddle"))
	if err != nil {
		return nil, fmt.Errorf("open IPFS host at %v: %w", listen, err)
	}
	return &World{h, OpenBitswap(h, public), OpenGraphSync(h, public)}, nil
}

// Addrs are the multiaddrs at which others reach this host, with its peer id.
func (w *World) Addrs() []string {
	info := host.InfoFromHost(w.host)
	all, err := peer.AddrInfoToP2pAddrs(info)
	if err != nil {
		return nil // the id is our own
	}
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out
}

// Fetch stores all blocks below a root, from peers named by multiaddrs that end
// in /p2p/ID, by bitswap. Errors: those of the addresses, and of FetchDAG.
func (w *World) Fetch(ctx context.Context, root cid.Cid, from []string, put Put) (Fetched, error) {
	var addrs []multiaddr.Multiaddr
	for _, text := range from {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return Fetched{}, fmt.Errorf("address %q: %w", text, err)
		}
		addrs = append(addrs, a)
	}
	peers, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return Fetched{}, fmt.Errorf("addresses: %w; want multiaddrs that end in /p2p/ID", err)
	}
	return w.swap.FetchDAG(ctx, root, peers, put)
}

// Span is pieces [First, End) of a dataset of Total pieces, counted from 0.
type Span struct{ First, End, Total int64 }

// Sync fetches by graphsync from one peer: a span of pieces below the root of a
// UnixFS file, or, with a nil span, all below a root.
func (w *World) Sync(ctx context.Context, root cid.Cid, span *Span, from string, into Store) (Fetched, error) {
	info, err := peer.AddrInfoFromString(from)
	if err != nil {
		return Fetched{}, fmt.Errorf("address %q: %w; want a multiaddr that ends in /p2p/ID", from, err)
	}
	what := SelectAll()
	if span != nil {
		if what, err = SelectPieces(span.First, span.End, span.Total); err != nil {
			return Fetched{}, err
		}
	}
	return w.sync.Fetch(ctx, *info, root, what, into)
}

// Close ends serving and fetching.
func (w *World) Close() error {
	return errors.Join(w.sync.Close(), w.swap.Close(), w.host.Close())
}
