// Package transport carries streams between accounts.
//
// A Host is one device on the network: TCP with Noise and QUIC, by go-libp2p,
// with the device key as the libp2p identity. Every stream begins in both
// directions with the device's certificate (rule K1), so that the other end of
// a Stream is a proven account and a proven device. Above that a stream sends
// length-prefixed frames or plain bytes.
//
// What a stranger may cost is bounded: bytes of a frame before it is read,
// streams of a peer, streams of a protocol, time without a word, peers, known
// addresses, bans. A bound that is full answers with a reset and a reason.
//
// A Host may be used from many goroutines at once; of a Stream, one may read
// while another writes. This is the only package that knows libp2p.
package transport
