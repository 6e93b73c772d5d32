// Package chaintest is a community in memory for tests of engines: real states
// and real blocks of package consensus, mined on demand by whoever's turn comes
// first, without a clock; and a network whose streams are buffers and break
// where a test wants.
//
// A World makes blocks; a Node is one account's view of it, with the methods of
// *chain.Chain; a Mesh joins Ports, with the methods of *transport.Host. All of
// them may be used from many goroutines at once.
package chaintest
