package gateway

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/staddle/staddle/types"
)

// errFull is what a memory journal says when it holds all that it may.
var errFull = errors.New("journal is full")

// memoryRows bounds a memory journal.
const memoryRows = 1 << 14

// memory is a Journal that forgets with the process.
type memory struct {
	mu   sync.Mutex
	rows map[string][]byte
}

func newMemory() *memory { return &memory{rows: map[string][]byte{}} }

// Get implements Journal.
func (m *memory) Get(_, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.rows[key]
	return v, ok, nil
}

// Scan implements Journal.
func (m *memory) Scan(_, prefix, from string, fn func(key string, value []byte) error) error {
	m.mu.Lock()
	list := slices.Sorted(maps.Keys(m.rows))
	m.mu.Unlock()
	for _, key := range list {
		if !strings.HasPrefix(key, prefix) || key < from {
			continue
		}
		v, ok, err := m.Get("", key)
		if err != nil || !ok {
			continue
		}
		if err := fn(key, v); err != nil {
			return err
		}
	}
	return nil
}

// Save implements Journal.
func (m *memory) Save(_ []types.Node, rows []types.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rows {
		switch {
		case r.Value == nil:
			delete(m.rows, r.Key)
		case len(m.rows) >= memoryRows:
			return errFull
		default:
			m.rows[r.Key] = r.Value
		}
	}
	return nil
}
