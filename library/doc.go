// Package library publishes folders as datasets, fetches them back, lists, reads
// and verifies them.
//
// What it keeps lies in a store: pieces under an owner, blocks of the index, the
// ranges and the UnixFS file, and a row for each dataset (spec/library.md). What
// is not there comes from a Source and is checked before it counts: pieces and
// blocks by their hash, so that a source can waste time but not change a byte.
//
// Every job may be stopped or killed at any moment and repeated: pieces are
// durable before the blocks that name them, those before the row, and what a
// stopped job has stored is used by the next. There is no other journal.
//
// All methods of a Library may be called at once from many goroutines. A job
// starts goroutines of its own and waits for them.
package library
