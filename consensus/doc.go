// Package consensus says which state follows which: one file a kind of
// transaction, proof of transaction, drawing, repair and the payment of epochs.
//
// It is pure. Apply gets a source of state blocks, the name of the parent and a
// block, and gives the new nodes and the events, or an error: *types.Missing
// when a block of the state is not held here (fetch it and call again), *Invalid
// when the rules refuse. There is no clock: times stand in headers. Nothing is
// written; the caller stores the nodes and the tip in one batch.
//
// Order within a block: header against parent, transactions in the given order,
// coinbase, beacon, what is due at this height, payments, end of an epoch, fee
// factor. The state's root after that is header.State; the header is then set
// under "contract", and the root after that is the block's name (S4).
//
// A View or a state belongs to one goroutine; the functions of the package may
// be called at once from many.
package consensus
