package gateway

import (
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// people is who may come in, read from the state and kept until it changes.
type people struct {
	chain Chain
	owner types.Account

	mu        sync.Mutex
	tip       cid.Cid
	devices   map[types.Device]types.Account // of the registered validators and of the owner
	committee map[cid.Cid][]types.Account    // by frozen state
}

// account is who a device acts for (K2). Error: ErrStranger.
func (p *people) account(d types.Device) (types.Account, error) {
	v, err := p.chain.View()
	if err != nil {
		return types.Account{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tip != v.Root() {
		if p.devices, err = registered(v, p.owner); err != nil {
			return types.Account{}, fmt.Errorf("read registry: %w", err)
		}
		p.tip = v.Root()
	}
	a, ok := p.devices[d]
	if !ok {
		return types.Account{}, fmt.Errorf("%w: %s", ErrStranger, d)
	}
	return a, nil
}

func registered(v *consensus.View, owner types.Account) (map[types.Device]types.Account, error) {
	list, err := v.Role(types.RoleValidator)
	if err != nil {
		return nil, err
	}
	out := make(map[types.Device]types.Account, len(list)+1)
	for _, a := range append(list, owner) {
		reg, err := v.Registry(a)
		if err != nil {
			return nil, err
		}
		if reg != nil && !reg.Register.Device.IsZero() {
			out[reg.Register.Device] = a
		}
	}
	return out, nil
}

// maxCommittees bounds what is kept: one an epoch that can be asked for.
const maxCommittees = keep + 4

// validates reports whether an account is one of the validators whose deposits
// count in a state.
func (p *people) validates(v *consensus.View, a types.Account) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, ok := p.committee[v.Root()]
	if !ok {
		credits, _, err := v.Committee()
		if err != nil {
			return false, fmt.Errorf("read validators: %w", err)
		}
		for _, c := range credits {
			list = append(list, c.Account)
		}
		if p.committee == nil || len(p.committee) >= maxCommittees {
			p.committee = map[cid.Cid][]types.Account{}
		}
		p.committee[v.Root()] = list
	}
	return slices.Contains(list, a), nil
}

// keep is for how many epochs after its own an epoch can be asked about (ST3).
const keep = 8

// epochAt finds the closed epoch whose checkpoint has that time, the newest if
// two share a second. false: not known, or too long ago.
func epochAt(v *consensus.View, seconds uint64) (types.Epoch, bool, error) {
	running := v.Epochal()
	for back := types.Epoch(1); back <= keep+1 && back <= running; back++ {
		rec, err := v.Epoch(running - back)
		if err != nil {
			return 0, false, fmt.Errorf("read epoch %d: %w", running-back, err)
		}
		if rec.Seconds == seconds {
			return running - back, true, nil
		}
	}
	return 0, false, nil
}
