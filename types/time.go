package types

// Millis is Unix time in milliseconds, the only time in consensus (T1).
type Millis int64

// Height counts blocks from genesis, which has height 0.
type Height uint64

// Epoch is the ordinal of a settlement period; its last block is a checkpoint.
type Epoch uint64
