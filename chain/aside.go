package chain

import (
	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/types"
)

// keepAside is how many blocks of lesser forks stay in memory. They cost nothing
// until one of their descendants leads; then the way to it is judged.
const keepAside = 256

// aside holds blocks that were heard and not judged; the oldest leaves first.
type aside struct {
	byName map[cid.Cid]*types.Block
	order  []cid.Cid
}

func newAside() *aside { return &aside{byName: map[cid.Cid]*types.Block{}} }

func (a *aside) put(b *types.Block) {
	if a.byName[b.Name] != nil {
		return
	}
	a.byName[b.Name] = b
	if a.order = append(a.order, b.Name); len(a.order) > keepAside {
		delete(a.byName, a.order[0])
		a.order = a.order[1:]
	}
}
