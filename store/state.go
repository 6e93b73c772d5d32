package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// Limits of state.
const (
	MaxNode  = 2 << 20 // bytes of a block
	MaxTable = 64      // bytes of a table's name
	MaxKey   = 1024    // bytes of a row's key
	MaxRow   = 4 << 20 // bytes of a row's value
)

// First bytes of the keys of the key-value store.
const (
	prefixNode      = 'n'
	prefixTable     = 't'
	prefixIndex     = 'i'
	prefixOwned     = 'o'
	prefixSegment   = 's'
	prefixReleasing = 'z'
	prefixFile      = 'f'
	prefixDisk      = 'd'
)

func nodeKey(c cid.Cid) ([]byte, error) {
	b := c.Bytes()
	if _, err := types.ParseCIDBytes(b); err != nil {
		return nil, err
	}
	return append([]byte{prefixNode}, b...), nil
}

func rowKey(table, key string) []byte {
	b := append([]byte{prefixTable, byte(len(table))}, table...)
	return append(b, key...)
}

func checkTable(table string) error {
	if len(table) == 0 || len(table) > MaxTable {
		return fmt.Errorf("table name of %d bytes, want 1 to %d", len(table), MaxTable)
	}
	return nil
}

// lookup reads a key of the key-value store; nil, nil when it is absent.
func lookup(r pebble.Reader, key []byte) ([]byte, error) {
	v, done, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, done.Close()
}

// Node gives the block c after checking its hash. Errors: *types.Missing,
// ErrCorrupt.
func (s *Store) Node(c cid.Cid) ([]byte, error) {
	if err := s.gate.enter(); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	key, err := nodeKey(c)
	if err != nil {
		return nil, fmt.Errorf("read block: %w", err)
	}
	b, err := lookup(s.db, key)
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	if b == nil {
		return nil, &types.Missing{CID: c}
	}
	if !hashes(c, b) {
		return nil, &CorruptError{What: "block", Key: types.Digest(c), Reason: fmt.Sprintf("%d bytes have another hash", len(b))}
	}
	return b, nil
}

func hashes(c cid.Cid, b []byte) bool { return types.Digest(c) == types.Digest(types.RawCID(b)) }

// HasNode reports whether the block c is held.
func (s *Store) HasNode(c cid.Cid) (bool, error) {
	if err := s.gate.enter(); err != nil {
		return false, err
	}
	defer s.gate.leave()
	key, err := nodeKey(c)
	if err != nil {
		return false, fmt.Errorf("look for block: %w", err)
	}
	b, err := lookup(s.db, key)
	return b != nil, err
}

// Get gives the value of a row, and whether there is one.
func (s *Store) Get(table, key string) ([]byte, bool, error) {
	if err := s.gate.enter(); err != nil {
		return nil, false, err
	}
	defer s.gate.leave()
	if err := checkTable(table); err != nil {
		return nil, false, err
	}
	v, err := lookup(s.db, rowKey(table, key))
	return v, v != nil, err
}

// Scan calls fn with the rows of table whose keys begin with prefix and are not
// below from, in the order of the keys. It sees the table as it was when it
// began; fn may write. An error of fn ends the scan and is given back as it is.
func (s *Store) Scan(table, prefix, from string, fn func(key string, value []byte) error) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := checkTable(table); err != nil {
		return err
	}
	head := len(rowKey(table, ""))
	return scan(s.db, rowKey(table, prefix), rowKey(table, max(prefix, from)), func(k, v []byte) error {
		return fn(string(k[head:]), bytes.Clone(v))
	})
}

// scan walks the keys with a prefix, starting at from; k and v live until fn
// returns.
func scan(r pebble.Reader, prefix, from []byte, fn func(k, v []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			_ = it.Close() // repeats read errors at most; fn's error is the answer
			return err
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	return nil
}

// after is the least key that is above every key with the prefix.
func after(prefix []byte) []byte {
	out := slices.Clone(prefix)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out[:i+1]
		}
	}
	return nil
}

// Batch collects blocks and rows that Commit puts down together or not at all.
// The first error sticks and comes out of Commit. A Batch belongs to one
// goroutine and is used once.
type Batch struct {
	s   *Store
	ops []op
	err error
}

type op struct{ key, value []byte } // value nil: delete

// Batch begins a batch.
func (s *Store) Batch() *Batch { return &Batch{s: s} }

func (b *Batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// PutNode adds a block; its bytes must have its hash and not change until Commit.
func (b *Batch) PutNode(n types.Node) {
	key, err := nodeKey(n.CID)
	switch {
	case err != nil:
		b.fail(fmt.Errorf("put block: %w", err))
	case len(n.Bytes) > MaxNode:
		b.fail(fmt.Errorf("put block %s: %d bytes above limit %d", n.CID, len(n.Bytes), MaxNode))
	case !hashes(n.CID, n.Bytes):
		b.fail(fmt.Errorf("put block %s: its %d bytes have another hash", n.CID, len(n.Bytes)))
	default:
		b.ops = append(b.ops, op{key, n.Bytes})
	}
}

// Set puts a row. The value must not change until Commit.
func (b *Batch) Set(table, key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	if len(value) > MaxRow {
		b.fail(fmt.Errorf("set %s: value of %d bytes above limit %d", table, len(value), MaxRow))
		return
	}
	b.row(table, key, value)
}

// Delete removes a row; an absent one is no error.
func (b *Batch) Delete(table, key string) { b.row(table, key, nil) }

func (b *Batch) row(table, key string, value []byte) {
	if err := checkTable(table); err != nil {
		b.fail(err)
		return
	}
	if len(key) > MaxKey {
		b.fail(fmt.Errorf("table %s: key of %d bytes above limit %d", table, len(key), MaxKey))
		return
	}
	b.ops = append(b.ops, op{rowKey(table, key), value})
}

// Commit makes everything durable in one step, in the order given. After an
// error nothing was written. Errors: ErrDiskFull, ErrClosed, what the batch
// refused.
func (b *Batch) Commit() error {
	if b.err != nil {
		return fmt.Errorf("commit: %w", b.err)
	}
	if err := b.s.gate.enter(); err != nil {
		return err
	}
	defer b.s.gate.leave()
	if err := b.s.records().room.floor("commit"); err != nil {
		return err
	}
	pb := b.s.db.NewBatch()
	for _, o := range b.ops {
		if err := apply(pb, o); err != nil {
			return fmt.Errorf("commit: %w", errors.Join(err, pb.Close()))
		}
	}
	if err := pb.Commit(pebble.Sync); err != nil {
		return diskError("commit", b.s.dir, err)
	}
	b.ops, b.err = nil, errors.New("batch was committed before")
	return pb.Close()
}

func apply(pb *pebble.Batch, o op) error {
	if o.value == nil {
		return pb.Delete(o.key, nil)
	}
	return pb.Set(o.key, o.value, nil)
}
