package ipfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Limits of bitswap. The bytes are those on their way to one peer; wants are the
// entries that one peer may have waiting; sources are the peers of one fetch.
const (
	bitswapBytes   = 4 << 20
	bitswapWants   = 1024
	bitswapWorkers = 8
	maxCIDBytes    = 64 + MaxIdentity
	maxSources     = 16
)

// Bitswap speaks the bitswap protocols (1.2.0 and before) through a libp2p host
// that somebody else owns. Close it before the host.
type Bitswap struct {
	host host.Host
	b    *bitswap.Bitswap
}

// OpenBitswap begins to answer wants out of blocks, which must be Public; with
// nil blocks it only fetches.
func OpenBitswap(h host.Host, b Blocks) *Bitswap {
	options := []bitswap.Option{
		bitswap.WithServerEnabled(b != nil),
		bitswap.MaxOutstandingBytesPerPeer(bitswapBytes),
		bitswap.MaxQueuedWantlistEntriesPerPeer(bitswapWants),
		bitswap.MaxCidSize(maxCIDBytes),
		bitswap.EngineTaskWorkerCount(bitswapWorkers),
		bitswap.TaskWorkerCount(bitswapWorkers),
		bitswap.EngineBlockstoreWorkerCount(bitswapWorkers),
		bitswap.WithoutDuplicatedBlockStats(),
		bitswap.WithPeerBlockRequestFilter(func(_ peer.ID, c cid.Cid) bool { return Accept(c) == nil }),
	}
	if b == nil {
		b = nothing{}
	}
	ctx := context.Background() // Close ends it
	return &Bitswap{h, bitswap.New(ctx, bsnet.NewFromIpfsHost(h), nil, counter{shop{b}}, options...)}
}

// counter is a shop whose smallest block has one byte: the library announces a
// block of none and never sends it. Sizes only plan messages there.
type counter struct{ shop }

// GetSize implements blockstore.Blockstore.
func (s counter) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	n, err := s.shop.GetSize(ctx, c)
	return max(n, 1), err
}

// Close ends serving and fetching. The host stays open.
func (b *Bitswap) Close() error { return b.b.Close() }

// Fetch gets one block, checked, from peers: at most 16 sources that are
// connected to first, and all that are connected already. It waits until ctx
// ends for a block that nobody has.
func (b *Bitswap) Fetch(ctx context.Context, c cid.Cid, from []peer.AddrInfo) ([]byte, error) {
	if err := Accept(c); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if isIdentity(c) {
		return inside(c)
	}
	var block []byte
	get, err := b.source(ctx, from)
	if err == nil {
		err = get(ctx, []cid.Cid{c}, func(_ cid.Cid, got []byte) error {
			block = got
			return Check(c, got)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("fetch block %s: %w", c, err)
	}
	return block, nil
}

// FetchDAG stores all blocks below root, each checked, from peers as in Fetch.
// Errors: ErrBounds, those of put, and the end of ctx.
func (b *Bitswap) FetchDAG(ctx context.Context, root cid.Cid, from []peer.AddrInfo, put Put) (Fetched, error) {
	get, err := b.source(ctx, from)
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch %s: %w", root, err)
	}
	done, err := fetchDAG(ctx, get, root, put, Bounds{})
	if err != nil {
		return done, fmt.Errorf("fetch %s: %w", root, err)
	}
	return done, nil
}

// errEnded is the error of a session that ended before all blocks came.
var errEnded = errors.New("bitswap ended before all blocks came")

// source connects to peers and opens a session with them.
func (b *Bitswap) source(ctx context.Context, from []peer.AddrInfo) (source, error) {
	if err := connect(ctx, b.host, from); err != nil {
		return nil, err
	}
	return func(ctx context.Context, want []cid.Cid, got func(cid.Cid, []byte) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		rest := make([]cid.Cid, 0, len(want))
		for _, c := range want {
			if !isEmpty(c) {
				rest = append(rest, c)
			} else if err := got(c, nil); err != nil {
				return err
			}
		}
		blocks, err := b.b.NewSession(ctx).GetBlocks(ctx, rest)
		if err != nil {
			return err
		}
		left := len(rest)
		for block := range blocks {
			if err := got(block.Cid(), block.RawData()); err != nil {
				return err
			}
			left--
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if left > 0 {
			return errEnded
		}
		return nil
	}, nil
}

// emptyDigest is the hash of no bytes. Peers that serve with the same library
// never send that block, and nobody needs to be asked for it.
var emptyDigest = sha256.Sum256(nil)

func isEmpty(c cid.Cid) bool { return bytes.Equal(digest(c), emptyDigest[:]) }

// connect reaches the peers; one that answers is enough.
func connect(ctx context.Context, h host.Host, peers []peer.AddrInfo) error {
	if len(peers) > maxSources {
		return fmt.Errorf("%d sources above limit %d", len(peers), maxSources)
	}
	errs := make(chan error, len(peers))
	for _, p := range peers {
		go func() { errs <- h.Connect(ctx, p) }()
	}
	var failed []error
	for range peers {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 && len(failed) == len(peers) {
		return fmt.Errorf("reach %d sources: %w", len(peers), errors.Join(failed...))
	}
	return nil
}
