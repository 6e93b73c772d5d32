// Package settle holds the settlement of an epoch as filters over lines of text:
//
//	1J    joins claims per piece          farmerlog, buyerlog, verdicts -> rows of chunks
//	1S    selects and pays replicas       rows of chunks                -> {"id","s"}
//	1B    matches and nets bandwidth      bandwidthlog                  -> {"id","b"}
//	net   adds up the rows of an id       outputs of parallel reducers  -> the same rows
//	2     multiplies by the prices        {"id","s"}, {"id","b"}        -> {"id","s","b","t"}
//
// Each stage is a Map and a Reduce over streams, so that the same code runs in a
// shell pipe, in one process or on a cluster, with the same bytes as result. A
// Map writes one `key TAB value` line for each fact; between the two stands a
// sort by bytes (LC_ALL=C); a Reduce wants ascending keys, ignores the order
// inside a key and takes facts as sets where that is what they are.
//
// The package keeps no disk, clock or goroutine; a Stage may be used by many
// goroutines at once, each with its own streams. The source is document 003;
// spec/settlement.md and spec/lines.md say what each byte means.
package settle
