package consensus

import (
	"crypto/sha256"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// void is a source without blocks, for the state before all states.
type void struct{}

func (void) Node(c cid.Cid) ([]byte, error) { return nil, &types.Missing{CID: c} }

// Start builds the genesis block of a community: credits, members, deposits,
// prices and rules (U5). It costs nothing and needs nobody.
func Start(g *types.Genesis) (Applied, error) {
	if err := g.Check(); err != nil {
		return Applied{}, &Invalid{err}
	}
	rules := types.NewNode(types.Marshal(&g.Rules))
	s := &state{View: View{src: void{}, m: trie.New(void{}), Rules: &g.Rules, Chain: g.Chain()}}
	s.g = firstGlobals(g, rules.CID)
	total, err := s.endow(g)
	if err != nil {
		return Applied{}, err
	}
	s.head = types.Header{
		Version: types.HeaderVersion, Chain: s.Chain, Time: g.Time,
		BaseTarget: GenesisTarget(&g.Rules, total),
	}
	list := types.NewNode(types.Marshal(types.TxList{}))
	s.head.Txs = list.CID
	out, err := s.seal(func(*types.Header) {})
	out.Nodes = append(out.Nodes, rules, list)
	return out, err
}

func firstGlobals(g *types.Genesis, rules cid.Cid) *types.Globals {
	return &types.Globals{
		Rules: rules, FeeFactor: factorOne,
		R:       sha256.Sum256(types.Marshal(g)),
		Times:   [4]types.Millis{g.Time, g.Time, g.Time, g.Time},
		Storage: g.Rules.StorageCost, Bandwidth: g.Rules.BandwidthCost, Encode: g.Rules.EncodePrice,
		Active: g.Rules.Active, Members: uint32(len(g.Members)),
	}
}

// endow writes the first accounts and gives the total power of epoch 0.
func (s *state) endow(g *types.Genesis) (total uint64, err error) {
	for _, c := range g.Credits {
		r := types.AccountRecord{Balance: c.Amount}
		if err := s.setAccount(c.Account, &r); err != nil {
			return 0, err
		}
		if err := s.claimAddress(c.Account); err != nil {
			return 0, err
		}
	}
	for _, a := range g.Members {
		if err := s.change(a, func(r *types.AccountRecord) { r.Member = true }); err != nil {
			return 0, err
		}
		total += share(s.Rules, s.g.Members, 0)
	}
	for _, c := range g.Deposits {
		err := s.change(c.Account, func(r *types.AccountRecord) {
			r.Balance -= c.Amount
			r.Deposit = c.Amount
		})
		if err != nil {
			return 0, err
		}
		s.g.Deposits += c.Amount
	}
	return total, nil
}
