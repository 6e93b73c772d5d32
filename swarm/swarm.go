package swarm

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// Config is what a Swarm needs.
type Config struct {
	Chain   types.ChainID
	Signer  keys.Signer // of the account that pays
	Dial    Dial
	Facts   Facts
	Ledger  Ledger
	Holders Holders           // for FetchDataset; may be nil
	Terms   Terms             // of Fetch, FetchDataset and Nodes
	PerDay  *big.Int          // wei that may be signed in a day of Unix time; nil: no bound
	Lied    func(Peer, error) // told once for each peer that sent wrong bytes; may be nil
	Limits  Limits            // zero values stand for the defaults
	Now     func() time.Time  // nil: the system's clock
}

// Limits bound what a fetch waits for and uses.
type Limits struct {
	Peers    int           // streams of one job at once; 8
	Meet     time.Duration // for a peer to be reached and to quote; 10 s
	Patience time.Duration // for one answer; 15 s
}

// Terms say what a job may cost.
type Terms struct {
	market.Ceiling
	PayAt uint64 // pieces that add up before a receipt is signed; 0: half a window
	// Tell is told the price before Agree is asked, and once a job; its error is a
	// refusal. nil: nobody is told.
	Tell func(Estimate) error
	// Cost is told what the job was charged when it ends; nil: nobody is.
	Cost func(wei *big.Int)
	// Agree is asked before the first piece that is not free, and again when the
	// lock does not cover what is missing; nil: yes. It is not asked twice at once.
	Agree func(Estimate) error
}

// Estimate is the price of a job, said before the first byte that costs.
type Estimate struct {
	Pieces uint64   // or blocks
	Free   uint64   // of them, as far as peers have said
	Low    *big.Int // wei, when the cheapest peer sends all the rest
	High   *big.Int // wei, when the dearest that is not too dear sends all and gives nothing; a bound
	Lock   *big.Int // wei that the lock must hold beyond signed receipts: High and what is under way
}

// Swarm fetches.
type Swarm struct {
	c      Config
	wallet *wallet
	lanes  lanes

	mu    sync.Mutex
	liars map[types.Account]bool // bounded by maxLiars
}

// maxLiars bounds the memory of who sent wrong bytes; beyond it peers are
// banned for one job only.
const maxLiars = 4096

// New is a Swarm. It starts nothing.
func New(c Config) *Swarm {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limits.Peers = or(c.Limits.Peers, 8)
	c.Limits.Meet = or(c.Limits.Meet, 10*time.Second)
	c.Limits.Patience = or(c.Limits.Patience, 15*time.Second)
	now := func() types.Millis { return types.Millis(c.Now().UnixMilli()) }
	return &Swarm{
		c: c, liars: map[types.Account]bool{},
		wallet: &wallet{
			ledger: c.Ledger, facts: c.Facts, signer: c.Signer, chain: c.Chain,
			perDay: c.PerDay, now: now, open: map[party]*dealing{},
		},
	}
}

func or[T int | uint64 | time.Duration](have, otherwise T) T {
	if have == 0 {
		return otherwise
	}
	return have
}

// Fetch gets pieces by their digests from several peers at once, on the terms
// of the Config. to gets each index of want once, in no order, one call at a
// time, with bytes that have that digest and belong to it; its error ends the
// fetch and comes back. Fetch returns when all is there, when ctx ends, or,
// with an error that wraps ErrIncomplete and what peers said, when nobody is
// left to ask. The caller resumes by asking only for what is missing.
func (s *Swarm) Fetch(ctx context.Context, want []types.Hash, peers []Peer, to func(i int, b []byte) error) error {
	return s.FetchOn(ctx, s.c.Terms, want, peers, to)
}

// FetchOn is Fetch on other terms.
func (s *Swarm) FetchOn(ctx context.Context, terms Terms, want []types.Hash, peers []Peer, to func(i int, b []byte) error) error {
	return s.run(ctx, newJob(s, terms, want, to), peers)
}

// FetchDataset is Fetch from those that Holders names.
func (s *Swarm) FetchDataset(ctx context.Context, of types.DatasetID, want []types.Hash, to func(i int, b []byte) error) error {
	peers, err := s.c.Holders.Holders(ctx, of)
	if err != nil {
		return fmt.Errorf("holders of %s: %w", of.Short(), err)
	}
	return s.Fetch(ctx, want, peers, to)
}

// Nodes gets blocks by their CIDs, each checked, in the order of cids. On an
// error the blocks that came are given as well, without gaps.
func (s *Swarm) Nodes(ctx context.Context, cids []cid.Cid, peers []Peer) ([]types.Node, error) {
	return s.NodesOn(ctx, s.c.Terms, cids, peers)
}

// NodesOn is Nodes on other terms.
func (s *Swarm) NodesOn(ctx context.Context, terms Terms, cids []cid.Cid, peers []Peer) ([]types.Node, error) {
	digests := make([]types.Hash, len(cids))
	for i, c := range cids {
		digests[i] = types.Digest(c)
	}
	nodes := make([]types.Node, len(cids))
	j := newJob(s, terms, digests, func(i int, b []byte) error {
		nodes[i] = types.Node{CID: cids[i], Bytes: b}
		return nil
	})
	j.nodes = cids
	err := s.run(ctx, j, peers)
	return slices.DeleteFunc(nodes, func(n types.Node) bool { return n.Bytes == nil }), err
}

// Settle pays, with every payee that this account still owes something or whose
// newest receipt may not have arrived, before an epoch ends. The error joins
// what went wrong with each.
func (s *Swarm) Settle(ctx context.Context) error {
	owed, err := s.wallet.debts()
	if err != nil {
		return err
	}
	var faults []error
	for _, p := range owed {
		j := newJob(s, Terms{}, nil, nil)
		j.ctx, j.cancel = context.WithCancelCause(ctx)
		j.only = &p.device
		if err := j.visit(0, Peer{Account: p.account}, func(*quote) {}); err != nil {
			faults = append(faults, fmt.Errorf("settle with %s: %w", p.account.Short(), err))
		}
		j.cancel(nil)
	}
	return errors.Join(faults...)
}

// order puts holders of plain pieces first and leaves out who is of no use;
// else chance decides, so that not everybody asks the same.
func (s *Swarm) order(peers []Peer) []Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var plain, coded []Peer
	seen := map[types.Account]bool{s.c.Signer.Account(): true}
	for _, i := range rand.Perm(len(peers)) {
		p := peers[i]
		if seen[p.Account] || s.liars[p.Account] {
			continue
		}
		seen[p.Account] = true
		if p.Plain {
			plain = append(plain, p)
		} else {
			coded = append(coded, p)
		}
	}
	return append(plain, coded...)
}

// lied remembers who sent wrong bytes.
func (s *Swarm) lied(p Peer, err error) {
	s.mu.Lock()
	known := s.liars[p.Account]
	if len(s.liars) < maxLiars {
		s.liars[p.Account] = true
	}
	s.mu.Unlock()
	if !known && s.c.Lied != nil {
		s.c.Lied(p, err)
	}
}
