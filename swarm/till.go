package swarm

import (
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// counter is the payee's side of all streams: one till a payer, one allowance
// for all. Receipts are in the ledger before they count.
type counter struct {
	c   *ServerConfig
	now func() types.Millis

	mu        sync.Mutex
	allowance market.Allowance
	loaded    bool
	fresh     uint64 // bytes given free since the allowance was written
	guests    map[types.Account]*guest
}

// allowanceStep is how many free bytes may be forgotten by a crash.
const allowanceStep = 16 << 20

// guest is a payer that has streams.
type guest struct {
	till    market.Till
	visitor market.Visitor
	streams int
	dirty   bool
	epoch   types.Epoch // that the next three belong to
	price   *big.Int
	lock    types.Amount
	last    *market.Receipt
	past    *market.Receipt // of the epoch before
	paid    chan struct{}   // closed at each receipt
}

// verdict is what becomes of an item.
type verdict int

const (
	forFree  verdict = iota
	accruing         // too few bytes to cost something yet
	onCredit
	later // the window is used up: wait for a receipt
)

// enter begins a stream of a peer; ErrBusy above the limit.
func (k *counter) enter(account types.Account, device types.Device) (*guest, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		return nil, err
	}
	g, ok := k.guests[account]
	if !ok {
		g = &guest{paid: make(chan struct{}), visitor: market.Visitor{Account: account}}
		if _, err := fill(k.c.Ledger, tillKey(account), &g.till); err != nil {
			return nil, err
		}
		if err := k.look(g, k.c.Facts.Epoch()); err != nil {
			return nil, err
		}
	}
	if g.streams >= k.c.Limits.PerPeer {
		return nil, refuse(ReasonBusy, "%d streams", g.streams)
	}
	g.visitor.Standing = k.c.Facts.Standing(account)
	g.visitor.Used = g.till.Free
	if k.c.Subnet != nil {
		subnet := k.c.Subnet(device)
		g.visitor.Subnet = subnet[:min(len(subnet), market.MaxSubnet)]
	}
	g.streams++
	k.guests[account] = g
	return g, nil
}

func (k *counter) load() error {
	if k.loaded {
		return nil
	}
	_, err := fill(k.c.Ledger, allowanceKey, &k.allowance)
	k.loaded = err == nil
	return err
}

// leave ends a stream; the last one writes down what changed.
func (k *counter) leave(g *guest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.streams--; g.streams > 0 {
		return nil
	}
	delete(k.guests, g.visitor.Account)
	var rows []types.Row
	if g.dirty {
		rows = append(rows, row(tillKey(g.visitor.Account), &g.till))
	}
	if k.fresh > 0 {
		rows = append(rows, row(allowanceKey, &k.allowance))
	}
	if len(rows) == 0 {
		return nil
	}
	k.fresh, g.dirty = 0, false
	return k.c.Ledger.Save(nil, rows)
}

// look reads what the chain says of the guest in epoch e, and the receipts of it
// and the one before.
func (k *counter) look(g *guest, e types.Epoch) (err error) {
	if g.price, err = k.c.Facts.Price(e); err != nil {
		return fmt.Errorf("price of epoch %d: %w", e, err)
	}
	if g.last, err = k.receipt(e, g.visitor.Account); err != nil {
		return err
	}
	g.past = nil
	if e > 0 {
		if g.past, err = k.receipt(e-1, g.visitor.Account); err != nil {
			return err
		}
	}
	g.epoch = e
	return k.relock(g)
}

func (k *counter) relock(g *guest) (err error) {
	if g.lock, err = k.c.Facts.Lock(g.visitor.Account, g.epoch); err != nil {
		return fmt.Errorf("lock of epoch %d: %w", g.epoch, err)
	}
	return nil
}

func (k *counter) receipt(e types.Epoch, payer types.Account) (*market.Receipt, error) {
	r := new(market.Receipt)
	if ok, err := fill(k.c.Ledger, receiptKey(e, payer), r); err != nil || !ok {
		return nil, err
	}
	return r, nil
}

// turn follows the epoch.
func (k *counter) turn(g *guest) error {
	if e := k.c.Facts.Epoch(); e != g.epoch {
		return k.look(g, e)
	}
	return nil
}

// quote says what the guest is asked. The lock is read anew.
func (k *counter) quote(g *guest) (*quote, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.turn(g); err != nil {
		return nil, err
	}
	if err := k.relock(g); err != nil {
		return nil, err
	}
	return &quote{
		Quote: market.Quote{
			Units: k.c.Units, Free: k.left(g), Window: g.till.Window(), Owed: g.till.Owed,
		},
		Epoch: g.epoch, Known: unitsOf(g.last), Past: unitsOf(g.past),
	}, nil
}

func unitsOf(r *market.Receipt) uint64 {
	if r == nil {
		return 0
	}
	return r.Units
}

// left is what the guest may still have for nothing (F1).
func (k *counter) left(g *guest) uint64 {
	if g.price.Sign() == 0 {
		return ^uint64(0)
	}
	return k.allowance.Left(g.visitor, k.c.UploadPerDay, k.now())
}

// load is what is about to go out.
type load struct {
	bytes uint64
	units uint64 // that it costs when it is not free
	pays  bool   // the peer has agreed to be charged
}

// charge decides about a load. The error is a *Refusal when the peer is to be
// refused. The channel is closed at the guest's next receipt.
func (k *counter) charge(g *guest, l load) (verdict, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.turn(g); err != nil {
		return 0, nil, err
	}
	if g.price.Sign() == 0 {
		return forFree, nil, nil
	}
	if k.allowance.Take(&g.visitor, l.bytes, k.c.UploadPerDay, k.now()) {
		return forFree, nil, k.gave(g, l.bytes)
	}
	if !l.pays {
		return 0, nil, refuse(ReasonQuota, "nothing is free any more")
	}
	if l.units == 0 {
		return accruing, nil, nil
	}
	if ok, err := k.covers(g, l.units); err != nil {
		return 0, nil, err
	} else if !ok {
		return 0, nil, refuse(ReasonUnpaid, "lock of %s coins in epoch %d does not cover it", g.lock, g.epoch)
	}
	if g.till.Serve(l.units, k.c.Units) {
		g.dirty = true
		return onCredit, nil, nil
	}
	return later, g.paid, nil
}

// gave notes free bytes; they are written down in steps.
func (k *counter) gave(g *guest, bytes uint64) error {
	if g.visitor.Standing == market.Member {
		return nil
	}
	if g.till.Free != g.visitor.Used {
		g.till.Free, g.dirty = g.visitor.Used, true
	}
	if k.fresh += bytes; k.fresh < allowanceStep {
		return nil
	}
	k.fresh, g.dirty = 0, false
	return k.c.Ledger.Save(nil, []types.Row{
		row(allowanceKey, &k.allowance), row(tillKey(g.visitor.Account), &g.till),
	})
}

// covers looks at the chain again when the lock that is known does not suffice: it
// may be younger than the stream.
func (k *counter) covers(g *guest, units uint64) (bool, error) {
	if g.covers(units) {
		return true, nil
	}
	err := k.relock(g)
	return g.covers(units), err
}

// covers reports whether the lock, less what the guest is known to have signed,
// pays for units more on credit.
func (g *guest) covers(units uint64) bool {
	need := market.Wei(g.till.Owed+units, g.price)
	if g.last != nil {
		need.Add(need, g.last.Total)
	}
	return need.Cmp(market.LockWei(g.lock)) <= 0
}

// back takes off what did not go out.
func (k *counter) back(g *guest, units uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g.till.Back(units)
}

// distrust closes the window of who did not pay in time.
func (k *counter) distrust(g *guest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g.till.Distrust()
	g.dirty = true
}

// behind reports whether the receipt is of the epoch that comes next: the payer
// has seen its first block before us.
func (k *counter) behind(r *market.Receipt) bool { return r.Epoch == k.c.Facts.Epoch()+1 }

// take checks a receipt and makes it durable. What it pays counts afterwards.
// One that does not rise is answered like the newest. Other errors are
// *Refusal.
func (k *counter) take(g *guest, r *market.Receipt) (*taken, error) {
	if err := r.Check(k.c.Verify); err != nil {
		return nil, refuse(ReasonReceipt, "%v", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.turn(g); err != nil {
		return nil, err
	}
	last, terms, err := k.terms(g, r)
	if err != nil {
		return nil, err
	}
	till := g.till
	_, err = till.Accept(r, last, terms)
	switch {
	case errors.Is(err, market.ErrContradiction):
		k.accuse(*last, *r)
		return nil, refuse(ReasonReceipt, "%v", err)
	case errors.Is(err, market.ErrStale):
		return g.taken(last), nil
	case err != nil:
		return nil, refuse(ReasonReceipt, "%v", err)
	}
	err = k.c.Ledger.Save(nil, []types.Row{row(receiptKey(r.Epoch, r.Payer), r), row(tillKey(r.Payer), &till)})
	if err != nil {
		return nil, fmt.Errorf("keep receipt: %w", err)
	}
	g.till, g.dirty = till, false
	if r.Epoch == g.epoch {
		g.last = r
	} else {
		g.past = r
	}
	close(g.paid)
	g.paid = make(chan struct{})
	return g.taken(r), nil
}

func (g *guest) taken(r *market.Receipt) *taken {
	return &taken{Epoch: r.Epoch, Units: r.Units, Owed: g.till.Owed, Window: g.till.Window()}
}

// terms are what the receipt is held against: those of the running epoch or the
// one before.
func (k *counter) terms(g *guest, r *market.Receipt) (*market.Receipt, market.Terms, error) {
	t := market.Terms{
		Chain: k.c.Chain, Payer: g.visitor.Account, Payee: k.c.Account, Device: k.c.Device, Epoch: g.epoch, Cost: g.price,
	}
	last := g.last
	if r.Epoch+1 == g.epoch {
		price, err := k.c.Facts.Price(r.Epoch)
		if err != nil {
			return nil, t, fmt.Errorf("price of epoch %d: %w", r.Epoch, err)
		}
		t.Epoch, t.Cost, last = r.Epoch, price, g.past
	}
	lock, err := k.c.Facts.Lock(t.Payer, t.Epoch)
	if err != nil {
		return nil, t, fmt.Errorf("lock of epoch %d: %w", t.Epoch, err)
	}
	if t.Lock = lock; t.Epoch == g.epoch {
		g.lock = lock
	}
	return last, t, nil
}

func (k *counter) accuse(a, b market.Receipt) {
	if k.c.Accuse != nil {
		k.c.Accuse(market.Evidence{Receipts: []market.Receipt{a, b}})
	}
}
