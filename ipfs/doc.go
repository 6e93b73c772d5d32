// Package ipfs speaks the protocols of the IPFS world over blocks that it is
// handed: CAR files, the HTTP gateways, bitswap and graphsync. spec/ipfs.md
// lists what of each is spoken and where the bounds lie.
//
// The package owns no store and no host. Who wires it hands in Blocks, wraps
// what faces strangers in Public, which asks a policy before every block, and
// lends the libp2p host that bitswap and graphsync speak through.
//
// All functions and methods may be called at once from many goroutines. Every
// block that comes from outside is checked against its CID before anything else
// sees it.
package ipfs
