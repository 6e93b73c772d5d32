// Package draw holds every random choice on which machines must agree: the
// beacon of the chain and the proof behind it, the time a miner must wait, who
// is drawn for a lot, and which leaves a host must show.
//
// Order of use: a miner proves [Alpha] with [Prove], everybody checks it with
// [Verify] and mixes the output into the beacon ([Mix]) and the next generation
// signature ([NextGensig]); [Hit] is the miner's luck. [Pick] draws accounts by
// weight from a beacon, [Samples] and [RotationLeaf] draw the leaves of an audit.
//
// All functions are exact in integers, pure, and may be called at once from
// many goroutines.
package draw
