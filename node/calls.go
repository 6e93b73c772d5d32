package node

import (
	"context"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/types"
)

// Calls makes the daemon's calls known to a server. stop ends the daemon.
func (n *Node) Calls(s *api.Server, version string, stop func()) {
	api.Handle(s, api.CallStatus, func(context.Context, api.None, *api.Out) (*api.Status, error) { return n.status(version) })
	api.Handle(s, api.CallStop, func(context.Context, api.None, *api.Out) (api.None, error) {
		stop()
		return api.None{}, nil
	})
	api.Handle(s, api.CallPut, n.put)
	api.Handle(s, api.CallGet, n.get)
	api.Handle(s, api.CallList, n.list)
	api.HandleBytes(s, api.CallCat, n.cat)
	api.HandleBytes(s, api.CallArchive, n.archive)
	api.Handle(s, api.CallStat, n.stat)
	api.Handle(s, api.CallLink, n.link)
	api.Handle(s, api.CallDeny, n.denyCall)
	api.Handle(s, api.CallExport, n.exportTo)
	api.Handle(s, api.CallImport, n.importFrom)
	api.Handle(s, api.CallPlay, n.play)
	api.Handle(s, api.CallVerify, n.verify)
	api.Handle(s, api.CallProve, n.prove)
	api.Handle(s, api.CallCommunityCreate, n.createCommunity)
	api.Handle(s, api.CallCommunityJoin, n.joinCommunity)
	api.Handle(s, api.CallCommunityInfo, func(context.Context, api.None, *api.Out) (*api.Community, error) { return n.community() })
	api.Handle(s, api.CallCommunityInvite, n.inviteOthers)
	api.Handle(s, api.CallHostEnable, n.enableHost)
	api.Handle(s, api.CallHostStatus, n.hostStatus)
	api.Handle(s, api.CallValidator, n.enableValidator)
	api.Handle(s, api.CallBalance, n.balance)
	api.Handle(s, api.CallSend, n.send)
	api.Handle(s, api.CallEpochShow, n.showEpoch)
	api.Handle(s, api.CallEpochVerify, n.verifyEpoch)
	api.HandleBytes(s, api.CallLog, n.writeLog)
	api.HandleBytes(s, api.CallCARExport, n.exportCAR)
	api.Handle(s, api.CallCARImport, n.importCAR)
	api.Handle(s, api.CallCARList, n.listImports)
	api.Handle(s, api.CallCARRemove, n.removeImport)
	api.Handle(s, api.CallIPFSFetch, n.fetchIPFS)
	api.Handle(s, api.CallNameSet, n.setName)
	api.Handle(s, api.CallNameList, n.listNames)
	api.Handle(s, api.CallNameShow, n.showName)
}

func (n *Node) status(version string) (*api.Status, error) {
	usage, err := n.store.Usage()
	if err != nil {
		return nil, err
	}
	held, err := n.lib.Datasets()
	if err != nil {
		return nil, err
	}
	risks, err := n.lib.Risks()
	if err != nil {
		return nil, err
	}
	st := &api.Status{
		Version: version, Account: n.Account().String(), Address: n.Account().Address().String(),
		Device: n.id.Device.ID().String(), Addrs: n.Addrs(), Play: n.playAddr(), Peers: []api.Peer{},
		Stored: api.Stored{Datasets: len(held), Used: usage.Live, Reserved: usage.Reserved, Quota: usage.Quota, AtRisk: len(risks)},
	}
	if n.dht != nil {
		st.DHT = n.dht.Addr().String()
	}
	st.IPFS = n.face.describe()
	for _, p := range n.host.Peers() {
		st.Peers = append(st.Peers, api.Peer{Account: p.Account.String(), Addrs: p.Addrs, Sent: p.Stats.Sent, Received: p.Stats.Received})
	}
	t := n.current()
	if t == nil {
		return st, nil
	}
	st.Gateway = t.gatewayAddr()
	if err := t.chain.Trouble(); err != nil {
		st.Trouble = err.Error()
	}
	st.Community, err = n.community()
	return st, err
}

func (n *Node) community() (*api.Community, error) {
	t, err := n.member()
	if err != nil {
		return nil, err
	}
	v, err := t.chain.View()
	if err != nil {
		return nil, err
	}
	acc, err := v.Account(n.Account())
	if err != nil {
		return nil, err
	}
	g, err := v.Globals()
	if err != nil {
		return nil, err
	}
	gen := t.chain.Genesis()
	c := &api.Community{
		Name: gen.Name, Symbol: gen.Symbol, Kind: gen.Rules.Community.String(), Preset: gen.Rules.Preset.String(),
		Chain: t.chain.ID().String(), Height: uint64(v.Height()), Tip: v.Root().String(), TipTime: int64(v.Head.Time),
		Epoch:   uint64(v.Rules.EpochOf(v.Height())),
		Balance: acc.Balance.String(), Locked: acc.Locked.String(), Deposit: acc.Deposit.String(),
		Supply: gen.Supply().String(), Burned: g.Burned.String(),
	}
	if c.Power, err = v.Power(n.Account(), v.Epochal()); err != nil {
		return nil, err
	}
	if reg, err := v.Registry(n.Account()); err != nil {
		return nil, err
	} else if reg != nil {
		c.Roles = reg.Register.Roles.String()
	}
	for _, r := range []struct {
		role types.Roles
		n    *int
	}{{types.RoleHost, &c.Hosts}, {types.RoleEncoder, &c.Encoders}, {types.RoleValidator, &c.Validators}} {
		list, err := v.Role(r.role)
		if err != nil {
			return nil, err
		}
		*r.n = len(list)
	}
	sum, wei, err := v.Money()
	c.Balanced = sum == gen.Supply() && wei == 0
	return c, err
}
