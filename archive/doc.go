// Package archive turns a folder into a dataset and back.
//
// A dataset is one ordinary .tar.gz that any tar unpacks and that can be read at
// random (spec/tgz.md): gzip members cut so that members of one file do not
// depend on other files, a table of contents and a footer at the end. The same
// folder gives the same bytes on every machine.
//
// Packing is three steps that a caller may run in one line (Pack) or spread over
// cores: a Planner walks the folder and says which members come next, a
// Compressor makes the bytes of one member, an Assembler joins members in order,
// cuts pieces (rule G6) and ranges (G7) and computes the roots (spec/index.md).
// Only the Assembler and the Planner need order; every worker owns a Compressor.
//
// Reading is a Reader over any io.ReaderAt, or Unpack over a stream. What an
// archive claims is never trusted: names are cleaned, sizes are bounded, links
// that lead out are refused and reported.
//
// The package reads only what it is handed, starts no goroutine and knows no
// clock. No type of it may be used by two goroutines at once, except a Reader,
// which does not change after Open.
package archive
