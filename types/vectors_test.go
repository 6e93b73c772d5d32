package types

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "write spec/vectors anew: a change of a format")

// vector is a value by name, in its one spelling, with the ids that follow.
type vector struct {
	Name   string `json:"name"`
	Bytes  string `json:"bytes,omitempty"`
	ID     string `json:"id,omitempty"`     // digest that names it
	Signed string `json:"signed,omitempty"` // digest that is signed, where it is another
	Text   string `json:"text,omitempty"`
}

// golden compares vectors with the file, or writes it.
func golden(t *testing.T, name string, have []vector) {
	t.Helper()
	path := filepath.Join("..", "spec", "vectors", name)
	if *update {
		b, err := json.MarshalIndent(have, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []vector
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(have) {
		t.Fatalf("%s has %d vectors, want %d", name, len(want), len(have))
	}
	for i := range want {
		if have[i] != want[i] {
			t.Errorf("%s: %+v, want %+v", name, have[i], want[i])
		}
	}
}

// spelled checks that a value reads back as it was written and gives its hex.
func spelled(t *testing.T, name string, v codec) string {
	t.Helper()
	b := Marshal(v)
	again := reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)
	if err := Unmarshal(b, again); err != nil {
		t.Errorf("%s: %v", name, err)
	} else if !bytes.Equal(Marshal(again), b) {
		t.Errorf("%s reads back as another value", name)
	}
	if err := Canonical(b); err != nil {
		t.Errorf("%s is not what the state takes: %v", name, err)
	}
	for _, bad := range [][]byte{append(bytes.Clone(b), 0), b[:len(b)-1], nil} {
		if err := Unmarshal(bad, reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)); err == nil {
			t.Errorf("%s: %d of %d bytes are taken", name, len(bad), len(b))
		}
	}
	return hex.EncodeToString(b)
}

func TestTransactionVectors(t *testing.T) {
	var list []vector
	for _, x := range testBodies() {
		list = append(list, vector{Name: x.Kind.String() + " body", Bytes: spelled(t, x.Kind.String(), x.Body)})
		tx := testTx(x.Kind, x.Body)
		id := tx.ID()
		list = append(list, vector{Name: x.Kind.String() + " transaction", Bytes: spelled(t, "transaction", tx), ID: id.String()})
		if body, err := ParseBody(tx); err != nil || !bytes.Equal(Marshal(body), tx.Body) {
			t.Errorf("%s: body reads back as %+v: %v", x.Kind, body, err)
		}
	}
	bare := &Tx{Version: TxVersion, Kind: KindWire, Body: Marshal(new(Wire))}
	id := bare.ID()
	list = append(list, vector{Name: "bare transaction", Bytes: spelled(t, "bare", bare), ID: id.String()})
	golden(t, "transactions.json", list)
}

func TestHeaderVectors(t *testing.T) {
	h := testHeader()
	digest := h.Digest()
	first := &Header{Version: HeaderVersion, Chain: testHash("chain"), Time: 1_700_000_000_000, BaseTarget: 5, State: h.State, Txs: h.Txs}
	zero := first.Digest()
	b := &Block{Name: NodeCIDOf(testHash("block 100")), Header: *h, Txs: []Tx{*testTx(KindWire, &Wire{To: Account{1}, Amount: 1})}}
	list := TxList{Txs: b.Txs}
	golden(t, "header.json", []vector{
		{Name: "header", Bytes: spelled(t, "header", h), Signed: digest.String()},
		{Name: "header of a genesis", Bytes: spelled(t, "genesis header", first), Signed: zero.String()},
		{Name: "transaction list", Bytes: spelled(t, "list", &list), ID: NodeCID(Marshal(list)).String()},
		{Name: "empty transaction list", Bytes: spelled(t, "list", new(TxList)), ID: NodeCID(Marshal(TxList{})).String()},
		{Name: "block as it travels", Bytes: spelled(t, "block", b)},
	})
}

func TestGenesisVectors(t *testing.T) {
	g, r := testGenesis(), SimMarket()
	golden(t, "rules.json", []vector{
		{Name: "rules sim market", Bytes: spelled(t, "rules", &r), ID: NodeCID(Marshal(&r)).String()},
		{Name: "genesis", Bytes: spelled(t, "genesis", g), ID: g.Chain().String()},
	})
}

func TestStateVectors(t *testing.T) {
	var list []vector
	for _, x := range testRecords() {
		list = append(list, vector{Name: x.Key, Bytes: spelled(t, x.Key, x.Record)})
	}
	empty := []struct {
		Name   string
		Record codec
	}{{"a/ empty", new(AccountRecord)}, {"e/ empty", new(EpochRecord)}, {"h/ empty", new(HostRecord)}}
	for _, x := range empty {
		list = append(list, vector{Name: x.Name, Bytes: spelled(t, x.Name, x.Record)})
	}
	ranges := []Range{{ID: testHash("r0"), First: 1, Count: 16}, {ID: testHash("r1"), First: 17, Count: 4}}
	head, nodes := RangeBlocks(ranges)
	list = append(list, vector{Name: "range list", Bytes: hex.EncodeToString(nodes[0].Bytes), ID: head.String()})
	golden(t, "state.json", list)
}

func TestInviteVector(t *testing.T) {
	i := testInvite()
	golden(t, "invite.json", []vector{{Name: "invite", Bytes: spelled(t, "invite", i), Text: i.String()}})
}

// D4: the names of things.
func TestD4(t *testing.T) {
	plan, beacon := testHash("plan"), testHash("beacon")
	lot := LotOf(plan, 2, 7)
	attempt := AttemptOf(lot, 3, beacon)
	digests := []Hash{testHash("d0"), testHash("d1"), testHash("d2")}
	r := RangeOf(digests)
	account := testAccount("alice")
	g := testGenesis()
	tx := testTx(KindPlan, testBodies()[3].Body)
	id := tx.ID()
	a := testAttachment()
	golden(t, "ids.json", []vector{
		{Name: "chain", ID: g.Chain().String()},
		{Name: "plan", ID: id.String()},
		{Name: "lot of H(staddle/test/hash, plan), copy 2, index 7", ID: lot.String()},
		{Name: "attempt 3 of that lot with beacon H(staddle/test/hash, beacon)", ID: attempt.String()},
		{Name: "range of three digests", ID: r.String()},
		{Name: "dataset", ID: a.Dataset().String()},
		{Name: "address of H(staddle/test/account, alice)", ID: account.Address().String()},
	})
	// By hand, from the words of the rule.
	if want := H("staddle/lot/1", plan[:], []byte{0, 0, 0, 2}, []byte{0, 0, 0, 7}); lot != want {
		t.Errorf("lot %s, want %s", lot, want)
	}
	if want := H("staddle/attempt/1", lot[:], []byte{0, 0, 0, 3}, beacon[:]); attempt != want {
		t.Errorf("attempt %s, want %s", attempt, want)
	}
	if want := H("staddle/range/1", []byte{0, 0, 0, 3}, digests[0][:], digests[1][:], digests[2][:]); r != want {
		t.Errorf("range %s, want %s", r, want)
	}
	if want := H("staddle/chain/1", Marshal(g)); g.Chain() != want {
		t.Errorf("chain %s, want %s", g.Chain(), want)
	}
	if a.Dataset() != testHash("index") {
		t.Errorf("dataset %s is not the digest of its index", a.Dataset())
	}
	if LotOf(plan, 2, 7) == LotOf(plan, 7, 2) || RangeOf(digests[:2]) == RangeOf([]Hash{digests[1], digests[0]}) {
		t.Error("two things have one name")
	}
}
