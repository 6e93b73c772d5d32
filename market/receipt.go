package market

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/staddle/staddle/types"
)

const (
	// MaxUnits bounds the cumulative units of a receipt; a line of the bandwidth
	// log holds no more.
	MaxUnits = 1<<53 - 1
	// MaxReceipt bounds the canonical form of a receipt, in bytes.
	MaxReceipt = 320

	domReceipt = "staddle/receipt/1"
)

// Sign makes an ed25519 signature of a digest.
type Sign func(msg []byte) types.Signature

// Verify checks one by the rule of D3.
type Verify func(pub types.Account, msg []byte, sig types.Signature) bool

// Receipt is a payer's word about one epoch: how many units it has had from
// this device of the payee, and how much it has signed in all (ST8.1). Both
// only rise, so the newest receipt replaces the older ones.
type Receipt struct {
	Chain     types.ChainID
	Payer     types.Account
	Payee     types.Account
	Device    types.Device // of the payee
	Epoch     types.Epoch
	Units     uint64   // cumulative, to this payee and device; 1 to MaxUnits
	Total     *big.Int // wei signed to all payees in the epoch, this one included
	Signature types.Signature
}

// ErrReceipt marks a receipt that is wrong in itself or of other parties.
var ErrReceipt = errors.New("bad receipt")

// Signed is the part that the payer signs, in canonical form.
func (r *Receipt) Signed() []byte {
	var e types.Encoder
	e.Array(7)
	r.encodeSigned(&e)
	return e.Data()
}

func (r *Receipt) encodeSigned(e *types.Encoder) {
	e.Bytes(r.Chain[:])
	e.Bytes(r.Payer[:])
	e.Bytes(r.Payee[:])
	e.Bytes(r.Device[:])
	e.Uint(uint64(r.Epoch))
	e.Uint(r.Units)
	e.Big(r.Total)
}

// digest is what the signature covers.
func (r *Receipt) digest() types.Hash { return types.H(domReceipt, r.Signed()) }

// Hash names the receipt in bandwidth logs: SHA-256 of the signed bytes (ST2.3).
func (r *Receipt) Hash() types.Hash { return sha256.Sum256(r.Signed()) }

// Check tells why the signature of r does not hold; the error wraps ErrReceipt.
func (r *Receipt) Check(verify Verify) error {
	digest := r.digest()
	if !verify(r.Payer, digest[:], r.Signature) {
		return fmt.Errorf("%w: signature is not by payer %s", ErrReceipt, r.Payer.Short())
	}
	return nil
}

// EncodeTo appends [chain, payer, payee, device, epoch, units, total, signature].
func (r *Receipt) EncodeTo(e *types.Encoder) {
	e.Array(8)
	r.encodeSigned(e)
	e.Bytes(r.Signature[:])
}

// DecodeFrom reads the tuple. It does not check the signature.
func (r *Receipt) DecodeFrom(d *types.Decoder) {
	d.Tuple(8)
	r.Chain = d.Hash()
	r.Payer = d.Account()
	d.Fixed(r.Payee[:])
	d.Fixed(r.Device[:])
	r.Epoch = d.Epoch()
	r.Units = d.Limit(MaxUnits)
	r.Total = d.Big()
	d.Fixed(r.Signature[:])
	if d.Err() == nil && r.Units == 0 {
		d.Fail("receipt of 0 units")
	}
}

// equal compares what is signed.
func (r *Receipt) equal(o *Receipt) bool {
	return r.Chain == o.Chain && r.Payer == o.Payer && r.Payee == o.Payee && r.Device == o.Device &&
		r.Epoch == o.Epoch && r.Units == o.Units && r.Total.Cmp(o.Total) == 0
}

// covers reports whether the total pays at least for the receipt's own units.
func (r *Receipt) covers(cost *big.Int) bool { return r.Total.Cmp(Wei(r.Units, cost)) >= 0 }

// Wei is the price of units when one costs cost wei.
func Wei(units uint64, cost *big.Int) *big.Int {
	return new(big.Int).Mul(types.Wei(units), cost)
}

// LockWei is what a lock covers, in wei (U1).
func LockWei(lock types.Amount) *big.Int { return Wei(uint64(lock), big.NewInt(types.WeiPerBase)) }
