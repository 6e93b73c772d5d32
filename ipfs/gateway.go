package ipfs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/namesys"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multicodec"
)

// GatewayOptions are the limits of a gateway. Zero fields have the values of
// DefaultGateway.
type GatewayOptions struct {
	Requests int           // served at once; more are answered 429 with Retry-After
	Stall    time.Duration // the longest time without a byte taken by the client
	Longest  time.Duration // for one request, all in all
	Blocks   int64         // read for one request; listings and archives of a bomb end there
	Entries  int           // in one listing
}

// DefaultGateway needs about 100 MB when all its places are taken: a request
// holds one block of each level of a file. 4 Mi blocks are a TiB in one request.
var DefaultGateway = GatewayOptions{
	Requests: 256,
	Stall:    30 * time.Second,
	Longest:  12 * time.Hour,
	Blocks:   4 << 20,
	Entries:  1 << 20,
}

func (o GatewayOptions) filled() GatewayOptions {
	d := DefaultGateway
	if o.Requests <= 0 {
		o.Requests = d.Requests
	}
	if o.Stall <= 0 {
		o.Stall = d.Stall
	}
	if o.Longest <= 0 {
		o.Longest = d.Longest
	}
	if o.Blocks <= 0 {
		o.Blocks = d.Blocks
	}
	if o.Entries <= 0 {
		o.Entries = d.Entries
	}
	return o
}

// Gateway serves /ipfs/ by the specifications of the path gateway and the
// trustless gateway (https://specs.ipfs.tech/http-gateways): files, directories
// and ranges of them, and raw, car, tar, dag-json and dag-cbor on demand. It
// reads only; names (/ipns/) are answered 501. Hand it Public blocks when
// strangers can reach it.
//
// What it serves may be anybody's, so that browsers are told to run it in an
// origin of its own (Content-Security-Policy: sandbox).
func Gateway(b Blocks, o GatewayOptions) (http.Handler, error) {
	o = o.filled()
	store := shop{b}
	service := blockservice.New(store, offline.Exchange(store), blockservice.WriteThrough(false))
	inner, err := gateway.NewBlocksBackend(service, gateway.WithNameSystem(noNames{}))
	if err != nil {
		return nil, fmt.Errorf("open gateway: %w", err)
	}
	back := &backend{BlocksBackend: inner, blocks: b}
	config := gateway.Config{
		DeserializedResponses: true,
		DisableHTMLErrors:     true,
		NoDNSLink:             true,
		MaxRequestDuration:    o.Longest,
	}
	all := &listing{back: back, entries: o.Entries, next: gateway.NewHandler(config, back)}
	headers := gateway.NewHeaders(map[string][]string{
		"Content-Security-Policy": {"sandbox"},
		"X-Content-Type-Options":  {"nosniff"},
	})
	return newGate(o, headers.ApplyCors().Wrap(all)), nil
}

// Server is an HTTP server for a gateway, with limits on what comes before the
// handler: 10 s for a request's head of at most 16 KiB, a minute between two
// requests of one connection.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// backend answers from blocks. Files are read by fileReader, which holds one
// block where the library would fetch ten ahead for each request.
type backend struct {
	*gateway.BlocksBackend
	blocks Blocks
}

// Get implements gateway.IPFSBackend.
func (b *backend) Get(ctx context.Context, p path.ImmutablePath, ranges ...gateway.ByteRange) (gateway.ContentPathMetadata, *gateway.GetResponse, error) {
	md, n, err := b.file(ctx, p)
	if err != nil || n == nil {
		if err == nil {
			return b.BlocksBackend.Get(ctx, p, ranges...)
		}
		return md, nil, err
	}
	f := newFileReader(ctx, b.blocks, n)
	if len(ranges) > 0 {
		if err := f.skip(start(ranges[0], n.size())); err != nil {
			return md, nil, worded(md.LastSegment.RootCid(), err)
		}
	}
	return md, gateway.NewGetResponseFromReader(f, n.size()), nil
}

// Head implements gateway.IPFSBackend.
func (b *backend) Head(ctx context.Context, p path.ImmutablePath) (gateway.ContentPathMetadata, *gateway.HeadResponse, error) {
	md, n, err := b.file(ctx, p)
	if err != nil {
		return md, nil, err
	}
	if n == nil {
		return b.BlocksBackend.Head(ctx, p)
	}
	return md, gateway.NewHeadResponseForFile(newFileReader(ctx, b.blocks, n), n.size()), nil
}

// file is the UnixFS file at a path; nil when something else is there.
func (b *backend) file(ctx context.Context, p path.ImmutablePath) (gateway.ContentPathMetadata, *node, error) {
	md, err := b.ResolvePath(ctx, p)
	if err != nil {
		return md, nil, err
	}
	if codec := multicodec.Code(md.LastSegment.RootCid().Prefix().Codec); codec != multicodec.Raw && codec != multicodec.DagPb {
		return md, nil, nil
	}
	n, err := b.node(ctx, md)
	if err != nil || !n.isFile() {
		return md, nil, err
	}
	if n.data != nil {
		md.ModTime = n.data.ModTime()
	}
	return md, n, nil
}

// node is the block at the end of a resolved path.
func (b *backend) node(ctx context.Context, md gateway.ContentPathMetadata) (*node, error) {
	c := md.LastSegment.RootCid()
	n, err := readNode(ctx, b.blocks, c)
	return n, worded(c, err)
}

// worded puts an error of ours in the words of the library, which finds the
// status by them.
func worded(c cid.Cid, err error) error {
	if errors.Is(err, ErrUnixFS) {
		return gateway.NewErrorStatusCode(err, http.StatusUnprocessableEntity)
	}
	return absent(c, err)
}

// start is where a range begins in a file of size bytes; past the end it is the
// end, for which the library then finds the words.
func start(r gateway.ByteRange, size int64) int64 {
	from := r.From
	if from < 0 {
		from += size
	}
	return min(max(from, 0), size)
}

// noNames resolves no names: they would have to be asked from others.
type noNames struct{}

var (
	_ namesys.NameSystem = noNames{}

	errNames = gateway.NewErrorStatusCode(errors.New("names are not resolved here"), http.StatusNotImplemented)
)

// Resolve implements namesys.Resolver.
func (noNames) Resolve(context.Context, path.Path, ...namesys.ResolveOption) (namesys.Result, error) {
	return namesys.Result{}, errNames
}

// ResolveAsync implements namesys.Resolver.
func (noNames) ResolveAsync(context.Context, path.Path, ...namesys.ResolveOption) <-chan namesys.AsyncResult {
	one := make(chan namesys.AsyncResult, 1)
	one <- namesys.AsyncResult{Err: errNames}
	close(one)
	return one
}

// Publish implements namesys.Publisher.
func (noNames) Publish(context.Context, crypto.PrivKey, path.Path, ...namesys.PublishOption) error {
	return errNames
}

// immutable is the path of a request below /ipfs/, without a slash at its end.
func immutable(urlPath string) (path.ImmutablePath, error) {
	p, err := path.NewPath(strings.TrimSuffix(urlPath, "/"))
	if err != nil {
		return path.ImmutablePath{}, err
	}
	return path.NewImmutablePath(p)
}

// rootsOf is the value of X-Ipfs-Roots: the CIDs that a path passes.
func rootsOf(md gateway.ContentPathMetadata) string {
	var b strings.Builder
	for _, c := range append(append([]cid.Cid(nil), md.PathSegmentRoots...), md.LastSegment.RootCid()) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(c.String())
	}
	return b.String()
}
