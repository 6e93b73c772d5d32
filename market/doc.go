// Package market counts what downloads cost: quotes, receipts, the meters of
// both sides, what is free, and what a payer is willing to spend.
//
// One price holds for an epoch (ST6); a payee asks 1 to 4 units a piece. A
// payer signs receipts that only grow: units to this payee, and wei to all
// payees of the epoch (ST8.1). A Purse never signs beyond the payer's lock; a
// Till never lets a payee serve beyond the window that the payer has earned.
// Two receipts that cannot both be honest are Evidence (ST8.3).
//
// The package is pure: time is an argument, signatures are made and checked by
// functions handed in, every record has a canonical form, so that the caller
// can make it durable before acting on it. A value belongs to one goroutine.
package market
