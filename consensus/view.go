package consensus

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/trie"
	"github.com/staddle/staddle/types"
)

// View reads one state of a community. Every getter gives nil (or zero) for
// what is not there and *types.Missing for what is not held here.
type View struct {
	src   trie.Source
	m     *trie.Map
	root  cid.Cid
	Rules *types.Rules
	Head  types.Header // of the block that made this state
	Chain types.ChainID
}

// Open reads the state that the block called name left behind.
func Open(src trie.Source, name cid.Cid) (*View, error) {
	m, err := trie.Open(src, name)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	v := &View{src: src, m: m, root: name}
	head, err := load[types.Header](v, keyContract)
	if err != nil || head == nil {
		return nil, orMalformed(err, "state %s has no contract", name)
	}
	g, err := v.Globals()
	if err != nil {
		return nil, err
	}
	v.Rules = new(types.Rules)
	if err := v.block(g.Rules, v.Rules); err != nil {
		return nil, fmt.Errorf("open rules: %w", err)
	}
	v.Head, v.Chain = *head, head.Chain
	return v, nil
}

func orMalformed(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}

// block reads and decodes a block of the state that is reached by link.
func (v *View) block(c cid.Cid, into types.Decodable) error {
	b, err := v.src.Node(c)
	if err != nil {
		return err
	}
	return types.Unmarshal(b, into)
}

type record[T any] interface {
	*T
	types.Decodable
}

// load decodes the value under key, nil when there is none.
func load[T any, P record[T]](v *View, key string) (*T, error) {
	b, ok, err := v.m.Get(key)
	if err != nil || !ok {
		return nil, err
	}
	out := new(T)
	if err := types.Unmarshal(b, P(out)); err != nil {
		return nil, fmt.Errorf("read %q: %w", key[:min(len(key), 2)], err)
	}
	return out, nil
}

// loadOr is load with a fresh record for what is not there.
func loadOr[T any, P record[T]](v *View, key string) (*T, error) {
	out, err := load[T, P](v, key)
	if out == nil && err == nil {
		out = new(T)
	}
	return out, err
}

// Height is the height of the state's block.
func (v *View) Height() types.Height { return v.Head.Height }

// Globals reads the record of the whole community.
func (v *View) Globals() (*types.Globals, error) {
	g, err := load[types.Globals](v, keyGlobals)
	if err != nil || g == nil {
		return nil, orMalformed(err, "state has no globals")
	}
	return g, nil
}

// Account reads an account; one that never appeared is empty.
func (v *View) Account(a types.Account) (*types.AccountRecord, error) {
	return loadOr[types.AccountRecord](v, keyAccount(a))
}

// Registry reads an account's registration.
func (v *View) Registry(a types.Account) (*types.RegistryRecord, error) {
	return load[types.RegistryRecord](v, keyRegistry(a))
}

// Host reads what an account did in hosting.
func (v *View) Host(a types.Account) (*types.HostRecord, error) {
	return loadOr[types.HostRecord](v, keyHost(a))
}

// Dataset reads a published dataset.
func (v *View) Dataset(d types.DatasetID) (*types.DatasetRecord, error) {
	return load[types.DatasetRecord](v, keyDataset(d))
}

// Plan reads a plan.
func (v *View) Plan(p types.PlanID) (*types.PlanRecord, error) {
	return load[types.PlanRecord](v, keyPlan(p))
}

// Lot reads a lot.
func (v *View) Lot(l types.LotID) (*types.LotRecord, error) {
	return load[types.LotRecord](v, keyLot(l))
}

// RangeOf reads what was committed so far for a range of a lot in its attempt.
func (v *View) RangeOf(l types.LotID, r uint32) (*types.RangeRecord, error) {
	return load[types.RangeRecord](v, keyRange(l, r))
}

// Epoch reads an epoch.
func (v *View) Epoch(e types.Epoch) (*types.EpochRecord, error) {
	return loadOr[types.EpochRecord](v, keyEpoch(e))
}

// Claim reads what a node committed for an epoch.
func (v *View) Claim(e types.Epoch, a types.Account) (*types.ClaimRecord, error) {
	return load[types.ClaimRecord](v, keyClaim(e, a))
}

// Lock reads the download lock of a payer for an epoch.
func (v *View) Lock(a types.Account, e types.Epoch) (*types.LockRecord, error) {
	return load[types.LockRecord](v, keyLock(a, e))
}

// ByAddress finds the account with that address; false when it never acted.
func (v *View) ByAddress(addr types.Address) (a types.Account, ok bool, err error) {
	b, ok, err := v.m.Get(keyAddress(addr))
	if err != nil || !ok {
		return a, false, err
	}
	d := types.NewDecoder(b)
	a = d.Account()
	return a, true, d.End()
}

// Role lists the accounts that are registered for a role, in account order.
func (v *View) Role(r types.Roles) ([]types.Account, error) {
	return v.accounts(listRole(r))
}

// Lots lists the lots that a host keeps, in order of their ids.
func (v *View) Lots(host types.Account) ([]types.LotID, error) {
	list, err := v.list(listLots(host))
	return sorted(list), err
}

// Plans lists the plans of a sponsor, oldest first.
func (v *View) Plans(sponsor types.Account) ([]types.PlanID, error) {
	return v.list(listPlans(sponsor))
}

// Name gives the name of the block at a height inside the mutable range, the
// view's own included.
func (v *View) Name(h types.Height) (cid.Cid, error) {
	if h == v.Head.Height {
		return v.root, nil
	}
	b, ok, err := v.m.Get(keySkip(h))
	if err != nil || !ok {
		return cid.Undef, orMalformed(err, "no block %d inside the mutable range below %d", h, v.Head.Height)
	}
	d := types.NewDecoder(b)
	c := d.Link()
	return c, d.End()
}

// At opens the state of a lower height inside the mutable range.
func (v *View) At(h types.Height) (*View, error) {
	name, err := v.Name(h)
	if err != nil {
		return nil, err
	}
	return Open(v.src, name)
}

// Frozen opens the state at the checkpoint of an epoch: what its claims,
// audits and lines are derived from.
func (v *View) Frozen(e types.Epoch) (*View, error) {
	if v.Rules.Checkpoint(e) == v.Head.Height {
		return v, nil
	}
	return v.At(v.Rules.Checkpoint(e))
}

// Ranges reads [first, first+count) of a dataset's range list (G10).
func (v *View) Ranges(a *types.Attachment, first, count uint32) ([]types.Range, error) {
	if uint64(first)+uint64(count) > uint64(a.RangeCount) {
		return nil, fmt.Errorf("ranges %d to %d of %d", first, uint64(first)+uint64(count), a.RangeCount)
	}
	out := make([]types.Range, 0, count)
	link, at := a.Ranges, uint32(0)
	for uint32(len(out)) < count {
		var l types.RangeList
		if !link.Defined() {
			return nil, fmt.Errorf("range list of %d ends at %d", a.RangeCount, at)
		}
		if err := v.block(link, &l); err != nil {
			return nil, fmt.Errorf("read range list: %w", err)
		}
		for _, r := range l.Ranges {
			if at >= first && uint32(len(out)) < count {
				out = append(out, r)
			}
			at++
		}
		link = l.Next
	}
	return out, nil
}

// Epochal is the epoch of the block that would follow this state.
func (v *View) Epochal() types.Epoch { return v.Rules.EpochOf(v.Head.Height + 1) }

// Validators lists the active validators with their deposits as weights of a
// draw, in account order.
func (v *View) validators(skip func(types.Account) bool) ([]draw.Candidate, error) {
	list, err := v.Role(types.RoleValidator)
	if err != nil {
		return nil, err
	}
	epoch := v.Rules.EpochOf(v.Head.Height)
	var cands []draw.Candidate
	for _, a := range list {
		if skip(a) {
			continue
		}
		w, err := v.validatorWeight(a, epoch)
		if err != nil {
			return nil, err
		}
		if w > 0 {
			cands = append(cands, draw.Candidate{Account: a, Weight: w})
		}
	}
	return cands, nil
}

func (v *View) validatorWeight(a types.Account, epoch types.Epoch) (uint64, error) {
	acc, err := v.Account(a)
	if err != nil || acc.Deposit < v.Rules.MinDeposit {
		return 0, err
	}
	reg, err := v.Registry(a)
	if err != nil || reg == nil || reg.From > epoch {
		return 0, err
	}
	h, err := v.Host(a)
	if err != nil {
		return 0, err
	}
	return draw.Weight(draw.BondBase(uint64(acc.Deposit), uint64(v.Rules.MinDeposit)), h.Good, h.Failed), nil
}

// Checkers are the validators drawn to check a host's bundle of an epoch
// (H6.4). The draw reads the state at the epoch's checkpoint, so call it on the
// Frozen view.
func (v *View) Checkers(host types.Account, beacon types.Hash) ([]types.Account, error) {
	return v.drawn("staddle/check/1", host, beacon, int(v.Rules.Checkers))
}

// Testers are the validators drawn to fetch pieces from a host (H5), from the
// Frozen view.
func (v *View) Testers(host types.Account, beacon types.Hash) ([]types.Account, error) {
	return v.drawn("staddle/serve/1", host, beacon, int(v.Rules.ServeTesters))
}

func (v *View) drawn(dom string, host types.Account, beacon types.Hash, n int) ([]types.Account, error) {
	cands, err := v.validators(func(a types.Account) bool { return a == host })
	if err != nil {
		return nil, err
	}
	return draw.PickN(dom, beacon, types.Hash(host), n, cands), nil
}

// Committee lists the validators whose deposits count, in account order, with
// the sum of the deposits.
func (v *View) Committee() (list []types.Credit, total types.Amount, err error) {
	accounts, err := v.Role(types.RoleValidator)
	if err != nil {
		return nil, 0, err
	}
	for _, a := range accounts {
		acc, err := v.Account(a)
		if err != nil {
			return nil, 0, err
		}
		if acc.Deposit >= v.Rules.MinDeposit {
			list = append(list, types.Credit{Account: a, Amount: acc.Deposit})
			total += acc.Deposit
		}
	}
	return list, total, nil
}

// Root is the name of the block that left this state.
func (v *View) Root() cid.Cid { return v.root }
