// Package trie may import context, and nothing else that waits.
package trie

import (
	"context"
	"sync" // want: purity

	"example.org/planted/types"
)

// Get uses all.
func Get(ctx context.Context, mu *sync.Mutex, id types.ID) error { return ctx.Err() }
