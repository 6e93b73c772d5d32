// Package play lets players on this machine read files of datasets over HTTP:
// GET and HEAD with ranges on a loopback address, listings of directories. What
// is not held here is fetched while it is read, and only what is asked for.
//
// A path is /ROOT/path or /NAME/path: the root of a dataset, or the name of one
// that is held here. What stands under a root never changes and may be cached
// for ever.
//
// Only programs of this machine are answered, and only pages that come from here:
// requests with another Host (DNS rebinding) or from another site are refused.
// The number of requests at work is bounded, so memory is; a client that takes
// nothing for two minutes is let go.
package play
