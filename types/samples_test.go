package types

import (
	"math/big"
)

// codec is a value with one canonical form.
type codec interface {
	Encodable
	Decodable
}

func testAccount(name string) Account { return Account(H("staddle/test/account", []byte(name))) }

func testHash(name string) Hash { return H("staddle/test/hash", []byte(name)) }

func testSignature(name string) (s Signature) {
	a, b := testHash(name), testHash(name+"'")
	copy(s[:], a[:])
	copy(s[32:], b[:])
	return s
}

func testAttachment() *Attachment {
	return &Attachment{
		Index: NodeCIDOf(testHash("index")), UnixFS: NodeCIDOf(testHash("unixfs")), Pieces: 20, Size: 19*PieceSize + 1,
		Ranges: NodeCIDOf(testHash("ranges")), RangeCount: 2, Name: "Harvest 1911 – Ernte", MediaTypes: []string{"video/mp4", "text/plain"},
		Visibility: VisibilityPublic,
	}
}

// bodies gives one full body of every kind that has one, in order of kinds.
func testBodies() []struct {
	Kind Kind
	Body Body
} {
	h := testHash
	commitments := &Commitments{List: []Commitment{
		{Lot: h("lot"), Attempt: h("attempt"), Range: 1, Encoded: h("encoded"), Plain: h("plain"), Modulus: h("modulus")},
		{Lot: h("lot 2"), Attempt: h("attempt 2"), Range: 63, Encoded: h("encoded 2"), Plain: h("plain 2")},
	}}
	signed := []Signed{{By: Account{1}, Signature: testSignature("a")}, {By: Account{2}, Signature: testSignature("b")}}
	return []struct {
		Kind Kind
		Body Body
	}{
		{KindWire, &Wire{To: testAccount("bob"), Amount: 1_500_000_000}},
		{KindMessage, &Message{Text: h("text"), TextLength: 1024, Attachment: testAttachment()}},
		{KindRegister, &Register{
			Device: Device(h("device")), Roles: RoleHost | RoleEncoder, Endpoints: []string{"/ip4/192.0.2.1/tcp/4001"}, Gateway: "host.example:443",
			FreeGiB: 100, Encodings: 3, TargetStorage: Wei(2_184_533_333), TargetBandwidth: new(big.Int), Payout: testAccount("carol"),
			Recovery: h("recovery"), SpendLimit: 5 * Coin,
		}},
		{KindPlan, &Plan{
			Dataset: h("dataset"), First: 3, Count: 4, Copies: 3, Encoding: 1, Until: 120, MaxPrice: Wei(8_738_133_332), Lock: 10 * Coin,
			Guardian: testAccount("guardian"), Renewable: true, Assurance: 2,
		}},
		{KindEncoded, commitments},
		{KindHosted, commitments},
		{KindAttest, &Attestations{List: []Attestation{{Lot: h("lot"), Attempt: h("attempt"), Root: h("root")}}}},
		{KindBundle, &BundlePost{Epoch: 7, Root: h("bundle"), Proofs: 17, Size: 40_000, Missed: []uint32{3, 16}, Checkers: signed}},
		{KindDispute, &Dispute{Kind: DisputeProof, Host: testAccount("host"), Epoch: 7, Index: 3, Evidence: []byte{1, 2, 3}, Path: []Hash{h("p0"), h("p1")}}},
		{KindDuty, &Duty{Action: DutyRefuse, Policy: 4, Lots: []LotAttempt{{Lot: h("lot"), Attempt: h("attempt")}}}},
		{KindLog, &LogCommitment{Epoch: 7, Root: h("log"), Headers: 3, SumRoot: h("sum"), Leaves: 4099, Lots: 5, Exceptions: RawCIDOf(h("exceptions"))}},
		{KindCollation, &Collation{Epoch: 7, Input: h("input"), Result: NodeCIDOf(h("result")), Rows: 12, Signers: signed}},
		{KindDeposit, &Deposit{Role: RoleValidator, Amount: 1000 * Coin}},
		{KindLock, &Lock{Epoch: 8, Amount: 3 * Coin}},
		{KindName, &NameUpdate{Name: "Filme 1911", Dataset: h("dataset")}},
	}
}

func testTx(kind Kind, body Body) *Tx {
	return &Tx{
		Version: TxVersion, Chain: testHash("chain"), Kind: kind, Sender: testAccount("alice"), Nonce: 42, Time: 1_700_000_000_000,
		Expiry: 1_700_000_600_000, Fee: 1_234_567, Recent: Cursor{Height: 99, Root: NodeCIDOf(testHash("block 99"))},
		Profile: testHash("profile"), Thread: Thread{Account: testAccount("bob"), Nonce: 7}, Body: Marshal(body), Signature: testSignature("tx"),
	}
}

func testHeader() *Header {
	h := &Header{
		Version: HeaderVersion, Chain: testHash("chain"), Height: 100, Time: 1_700_000_100_000,
		Previous: NodeCIDOf(testHash("block 99")), Skip: NodeCIDOf(testHash("block 0")), BaseTarget: 24_677_258_232,
		Difficulty: 74_752_000_000, Gensig: testHash("gensig"), Miner: testAccount("miner"), Nonce: 12,
		State: NodeCIDOf(testHash("state")), Txs: NodeCIDOf(testHash("txs")), Signature: testSignature("header"),
	}
	a, b, c := testHash("proof"), testHash("proof'"), testHash("proof''")
	copy(h.Proof[:], a[:])
	copy(h.Proof[32:], b[:])
	copy(h.Proof[64:], c[:])
	return h
}

func testGenesis() *Genesis {
	a, b, c := Account{1}, Account{2}, Account{3}
	return &Genesis{
		Version: GenesisVersion, Name: "TAUT", Symbol: "TAU", Time: 1_700_000_000_000, Rules: SimMarket(),
		Credits:  []Credit{{a, 1000 * Coin}, {b, 2000 * Coin}, {c, 1}},
		Members:  []Account{a, b},
		Deposits: []Credit{{b, 1000 * Coin}},
	}
}

func testLot() *LotRecord {
	h := testHash
	return &LotRecord{
		Plan: h("plan"), Copy: 2, Index: 1, First: 2, Count: 2, Pieces: 32, Leaves: 8192, Status: LotCommitted, Number: 3,
		Attempt: h("attempt"), DrawnAt: 50, Deadline: 70, Host: testAccount("host"), Encoders: []Account{{1}, {2}}, Attestors: []Account{{3}, {4}},
		HostIn: true, Accepted: 3, Encoded: 3, Hosted: 3, Attested: 1, Assurance: 2, Root: h("root"), Since: 1_700_000_050_000, SinceEpoch: 6,
		Missed: 1, Old: testAccount("old"), OldRoot: h("old root"), OldSince: 1_700_000_010_000, Refused: []Account{{9}},
	}
}

// testRecords gives one full record under each family of keys of the state.
func testRecords() []struct {
	Key    string
	Record codec
} {
	h := testHash
	bodies := testBodies()
	collation := *bodies[11].Body.(*Collation)
	collation.Signers = []Signed{}
	rules := SimMarket()
	return []struct {
		Key    string
		Record codec
	}{
		{"g", &Globals{
			Rules: NodeCID(Marshal(&rules)), Genesis: NodeCIDOf(h("block 0")), FeeFactor: 1<<32 + 5, R: h("beacon"), Vrf: [64]byte{1, 63: 2},
			Times: [4]Millis{4000, 3000, 2000, 1000}, Storage: rules.StorageCost, Bandwidth: rules.BandwidthCost, Encode: rules.EncodePrice,
			Active: rules.Active, Burned: 77, BurnCarry: 999_999_999, Members: 9, Deposits: 8000 * Coin, LiveRanges: 12, RepairEpoch: 3, Repaired: 2, Transfer: 4,
		}},
		{"a/", &AccountRecord{
			Nonce: 5, Balance: 10 * Coin, Locked: 3, HostBond: 4, EncodeBond: 5, Deposit: 6, DepositFrom: 2, Reserved: 1, Carry: 999_999_999,
			Profile: h("profile"), Payout: testAccount("carol"), Recovery: h("recovery"), SpendLimit: 9, LimitBefore: 7, LimitFrom: 388, SpentEpoch: 3, Spent: 6, Member: true, Month: 13,
			Power: [Months]uint64{1000, 0, 3000, 11: 7}, Counts: []EpochCount{{2, 1}, {3, 17}},
		}},
		{"a/out/", &OutRecord{Kind: KindWire, Tx: h("tx"), Amount: 5}},
		{"d/", &DatasetRecord{Attachment: *testAttachment(), Publisher: testAccount("alice"), Height: 9, Time: 1_700_000_009_000, Tx: h("tx")}},
		{"p/", &PlanRecord{Plan: *bodies[3].Body.(*Plan), Sponsor: testAccount("alice"), Time: 1_700_000_010_000, Height: 10, Left: 9 * Coin, Lots: 2, Pieces: 64, Ended: true}},
		{"c/", testLot()},
		{"c//", &RangeRecord{Attempt: h("attempt"), ByHost: true, Encoded: h("encoded"), Plain: h("plain"), Modulus: h("modulus")}},
		{"h/", &HostRecord{State: HostPaused, Good: 9, Failed: 1, Open: 2, OpenPieces: 32, Bonded: 64, Lots: 3, Ranges: 6, Pieces: 96, Leaves: 24_576, Missed: 1, Bundles: 8, Paused: 77, Retained: 5, Drawn: 17, Refused: 2}},
		{"r/", &RegistryRecord{Register: *bodies[2].Body.(*Register), Time: 1_700_000_001_000, From: 2}},
		{"e/", &EpochRecord{Burning: 20, Seconds: 1_700_000_008, Beacon: h("beacon"), Storage: rules.StorageCost, Bandwidth: rules.BandwidthCost, Collation: &collation, Signed: 6000 * Coin, Due: 64, Buckets: 128}},
		{"e//", &ClaimRecord{Log: *bodies[10].Body.(*LogCommitment), At: 66, Bundle: bodies[7].Body.(*BundlePost), Lost: true}},
		{"m/", &LockRecord{Amount: 5 * Coin, Spent: 77}},
		{"n/", &NameRecord{Owner: testAccount("alice"), Name: "Filme 1911", Since: 9, Version: 2, NameVersion: NameVersion{Dataset: h("dataset"), Height: 12, Time: 1_700_000_012_000}}},
		{"n//", &NameVersion{Dataset: h("dataset"), Height: 12, Time: 1_700_000_012_000}},
	}
}

func testInvite() *Invite {
	return &Invite{
		Chain: testHash("chain"), Name: "TAUT",
		Peers: []InvitePeer{
			{Account: testAccount("alice"), Device: Device(testHash("device")), Addrs: []string{"/ip4/192.0.2.1/udp/4001/quic-v1", "/ip4/192.0.2.1/tcp/4001"}},
			{Account: testAccount("bob"), Device: Device(testHash("device 2")), Addrs: []string{}},
		},
		Checkpoint: Cursor{Height: 96, Root: NodeCIDOf(testHash("block 96"))}, Time: 1_700_000_096_000, Gift: make([]byte, 32),
	}
}
