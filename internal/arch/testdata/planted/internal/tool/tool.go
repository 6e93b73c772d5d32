// Package tool stands under the wildcard.
package tool

import (
	_ "example.org/planted/node"

	_ "github.com/libp2p/go-libp2p" // want: vendor
)
