package node

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/chain"
	"github.com/staddle/staddle/host"
	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/swarm"
	"github.com/staddle/staddle/transport"
	"github.com/staddle/staddle/types"
)

// defaultUpload is what a node is willing to send in a day unless it says: 1 TiB.
// An eighth of it may be free (F1).
const defaultUpload = 1 << 40

// openSwarm joins both sides of the download protocol.
func (t *town) openSwarm() (err error) {
	n := t.node
	dial := func(ctx context.Context, to types.Account) (swarm.Stream, error) {
		s, err := n.host.Open(ctx, to, swarm.Protocol)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	ceiling, err := t.ceiling()
	if err != nil {
		return err
	}
	t.usual = swarm.Terms{Ceiling: ceiling, Agree: t.agree}
	var perDay *big.Int
	if n.cfg.SpendPerDay != "" {
		if perDay, err = weiOf(n.cfg.SpendPerDay); err != nil {
			return fmt.Errorf("budget of a day: %w", err)
		}
	}
	t.swarm = swarm.New(swarm.Config{
		Chain: t.chain.ID(), Signer: n.id.Signer, Dial: dial, Facts: facts{t}, Ledger: n.store, Holders: t,
		Terms: t.usual, PerDay: perDay,
		Lied: func(p swarm.Peer, err error) { n.report("swarm: %s sent wrong bytes: %v", p.Account.Short(), err) },
	})
	upload := uint64(defaultUpload)
	if n.cfg.Upload > 0 {
		upload = uint64(n.cfg.Upload)
	}
	t.server, err = swarm.NewServer(swarm.ServerConfig{
		Chain: t.chain.ID(), Account: n.Account(), Device: n.id.Device.ID(), Pieces: served{t}, Deny: n.deny, Facts: facts{t}, Ledger: n.store,
		Verify: keys.Verify, Subnet: n.subnet, UploadPerDay: upload,
		Accuse: func(market.Evidence) {
			n.report("swarm: a payer contradicts itself; half of its lock is to be burned: not yet")
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.closers = append(t.closers, cancel)
	n.host.Handle(swarm.Protocol, func(s *transport.Stream) {
		var gone *transport.ResetError
		if err := t.server.Serve(ctx, s); err != nil && ctx.Err() == nil && !errors.As(err, &gone) && !errors.Is(err, transport.ErrLost) {
			n.report("swarm: serve: %v", err)
		}
	})
	return nil
}

// ceiling is the most that this node pays for a piece: what it was told, or four
// times the present price (ST6).
func (t *town) ceiling() (market.Ceiling, error) {
	if t.node.cfg.MaxPrice != "" {
		coins, err := types.ParseCoins(t.node.cfg.MaxPrice)
		if err != nil {
			return market.Ceiling{}, fmt.Errorf("highest price: %w", err)
		}
		perGB := new(big.Int).Mul(new(big.Int).SetUint64(uint64(coins)), big.NewInt(types.WeiPerBase))
		return market.Ceiling{Piece: perGB.Quo(perGB, big.NewInt(1_000_000_000/types.PieceSize))}, nil
	}
	price := new(big.Int).Set(t.chain.Genesis().Rules.BandwidthCost)
	return market.Ceiling{Piece: price.Mul(price, big.NewInt(4))}, nil
}

const agreeTimeout = time.Minute

// agree is asked before the first piece that costs, and when the lock turns out
// too small: it locks what the job may cost in this epoch and the next (ST8.1).
func (t *town) agree(e swarm.Estimate) error {
	need := types.BaseCeil(e.Lock)
	if !need.IsUint64() || need.Uint64() > types.MaxSupply {
		return fmt.Errorf("the whole may cost %s wei", e.High)
	}
	t.locking.Lock()
	defer t.locking.Unlock()
	for {
		now := t.comingEpoch()
		err := t.lockFor(now, types.Amount(need.Uint64()))
		if err == nil {
			err = t.lockFor(now+1, types.Amount(need.Uint64()))
		}
		if err == nil {
			return t.awaitEpoch(now)
		}
		if t.comingEpoch() == now {
			return err
		} // else the epoch turned meanwhile: its lock is of no use any more
	}
}

// comingEpoch is the epoch of the next block: after a checkpoint nothing can be
// locked for the running one any more.
func (t *town) comingEpoch() types.Epoch {
	return t.chain.Genesis().Rules.EpochOf(t.chain.Tip().Header.Height + 1)
}

// awaitEpoch waits for the first block of an epoch, which is the next one.
func (t *town) awaitEpoch(e types.Epoch) error {
	changed, stop := t.chain.Watch()
	defer stop()
	timer := time.NewTimer(agreeTimeout)
	defer timer.Stop()
	for (facts{t}).Epoch() < e {
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("no block of epoch %d after %s", e, agreeTimeout)
		}
	}
	return nil
}

// lockFor makes an epoch's lock hold so many coins that are neither spent nor
// promised in receipts. A lock whose block was replaced comes back by itself.
func (t *town) lockFor(epoch types.Epoch, need types.Amount) error {
	name := fmt.Sprintf("lock/%d", epoch)
	_ = t.awaitLock(epoch, name) // whatever became of one before, what is missing now counts
	missing, err := t.lockMissing(epoch, need)
	if err != nil || missing == 0 {
		return err
	}
	lock := func(amount types.Amount) error {
		return t.chain.Submit(types.KindLock, &types.Lock{Epoch: epoch, Amount: amount}, name)
	}
	// Some pieces more, so that the next small job need not wait for a block.
	if lock(max(missing, t.leastLock())) != nil {
		if err := lock(missing); err != nil {
			return fmt.Errorf("lock %s coins for the download: %w", missing, err)
		}
	}
	return t.awaitLock(epoch, name)
}

// awaitLock waits until no lock of that name is under way; it is an error when
// that takes too long, or the epoch is over.
func (t *town) awaitLock(epoch types.Epoch, name string) error {
	end := time.Now().Add(agreeTimeout)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _, err := t.chain.Await(ctx, name)
		cancel()
		switch {
		case err == nil || errors.Is(err, chain.ErrNoWish):
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("lock of epoch %d: %w", epoch, err)
		case t.comingEpoch() > epoch:
			return fmt.Errorf("lock of epoch %d: the epoch is over", epoch)
		case time.Now().After(end):
			return fmt.Errorf("lock of epoch %d: no block has it after %s", epoch, agreeTimeout)
		}
	}
}

// leastLock is the price of 64 pieces. What is not spent of it comes back.
func (t *town) leastLock() types.Amount {
	price := new(big.Int).Mul(t.chain.Genesis().Rules.BandwidthCost, big.NewInt(64))
	return types.Amount(types.BaseCeil(price).Uint64())
}

// lockMissing is what an epoch's lock lacks of need.
func (t *town) lockMissing(epoch types.Epoch, need types.Amount) (types.Amount, error) {
	v, err := t.chain.View()
	if err != nil {
		return 0, err
	}
	have, err := v.Lock(t.node.Account(), epoch)
	if err != nil {
		return 0, err
	}
	signed, err := t.node.signed(epoch)
	if err != nil {
		return 0, err
	}
	if have == nil {
		have = new(types.LockRecord)
	}
	need += max(have.Spent, types.Amount(types.BaseCeil(signed).Uint64()))
	return need - min(need, have.Amount), nil
}

// spent sums what this account signed to others in the epochs that its receipts
// are kept for, in wei.
func (n *Node) spent() (*big.Int, error) {
	sum := new(big.Int)
	t := n.current()
	if t == nil {
		return sum, nil
	}
	now := facts{t}.Epoch()
	for e := now - min(now, 8); e <= now; e++ {
		signed, err := n.signed(e)
		if err != nil {
			return nil, err
		}
		sum.Add(sum, signed)
	}
	return sum, nil
}

// signed is what this account's receipts of an epoch promise in all, in wei.
func (n *Node) signed(e types.Epoch) (*big.Int, error) {
	_, signed, err := swarm.Receipts(n.store, e)
	if err != nil {
		return nil, err
	}
	most := new(big.Int)
	for i := range signed {
		if signed[i].Total.Cmp(most) > 0 {
			most = signed[i].Total
		}
	}
	return most, nil
}

// coinsOf is a sum of wei in coins, rounded up to base units.
func coinsOf(wei *big.Int) string {
	base := types.BaseCeil(wei)
	return types.Amount(base.Uint64()).String()
}

// facts is what the swarm knows of money.
type facts struct{ t *town }

// Epoch is the running epoch.
func (f facts) Epoch() types.Epoch {
	return f.t.chain.Genesis().Rules.EpochOf(f.t.chain.Tip().Header.Height)
}

// Price is the price of a unit in wei.
func (f facts) Price(types.Epoch) (*big.Int, error) {
	v, err := f.t.chain.View()
	if err != nil {
		return nil, err
	}
	g, err := v.Globals()
	if err != nil {
		return nil, err
	}
	return g.Bandwidth, nil
}

// Lock is what backs an account's downloads of an epoch.
func (f facts) Lock(payer types.Account, e types.Epoch) (types.Amount, error) {
	v, err := f.t.chain.View()
	if err != nil {
		return 0, err
	}
	l, err := v.Lock(payer, e)
	if err != nil || l == nil {
		return 0, err
	}
	return l.Amount, nil
}

// Standing tells members with matured power from strangers (F1).
func (f facts) Standing(a types.Account) market.Standing {
	v, err := f.t.chain.View()
	if err != nil {
		return market.Stranger
	}
	if p, err := v.Power(a, v.Epochal()); err != nil || p == 0 {
		return market.Stranger
	}
	return market.Matured
}

// served is what this node gives away: pieces of its library, then pieces that
// its replicas decode to.
type served struct{ t *town }

// Piece gives a plain piece.
func (s served) Piece(ctx context.Context, digest types.Hash) ([]byte, error) {
	b, err := s.t.node.lib.Piece(digest)
	var missing *types.Missing
	if !errors.As(err, &missing) {
		return b, err
	}
	if b, err = s.t.host.Piece(ctx, digest); errors.Is(err, host.ErrNotHere) {
		return nil, fmt.Errorf("%w: %w", swarm.ErrNotHosted, err)
	}
	return b, err
}

// Node gives a block of the state store: index, ranges, UnixFS.
func (s served) Node(_ context.Context, c cid.Cid) ([]byte, error) { return s.t.node.store.Node(c) }

// Has reports whether a piece is here.
func (s served) Has(ctx context.Context, digest types.Hash) bool {
	return s.t.node.lib.Has(digest) || s.t.host.HasPiece(digest)
}

// subnet is the /24 or /48 that a device connects from (F1).
func (n *Node) subnet(d types.Device) string {
	for _, p := range n.host.Peers() {
		if p.Device != d || len(p.Addrs) == 0 {
			continue
		}
		part := strings.Split(strings.TrimPrefix(p.Addrs[0], "/"), "/")
		if len(part) < 2 {
			return ""
		}
		ip := net.ParseIP(part[1])
		if v4 := ip.To4(); v4 != nil {
			return v4.Mask(net.CIDRMask(24, 32)).String()
		}
		return ip.Mask(net.CIDRMask(48, 128)).String()
	}
	return ""
}
