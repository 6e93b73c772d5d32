package types

import (
	"fmt"
	"math/big"
	"sort"
)

// Community is a kind of community: a preset of its rules (rules page, section 1).
type Community uint8

// Kinds of community.
const (
	Friends Community = iota
	Consortium
	Market
)

// String is the kind's name.
func (c Community) String() string {
	return [...]string{"friends", "consortium", "market"}[min(int(c), 2)]
}

// Preset is a set of clocks.
type Preset uint8

// Presets.
const (
	Main Preset = iota
	Sim
)

// String is the preset's name.
func (p Preset) String() string { return [...]string{"main", "sim"}[min(int(p), 1)] }

// TransferBy says what must confirm an epoch's result before it is paid (ST1).
type TransferBy uint8

// Ways to confirm a result.
const (
	ByFinality  TransferBy = iota // the checkpoint is final
	ByCommittee                   // more than 2/3 of the deposits signed it
)

// Rules are the parameters of a community. They are fixed in the genesis and
// change only by kind 27. Numbers of blocks unless said otherwise.
type Rules struct {
	Community Community
	Preset    Preset

	BlockMillis  uint32 // target block time A
	EpochBlocks  uint32
	YearEpochs   uint32 // T2
	MutableRange uint32
	ExpiryMillis uint32 // longest life of a transaction
	DriftMillis  uint32 // a block further ahead of the clock is held (T3)

	RangePieces uint32 // N of G7, in pieces
	LotRanges   uint32 // ranges of a lot, 1 to 64
	Copies      uint32 // default copies of a plan
	Encoding    uint32 // default encoding

	DrawDelay       uint32
	AcceptBlocks    uint32
	AttestBlocks    uint32
	StreamBlocks    uint32 // plus one a StreamUnit
	StreamUnit      uint64 // bytes
	EncodeBlocks    uint32 // plus EncodePer an EncodeUnit
	EncodePer       uint32
	EncodeUnit      uint64 // bytes
	EncoderOpen     uint32 // ranges accepted and not delivered by one encoder, at most
	SetupPieces     uint32 // pieces a range is billed for set-up, at least
	Attestors       uint32 // validators of an attempt
	Checkers        uint32 // validators that check a bundle
	AuditSamples    uint32 // leaves a host and epoch
	BundleBlocks    uint32 // after the beacon of the epoch
	ServeTesters    uint32
	HostBondEpochs  uint32 // H3
	FreeRanges      uint32 // ranges of a host without a bond
	EncoderBond     uint32 // epochs of the host's pay
	MinDeposit      Amount // of a validator (C4.1)
	DisputeLock     Amount
	RegisterDelay   uint32 // epochs until a registration counts
	BucketsPerBlock uint32
	WithdrawBlocks  uint32
	TransferBy      TransferBy

	StorageCost   *big.Int // wei a piece and epoch
	BandwidthCost *big.Int // wei a unit
	EncodePrice   *big.Int // wei a piece
	Active        Kinds    // kinds of transactions accepted (S5)
}

// small lists the plain numbers in the order of their encoding.
func (r *Rules) small() []*uint32 {
	return []*uint32{
		&r.BlockMillis, &r.EpochBlocks, &r.YearEpochs, &r.MutableRange, &r.ExpiryMillis, &r.DriftMillis,
		&r.RangePieces, &r.LotRanges, &r.Copies, &r.Encoding,
		&r.DrawDelay, &r.AcceptBlocks, &r.AttestBlocks, &r.StreamBlocks, &r.EncodeBlocks, &r.EncodePer,
		&r.EncoderOpen, &r.SetupPieces, &r.Attestors, &r.Checkers, &r.AuditSamples, &r.BundleBlocks,
		&r.ServeTesters, &r.HostBondEpochs, &r.FreeRanges, &r.EncoderBond,
		&r.RegisterDelay, &r.BucketsPerBlock, &r.WithdrawBlocks,
	}
}

// EncodeTo appends the tuple: community, preset, transferBy, the plain numbers
// in the order of the struct, then the larger ones.
func (r *Rules) EncodeTo(e *Encoder) {
	small := r.small()
	e.Array(len(small) + 11)
	e.Uint(uint64(r.Community))
	e.Uint(uint64(r.Preset))
	e.Uint(uint64(r.TransferBy))
	for _, n := range small {
		e.Uint(uint64(*n))
	}
	e.Uint(r.StreamUnit)
	e.Uint(r.EncodeUnit)
	e.Uint(uint64(r.MinDeposit))
	e.Uint(uint64(r.DisputeLock))
	e.Big(r.StorageCost)
	e.Big(r.BandwidthCost)
	e.Big(r.EncodePrice)
	e.Uint(uint64(r.Active))
}

// DecodeFrom reads the tuple.
func (r *Rules) DecodeFrom(d *Decoder) {
	small := r.small()
	d.Tuple(len(small) + 11)
	r.Community = Community(d.Limit(uint64(Market)))
	r.Preset = Preset(d.Limit(uint64(Sim)))
	r.TransferBy = TransferBy(d.Limit(uint64(ByCommittee)))
	for _, n := range small {
		*n = d.Uint32()
	}
	r.StreamUnit = d.Uint()
	r.EncodeUnit = d.Uint()
	r.MinDeposit = d.Amount()
	r.DisputeLock = d.Amount()
	r.StorageCost = d.Big()
	r.BandwidthCost = d.Big()
	r.EncodePrice = d.Big()
	r.Active = Kinds(d.Uint())
	if d.Err() == nil {
		if err := r.check(); err != nil {
			d.Fail("%w", err)
		}
	}
}

// check refuses parameters with which the rules cannot be computed.
func (r *Rules) check() error {
	positive := []*uint32{
		&r.BlockMillis, &r.EpochBlocks, &r.YearEpochs, &r.MutableRange, &r.ExpiryMillis, &r.RangePieces, &r.LotRanges, &r.Copies,
		&r.DrawDelay, &r.Attestors, &r.Checkers, &r.AuditSamples, &r.BundleBlocks, &r.BucketsPerBlock,
	}
	for i, n := range positive {
		if *n == 0 {
			return fmt.Errorf("rule number %d of the positive ones is 0", i)
		}
	}
	switch {
	case r.RangePieces > MaxRangePieces || r.RangePieces&(r.RangePieces-1) != 0 || r.RangePieces < 4:
		return fmt.Errorf("range of %d pieces: want a power of two from 4 to %d", r.RangePieces, MaxRangePieces)
	case r.LotRanges > MaxLotRanges:
		return fmt.Errorf("lot of %d ranges above %d", r.LotRanges, MaxLotRanges)
	case r.StreamUnit == 0 || r.EncodeUnit == 0:
		return fmt.Errorf("time-out unit of 0 bytes")
	case r.BlockMillis > 1<<24 || r.EpochBlocks > 1<<16:
		return fmt.Errorf("block time %d ms or epoch of %d blocks too long", r.BlockMillis, r.EpochBlocks)
	}
	return nil
}

// MaxLotRanges is the largest number of ranges of a lot (G11).
const MaxLotRanges = 64

// EpochOf is the epoch that block h belongs to: block 0 alone is before the
// first one, so epoch e holds blocks e x EpochBlocks + 1 to (e+1) x EpochBlocks.
func (r *Rules) EpochOf(h Height) Epoch {
	if h == 0 {
		return 0
	}
	return Epoch((uint64(h) - 1) / uint64(r.EpochBlocks))
}

// Checkpoint is the last block of epoch e.
func (r *Rules) Checkpoint(e Epoch) Height { return Height((uint64(e) + 1) * uint64(r.EpochBlocks)) }

// simKinds are the kinds that a community may use today: 0 to 13, 24 and 28.
var simKinds = KindSet(KindCoinbase, KindWire, KindMessage, KindRegister, KindPlan, KindEncoded, KindHosted, KindAttest,
	KindBundle, KindDispute, KindDuty, KindLog, KindCollation, KindDeposit, KindLock, KindName)

// SimMarket is the preset for tests and the demo: a market with blocks of one
// second and epochs of eight.
func SimMarket() Rules {
	return Rules{
		Community: Market, Preset: Sim, TransferBy: ByCommittee,
		BlockMillis: 1000, EpochBlocks: 8, YearEpochs: 1460, MutableRange: 4096, ExpiryMillis: 600_000, DriftMillis: 15_000,
		RangePieces: 16, LotRanges: 2, Copies: 3, Encoding: 1,
		DrawDelay: 3, AcceptBlocks: 10, AttestBlocks: 10, StreamBlocks: 20, StreamUnit: 1 << 20,
		EncodeBlocks: 20, EncodePer: 2, EncodeUnit: 1 << 20, EncoderOpen: 64, SetupPieces: 4,
		Attestors: 2, Checkers: 3, AuditSamples: 16, BundleBlocks: 4, ServeTesters: 3,
		HostBondEpochs: 64, FreeRanges: 64, EncoderBond: 112,
		MinDeposit: MaxSupply / 10_000, DisputeLock: 10 * Coin,
		RegisterDelay: 0, BucketsPerBlock: 64, WithdrawBlocks: 256,
		StorageCost: Wei(1_000_000_000_000_000), BandwidthCost: Wei(262_144_000_000), EncodePrice: Wei(262_144_000_000),
		Active: simKinds,
	}
}

// Credit gives an account its first coins.
type Credit struct {
	Account Account
	Amount  Amount
}

// Genesis is the first state of a community (U5). Its encoding fixes the chain id.
type Genesis struct {
	Version  uint8
	Name     string // of the community, at most 64 bytes
	Symbol   string // of its coin, at most 8 bytes
	Time     Millis
	Rules    Rules
	Credits  []Credit  // ascending by account; the sum is the supply
	Members  []Account // share the first mining power (C1.4); ascending
	Deposits []Credit  // validators bonded from the start, out of their credit; ascending
}

// Limits of a genesis.
const (
	GenesisVersion = 1
	MaxCredits     = 4096
	MaxCommunity   = 64
	MaxSymbol      = 8
)

// EncodeTo appends the tuple.
func (g *Genesis) EncodeTo(e *Encoder) {
	e.Array(8)
	e.Uint(uint64(g.Version))
	e.Text(g.Name)
	e.Text(g.Symbol)
	e.Uint(uint64(g.Time))
	g.Rules.EncodeTo(e)
	encodeCredits(e, g.Credits)
	e.Array(len(g.Members))
	for _, a := range g.Members {
		e.Bytes(a[:])
	}
	encodeCredits(e, g.Deposits)
}

func encodeCredits(e *Encoder, cs []Credit) {
	e.Array(len(cs))
	for _, c := range cs {
		e.Array(2)
		e.Bytes(c.Account[:])
		e.Uint(uint64(c.Amount))
	}
}

// DecodeFrom reads the tuple and checks its sums and its order.
func (g *Genesis) DecodeFrom(d *Decoder) {
	d.Tuple(8)
	if g.Version = d.Uint8(); g.Version != GenesisVersion {
		d.Fail("genesis version %d, this program knows %d", g.Version, GenesisVersion)
	}
	g.Name = d.Text(MaxCommunity)
	g.Symbol = d.Text(MaxSymbol)
	g.Time = d.Millis()
	g.Rules.DecodeFrom(d)
	g.Credits = decodeCredits(d)
	g.Members = make([]Account, d.Array(MaxCredits))
	for i := range g.Members {
		g.Members[i] = d.Account()
	}
	g.Deposits = decodeCredits(d)
	if d.Err() == nil {
		if err := g.Check(); err != nil {
			d.Fail("%w", err)
		}
	}
}

func decodeCredits(d *Decoder) []Credit {
	cs := make([]Credit, d.Array(MaxCredits))
	for i := range cs {
		d.Tuple(2)
		cs[i] = Credit{Account: d.Account(), Amount: d.Amount()}
	}
	return cs
}

// Check reports why g cannot start a community.
func (g *Genesis) Check() error {
	if err := g.Rules.check(); err != nil {
		return err
	}
	var supply Amount
	for i, c := range g.Credits {
		if i > 0 && string(g.Credits[i-1].Account[:]) >= string(c.Account[:]) {
			return fmt.Errorf("credit %d is not in ascending order of accounts", i)
		}
		if supply += c.Amount; c.Amount > MaxSupply || supply > MaxSupply {
			return fmt.Errorf("credits exceed %s coins", Amount(MaxSupply))
		}
	}
	for i := 1; i < len(g.Members); i++ {
		if string(g.Members[i-1][:]) >= string(g.Members[i][:]) {
			return fmt.Errorf("member %d is not in ascending order", i)
		}
	}
	for i, c := range g.Deposits {
		if i > 0 && string(g.Deposits[i-1].Account[:]) >= string(c.Account[:]) {
			return fmt.Errorf("deposit %d is not in ascending order of accounts", i)
		}
		if have := g.credit(c.Account); have < c.Amount {
			return fmt.Errorf("deposit of %s coins above the credit of %s", c.Amount, have)
		}
		if c.Amount < g.Rules.MinDeposit {
			return fmt.Errorf("deposit of %s coins below minimum %s", c.Amount, g.Rules.MinDeposit)
		}
	}
	if len(g.Members) == 0 || g.Name == "" {
		return fmt.Errorf("genesis needs a name and a member, has %q and %d", g.Name, len(g.Members))
	}
	return nil
}

func (g *Genesis) credit(a Account) Amount {
	i := sort.Search(len(g.Credits), func(i int) bool { return string(g.Credits[i].Account[:]) >= string(a[:]) })
	if i < len(g.Credits) && g.Credits[i].Account == a {
		return g.Credits[i].Amount
	}
	return 0
}

// Supply is the sum of the credits.
func (g *Genesis) Supply() (sum Amount) {
	for _, c := range g.Credits {
		sum += c.Amount
	}
	return sum
}

// Chain is the community's id: H("staddle/chain/1", genesis) (D4).
func (g *Genesis) Chain() ChainID { return H("staddle/chain/1", Marshal(g)) }

// NotYet reports the part of g that this program does not serve yet, or nil:
// only a market with the preset sim can be created today.
func (g *Genesis) NotYet() error {
	r := &g.Rules
	if r.Community != Market || r.Preset != Sim {
		return fmt.Errorf("a community of kind %s with preset %s: not yet; use --kind market --preset sim", r.Community, r.Preset)
	}
	if extra := r.Active &^ simKinds; extra != 0 {
		return fmt.Errorf("active kinds %#x: not yet", uint64(extra))
	}
	if r.TransferBy != ByCommittee {
		return fmt.Errorf("transfers by finality: not yet; finality votes are not active")
	}
	return nil
}

// BundlesDue is the last block that may post a bundle of epoch e (H6.4):
// BundleBlocks after the block that fixes the epoch's beacon.
func (r *Rules) BundlesDue(e Epoch) Height { return r.Checkpoint(e+1) + Height(r.BundleBlocks) }

// LogsDue is the last block that may commit logs of epoch e (ST1).
func (r *Rules) LogsDue(e Epoch) Height { return r.Checkpoint(e) + Height(r.EpochBlocks/2) }

// leastDisputeBlocks is the shortest time for disputes.
const leastDisputeBlocks = 2

// DisputesDue is the last block that may dispute what a host showed for epoch e;
// its result comes later (ST1). Disputes have a quarter of the blocks that
// bundles have, at least two: half an epoch where bundles have two epochs.
func (r *Rules) DisputesDue(e Epoch) Height {
	return r.BundlesDue(e) + Height(max(leastDisputeBlocks, r.BundleBlocks/4))
}
