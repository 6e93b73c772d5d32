package types

import (
	"math/big"

	"github.com/ipfs/go-cid"
)

// Months is the number of monthly power counters kept (C1.3).
const Months = 12

// Globals is the record under the key "g" (S2).
type Globals struct {
	Rules       cid.Cid   // block with the running Rules
	Genesis     cid.Cid   // name of the genesis block; undefined in the genesis itself
	FeeFactor   uint64    // f in 32.32 fixed point (C1.2)
	R           Hash      // beacon of this block (C2.1)
	Vrf         [64]byte  // VRF output of this block; zero in the genesis
	Times       [4]Millis // of this block and the three before, newest first
	Storage     *big.Int  // price of a piece and epoch in wei (ST6)
	Bandwidth   *big.Int  // price of a unit in wei
	Encode      *big.Int  // price of encoding a piece in wei
	Active      Kinds
	Burned      Amount
	BurnCarry   uint64 // wei burned below one base unit
	Members     uint32 // genesis members that share the endowment (C1.4)
	Deposits    Amount // of all active validators
	LiveRanges  uint64 // ranges in active lots
	RepairEpoch Epoch  // epoch that Repaired counts
	Repaired    uint64 // ranges reopened in that epoch (H4.2)
	Transfer    Epoch  // next epoch whose result may be paid
}

// EncodeTo appends the tuple.
func (g *Globals) EncodeTo(e *Encoder) {
	e.Array(18)
	e.Link(g.Rules)
	e.Link(g.Genesis)
	e.Uint(g.FeeFactor)
	e.Bytes(g.R[:])
	e.Bytes(g.Vrf[:])
	e.Array(len(g.Times))
	for _, t := range g.Times {
		e.Uint(uint64(t))
	}
	e.Big(g.Storage)
	e.Big(g.Bandwidth)
	e.Big(g.Encode)
	e.Uint(uint64(g.Active))
	e.Uint(uint64(g.Burned))
	e.Uint(g.BurnCarry)
	e.Uint(uint64(g.Members))
	e.Uint(uint64(g.Deposits))
	e.Uint(g.LiveRanges)
	e.Uint(uint64(g.RepairEpoch))
	e.Uint(g.Repaired)
	e.Uint(uint64(g.Transfer))
}

// DecodeFrom reads the tuple.
func (g *Globals) DecodeFrom(d *Decoder) {
	d.Tuple(18)
	g.Rules = d.Link()
	g.Genesis = d.Link()
	g.FeeFactor = d.Uint()
	g.R = d.Hash()
	d.Fixed(g.Vrf[:])
	d.Tuple(len(g.Times))
	for i := range g.Times {
		g.Times[i] = d.Millis()
	}
	g.Storage = d.Big()
	g.Bandwidth = d.Big()
	g.Encode = d.Big()
	g.Active = Kinds(d.Uint())
	g.Burned = d.Amount()
	g.BurnCarry = d.Limit(WeiPerBase - 1)
	g.Members = d.Uint32()
	g.Deposits = d.Amount()
	g.LiveRanges = d.Uint()
	g.RepairEpoch = d.Epoch()
	g.Repaired = d.Uint()
	g.Transfer = d.Epoch()
}

// EpochCount is how many transactions of an account burned a base fee in an epoch.
type EpochCount struct {
	Epoch Epoch
	Count uint64
}

// AccountRecord is an account's row under "a/<account>" (S2).
type AccountRecord struct {
	Nonce       uint64
	Balance     Amount
	Locked      Amount // in plans, download locks and disputes
	HostBond    Amount
	EncodeBond  Amount
	Deposit     Amount // a validator's stake
	DepositFrom Epoch  // first epoch in which the stake counts for power
	Reserved    Amount // of the plans in Locked: owed by results that are accepted and not yet paid (ST9)
	Carry       uint64 // wei below one base unit (U2)
	Profile     Hash
	Payout      Account
	Recovery    Hash
	SpendLimit  Amount         // an epoch, as last registered (K3); 0: none
	LimitBefore Amount         // the lower limit that holds below LimitFrom
	LimitFrom   Height         // first block in which SpendLimit holds; 0: it does
	SpentEpoch  Epoch          // epoch that Spent counts
	Spent       Amount         // that left by own transactions in it, at most MaxSupply (K3)
	Member      bool           // shares the genesis endowment (C1.4)
	Month       uint64         // month of Power[0]
	Power       [Months]uint64 // granted milli-units, newest month first
	Counts      []EpochCount   // of the last three epochs, oldest first (C1.3)
}

// EncodeTo appends the tuple.
func (a *AccountRecord) EncodeTo(e *Encoder) {
	e.Array(21)
	e.Uint(a.Nonce)
	e.Uint(uint64(a.Balance))
	e.Uint(uint64(a.Locked))
	e.Uint(uint64(a.HostBond))
	e.Uint(uint64(a.EncodeBond))
	e.Uint(uint64(a.Deposit))
	e.Uint(uint64(a.DepositFrom))
	e.Uint(uint64(a.Reserved))
	e.Uint(a.Carry)
	e.Bytes(a.Profile[:])
	e.Bytes(a.Payout[:])
	e.Bytes(a.Recovery[:])
	e.Uint(uint64(a.SpendLimit))
	e.Uint(uint64(a.LimitBefore))
	e.Uint(uint64(a.LimitFrom))
	e.Uint(uint64(a.SpentEpoch))
	e.Uint(uint64(a.Spent))
	e.Bool(a.Member)
	e.Uint(a.Month)
	e.Array(Months)
	for _, p := range a.Power {
		e.Uint(p)
	}
	e.Array(len(a.Counts))
	for _, c := range a.Counts {
		e.Array(2)
		e.Uint(uint64(c.Epoch))
		e.Uint(c.Count)
	}
}

// DecodeFrom reads the tuple.
func (a *AccountRecord) DecodeFrom(d *Decoder) {
	d.Tuple(21)
	a.Nonce = d.Uint()
	a.Balance = d.Amount()
	a.Locked = d.Amount()
	a.HostBond = d.Amount()
	a.EncodeBond = d.Amount()
	a.Deposit = d.Amount()
	a.DepositFrom = d.Epoch()
	a.Reserved = d.Amount()
	a.Carry = d.Limit(WeiPerBase - 1)
	a.Profile = d.Hash()
	a.Payout = d.Account()
	a.Recovery = d.Hash()
	a.decodeLimit(d)
	a.Member = d.Bool()
	a.Month = d.Uint()
	d.Tuple(Months)
	for i := range a.Power {
		a.Power[i] = d.Uint()
	}
	a.Counts = make([]EpochCount, d.Array(3))
	for i := range a.Counts {
		d.Tuple(2)
		a.Counts[i] = EpochCount{Epoch: d.Epoch(), Count: d.Uint()}
	}
}

// decodeLimit reads the fields of the limit. A limit that held before has an
// end, a count its epoch, and what is zero has neither.
func (a *AccountRecord) decodeLimit(d *Decoder) {
	a.SpendLimit = d.Amount()
	a.LimitBefore = d.Amount()
	a.LimitFrom = d.Height()
	a.SpentEpoch = d.Epoch()
	a.Spent = d.Amount()
	if (a.LimitBefore == 0) != (a.LimitFrom == 0) {
		d.Fail("limit %d until block %d", a.LimitBefore, a.LimitFrom)
	}
	if a.Spent == 0 && a.SpentEpoch != 0 {
		d.Fail("nothing spent in epoch %d", a.SpentEpoch)
	}
}

// LimitAt is the limit of spending an epoch in block h, in base units; 0: none
// (K3).
func (a *AccountRecord) LimitAt(h Height) Amount {
	if h < a.LimitFrom {
		return a.LimitBefore
	}
	return a.SpendLimit
}

// SpentIn is what left the account by its own transactions in epoch e, in base
// units; known of the last epoch with any (K3).
func (a *AccountRecord) SpentIn(e Epoch) Amount {
	if a.SpentEpoch != e {
		return 0
	}
	return a.Spent
}

// OutRecord is what document 000 calls TXOutput, under "a/<account>/out/<nonce>".
type OutRecord struct {
	Kind   Kind
	Tx     TxID   // zero for a coinbase
	Amount Amount // tips of a coinbase, coins of a wire, else 0
}

// EncodeTo appends the tuple.
func (o *OutRecord) EncodeTo(e *Encoder) {
	e.Array(3)
	e.Uint(uint64(o.Kind))
	e.Bytes(o.Tx[:])
	e.Uint(uint64(o.Amount))
}

// DecodeFrom reads the tuple.
func (o *OutRecord) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	o.Kind = Kind(d.Uint8())
	o.Tx = d.Hash()
	o.Amount = d.Amount()
}

// DatasetRecord is a published dataset under "d/<dataset>".
type DatasetRecord struct {
	Attachment Attachment
	Publisher  Account
	Height     Height
	Time       Millis // of the block; chunkBD in logs (ST2.3)
	Tx         TxID
}

// EncodeTo appends the tuple.
func (r *DatasetRecord) EncodeTo(e *Encoder) {
	e.Array(5)
	r.Attachment.EncodeTo(e)
	e.Bytes(r.Publisher[:])
	e.Uint(uint64(r.Height))
	e.Uint(uint64(r.Time))
	e.Bytes(r.Tx[:])
}

// DecodeFrom reads the tuple.
func (r *DatasetRecord) DecodeFrom(d *Decoder) {
	d.Tuple(5)
	r.Attachment.DecodeFrom(d)
	r.Publisher = d.Account()
	r.Height = d.Height()
	r.Time = d.Millis()
	r.Tx = d.Hash()
}

// Height reads a block height.
func (d *Decoder) Height() Height { return Height(d.Limit(1 << 48)) }

// RegistryRecord is a row of the registry under "r/<account>": document 003's
// swarmdb table.
type RegistryRecord struct {
	Register Register
	Time     Millis // of the block: registerTimestamp
	From     Epoch  // first epoch in which it counts
}

// EncodeTo appends the tuple.
func (r *RegistryRecord) EncodeTo(e *Encoder) {
	e.Array(3)
	r.Register.EncodeTo(e)
	e.Uint(uint64(r.Time))
	e.Uint(uint64(r.From))
}

// DecodeFrom reads the tuple.
func (r *RegistryRecord) DecodeFrom(d *Decoder) {
	d.Tuple(3)
	r.Register.DecodeFrom(d)
	r.Time = d.Millis()
	r.From = d.Epoch()
}

// EpochRecord is kept under "e/<be64 epoch>".
type EpochRecord struct {
	Burning   uint64   // transactions that burned a base fee: n_e (C1.3)
	Seconds   uint64   // of the checkpoint's header: EpochUnixTimestamp (T1); 0 while running
	Root      cid.Cid  // name of the checkpoint's parent: the newest state that the epoch's claims can be read from by link; set with Seconds
	Beacon    Hash     // R_E; zero until checkpoint E+1
	Storage   *big.Int // prices that the epoch pays (ST6)
	Bandwidth *big.Int
	Collation *Collation // without signers; nil until accepted
	Signed    Amount     // deposits that signed it
	Due       Height     // block c of ST9.2; 0 until the transfer is due
	Buckets   uint32     // applied so far
}

// EncodeTo appends the tuple.
func (r *EpochRecord) EncodeTo(e *Encoder) {
	e.Array(9)
	e.Uint(r.Burning)
	e.Uint(r.Seconds)
	e.Bytes(r.Beacon[:])
	e.Big(r.Storage)
	e.Big(r.Bandwidth)
	if r.Collation == nil {
		e.Array(0)
	} else {
		e.Array(1)
		r.Collation.EncodeTo(e)
	}
	e.Uint(uint64(r.Signed))
	e.Uint(uint64(r.Due))
	e.Uint(uint64(r.Buckets))
}

// DecodeFrom reads the tuple.
func (r *EpochRecord) DecodeFrom(d *Decoder) {
	d.Tuple(9)
	r.Burning = d.Uint()
	r.Seconds = d.Uint()
	r.Beacon = d.Hash()
	r.Storage = d.Big()
	r.Bandwidth = d.Big()
	r.Collation = nil
	if d.Array(1) == 1 {
		r.Collation = new(Collation)
		r.Collation.DecodeFrom(d)
	}
	r.Signed = d.Amount()
	r.Due = d.Height()
	r.Buckets = d.Uint32()
}
