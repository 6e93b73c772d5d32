package ipfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-graphsync"
	gsimpl "github.com/ipfs/go-graphsync/impl"
	gsnet "github.com/ipfs/go-graphsync/network"
	logging "github.com/ipfs/go-log/v2"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/linking"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Limits of graphsync. Memory is that of answers on their way; the library
// keeps what it does not get rid of, so a peer that takes nothing is left soon.
const (
	graphsyncMemory   = 64 << 20
	graphsyncPerPeer  = 8 << 20
	graphsyncRequests = 8 // at work at once, in and out
	graphsyncPeerWork = 2 // at work for one peer
	graphsyncLinks    = 1 << 22
	graphsyncSend     = 30 * time.Second
	graphsyncRetries  = 2
)

// Store is where a graphsync fetch puts blocks. It must read back what it was
// given: a block that a peer sent once is not sent again.
type Store interface {
	Blocks
	Put(ctx context.Context, c cid.Cid, block []byte) error
}

// GraphSync speaks graphsync 2.0.0 through a libp2p host that somebody else
// owns. Close it before the host.
type GraphSync struct {
	host     host.Host
	exchange graphsync.GraphExchange
	cancel   context.CancelFunc
}

// OpenGraphSync begins to answer requests out of blocks, which must be Public;
// with nil blocks it refuses all. Selectors are held to CheckSelector.
func OpenGraphSync(h host.Host, b Blocks) *GraphSync {
	serves := b != nil
	if !serves {
		b = nothing{}
	}
	hush()
	ctx, cancel := context.WithCancel(context.Background()) // Close ends it
	exchange := gsimpl.New(ctx, gsnet.NewFromLibp2pHost(h), links(b, nil),
		gsimpl.RejectAllRequestsByDefault(),
		gsimpl.MaxMemoryResponder(graphsyncMemory),
		gsimpl.MaxMemoryPerPeerResponder(graphsyncPerPeer),
		gsimpl.MaxInProgressIncomingRequests(graphsyncRequests),
		gsimpl.MaxInProgressIncomingRequestsPerPeer(graphsyncPeerWork),
		gsimpl.MaxInProgressOutgoingRequests(graphsyncRequests),
		gsimpl.MaxLinksPerIncomingRequests(graphsyncLinks),
		gsimpl.MaxLinksPerOutgoingRequests(graphsyncLinks),
		gsimpl.MessageSendRetries(graphsyncRetries),
		gsimpl.SendMessageTimeout(graphsyncSend),
	)
	exchange.RegisterIncomingRequestHook(func(_ peer.ID, r graphsync.RequestData, do graphsync.IncomingRequestHookActions) {
		if !serves {
			return // nobody has validated it, so it is rejected
		}
		if err := errors.Join(Accept(r.Root()), CheckSelector(r.Selector())); err != nil {
			do.TerminateWithError(err)
			return
		}
		do.ValidateRequest()
	})
	exchange.RegisterOutgoingRequestHook(func(_ peer.ID, r graphsync.RequestData, do graphsync.OutgoingRequestHookActions) {
		do.UsePersistenceOption(r.ID().String())
	})
	return &GraphSync{h, exchange, cancel}
}

// hush takes the library's word to the terminal away: to it, a stranger who asks
// for what we do not have is an error of ours.
func hush() {
	for _, name := range []string{"graphsync", "graphsync_allocator", "graphsync_network", "gs-notifications", "gs-queryexecutor", "gs-reconciledlaoder", "gs_request_executor"} {
		_ = logging.SetLogLevel(name, "dpanic") // unknown names are those of other versions
	}
}

// Close ends serving and fetching. The host stays open.
func (g *GraphSync) Close() error {
	g.host.RemoveStreamHandler(gsnet.ProtocolGraphsync_2_0_0)
	g.cancel()
	return nil
}

// links is a link system that reads from blocks and hands what was fetched to
// put.
func links(b Blocks, put Put) linking.LinkSystem {
	ls := cidlink.DefaultLinkSystem()
	ls.TrustedStorage = true // Blocks gives what was checked
	ls.StorageReadOpener = func(lc linking.LinkContext, l datamodel.Link) (io.Reader, error) {
		link, ok := l.(cidlink.Link)
		if !ok {
			return nil, fmt.Errorf("%s is not a CID", l)
		}
		block, err := load(contextOf(lc), b, link.Cid)
		if err != nil {
			return nil, err
		}
		return bytes.NewBuffer(block), nil
	}
	ls.StorageWriteOpener = func(lc linking.LinkContext) (io.Writer, linking.BlockWriteCommitter, error) {
		var block bytes.Buffer
		return &block, func(l datamodel.Link) error {
			link, ok := l.(cidlink.Link)
			if !ok || put == nil {
				return errReadOnly
			}
			if err := Check(link.Cid, block.Bytes()); err != nil {
				return err
			}
			return put(contextOf(lc), link.Cid, block.Bytes())
		}, nil
	}
	return ls
}

func contextOf(lc linking.LinkContext) context.Context {
	if lc.Ctx != nil {
		return lc.Ctx
	}
	return context.Background()
}

// Fetch asks a peer for what a selector selects below a root, such as
// SelectPieces or SelectAll, and puts the blocks into a store, each checked. It
// ends with the first block that the peer does not have.
func (g *GraphSync) Fetch(ctx context.Context, from peer.AddrInfo, root cid.Cid, selector datamodel.Node, into Store) (Fetched, error) {
	if err := errors.Join(Accept(root), connect(ctx, g.host, []peer.AddrInfo{from})); err != nil {
		return Fetched{}, fmt.Errorf("fetch %s: %w", root, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var blocks, size atomic.Int64
	put := func(ctx context.Context, c cid.Cid, block []byte) error {
		if isIdentity(c) {
			return nil
		}
		if err := into.Put(ctx, c, block); err != nil {
			return err
		}
		blocks.Add(1)
		size.Add(int64(len(block)))
		return nil
	}
	id := graphsync.NewRequestID()
	if err := g.exchange.RegisterPersistenceOption(id.String(), links(into, put)); err != nil {
		return Fetched{}, fmt.Errorf("fetch %s: %w", root, err)
	}
	progress, errs := g.exchange.Request(context.WithValue(ctx, graphsync.RequestIDContextKey{}, id), from.ID, cidlink.Link{Cid: root}, selector)
	err := drain(progress, errs, cancel)
	err = errors.Join(err, g.exchange.UnregisterPersistenceOption(id.String()))
	done := Fetched{Blocks: int(blocks.Load()), Bytes: size.Load()}
	if err != nil {
		return done, fmt.Errorf("fetch %s: %w", root, err)
	}
	return done, nil
}

// drain reads a request to its end; the first error stops it.
func drain(progress <-chan graphsync.ResponseProgress, errs <-chan error, stop func()) error {
	var first error
	for progress != nil || errs != nil {
		select {
		case _, ok := <-progress:
			if !ok {
				progress = nil
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			if first == nil {
				first = err
				stop()
			}
		}
	}
	return first
}
