// Package swarm fetches and serves pieces over /staddle/pieces/1.
//
// A Swarm fetches pieces and blocks by their digests from several peers at
// once: a Plan, which is pure, says which piece to ask of which peer; each
// answer is checked by its SHA-256 before it counts; a wrong byte ends all
// dealings with the peer. A Server gives pieces, free or for receipts, after
// one deny check (P3), inside the limits of F1.
//
// Both keep what concerns money in a Ledger and write there before they act: a
// payer before a receipt leaves, a payee before it serves more for one. After
// a crash of either side nothing is paid twice.
//
// Swarm and Server may be used from many goroutines at once. Goroutines are
// started in fetch.go (one a peer) and visit.go (one reader a stream) only; who
// starts one waits for it.
package swarm
