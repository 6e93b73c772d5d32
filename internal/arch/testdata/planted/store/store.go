// Package store is an adapter that knows too much.
package store

import (
	"os"
	"sync"

	_ "example.org/planted/chain" // want: import
	"example.org/planted/types"

	_ "github.com/cockroachdb/pebble/v2/sstable"
	_ "github.com/libp2p/go-libp2p" // want: vendor
)

// Open waits, as adapters do, and ranges over maps.
func Open(mu *sync.Mutex, m map[types.ID]*os.File) {
	for range m {
		go mu.Lock()
	}
}
