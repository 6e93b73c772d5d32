// Package host keeps replicas for others and encodes replicas for other hosts.
//
// An attempt of a lot has a pure machine ([Attempt]): what the chain says of
// the lot and what the work came to go in, what to do next comes out. One
// goroutine ([Host.Run]) owns all machines; it looks at every lot that concerns
// the account whenever the tip of the chain changes, and what the record says
// then decides, never an event alone. So a draw that a reorganisation took back
// just stops, and late reports change nothing: work is named by its attempt.
//
// Bytes flow beside the machines: as a host from streams of encoders
// ("/staddle/replica/1") or, without an encoding, from whoever has the pieces;
// as an encoder from there through the [Pool] to the host. Once an epoch the
// host shows leaves of what it keeps, in a bundle that drawn checkers sign.
//
// Everything exported may be called from many goroutines at once, but for
// Attempt, which belongs to one.
package host
