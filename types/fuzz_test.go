package types

import (
	"bytes"
	"testing"
)

func FuzzTx(f *testing.F) {
	var seeds [][]byte
	for _, x := range testBodies()[:4] {
		seeds = append(seeds, Marshal(testTx(x.Kind, x.Body)))
	}
	fuzzResultCodec(f, func() resultCodec { return new(Tx) }, seeds...)
}

func FuzzTxList(f *testing.F) {
	one := TxList{Txs: []Tx{*testTx(KindWire, new(Wire))}}
	fuzzResultCodec(f, func() resultCodec { return new(TxList) }, Marshal(one), Marshal(TxList{}))
}

func FuzzHeader(f *testing.F) {
	fuzzResultCodec(f, func() resultCodec { return new(Header) }, Marshal(testHeader()), Marshal(&Header{Version: 1}))
}

func FuzzBlock(f *testing.F) {
	b := &Block{Name: NodeCIDOf(testHash("name")), Header: *testHeader(), Txs: []Tx{*testTx(KindWire, new(Wire))}}
	fuzzResultCodec(f, func() resultCodec { return new(Block) }, Marshal(b))
}

func FuzzRules(f *testing.F) {
	r := SimMarket()
	fuzzResultCodec(f, func() resultCodec { return new(Rules) }, Marshal(&r))
}

func FuzzGenesis(f *testing.F) {
	fuzzResultCodec(f, func() resultCodec { return new(Genesis) }, Marshal(testGenesis()))
}

func FuzzRangeList(f *testing.F) {
	l := RangeList{Ranges: []Range{{ID: testHash("r"), First: 1, Count: 16}}, Next: NodeCIDOf(testHash("next"))}
	fuzzResultCodec(f, func() resultCodec { return new(RangeList) }, Marshal(l), Marshal(RangeList{}))
}

func FuzzCursor(f *testing.F) {
	fuzzResultCodec(f, func() resultCodec { return new(Cursor) }, Marshal(&Cursor{}), Marshal(&Cursor{Height: 9, Root: NodeCIDOf(testHash("x"))}))
}

func FuzzInviteBytes(f *testing.F) {
	fuzzResultCodec(f, func() resultCodec { return new(Invite) }, Marshal(testInvite()), Marshal(new(Invite)))
}

// FuzzBody reads the body of any kind.
func FuzzBody(f *testing.F) {
	for _, x := range testBodies() {
		b := Marshal(x.Body)
		f.Add(uint8(x.Kind), b)
		f.Add(uint8(x.Kind), append(bytes.Clone(b), 0))
		f.Add(uint8(x.Kind), b[:len(b)/2])
	}
	f.Add(uint8(200), []byte{0x80})
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		body, err := ParseBody(&Tx{Kind: Kind(kind), Body: b})
		if err == nil && !bytes.Equal(Marshal(body), b) {
			t.Fatalf("%s: % x encodes as % x", Kind(kind), b, Marshal(body))
		}
	})
}

// FuzzRecord reads any record of the state.
func FuzzRecord(f *testing.F) {
	records := testRecords()
	for i, x := range records {
		b := Marshal(x.Record)
		f.Add(uint8(i), b)
		f.Add(uint8(i), append(bytes.Clone(b), 0))
		f.Add(uint8(i), b[:len(b)/2])
	}
	fresh := func(i int) codec {
		return [...]codec{
			new(Globals), new(AccountRecord), new(OutRecord), new(DatasetRecord), new(PlanRecord), new(LotRecord), new(RangeRecord),
			new(HostRecord), new(RegistryRecord), new(EpochRecord), new(ClaimRecord), new(LockRecord),
			new(NameRecord), new(NameVersion),
		}[i]
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		v := fresh(int(which) % len(records))
		if err := Unmarshal(b, v); err == nil && !bytes.Equal(Marshal(v), b) {
			t.Fatalf("%T: % x encodes as % x", v, b, Marshal(v))
		}
	})
}

// FuzzCanonical compares the two readers: what a record's decoder takes, the
// state's check takes too.
func FuzzCanonical(f *testing.F) {
	for _, x := range testRecords() {
		f.Add(Marshal(x.Record))
	}
	f.Add([]byte{0xa1, 0x61, 0x61, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a AccountRecord
		var l LotRecord
		if (Unmarshal(b, &a) == nil || Unmarshal(b, &l) == nil) && Canonical(b) != nil {
			t.Fatalf("% x is a record, but: %v", b, Canonical(b))
		}
	})
}

// FuzzInvite reads what people paste.
func FuzzInvite(f *testing.F) {
	f.Add(testInvite().String())
	f.Add("staddle-invite:")
	f.Add("staddle-invite:aaaaaaaa")
	f.Add(" https://example.org ")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseInvite(s)
		if err == nil && !bytes.Contains([]byte(s), []byte(i.String())) {
			t.Fatalf("%q reads as %q", s, i.String())
		}
	})
}

// FuzzNames reads the texts of names and amounts.
func FuzzNames(f *testing.F) {
	f.Add(testHash("x").String())
	f.Add(testAccount("x").Address().String())
	f.Add("12.000000001")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHash(s); err == nil && !sameHex(h.String(), s) {
			t.Fatalf("hash %q reads as %s", s, h)
		}
		if a, err := ParseAccount(s); err == nil && !sameHex(a.String(), s) {
			t.Fatalf("account %q reads as %s", s, a)
		}
		if a, err := ParseAddress(s); err == nil && !sameHex(a.String()[2:], s) && !sameHex(a.String(), s) {
			t.Fatalf("address %q reads as %s", s, a)
		}
		if a, err := ParseCoins(s); err == nil {
			if again, err := ParseCoins(a.String()); err != nil || again != a {
				t.Fatalf("amount %q reads as %s and then %s: %v", s, a, again, err)
			}
		}
		if c, err := ParseCIDBytes([]byte(s)); err == nil && c.KeyString() != s {
			t.Fatalf("link % x reads as %s", s, c)
		}
	})
}

func sameHex(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }
