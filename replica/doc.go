// Package replica makes and checks the bytes that only one host can hold: the
// encodings of pieces, the Merkle trees over them, the proofs of an audit, and
// the secrets by which a buyer tests the original bytes (SMASH, CRASH).
//
// From a piece to a lot: an [Encoding] turns a piece into replica bytes in
// leaves of 1 KiB; [PieceRoot] hashes one piece; [Slots] collects the pieces of
// a range in any order; an [Entry] is one range of a lot, and [LotTree] gives
// their root on chain. From a lot to a proof:
// [ClaimTree] lays a host's lots end to end, a [Bundle] answers the leaves that
// were drawn, [Question.Check] judges it.
//
// Everything here is pure. Values are not locked: many goroutines may encode
// and decode at once with one [Key] or [Modulus], which they only read, while
// [Slots], [Tree] and [Stream] belong to one goroutine.
package replica
