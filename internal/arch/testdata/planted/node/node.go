// Package node joins.
package node

import (
	_ "example.org/planted/chain"
	_ "example.org/planted/host"
	_ "example.org/planted/store"
)
