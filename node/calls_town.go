package node

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/sponsor"
	"github.com/staddle/staddle/types"
)

func (n *Node) createCommunity(_ context.Context, q api.CreateRequest, _ *api.Out) (*api.Community, error) {
	g := &types.Genesis{Version: types.GenesisVersion, Name: q.Name, Symbol: q.Symbol, Time: clock(), Rules: types.SimMarket()}
	if q.Kind != types.Market.String() || q.Preset != types.Sim.String() {
		return nil, fmt.Errorf("a community of kind %q with preset %q: %w; today only --kind market --preset sim", q.Kind, q.Preset, ErrNotYet)
	}
	if len(q.Credits) == 0 {
		q.Credits = []api.Credit{{Account: n.Account().String(), Coins: types.Amount(types.MaxSupply).String()}}
	}
	var err error
	if g.Credits, err = credits(q.Credits); err != nil {
		return nil, err
	}
	if g.Deposits, err = credits(q.Deposits); err != nil {
		return nil, err
	}
	for _, c := range g.Credits {
		g.Members = append(g.Members, c.Account)
	}
	if _, err := n.Create(g); err != nil {
		return nil, err
	}
	return n.community()
}

func credits(list []api.Credit) ([]types.Credit, error) {
	out := make([]types.Credit, len(list))
	for i, c := range list {
		a, err := types.ParseAccount(c.Account)
		if err != nil {
			return nil, err
		}
		coins, err := types.ParseCoins(c.Coins)
		if err != nil {
			return nil, err
		}
		out[i] = types.Credit{Account: a, Amount: coins}
	}
	slices.SortFunc(out, func(a, b types.Credit) int { return bytes.Compare(a.Account[:], b.Account[:]) })
	return out, nil
}

func (n *Node) joinCommunity(ctx context.Context, q api.JoinRequest, _ *api.Out) (*api.Community, error) {
	inv, err := types.ParseInvite(q.Invite)
	if err != nil {
		return nil, err
	}
	if err := n.Join(ctx, inv); err != nil {
		return nil, err
	}
	return n.community()
}

func (n *Node) inviteOthers(context.Context, api.None, *api.Out) (*api.InviteResult, error) {
	inv, err := n.Invite()
	if err != nil {
		return nil, err
	}
	return &api.InviteResult{Invite: inv.String()}, nil
}

func (n *Node) enableHost(_ context.Context, q api.HostEnableRequest, _ *api.Out) (api.None, error) {
	if _, err := n.member(); err != nil {
		return api.None{}, err
	}
	var bond types.Amount
	if q.Bond != "" {
		var err error
		if bond, err = types.ParseCoins(q.Bond); err != nil {
			return api.None{}, err
		}
	}
	if err := n.affordDuties(bond); err != nil {
		return api.None{}, err
	}
	return api.None{}, n.setDuties(func(d *duties) {
		d.SpaceGiB, d.Encode, d.Bond = q.SpaceGiB, q.Encode, max(d.Bond, bond)
	})
}

// affordDuties refuses what the registration's fee and the bond would not let
// through: it would wait without a word.
func (n *Node) affordDuties(bond types.Amount) error {
	v, err := n.current().chain.View()
	if err != nil {
		return err
	}
	acc, err := v.Account(n.Account())
	if err != nil {
		return err
	}
	if more := bond - min(bond, acc.EncodeBond); acc.Balance <= more {
		return fmt.Errorf("a bond of %s more coins and the fee, the balance is %s: %w", more, acc.Balance, sponsor.ErrFunds)
	}
	return nil
}

// enableValidator wishes for a deposit; the registrar does the rest.
func (n *Node) enableValidator(_ context.Context, q api.ValidatorRequest, _ *api.Out) (api.None, error) {
	t, err := n.member()
	if err != nil {
		return api.None{}, err
	}
	coins, err := types.ParseCoins(q.Deposit)
	if err != nil {
		return api.None{}, err
	}
	v, err := t.chain.View()
	if err != nil {
		return api.None{}, err
	}
	acc, err := v.Account(n.Account())
	if err != nil {
		return api.None{}, err
	}
	switch more := coins - min(coins, acc.Deposit); {
	case coins < v.Rules.MinDeposit:
		return api.None{}, fmt.Errorf("deposit of %s coins below the minimum %s", coins, v.Rules.MinDeposit)
	case more >= acc.Balance:
		return api.None{}, fmt.Errorf("deposit of %s more coins and a fee, the balance is %s: %w", more, acc.Balance, sponsor.ErrFunds)
	}
	return api.None{}, n.setDuties(func(d *duties) { d.Deposit = coins })
}

func (n *Node) hostStatus(context.Context, api.None, *api.Out) (*api.HostStatus, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	h, err := v.Host(n.Account())
	if err != nil {
		return nil, err
	}
	d, err := n.duties()
	if err != nil {
		return nil, err
	}
	st := &api.HostStatus{
		State: h.State.String(), SpaceGiB: d.SpaceGiB, Pieces: h.Pieces, Good: h.Good, Failed: h.Failed, Missed: h.Missed,
		Proved: "none", Lots: []api.Lot{},
	}
	if h.Bundles > 0 {
		st.Proved = fmt.Sprint(h.Bundles - 1)
	}
	ids, err := v.Lots(n.Account())
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		l, err := v.Lot(id)
		if err != nil {
			return nil, err
		}
		st.Lots = append(st.Lots, lotOf(id, l))
	}
	return st, nil
}

func lotOf(id types.LotID, l *types.LotRecord) api.Lot {
	out := api.Lot{ID: id.String(), Status: l.Status.String(), Copy: l.Copy, Ranges: l.Count, Pieces: l.Pieces, Since: int64(l.Since)}
	if !l.Host.IsZero() {
		out.Host = l.Host.String()
	}
	return out
}

func (n *Node) balance(context.Context, api.None, *api.Out) (*api.BalanceResult, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	a, err := v.Account(n.Account())
	if err != nil {
		return nil, err
	}
	pending, err := t.pending(v)
	if err != nil {
		return nil, err
	}
	return &api.BalanceResult{
		Account: n.Account().String(), Balance: a.Balance.String(), Locked: a.Locked.String(),
		Bonds: (a.HostBond + a.EncodeBond + a.Deposit).String(), Pending: pending, Symbol: t.chain.Genesis().Symbol,
		Note: "bonds cannot be withdrawn yet: kind 14 is not active",
	}, nil
}

// pending sums this account's results that are accepted and not paid, in coins.
func (t *town) pending(v *consensus.View) (string, error) {
	g, err := v.Globals()
	if err != nil {
		return "", err
	}
	sum := new(big.Int)
	for e := g.Transfer; e <= v.Rules.EpochOf(v.Height()); e++ {
		rec, err := v.Epoch(e)
		if err != nil {
			return "", err
		}
		if rec.Collation == nil {
			continue
		}
		rows, err := v.ResultRows(rec.Collation)
		if err != nil {
			return "", err
		}
		for _, r := range rows {
			if r.Address == t.node.Account().Address() {
				sum.Add(sum, r.T)
			}
		}
	}
	base := new(big.Int).Quo(sum, big.NewInt(types.WeiPerBase))
	sign := ""
	if base.Sign() < 0 {
		sign = "-"
		base.Neg(base)
	}
	return sign + types.Amount(base.Uint64()).String(), nil
}

func (n *Node) send(ctx context.Context, q api.SendRequest, _ *api.Out) (*api.SendResult, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	to, err := types.ParseAccount(q.To)
	if err != nil {
		return nil, err
	}
	coins, err := types.ParseCoins(q.Coins)
	if err != nil {
		return nil, err
	}
	if err := t.afford(coins); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("wire/%d", clock())
	if err := t.chain.Submit(types.KindWire, &types.Wire{To: to, Amount: coins}, name); err != nil {
		return nil, err
	}
	id, height, err := t.chain.Await(ctx, name)
	if err != nil {
		return nil, err
	}
	return &api.SendResult{Tx: id.String(), Height: uint64(height)}, nil
}

// afford is sponsor.ErrFunds when this account has less.
func (t *town) afford(coins types.Amount) error {
	v, err := t.chain.View()
	if err != nil {
		return err
	}
	a, err := v.Account(t.node.Account())
	if err != nil {
		return err
	}
	if a.Balance < coins {
		return fmt.Errorf("send %s coins, the balance is %s: %w", coins, a.Balance, sponsor.ErrFunds)
	}
	return nil
}

func (n *Node) showEpoch(_ context.Context, q api.EpochRequest, _ *api.Out) (*api.Epoch, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	e, err := pickEpoch(v, q.Epoch)
	if err != nil {
		return nil, err
	}
	rec, err := v.Epoch(e)
	if err != nil {
		return nil, err
	}
	g, err := v.Globals()
	if err != nil {
		return nil, err
	}
	out := &api.Epoch{
		Epoch: uint64(e), Seconds: rec.Seconds, Signed: rec.Signed.String(), Deposits: g.Deposits.String(),
		Storage: fmt.Sprint(rec.Storage), Bandwidth: fmt.Sprint(rec.Bandwidth), Status: epochStatus(v, g, e, rec), Logs: t.logsDir(e),
	}
	if !rec.Beacon.IsZero() {
		out.Beacon = rec.Beacon.String()
	}
	if rec.Collation == nil {
		return out, nil
	}
	out.Result, out.Input = rec.Collation.Result.String(), rec.Collation.Input.String()
	rows, err := v.ResultRows(rec.Collation)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		out.Rows = append(out.Rows, api.EpochRow{Address: r.Address.String(), S: r.S, B: r.B, T: r.T.String()})
	}
	return out, nil
}

// epochStatus says how far an epoch is, in words. Finality votes are not active
// yet, so the most that can be said is "signed, not final".
func epochStatus(v *consensus.View, g *types.Globals, e types.Epoch, rec *types.EpochRecord) string {
	switch {
	case v.Height() < v.Rules.Checkpoint(e):
		return "running"
	case e < g.Transfer && rec.Collation != nil:
		return "signed, not final; paid"
	case e < g.Transfer:
		return "given up: no result was signed in time"
	case rec.Due != 0:
		return fmt.Sprintf("signed, not final; paying, %d of %d buckets", rec.Buckets, types.ResultBuckets)
	case rec.Collation != nil:
		return "signed, not final"
	}
	return "no result yet"
}

// pickEpoch gives the epoch asked for, or the newest with a result.
func pickEpoch(v *consensus.View, want *uint64) (types.Epoch, error) {
	now := v.Rules.EpochOf(v.Height())
	if want != nil {
		if types.Epoch(*want) > now {
			return 0, fmt.Errorf("epoch %d has not begun: this is epoch %d", *want, now)
		}
		return types.Epoch(*want), nil
	}
	for e := now; ; e-- {
		rec, err := v.Epoch(e)
		if err != nil {
			return 0, err
		}
		if rec.Collation != nil || e == 0 {
			return e, nil
		}
	}
}
