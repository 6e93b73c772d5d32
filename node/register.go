package node

import (
	"bytes"
	"context"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/types"
)

// duties are what this node was told to offer; the registrar brings the
// community's registry in line with it (kind 3) and the bonds (kind 13).
type duties struct {
	SpaceGiB uint32
	Encode   bool
	Bond     types.Amount // as an encoder
	Sponsor  bool
	Deposit  types.Amount // as a validator
}

// EncodeTo appends the tuple.
func (d *duties) EncodeTo(e *types.Encoder) {
	e.Array(5)
	e.Uint(uint64(d.SpaceGiB))
	e.Bool(d.Encode)
	e.Uint(uint64(d.Bond))
	e.Bool(d.Sponsor)
	e.Uint(uint64(d.Deposit))
}

// DecodeFrom reads the tuple.
func (d *duties) DecodeFrom(dec *types.Decoder) {
	dec.Tuple(5)
	d.SpaceGiB = dec.Uint32()
	d.Encode = dec.Bool()
	d.Bond = dec.Amount()
	d.Sponsor = dec.Bool()
	d.Deposit = dec.Amount()
}

const rowDuties = "duties"

func (n *Node) duties() (*duties, error) {
	raw, ok, err := n.store.Get(table, rowDuties)
	if err != nil || !ok {
		return new(duties), err
	}
	d := new(duties)
	return d, types.Unmarshal(raw, d)
}

// setDuties changes what is offered; the registrar does the rest.
func (n *Node) setDuties(fn func(*duties)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, err := n.duties()
	if err != nil {
		return err
	}
	fn(d)
	row := types.Row{Table: table, Key: rowDuties, Value: types.Marshal(d)}
	if err := n.store.Save(nil, []types.Row{row}); err != nil {
		return err
	}
	select {
	case n.nudge <- struct{}{}:
	default: // it looks soon anyway
	}
	return nil
}

// registrar keeps the registry and the bonds in line with the duties.
func (t *town) registrar(ctx context.Context) error {
	changed, stop := t.chain.Watch()
	defer stop()
	for {
		if err := t.register(); err != nil {
			t.node.report("registry: %v", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-t.node.nudge:
		}
	}
}

func (t *town) register() error {
	v, err := t.chain.View()
	if err != nil {
		return err
	}
	d, err := t.node.duties()
	if err != nil {
		return err
	}
	acc, err := v.Account(t.node.Account())
	if err != nil {
		return err
	}
	if d.Bond > acc.EncodeBond {
		body := &types.Deposit{Role: types.RoleEncoder, Amount: d.Bond - acc.EncodeBond}
		if err := t.chain.Submit(types.KindDeposit, body, "bond/encoder"); err != nil {
			return fmt.Errorf("bond: %w", err)
		}
	}
	if d.Deposit > acc.Deposit {
		body := &types.Deposit{Role: types.RoleValidator, Amount: d.Deposit - acc.Deposit}
		if err := t.chain.Submit(types.KindDeposit, body, "deposit/validator"); err != nil {
			return fmt.Errorf("deposit: %w", err)
		}
	}
	if err := t.comeBack(v, d); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return t.enroll(v, d, acc)
}

// comeBack says that a suspended host is back. One that keeps lots says so by its
// next bundle; one that lost them all has nothing to show.
func (t *town) comeBack(v *consensus.View, d *duties) error {
	h, err := v.Host(t.node.Account())
	if err != nil || h.State != types.HostSuspended || d.SpaceGiB == 0 && !d.Encode {
		return err
	}
	lots, err := v.Lots(t.node.Account())
	if err != nil || len(lots) > 0 {
		return err
	}
	return t.chain.Submit(types.KindDuty, &types.Duty{Action: types.DutyResume}, fmt.Sprintf("resume/%d", v.Epochal()))
}

func (t *town) enroll(v *consensus.View, d *duties, acc *types.AccountRecord) error {
	want := t.wanted(v, d, acc)
	have, err := v.Registry(t.node.Account())
	if err != nil {
		return err
	}
	if have == nil && want.Roles == 0 || have != nil && bytes.Equal(types.Marshal(&have.Register), types.Marshal(want)) {
		return nil
	}
	sum := types.H("staddle/register/1", types.Marshal(want))
	if err := t.chain.Submit(types.KindRegister, want, "register/"+sum.Short()); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

func (t *town) wanted(v *consensus.View, d *duties, acc *types.AccountRecord) *types.Register {
	r := &types.Register{
		Device: t.node.id.Device.ID(), Endpoints: limit(t.node.Addrs(), types.MaxEndpoints), Gateway: t.gatewayAddr(),
		FreeGiB: d.SpaceGiB, TargetStorage: new(big.Int), TargetBandwidth: new(big.Int),
		Recovery: acc.Recovery, Payout: acc.Payout, SpendLimit: acc.SpendLimit,
	}
	for _, role := range []struct {
		on  bool
		bit types.Roles
	}{
		{d.SpaceGiB > 0, types.RoleHost},
		{d.Encode, types.RoleEncoder},
		{d.Sponsor, types.RoleSponsor},
		{acc.Deposit >= v.Rules.MinDeposit, types.RoleValidator},
	} {
		if role.on {
			r.Roles |= role.bit
		}
	}
	if r.Roles&(types.RoleHost|types.RoleEncoder) != 0 {
		r.Encodings = 1<<0 | 1<<1 // plain and rsa-chain
	}
	return r
}
