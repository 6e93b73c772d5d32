// Package store keeps on one disk what a node holds: blocks of state, tables,
// pieces and replicas. spec/store.md describes the files.
//
// State and tables live in one embedded key-value store; a Batch puts nodes and
// rows down in one atomic, synced step. Pieces and replicas are records in
// append-only segment files, found through an index in the same key-value store.
//
// Promises: a write that was acknowledged survives kill -9 and, as far as the
// disk keeps its word, a power cut. Bytes are reserved under the quota before
// the first of them is written. A full or failing disk makes writes fail and
// leaves reads working. Reads never wait for writers or for compaction.
//
// All methods may be called at once from many goroutines, except those of Batch.
// After Close every call gives ErrClosed.
package store
