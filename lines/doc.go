// Package lines derives an epoch's settlement logs from states of the chain
// (rule ST2): what a host claims, what a sponsor pays for, what the validators
// say of a claim, and both sides of every receipt. A node prints the lines that
// it derives, readers derive the same ones, and only exceptions travel.
//
// Equal states give equal bytes on every machine. Lines of a log ascend by their
// bytes and none is there twice. The package keeps nothing between calls; a
// Source belongs to one goroutine, because its views do.
package lines
