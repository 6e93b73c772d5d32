package market

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/staddle/staddle/types"
)

// MaxPayees is the largest number of payees of one payer and epoch.
const MaxPayees = 4096

// Errors of signing.
var (
	ErrLock   = errors.New("lock is used up")
	ErrPayees = errors.New("too many payees in one epoch")
)

// Purse is all that one payer has signed in one epoch. What it signs is to be
// durable before it is sent: a payer that forgets would sign totals that
// contradict (ST8.3).
type Purse struct {
	Chain types.ChainID
	Payer types.Account
	Epoch types.Epoch
	Cost  *big.Int // wei a unit; above 0
	Total *big.Int // wei signed, to all payees
	paid  []Paid   // ascending by payee and device
}

// Paid is the newest receipt to one device of a payee, without what the purse
// says for all.
type Paid struct {
	Payee     types.Account
	Device    types.Device
	Units     uint64
	Total     *big.Int
	Signature types.Signature
}

// NewPurse begins an epoch. It fails when cost is not above 0: what costs
// nothing needs no receipts.
func NewPurse(chain types.ChainID, payer types.Account, epoch types.Epoch, cost *big.Int) (*Purse, error) {
	if cost.Sign() <= 0 {
		return nil, fmt.Errorf("price of a unit is %s wei, want more than 0", cost)
	}
	return &Purse{Chain: chain, Payer: payer, Epoch: epoch, Cost: new(big.Int).Set(cost), Total: new(big.Int)}, nil
}

// Room is how many more units the lock covers (ST8.1).
func (p *Purse) Room(lock types.Amount) uint64 {
	left := LockWei(lock)
	left.Sub(left, p.Total)
	if left.Sign() <= 0 {
		return 0
	}
	left.Quo(left, p.Cost)
	if !left.IsUint64() {
		return MaxUnits
	}
	return min(left.Uint64(), MaxUnits)
}

// Sign adds units to what the payee's device has had and gives the receipt. It
// refuses to sign beyond the lock (ST8.1, ErrLock), to more than MaxPayees
// (ErrPayees), and nothing at all; then nothing changed.
func (p *Purse) Sign(to Paid, units uint64, lock types.Amount, sign Sign) (Receipt, error) {
	if room := p.Room(lock); units == 0 || units > room {
		return Receipt{}, fmt.Errorf("sign %d units, lock of %s coins has room for %d: %w", units, lock, room, ErrLock)
	}
	i, found := p.find(to.Payee, to.Device)
	next := Paid{Payee: to.Payee, Device: to.Device, Units: units}
	if found {
		next.Units += p.paid[i].Units
	}
	if next.Units > MaxUnits {
		return Receipt{}, fmt.Errorf("sign %d units: %w: %d in all above %d", units, ErrReceipt, next.Units, uint64(MaxUnits))
	}
	if !found && len(p.paid) >= MaxPayees {
		return Receipt{}, fmt.Errorf("%w: %d", ErrPayees, MaxPayees)
	}
	next.Total = new(big.Int).Add(p.Total, Wei(units, p.Cost))
	r := p.receipt(next)
	digest := r.digest()
	r.Signature = sign(digest[:])
	next.Signature = r.Signature
	if found {
		p.paid[i] = next
	} else {
		p.paid = slices.Insert(p.paid, i, next)
	}
	p.Total = new(big.Int).Set(next.Total)
	return r, nil
}

func (p *Purse) receipt(a Paid) Receipt {
	return Receipt{
		Chain: p.Chain, Payer: p.Payer, Payee: a.Payee, Device: a.Device, Epoch: p.Epoch,
		Units: a.Units, Total: new(big.Int).Set(a.Total), Signature: a.Signature,
	}
}

// Last is the newest receipt to that device, and whether there is one.
func (p *Purse) Last(payee types.Account, device types.Device) (Receipt, bool) {
	i, found := p.find(payee, device)
	if !found {
		return Receipt{}, false
	}
	return p.receipt(p.paid[i]), true
}

// Receipts are the newest receipts to all payees, ascending.
func (p *Purse) Receipts() []Receipt {
	all := make([]Receipt, len(p.paid))
	for i, a := range p.paid {
		all[i] = p.receipt(a)
	}
	return all
}

func (p *Purse) find(payee types.Account, device types.Device) (int, bool) {
	return slices.BinarySearchFunc(p.paid, Paid{Payee: payee, Device: device}, comparePaid)
}

func comparePaid(a, b Paid) int {
	return cmp.Or(bytes.Compare(a.Payee[:], b.Payee[:]), bytes.Compare(a.Device[:], b.Device[:]))
}

// EncodeTo appends [chain, payer, epoch, cost, total, [[payee, device, units,
// total, signature], ...]].
func (p *Purse) EncodeTo(e *types.Encoder) {
	e.Array(6)
	e.Bytes(p.Chain[:])
	e.Bytes(p.Payer[:])
	e.Uint(uint64(p.Epoch))
	e.Big(p.Cost)
	e.Big(p.Total)
	e.Array(len(p.paid))
	for _, a := range p.paid {
		e.Array(5)
		e.Bytes(a.Payee[:])
		e.Bytes(a.Device[:])
		e.Uint(a.Units)
		e.Big(a.Total)
		e.Bytes(a.Signature[:])
	}
}

// DecodeFrom reads the tuple and refuses a purse whose total is not the price
// of its units.
func (p *Purse) DecodeFrom(d *types.Decoder) {
	d.Tuple(6)
	p.Chain = d.Hash()
	p.Payer = d.Account()
	p.Epoch = d.Epoch()
	p.Cost = d.Big()
	p.Total = d.Big()
	p.paid = make([]Paid, d.Array(MaxPayees))
	for i := range p.paid {
		p.paid[i].decodeFrom(d)
	}
	if d.Err() == nil {
		if err := p.check(); err != nil {
			d.Fail("%w", err)
		}
	}
}

func (a *Paid) decodeFrom(d *types.Decoder) {
	d.Tuple(5)
	d.Fixed(a.Payee[:])
	d.Fixed(a.Device[:])
	a.Units = d.Limit(MaxUnits)
	a.Total = d.Big()
	d.Fixed(a.Signature[:])
}

func (p *Purse) check() error {
	if p.Cost.Sign() <= 0 {
		return fmt.Errorf("purse with a price of 0")
	}
	var units uint64
	for i, a := range p.paid {
		if i > 0 && comparePaid(p.paid[i-1], a) >= 0 {
			return fmt.Errorf("payee %d of a purse is not in ascending order", i)
		}
		if a.Units == 0 || a.Total.Cmp(p.Total) > 0 || a.Total.Cmp(Wei(a.Units, p.Cost)) < 0 {
			return fmt.Errorf("payee %d of a purse has %d units, its total does not fit", i, a.Units)
		}
		units += a.Units // at most 4,096 x 2^53
		if units > 1<<62 {
			return fmt.Errorf("purse with more than 2^62 units")
		}
	}
	if want := Wei(units, p.Cost); p.Total.Cmp(want) != 0 {
		return fmt.Errorf("purse with a total of %s wei for %d units, want %s", p.Total, units, want)
	}
	return nil
}
