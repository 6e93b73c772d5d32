// Package dht keeps small signed items in a distributed hash table: the KRPC
// protocol of BitTorrent (BEP 5) with mutable and immutable items (BEP 44), so
// that nodes of a community find each other and the tip of their chain without
// a server. A network is private by its Tag, or the public one.
//
// A Node owns a socket and two goroutines; all its methods may be called at
// once. Everything below it (core) is a machine without clock, socket or
// goroutine: packets and moments go in, packets and results come out.
//
// What a stranger can cost is bounded: packets a second for each IP and /24
// before they are decoded, bytes and items stored for each /24 and in all,
// queries under way, candidates of a lookup, tokens and addresses remembered.
// Nothing that a packet holds makes the engine panic, and no answer counts
// whose sender is not the one that was asked.
package dht
