// Package host is an engine that takes what it should be handed.
package host

import (
	_ "example.org/planted/chain" // want: import
	_ "example.org/planted/store" // want: import
	_ "example.org/planted/types"

	_ "github.com/ipfs/go-cid"
)
