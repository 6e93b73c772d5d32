// Package api is an edge with one import.
package api

import (
	_ "net/http"

	_ "example.org/planted/chain" // want: import
	_ "example.org/planted/types"
)
