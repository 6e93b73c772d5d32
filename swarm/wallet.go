package swarm

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/market"
	"github.com/staddle/staddle/types"
)

// wallet is the payer's side of all streams: one purse an epoch, one dealing a
// payee. It reserves before it asks, so that it never has to refuse to sign for
// what came; and it writes to the ledger before a receipt, or a request that may
// be charged, leaves.
type wallet struct {
	ledger Ledger
	facts  Facts
	signer keys.Signer
	chain  types.ChainID
	perDay *big.Int // wei; nil: no bound
	now    func() types.Millis

	mu       sync.Mutex
	purse    *market.Purse // of the epoch that was seen last; nil at a price of 0
	past     *market.Purse // of the epoch before
	epoch    types.Epoch
	loaded   bool
	budget   market.Budget
	reserved uint64 // units asked for or received, and not signed
	open     map[party]*dealing
}

// dealing is a payee that has streams.
type dealing struct {
	market.Dealing
	party    party
	streams  int
	underway uint64 // units asked for and not answered
}

// turn makes sure that the purses are those of the running epoch.
func (w *wallet) turn() error {
	e := w.facts.Epoch()
	if w.loaded && e == w.epoch {
		return nil
	}
	if !w.loaded {
		if _, err := fill(w.ledger, budgetKey, &w.budget); err != nil {
			return err
		}
	}
	purse, err := w.purseOf(e)
	if err != nil {
		return err
	}
	var past *market.Purse
	if e > 0 {
		if past, err = w.purseOf(e - 1); err != nil {
			return err
		}
	}
	w.purse, w.past, w.epoch, w.loaded = purse, past, e, true
	return nil
}

// purseOf reads a purse or begins one; nil when a unit costs nothing.
func (w *wallet) purseOf(e types.Epoch) (*market.Purse, error) {
	p := new(market.Purse)
	ok, err := fill(w.ledger, purseKey(e), p)
	if err != nil || ok {
		return p, err
	}
	price, err := w.facts.Price(e)
	if err != nil {
		return nil, fmt.Errorf("price of epoch %d: %w", e, err)
	}
	if price.Sign() <= 0 {
		return nil, nil
	}
	return market.NewPurse(w.chain, w.signer.Account(), e, price)
}

// join begins a stream with a payee.
func (w *wallet) join(p party) (*dealing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.open[p]
	if !ok {
		d = &dealing{party: p}
		if _, err := fill(w.ledger, dealingKey(p), &d.Dealing); err != nil {
			return nil, err
		}
		w.open[p] = d
		w.reserved += d.Received
	}
	d.streams++
	return d, nil
}

// leave ends a stream. What is left to pay stays in memory, and in the ledger.
func (w *wallet) leave(d *dealing) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.streams--; d.streams > 0 {
		return nil
	}
	if d.Received == 0 {
		delete(w.open, d.party)
	}
	if d.Dealing == (market.Dealing{}) {
		return nil
	}
	return w.ledger.Save(nil, []types.Row{row(dealingKey(d.party), &d.Dealing)})
}

// settle compares a quote with what was signed. It gives receipts that the
// payee does not know, oldest first, and leaves in the dealing what is to be
// paid of what the payee claims beyond them, when this is its only stream.
func (w *wallet) settle(d *dealing, q *quote) ([]market.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.turn(); err != nil {
		return nil, err
	}
	var again []market.Receipt
	claim := q.Owed
	for _, p := range []*market.Purse{w.past, w.purse} {
		if p == nil {
			continue
		}
		known, told := q.knows(p.Epoch)
		last, ok := p.Last(d.party.account, d.party.device)
		if ok && told && last.Units > known {
			again = append(again, last)
			claim -= min(claim, last.Units-known)
		}
	}
	if d.streams == 1 && d.underway == 0 {
		w.reserved -= d.Received
		d.Settle(claim)
		w.reserved += d.Received
	}
	return again, nil
}

// knows is what the payee has said of an epoch, and whether it has.
func (q *quote) knows(e types.Epoch) (uint64, bool) {
	switch e {
	case q.Epoch:
		return q.Known, true
	case q.Epoch - 1:
		return q.Past, true
	}
	return 0, false
}

// price is what a unit costs now; 0: nothing has to be paid.
func (w *wallet) price() (*big.Int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.turn(); err != nil {
		return nil, err
	}
	if w.purse == nil {
		return new(big.Int), nil
	}
	return w.purse.Cost, nil
}

// unsigned is the price of all that was asked for or received and not signed, in
// wei.
func (w *wallet) unsigned() *big.Int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.purse == nil {
		return new(big.Int)
	}
	return market.Wei(w.reserved, w.purse.Cost)
}

// reserve takes the units of up to n pieces out of lock and budget before they
// are asked for, and says for how many there is money. The error is about the
// ledger or the chain, or, when there is none, says what is used up.
func (w *wallet) reserve(d *dealing, n int, perPiece uint64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	units, why := w.room()
	if n = int(min(uint64(n), units/perPiece)); n == 0 {
		return 0, why
	}
	wanted := uint64(n) * perPiece
	if d.Ask(d.underway+wanted, perPiece) {
		if err := w.ledger.Save(nil, []types.Row{row(dealingKey(d.party), &d.Dealing)}); err != nil {
			return 0, fmt.Errorf("mark what may be owed: %w", err)
		}
	}
	w.reserved += wanted
	d.underway += wanted
	return n, nil
}

// room is how many units may still be asked for, and what bounds them.
func (w *wallet) room() (uint64, error) {
	if err := w.turn(); err != nil {
		return 0, err
	}
	if w.purse == nil {
		return 0, fmt.Errorf("%w: a unit costs nothing now", market.ErrPrice)
	}
	lock, err := w.facts.Lock(w.signer.Account(), w.epoch)
	if err != nil {
		return 0, fmt.Errorf("lock of epoch %d: %w", w.epoch, err)
	}
	units := w.purse.Room(lock)
	why := fmt.Errorf("%w: %s coins in epoch %d", market.ErrLock, lock, w.epoch)
	if left := w.budget.Left(w.perDay, w.now()); left != nil {
		left.Quo(left, w.purse.Cost)
		if left.IsUint64() && left.Uint64() < units {
			units, why = left.Uint64(), fmt.Errorf("%w: %s wei", market.ErrBudget, w.perDay)
		}
	}
	return units - min(units, w.reserved), why
}

// came moves units from under way to received.
func (w *wallet) came(d *dealing, units uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	units = min(units, d.underway)
	d.underway -= units
	before := d.Received
	d.Got(units)
	w.reserved -= units - (d.Received - before)
}

// release gives back what was reserved and is not charged.
func (w *wallet) release(d *dealing, units uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	units = min(units, d.underway)
	d.underway -= units
	w.reserved -= units
}

// unpaid is what came from the payee and is not signed.
func (w *wallet) unpaid(d *dealing) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d.Received
}

// credit is how many more units may be under way, received ones included, when
// the window is of so many units.
func (w *wallet) credit(d *dealing, window uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	used := d.Received + d.underway
	return window - min(window, used)
}

// sign makes a receipt for all that came, durable before it is handed out. It
// gives nil when nothing is to be paid.
func (w *wallet) sign(d *dealing, perPiece uint64) (*market.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.Received == 0 {
		return nil, nil
	}
	if err := w.turn(); err != nil {
		return nil, err
	}
	if w.purse == nil { // the price fell to 0: debts of before are void
		w.reserved -= d.Received
		d.Signed(d.Received)
		return nil, nil
	}
	lock, err := w.facts.Lock(w.signer.Account(), w.epoch)
	if err != nil {
		return nil, fmt.Errorf("lock of epoch %d: %w", w.epoch, err)
	}
	units := d.Received
	if room := w.purse.Room(lock); units > room {
		return nil, fmt.Errorf("%w: %d units to pay, room for %d", market.ErrLock, units, room)
	}
	if err := w.budget.Spend(market.Wei(units, w.purse.Cost), w.perDay, w.now()); err != nil {
		return nil, err
	}
	to := market.Paid{Payee: d.party.account, Device: d.party.device}
	r, err := w.purse.Sign(to, units, lock, w.signer.Sign)
	if err != nil {
		return nil, err
	}
	w.reserved -= units
	d.Signed(units)
	d.Ask(d.underway, perPiece) // raises the mark now, so that one write does
	err = w.ledger.Save(nil, []types.Row{
		row(purseKey(w.epoch), w.purse), row(dealingKey(d.party), &d.Dealing), row(budgetKey, &w.budget),
	})
	if err != nil {
		w.forget(d)
		return nil, fmt.Errorf("keep receipt: %w", err)
	}
	return &r, nil
}

// forget gives up what is in memory after a write of which nobody knows whether
// it is durable: what was signed must not leave. The ledger is read again, as
// after a crash.
func (w *wallet) forget(d *dealing) {
	w.purse, w.past, w.loaded, w.budget = nil, nil, false, market.Budget{}
	var durable market.Dealing
	if _, err := fill(w.ledger, dealingKey(d.party), &durable); err == nil {
		w.reserved += durable.Received - d.Received
		d.Dealing = durable
	}
}

// answered counts a receipt that the payee has taken.
func (w *wallet) answered(d *dealing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.Answered()
}

// window is how many pieces this side dares to have unpaid.
func (w *wallet) window(d *dealing) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d.Window()
}

// debts lists the payees that something is owed to, or that may not have the
// newest receipt.
func (w *wallet) debts() ([]party, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.turn(); err != nil {
		return nil, err
	}
	owed := map[party]bool{}
	for _, p := range []*market.Purse{w.past, w.purse} {
		if p == nil {
			continue
		}
		for _, r := range p.Receipts() {
			owed[party{r.Payee, r.Device}] = true
		}
	}
	err := w.ledger.Scan(table, dealings, dealings, func(key string, value []byte) error {
		var d market.Dealing
		p, err := parseParty(key[len(dealings):])
		if err == nil {
			err = types.Unmarshal(value, &d)
		}
		if err != nil {
			return fmt.Errorf("ledger row %s: %w", key, err)
		}
		if d.Mark > 0 {
			owed[p] = true
		}
		return nil
	})
	all := slices.Collect(maps.Keys(owed))
	slices.SortFunc(all, func(a, b party) int {
		return cmp.Or(bytes.Compare(a.account[:], b.account[:]), bytes.Compare(a.device[:], b.device[:]))
	})
	return all, err
}
