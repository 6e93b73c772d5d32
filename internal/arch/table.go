package arch

// Layer is the place of a package in the order of the tree.
type Layer string

// The layers, from the leaves to the programs.
const (
	Pure    Layer = "pure"    // computes on what it is handed, never waits
	Adapter Layer = "adapter" // owns a disk, a socket, a foreign program
	Engine  Layer = "engine"  // does one job of a node, over interfaces it declares
	Wiring  Layer = "wiring"  // opens adapters and joins engines
	Edge    Layer = "edge"    // faces people, strangers and simulations
	Inside  Layer = "inside"  // tests and tools of the project itself
)

// Entry says what one package may use.
type Entry struct {
	Layer   Layer
	May     []string // our packages; "*" is every one
	Modules []string // import path prefixes of other people's code
}

// Laws is what Imports and Exact hold a tree to.
type Laws struct {
	Table map[string]Entry
	// Everywhere are modules that any package may use.
	Everywhere []string
	// Waiting are the standard packages that a pure package may not import;
	// "net/..." stands for net and all below it.
	Waiting []string
	// MayWait excepts one standard package for one pure package.
	MayWait map[string]string
}

// everything is the list of imports of packages that join others.
var everything = []string{"*"}

// Import paths that several entries share.
const (
	libp2p      = "github.com/libp2p"
	multiformat = "github.com/multiformats"
	xSync       = "golang.org/x/sync"
	xTime       = "golang.org/x/time"
	xCrypto     = "golang.org/x/crypto"
	edwards     = "filippo.io/edwards25519"
	minio       = "github.com/minio/minio-go/v7"
)

// Staddle is the import table of this module. A new package, or a new edge
// between two, begins with a line here and in ARCHITECTURE.md.
var Staddle = Laws{
	Everywhere: []string{"github.com/ipfs/go-cid", "github.com/multiformats/go-multihash"},
	Waiting: []string{
		"context", "sync/...", "net/...", "os/...", "time", "log/...",
		"math/rand/...", "crypto/rand", "syscall",
	},
	MayWait: map[string]string{"trie": "context"},
	Table: map[string]Entry{
		"types": {Layer: Pure, Modules: []string{"github.com/whyrusleeping/cbor-gen"}},
		"keys": {
			Layer: Pure, May: []string{"types"},
			Modules: []string{edwards, "github.com/oasisprotocol/curve25519-voi", xCrypto},
		},
		"trie": {
			Layer: Pure, May: []string{"types"},
			Modules: []string{
				"github.com/filecoin-project/go-hamt-ipld/v3", "github.com/ipfs/go-ipld-cbor",
				"github.com/ipfs/go-block-format", "github.com/ipfs/go-ipld-format", "github.com/whyrusleeping/cbor-gen",
			},
		},
		"draw": {Layer: Pure, May: []string{"types"}, Modules: []string{edwards}},
		"archive": {
			Layer: Pure, May: []string{"types", "trie"},
			Modules: []string{
				"github.com/klauspost/compress", "github.com/ipfs/boxo", "github.com/ipfs/go-block-format",
				"github.com/ipfs/go-ipld-format", xCrypto,
			},
		},
		"replica":   {Layer: Pure, May: []string{"types"}, Modules: []string{"filippo.io/bigmod"}},
		"market":    {Layer: Pure, May: []string{"types"}},
		"deny":      {Layer: Pure, May: []string{"types"}},
		"settle":    {Layer: Pure, May: []string{"types", "draw"}},
		"consensus": {Layer: Pure, May: []string{"types", "keys", "trie", "draw", "replica", "market"}},
		"lines":     {Layer: Pure, May: []string{"types", "settle", "consensus"}},

		"store": {
			Layer: Adapter, May: []string{"types", "trie", "store/bucket"},
			Modules: []string{"github.com/cockroachdb/pebble/v2", xSync, "golang.org/x/sys"},
		},
		"store/bucket": {Layer: Adapter, Modules: []string{minio}},
		"transport":    {Layer: Adapter, May: []string{"types", "keys"}, Modules: []string{libp2p, multiformat, xSync, xTime}},
		"dht":          {Layer: Adapter, May: []string{"types", "keys", "dht/bencode"}, Modules: []string{xSync, xTime}},
		"dht/bencode":  {Layer: Adapter},
		"ipfs": {
			Layer: Adapter, May: []string{"types"},
			Modules: []string{libp2p, multiformat, "github.com/ipfs", "github.com/ipld", xSync},
		},
		"cluster": {Layer: Adapter, May: []string{"types", "settle"}, Modules: []string{xSync}},

		"chain":   {Layer: Engine, May: []string{"types", "keys", "trie", "consensus", "draw"}, Modules: []string{xSync}},
		"library": {Layer: Engine, May: []string{"types", "archive", "keys", "trie"}, Modules: []string{xSync}},
		"swarm":   {Layer: Engine, May: []string{"types", "archive", "market", "keys", "trie", "consensus"}, Modules: []string{xSync, xTime}},
		"sponsor": {
			Layer: Engine, May: []string{"types", "market", "replica", "keys", "draw", "archive", "trie", "consensus"},
			Modules: []string{xSync},
		},
		"host": {
			Layer: Engine, May: []string{"types", "keys", "replica", "draw", "archive", "trie", "consensus"},
			Modules: []string{xSync},
		},
		"validate": {
			Layer: Engine, May: []string{"types", "settle", "draw", "replica", "market", "keys", "consensus", "lines"},
			Modules: []string{xSync},
		},
		"logbook": {Layer: Engine, May: []string{"types", "settle", "keys", "replica", "consensus", "lines"}, Modules: []string{xSync}},
		"chat":    {Layer: Engine, May: []string{"types", "keys"}, Modules: []string{xSync}},
		"index":   {Layer: Engine, May: []string{"types"}, Modules: []string{xSync}},

		"node": {Layer: Wiring, May: everything, Modules: []string{xSync}},

		"api":         {Layer: Edge, May: []string{"types"}, Modules: []string{"github.com/danielgtaylor/huma/v2"}},
		"gateway":     {Layer: Edge, May: []string{"types", "settle", "keys", "replica", "consensus", "lines"}, Modules: []string{xSync, xTime}},
		"play":        {Layer: Edge, May: []string{"types", "archive"}},
		"sim":         {Layer: Edge, May: everything, Modules: []string{xSync}},
		"cmd/staddle": {Layer: Edge, May: everything, Modules: []string{"github.com/spf13", "golang.org/x/term", xSync}},

		"internal/*":      {Layer: Inside, May: everything},
		"store/storetest": {Layer: Inside, May: everything, Modules: []string{"github.com/google/go-cmp"}}, // the conformance suite of stores
	},
}

// homes are modules that must stay in the packages named, so that they can be
// replaced by changing those only.
var homes = map[string][]string{
	libp2p:                             {"ipfs", "transport"},
	"github.com/cockroachdb/pebble/v2": {"store"},
	minio:                              {"store/bucket"},
	"github.com/spf13":                 {"cmd/staddle"},
	"github.com/danielgtaylor/huma/v2": {"api"},
}
