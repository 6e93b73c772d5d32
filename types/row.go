package types

// Row is one row of a local table, for a batch; a nil value deletes it.
type Row struct {
	Table, Key string
	Value      []byte
}
