package types

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
)

// T1: times are Unix milliseconds; an epoch is an ordinal, its last block a
// checkpoint; block 0 stands before the first one.
func TestT1(t *testing.T) {
	r := SimMarket()
	for h, e := range map[Height]Epoch{0: 0, 1: 0, 8: 0, 9: 1, 16: 1, 17: 2, 8_000: 999, 8_001: 1000} {
		if have := r.EpochOf(h); have != e {
			t.Errorf("block %d is of epoch %d, want %d", h, have, e)
		}
	}
	for e := range Epoch(100) {
		c := r.Checkpoint(e)
		if r.EpochOf(c) != e || r.EpochOf(c+1) != e+1 {
			t.Errorf("checkpoint %d of epoch %d is not its last block", c, e)
		}
	}
	if r.LogsDue(3) != 32+4 || r.BundlesDue(3) != 40+4 || r.DisputesDue(3) != 44+2 {
		t.Errorf("epoch 3: logs until %d, bundles until %d, disputes until %d", r.LogsDue(3), r.BundlesDue(3), r.DisputesDue(3))
	}
	// Where bundles have two epochs after the beacon, as ST1 says for epochs of 6 h:
	// bundles until E+3, disputes until E+3 1/2.
	r.EpochBlocks, r.BundleBlocks = 360, 720
	if r.BundlesDue(3) != r.Checkpoint(6) || r.DisputesDue(3) != r.Checkpoint(6)+180 {
		t.Errorf("epoch 3: bundles until %d, disputes until %d", r.BundlesDue(3), r.DisputesDue(3))
	}
	for n, ok := range map[uint64]bool{0: true, 1_700_000_000_000: true, 1 << 52: true, 1<<52 + 1: false, 1 << 63: false} {
		var e Encoder
		e.Uint(n)
		d := NewDecoder(e.Data())
		if have := d.Millis(); (d.End() == nil) != ok || ok && uint64(have) != n {
			t.Errorf("time %d reads as %d: %v", n, have, d.End())
		}
	}
}

// U1: a coin is 10^9 base units of 10^9 wei; a community has at most 10,000,000.
func TestU1(t *testing.T) {
	if Coin != 1_000_000_000 || WeiPerBase != 1_000_000_000 || MaxSupply != 10_000_000*uint64(Coin) {
		t.Fatal("units")
	}
	for s, want := range map[string]Amount{
		"0": 0, "1": Coin, "0.000000001": 1, "10000000": MaxSupply, "12.5": 12_500_000_000, ".5": 500_000_000, "007": 7 * Coin, "3.": 3 * Coin,
	} {
		if have, err := ParseCoins(s); err != nil || have != want {
			t.Errorf("%q is %d, want %d: %v", s, have, want, err)
		}
	}
	for _, s := range []string{"", ".", "-1", "1e3", "1,5", " 1", "10000000.000000001", "10000001", "99999999", "123456789", "0.0000000001", "0x1", "१"} {
		if have, err := ParseCoins(s); err == nil {
			t.Errorf("%q is taken as %d", s, have)
		}
	}
	for a, want := range map[Amount]string{0: "0", 1: "0.000000001", Coin: "1", 12_500_000_000: "12.5", MaxSupply: "10000000"} {
		if a.String() != want {
			t.Errorf("%d reads %q, want %q", uint64(a), a, want)
		}
	}
	for n, ok := range map[uint64]bool{MaxSupply: true, MaxSupply + 1: false} {
		var e Encoder
		e.Uint(n)
		d := NewDecoder(e.Data())
		if d.Amount(); (d.End() == nil) != ok {
			t.Errorf("amount %d: %v", n, d.End())
		}
	}
}

// U4: the first prices of a sim market.
func TestU4(t *testing.T) {
	r := SimMarket()
	if r.StorageCost.Cmp(big.NewInt(1_000_000_000_000_000)) != 0 {
		t.Errorf("storage costs %s wei a piece and epoch", r.StorageCost)
	}
	// A coin a TB: 10^12 bytes in pieces of 262,144.
	perPiece := new(big.Int).Mul(big.NewInt(Coin), big.NewInt(WeiPerBase))
	perPiece.Mul(perPiece, big.NewInt(PieceSize))
	perPiece.Quo(perPiece, big.NewInt(1_000_000_000_000))
	if r.BandwidthCost.Cmp(perPiece) != 0 || r.EncodePrice.Cmp(perPiece) != 0 {
		t.Errorf("a unit costs %s and encoding %s wei, want %s", r.BandwidthCost, r.EncodePrice, perPiece)
	}
	if MaxSupply != 10_000_000_000_000_000 || r.MinDeposit != 1000*Coin || r.DisputeLock != 10*Coin {
		t.Error("supply or locks")
	}
}

// D1: SHA-256 of domain, a zero byte, parts; a part without fixed width has its
// be32 length before it.
func TestD1(t *testing.T) {
	for _, c := range []struct {
		dom   string
		parts [][]byte
		bytes string
	}{
		{"staddle/tx/1", nil, "staddle/tx/1\x00"},
		{"staddle/lot/1", [][]byte{{1, 2}, {3}}, "staddle/lot/1\x00\x01\x02\x03"},
		{"x", [][]byte{Sized([]byte("ab")), Be32(7), Be64(9)}, "x\x00\x00\x00\x00\x02ab\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x09"},
	} {
		if have, want := H(c.dom, c.parts...), Hash(sha256.Sum256([]byte(c.bytes))); have != want {
			t.Errorf("H(%q) is %s, want %s", c.dom, have, want)
		}
	}
	if h := H("staddle/tx/1"); h.U64() != binaryU64(h) {
		t.Error("U64 is not the first eight bytes, big-endian")
	}
}

func binaryU64(h Hash) (n uint64) {
	for _, b := range h[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}

// D2: what is not H: content identifiers, the address.
func TestD2(t *testing.T) {
	b := []byte("a block")
	sum := sha256.Sum256(b)
	for want, c := range map[string]interface{ Bytes() []byte }{
		"01711220" + hex.EncodeToString(sum[:]): NodeCID(b),
		"01551220" + hex.EncodeToString(sum[:]): RawCID(b),
	} {
		if have := hex.EncodeToString(c.Bytes()); have != want {
			t.Errorf("identifier %s, want %s", have, want)
		}
	}
	if Digest(NodeCID(b)) != Hash(sum) || NodeCIDOf(sum) != NodeCID(b) || RawCIDOf(sum) != RawCID(b) {
		t.Error("digest and identifier differ")
	}
	a := testAccount("alice")
	key := sha256.Sum256(a[:])
	if want := "0x" + hex.EncodeToString(key[:20]); a.Address().String() != want {
		t.Errorf("address %s, want %s", a.Address(), want)
	}
	var tree LineTree
	tree.Add([]byte("line"))
	if tree.Root() != Hash(sha256.Sum256([]byte("\x00line"))) {
		t.Error("a leaf is not SHA-256(0x00, line)")
	}
	for _, bad := range []string{
		"", "01711220", "01701220" + strings.Repeat("00", 31), "00" + "711220" + strings.Repeat("00", 32), "01711320" + strings.Repeat("00", 32),
		"0171121f" + strings.Repeat("00", 32), "01000020" + strings.Repeat("00", 32), "01721220" + strings.Repeat("00", 32),
	} {
		raw, _ := hex.DecodeString(bad)
		if c, err := ParseCIDBytes(raw); err == nil {
			t.Errorf("%s is taken as %s", bad, c)
		}
	}
}

// S3: the fields of a header: each counts for its digest, the signature alone
// does not.
func TestS3(t *testing.T) {
	h := testHeader()
	digest := h.Digest()
	changes := map[string]func(*Header){
		"version": func(h *Header) { h.Version++ }, "chain": func(h *Header) { h.Chain[0] ^= 1 }, "height": func(h *Header) { h.Height++ },
		"time": func(h *Header) { h.Time++ }, "previous": func(h *Header) { h.Previous = h.Skip }, "skip": func(h *Header) { h.Skip = h.Previous },
		"target": func(h *Header) { h.BaseTarget++ }, "difficulty": func(h *Header) { h.Difficulty++ }, "gensig": func(h *Header) { h.Gensig[31] ^= 1 },
		"proof": func(h *Header) { h.Proof[79] ^= 1 }, "miner": func(h *Header) { h.Miner[0] ^= 1 }, "nonce": func(h *Header) { h.Nonce++ },
		"state": func(h *Header) { h.State = h.Txs }, "txs": func(h *Header) { h.Txs = h.State },
	}
	if len(changes) != headerFields {
		t.Fatalf("%d changes for %d fields", len(changes), headerFields)
	}
	for name, change := range changes {
		c := *h
		if change(&c); c.Digest() == digest {
			t.Errorf("%s is not signed", name)
		}
	}
	signed := *h
	if signed.Signature[0] ^= 1; signed.Digest() != digest {
		t.Error("the signature signs itself")
	}
	for _, n := range []int{headerFields, headerFields + 2} {
		b := Marshal(h)
		b[0] = 0x80 | byte(n)
		if err := Unmarshal(b, new(Header)); err == nil {
			t.Errorf("a header of %d fields is taken", n)
		}
	}
}

// TestTxDigest: each field of a transaction counts for its id, the signature does
// not.
func TestTxDigest(t *testing.T) {
	x := testTx(KindWire, new(Wire))
	id := x.ID()
	changes := map[string]func(*Tx){
		"version": func(t *Tx) { t.Version++ }, "chain": func(t *Tx) { t.Chain[0] ^= 1 }, "kind": func(t *Tx) { t.Kind++ },
		"sender": func(t *Tx) { t.Sender[0] ^= 1 }, "nonce": func(t *Tx) { t.Nonce++ }, "time": func(t *Tx) { t.Time++ },
		"expiry": func(t *Tx) { t.Expiry++ }, "fee": func(t *Tx) { t.Fee++ }, "recent height": func(t *Tx) { t.Recent.Height++ },
		"recent root": func(t *Tx) { t.Recent.Root = NodeCID(nil) }, "profile": func(t *Tx) { t.Profile[0] ^= 1 },
		"thread account": func(t *Tx) { t.Thread.Account[0] ^= 1 }, "thread nonce": func(t *Tx) { t.Thread.Nonce++ },
		"body": func(t *Tx) { t.Body = append(t.Body, 0) },
	}
	for name, change := range changes {
		c := *x
		if change(&c); c.ID() == id {
			t.Errorf("%s is not signed", name)
		}
	}
	signed := *x
	if signed.Signature[0] ^= 1; signed.ID() != id {
		t.Error("the signature is part of the id")
	}
}

// S5: the closed set of kinds by number and name.
func TestS5(t *testing.T) {
	want := strings.Fields(`coinbase wire message register plan encoded hosted attest bundle dispute duty log collation deposit exit
		vote slash litigate jury price reveal purge anchor relay lock label rotate rules name member`)
	for k, name := range want {
		if Kind(k).String() != name || !Kind(k).Known() {
			t.Errorf("kind %d is %s, want %s", k, Kind(k), name)
		}
	}
	if len(want) != 30 || Kind(30).Known() || KindSet(KindWire).Has(200) || !KindSet(KindMember).Has(KindMember) {
		t.Error("the set is not closed")
	}
	r := SimMarket()
	for k := range Kind(64) {
		active := k <= KindDeposit || k == KindLock || k == KindName
		if r.Active.Has(k) != active {
			t.Errorf("kind %s is active in a sim market: %t", k, !active)
		}
		if body := NewBody(k); (body != nil) != (active && k != KindCoinbase) {
			t.Errorf("kind %s has a body: %t", k, body != nil)
		}
	}
}

// TestRulesThatCannotBe: parameters with which nothing can be computed.
func TestRulesThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*Rules){
		"no block time": func(r *Rules) { r.BlockMillis = 0 }, "no epoch": func(r *Rules) { r.EpochBlocks = 0 }, "no year": func(r *Rules) { r.YearEpochs = 0 },
		"no range": func(r *Rules) { r.RangePieces = 0 }, "range of 3": func(r *Rules) { r.RangePieces = 3 }, "range of 2": func(r *Rules) { r.RangePieces = 2 },
		"range of 24": func(r *Rules) { r.RangePieces = 24 }, "range of 512": func(r *Rules) { r.RangePieces = 512 },
		"lot of 65": func(r *Rules) { r.LotRanges = 65 }, "no lot": func(r *Rules) { r.LotRanges = 0 }, "no stream unit": func(r *Rules) { r.StreamUnit = 0 },
		"no encode unit": func(r *Rules) { r.EncodeUnit = 0 }, "no buckets": func(r *Rules) { r.BucketsPerBlock = 0 }, "no delay": func(r *Rules) { r.DrawDelay = 0 },
		"long blocks": func(r *Rules) { r.BlockMillis = 1<<24 + 1 }, "long epochs": func(r *Rules) { r.EpochBlocks = 1<<16 + 1 },
		"no audit": func(r *Rules) { r.AuditSamples = 0 }, "no checkers": func(r *Rules) { r.Checkers = 0 }, "no attestors": func(r *Rules) { r.Attestors = 0 },
		"community 3": func(r *Rules) { r.Community = 3 }, "preset 2": func(r *Rules) { r.Preset = 2 }, "transfer by 2": func(r *Rules) { r.TransferBy = 2 },
	} {
		r := SimMarket()
		change(&r)
		if err := Unmarshal(Marshal(&r), new(Rules)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	g := testGenesis()
	if err := g.NotYet(); err != nil {
		t.Errorf("a sim market: %v", err)
	}
	for name, change := range map[string]func(*Genesis){
		"friends": func(g *Genesis) { g.Rules.Community = Friends }, "main": func(g *Genesis) { g.Rules.Preset = Main },
		"finality": func(g *Genesis) { g.Rules.TransferBy = ByFinality }, "votes": func(g *Genesis) { g.Rules.Active |= KindSet(KindVote) },
	} {
		g := testGenesis()
		change(g)
		if err := g.NotYet(); err == nil || !strings.Contains(err.Error(), "not yet") {
			t.Errorf("%s: %v, want not yet", name, err)
		}
		if err := g.Check(); err != nil {
			t.Errorf("%s is a fault: %v", name, err)
		}
	}
	g.Version = 2
	if err := Unmarshal(Marshal(g), new(Genesis)); err == nil || !strings.Contains(err.Error(), "genesis version 2") {
		t.Errorf("version 2: %v", err)
	}
}
