//go:build deps

package staddle

import (
	_ "filippo.io/edwards25519"
	_ "filippo.io/bigmod"
	_ "github.com/cockroachdb/pebble/v2"
	_ "github.com/containerd/stargz-snapshotter/estargz"
	_ "github.com/filecoin-project/go-hamt-ipld/v3"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/ipfs/boxo/ipld/unixfs"
	_ "github.com/ipfs/boxo/ipld/unixfs/io"
	_ "github.com/ipfs/boxo/ipld/merkledag"
	_ "github.com/ipfs/boxo/blockservice"
	_ "github.com/ipfs/boxo/blockstore"
	_ "github.com/ipfs/boxo/exchange/offline"
	_ "github.com/ipfs/go-datastore"
	_ "github.com/ipfs/go-ipld-cbor"
	_ "github.com/klauspost/compress/gzip"
	_ "github.com/libp2p/go-libp2p"
	_ "github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	_ "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "github.com/whyrusleeping/cbor-gen"
	_ "go.uber.org/goleak"
	_ "golang.org/x/term"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/time/rate"
	_ "pgregory.net/rapid"
	_ "golang.org/x/crypto/hkdf"
	_ "github.com/danielgtaylor/huma/v2"
)
