package host

import (
	"github.com/staddle/staddle/chain"
	"github.com/staddle/staddle/store"
)

// What a node hands to a Host fits.
var (
	_ Chain    = (*chain.Chain)(nil)
	_ Queue    = (*chain.Chain)(nil)
	_ Table    = (*store.Store)(nil)
	_ Replicas = (*store.Replicas)(nil)
	_ Room     = (*store.LotReservation)(nil)
)
