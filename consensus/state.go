package consensus

import (
	"fmt"
	"math/big"

	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// Invalid is the error of a block or a transaction that the rules refuse.
type Invalid struct{ Why error }

// Error says which rule.
func (i *Invalid) Error() string { return i.Why.Error() }

// Unwrap gives the reason.
func (i *Invalid) Unwrap() error { return i.Why }

// refuse makes an Invalid. The text holds both numbers.
func refuse(format string, args ...any) error {
	return &Invalid{fmt.Errorf(format, args...)}
}

// state is a View that is being changed by one block.
type state struct {
	View
	head     types.Header // of the block in the making
	epoch    types.Epoch  // that it belongs to
	g        *types.Globals
	events   []types.Event
	drafting bool         // by its miner: header fields follow from the block, not the other way
	tips     types.Amount // fees beyond the base fees, for the miner
	bytes    uint64       // of the transactions
}

// follow starts the block after the parent state.
func follow(parent *View) (*state, error) {
	g, err := parent.Globals()
	if err != nil {
		return nil, err
	}
	s := &state{View: *parent, g: g}
	s.head.Height = parent.Head.Height + 1
	s.epoch = s.Rules.EpochOf(s.head.Height)
	return s, nil
}

func (s *state) emit(e types.Event) { s.events = append(s.events, e) }

func (s *state) put(key string, v types.Encodable) error {
	if err := s.m.Set(key, types.Marshal(v)); err != nil {
		return fmt.Errorf("write %q: %w", key[:min(len(key), 2)], err)
	}
	return nil
}

func (s *state) drop(key string) error {
	_, err := s.m.Delete(key)
	return err
}

func (s *state) setAccount(a types.Account, r *types.AccountRecord) error {
	return s.put(keyAccount(a), r)
}

// change loads an account, lets fn change it and writes it back.
func (s *state) change(a types.Account, fn func(*types.AccountRecord)) error {
	r, err := s.Account(a)
	if err != nil {
		return err
	}
	fn(r)
	return s.setAccount(a, r)
}

// changeHost is change for the hosting counters.
func (s *state) changeHost(a types.Account, fn func(*types.HostRecord)) error {
	h, err := s.Host(a)
	if err != nil {
		return err
	}
	fn(h)
	return s.put(keyHost(a), h)
}

// claimAddress binds an address to the account that acts under it first. Two
// accounts with one address cannot both act.
func (s *state) claimAddress(a types.Account) error {
	addr := a.Address()
	old, ok, err := s.ByAddress(addr)
	switch {
	case err != nil:
		return err
	case ok && old != a:
		return refuse("address %s belongs to account %s already", addr, old.Short())
	case ok:
		return nil
	}
	var e types.Encoder
	e.Bytes(a[:])
	return s.m.Set(keyAddress(addr), e.Data())
}

// burn takes coins out of the world; the invariant U3 counts them.
func (s *state) burn(n types.Amount) { s.g.Burned += n }

// Money sums everything that stands in accounts, plus what was burned, in base
// units and the wei below one (U3). It walks the whole state: for tests and the
// doctor. Locks of plans, downloads and disputes are inside Locked. While a
// transfer runs, what its buckets paid out before others were collected is
// taken off, and what they collected first is added.
func (v *View) Money() (base types.Amount, wei uint64, err error) {
	g, err := v.Globals()
	if err != nil {
		return 0, 0, err
	}
	base, wei = g.Burned, g.BurnCarry
	err = v.m.Each(func(key string, value []byte) error {
		if len(key) != 2+32 || key[:2] != "a/" {
			return nil
		}
		var a types.AccountRecord
		if err := types.Unmarshal(value, &a); err != nil {
			return err
		}
		base += a.Balance + a.Locked + a.HostBond + a.EncodeBond + a.Deposit
		wei += a.Carry
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	ahead, err := v.advanced(g.Transfer)
	if err != nil {
		return 0, 0, err
	}
	sum := new(big.Int).SetUint64(uint64(base))
	sum.Mul(sum, big.NewInt(types.WeiPerBase))
	sum.Add(sum, new(big.Int).SetUint64(wei))
	paid, rest := new(big.Int).DivMod(sum.Sub(sum, ahead), big.NewInt(types.WeiPerBase), new(big.Int))
	return types.Amount(paid.Uint64()), rest.Uint64(), nil
}

// advanced is what the buckets of the running transfer that were applied so far
// paid out above what they collected, in wei; the whole result is zero.
func (v *View) advanced(e types.Epoch) (*big.Int, error) {
	sum := new(big.Int)
	rec, err := v.Epoch(e)
	if err != nil {
		return nil, err
	}
	late, err := v.LateRecord(e)
	if err != nil {
		return nil, err
	}
	for _, x := range []*types.EpochRecord{rec, late} {
		if x == nil || x.Due == 0 {
			continue
		}
		var res types.Result
		if err := v.block(x.Collation.Result, &res); err != nil {
			return nil, fmt.Errorf("read result: %w", err)
		}
		for k := range x.Buckets {
			sum.Add(sum, res.Entries[k].Net.T)
		}
	}
	return sum, nil
}

// Accounts calls fn with every account, in the order of the trie.
func (v *View) Accounts(fn func(types.Account, *types.AccountRecord) error) error {
	return v.m.Each(func(key string, value []byte) error {
		if len(key) != 2+32 || key[:2] != "a/" {
			return nil
		}
		var r types.AccountRecord
		if err := types.Unmarshal(value, &r); err != nil {
			return err
		}
		return fn(types.Account([]byte(key[2:])), &r)
	})
}

// Proof gives the nodes on the way to the record under an account: what a
// stranger needs to check it against the block's name.
func (v *View) Proof(key string) ([]types.Node, error) {
	return trie.Path(v.src, v.root, key)
}
